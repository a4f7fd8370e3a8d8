"""Noise paths: how a clean latent becomes a noised one, and what a network is asked to predict.

Time runs from 0 (clean) to 1 (noise), everywhere in Rushes; a backbone converts at its edge. `t_BF` has one time per
latent frame, so a frame that is given (a first frame) stays clean at t = 0.

Shapes: B batch, C channels, F latent frames, H, W.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor


class NoisePath(Protocol):
    """What training and sampling ask of a path."""

    def mix(self, clean_BCFHW: Tensor, noise_BCFHW: Tensor, t_BF: Tensor) -> Tensor:
        """Noised latents at time t."""
        ...

    def target(self, clean_BCFHW: Tensor, noise_BCFHW: Tensor, t_BF: Tensor) -> Tensor:
        """What the network should predict at time t."""
        ...

    def clean_from(self, noised_BCFHW: Tensor, prediction_BCFHW: Tensor, t_BF: Tensor) -> Tensor:
        """The clean latents that a prediction implies."""
        ...

    def noise_from(self, noised_BCFHW: Tensor, prediction_BCFHW: Tensor, t_BF: Tensor) -> Tensor:
        """The noise that a prediction implies."""
        ...

    def noise_share(self, t: Tensor) -> Tensor:
        """noise / (noise + signal) at times of any shape, by the amounts that `mix` takes of each; 0..1."""
        ...

    def time_of_share(self, share: float) -> float:
        """The time at which the noised latents hold this share of noise, in (0, 1].

        Raises ValueError: the path has no time with that share.
        """
        ...


def per_frame(value_BF: Tensor) -> Tensor:
    """[B, F] -> [B, 1, F, 1, 1], to scale latents frame by frame."""
    return value_BF[:, None, :, None, None]


@dataclass(frozen=True)
class Flow:
    """Rectified flow: x_t = (1 - t) x + t noise, target noise - x (Wan, LTX, HunyuanVideo, the tiny backbone)."""

    def mix(self, clean_BCFHW: Tensor, noise_BCFHW: Tensor, t_BF: Tensor) -> Tensor:
        t = per_frame(t_BF)
        return (1 - t) * clean_BCFHW + t * noise_BCFHW

    def target(self, clean_BCFHW: Tensor, noise_BCFHW: Tensor, t_BF: Tensor) -> Tensor:
        return noise_BCFHW - clean_BCFHW

    def clean_from(self, noised_BCFHW: Tensor, prediction_BCFHW: Tensor, t_BF: Tensor) -> Tensor:
        return noised_BCFHW - per_frame(t_BF) * prediction_BCFHW

    def noise_from(self, noised_BCFHW: Tensor, prediction_BCFHW: Tensor, t_BF: Tensor) -> Tensor:
        return noised_BCFHW + (1 - per_frame(t_BF)) * prediction_BCFHW

    def noise_share(self, t: Tensor) -> Tensor:
        """The time itself: t / (t + (1 - t))."""
        return t

    def time_of_share(self, share: float) -> float:
        """The share itself; `sampling_times` refuses what is not a share."""
        return share


@dataclass(frozen=True)
class VariancePreserving:
    """x_t = sqrt(abar) x + sqrt(1 - abar) noise, with v or noise as the target (CogVideoX, Stable Diffusion)."""

    # cumulative alphas [N] of the N training steps, first step first. t in (0, 1] picks step round(t (N - 1)); t = 0 is
    # clean, which no training step is
    alphas_bar: Tensor
    predicts: Literal["v", "noise"] = "v"  # "v" = sqrt(abar) noise - sqrt(1 - abar) x, or "noise"

    def __post_init__(self) -> None:
        assert self.predicts in ("v", "noise"), self.predicts

    def _abar(self, t: Tensor) -> Tensor:
        last = len(self.alphas_bar) - 1
        step = (t * last).round().long().clamp(0, last)
        return torch.where(t == 0, 1.0, self.alphas_bar.to(t.device)[step])

    def _amounts(self, t_BF: Tensor) -> tuple[Tensor, Tensor]:
        abar = per_frame(self._abar(t_BF))
        return abar.sqrt(), (1 - abar).sqrt()

    def noise_share(self, t: Tensor) -> Tensor:
        """sqrt(1 - abar) / (sqrt(abar) + sqrt(1 - abar)) at the training steps that times stand for."""
        abar = self._abar(t)
        signal, noise = abar.sqrt(), (1 - abar).sqrt()
        return noise / (noise + signal)

    def time_of_share(self, share: float) -> float:
        """The time of the training step whose share of noise is nearest to `share`.

        Raises ValueError: `share` lies below that of the first step or above that of the last. Many schedules end
        before pure noise: Stable Diffusion's at 0.94.
        """
        last = len(self.alphas_bar) - 1
        times = torch.arange(last + 1, dtype=torch.float64) / last
        times[0], times[-1] = first_time(last + 1), 1 - first_time(last + 1)  # neither clean nor a take from pure noise
        shares = self.noise_share(times)
        if not float(shares[0]) <= share <= float(shares[-1]):
            raise ValueError(
                f"{share:.4g} is outside the noise levels of this model's schedule; choose one from {shares[0]:.3g} to "
                f"{shares[-1]:.3g}"
            )
        return float(times[(shares - share).abs().argmin()])

    def mix(self, clean_BCFHW: Tensor, noise_BCFHW: Tensor, t_BF: Tensor) -> Tensor:
        signal, noise = self._amounts(t_BF)
        return signal * clean_BCFHW + noise * noise_BCFHW

    def target(self, clean_BCFHW: Tensor, noise_BCFHW: Tensor, t_BF: Tensor) -> Tensor:
        if self.predicts == "noise":
            return noise_BCFHW
        signal, noise = self._amounts(t_BF)
        return signal * noise_BCFHW - noise * clean_BCFHW

    def clean_from(self, noised_BCFHW: Tensor, prediction_BCFHW: Tensor, t_BF: Tensor) -> Tensor:
        signal, noise = self._amounts(t_BF)
        if self.predicts == "noise":
            return (noised_BCFHW - noise * prediction_BCFHW) / signal
        return signal * noised_BCFHW - noise * prediction_BCFHW

    def noise_from(self, noised_BCFHW: Tensor, prediction_BCFHW: Tensor, t_BF: Tensor) -> Tensor:
        if self.predicts == "noise":
            return prediction_BCFHW
        signal, noise = self._amounts(t_BF)
        return noise * noised_BCFHW + signal * prediction_BCFHW


def first_time(steps: int) -> float:
    """The time that stands for the first of `steps` training steps, which is not clean as time 0 is."""
    return 0.25 / (steps - 1)


def shifted(t: Tensor, shift: float) -> Tensor:
    """t' = s t / (1 + (s - 1) t): more of the steps at high noise for s > 1 (SD3, eq. 23)."""
    return shift * t / (1 + (shift - 1) * t)


def sampling_times(steps: int, shift: float, start: float = 1.0) -> Tensor:
    """Falling times [n + 1] from `start` to 0 on a shifted grid of `steps`; `start` itself is the first value.

    With start = eta < 1 the grid begins where the noise level is eta, not where the index is eta of the steps: on a
    shifted grid these differ (DenseDPO, appendix; its listing assumes no shift).

    Raises ValueError: `start` outside (0, 1], fewer than one step, or a shift that is not positive.
    """
    if not 0 < start <= 1 or steps < 1 or not shift > 0:
        raise ValueError(
            "sampling needs at least one step, a positive shift and a start level in (0, 1], "
            f"got {steps}, {shift} and {start}"
        )
    grid = shifted(torch.linspace(1, 0, steps + 1, dtype=torch.float64), shift)
    below = grid[grid < start - 1e-6]  # a grid point that is `start` up to rounding would make a step of length zero
    return torch.cat([torch.tensor([start], dtype=torch.float64), below]).float()
