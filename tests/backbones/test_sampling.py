from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from rushes.backbones.base import BackboneSpec, Condition
from rushes.backbones.sampling import sample
from rushes.noise.paths import Flow, NoisePath, VariancePreserving

SHAPE = (2, 3, 4, 2, 2)
ALPHAS_BAR = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2, 0).float()
PATHS: dict[str, NoisePath] = {
    "flow": Flow(),
    "v": VariancePreserving(ALPHAS_BAR, "v"),
    "noise": VariancePreserving(ALPHAS_BAR, "noise"),
}


def draw(seed: int) -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


class Perfect:
    """Knows the clip and the noise: its prediction is the path's target."""

    def __init__(self, path: NoisePath, clean: Tensor, noise: Tensor, off: float = 0.0) -> None:
        self.spec = BackboneSpec("perfect", ("text",), path, 3, 4, 8, 8.0, 1.0, ())
        self.clean, self.noise, self.off = clean, noise, off
        self.times: list[Tensor] = []

    def predict(self, noised_BCFHW: Tensor, t_BF: Tensor, condition: Condition) -> Tensor:
        self.times.append(t_BF)
        return self.spec.path.target(self.clean, self.noise, t_BF) + self.off * (
            1 + condition.text[:, :1, None, None, None]
        )


def condition(first: Tensor | None = None, word: int = 0) -> Condition:
    return Condition(torch.full((2, 1), word), first)


@pytest.mark.parametrize("eta", [1.0, 0.6])
@pytest.mark.parametrize("shift", [1.0, 4.0])
@pytest.mark.parametrize("name", PATHS)
def test_a_perfect_predictor_ends_at_the_clean_clip(name: str, shift: float, eta: float) -> None:
    clean, noise = draw(0), draw(1)
    perfect: Any = Perfect(PATHS[name], clean, noise)
    made = sample(perfect, condition(), noise, steps=7, shift=shift, start_BCFHW=clean, eta=eta)
    torch.testing.assert_close(made, clean, rtol=0, atol=2e-4 if name == "noise" else 2e-5)
    assert perfect.times[0].unique().tolist() == pytest.approx([eta if eta == 1 else PATHS[name].time_of_share(eta)])


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("eta", [0.3, 0.65, 0.8, 0.93])
def test_a_guided_clip_starts_with_the_share_of_noise_that_eta_says(name: str, eta: float) -> None:
    """From ones as the clip and zeros as the noise, and the other way round, the mix shows what it holds of each."""
    ones, zeros = torch.ones(SHAPE), torch.zeros(SHAPE)
    amounts = []
    for clean, noise in ((ones, zeros), (zeros, ones)):
        seen: list[Tensor] = []

        class Watched(Perfect):
            def predict(self, noised_BCFHW: Tensor, t_BF: Tensor, condition: Condition) -> Tensor:
                seen.append(noised_BCFHW)  # noqa: B023 - read before the next turn
                return super().predict(noised_BCFHW, t_BF, condition)

        watched: Any = Watched(PATHS[name], clean, noise)
        sample(watched, condition(), noise, steps=4, shift=1.0, start_BCFHW=clean, eta=eta)
        amounts.append(float(seen[0].mean()))
    signal, noise_amount = amounts
    assert noise_amount / (noise_amount + signal) == pytest.approx(eta, abs=1e-6 if name == "flow" else 1e-3)


def test_a_share_of_noise_that_a_schedule_does_not_reach_is_refused() -> None:
    perfect: Any = Perfect(PATHS["v"], draw(0), draw(1))
    with pytest.raises(ValueError, match=r"0\.97 is outside .* choose one from 0\.0283 to 0\.936"):
        sample(perfect, condition(), draw(1), steps=4, shift=1.0, start_BCFHW=draw(0), eta=0.97)


@pytest.mark.parametrize("name", PATHS)
def test_a_wrong_predictor_does_not(name: str) -> None:
    clean, noise = draw(0), draw(1)
    wrong: Any = Perfect(PATHS[name], clean, noise, off=0.2)
    made = sample(wrong, condition(), noise, steps=7, shift=1.0, start_BCFHW=clean, eta=0.6)
    assert (made - clean).abs().mean() > 0.05


@pytest.mark.parametrize("name", PATHS)
def test_a_given_first_frame_is_at_time_zero_and_stays(name: str) -> None:
    clean, noise = draw(0), draw(1)
    first = draw(2)[:, :, :1]
    perfect: Any = Perfect(PATHS[name], clean, noise, off=0.1)
    made = sample(perfect, condition(first), noise, steps=5, shift=1.0, start_BCFHW=clean, eta=0.8)
    assert torch.equal(made[:, :, :1], first)
    assert len(perfect.times) > 2
    assert all(not t[:, 0].any() and (t[:, 1:] > 0).all() for t in perfect.times)


def test_guidance_goes_past_the_conditional_prediction() -> None:
    """A predictor off by `off` (1 + word): guided by g from word 0 to word 1 it is off by `off` (1 + g)."""
    clean, noise = draw(0), draw(1)

    def made(guidance: float, word: int) -> Tensor:
        guided: Any = Perfect(Flow(), clean, noise, off=0.1)
        return sample(
            guided,
            condition(word=word),
            noise,
            steps=4,
            shift=1.0,
            guidance=guidance,
            unconditional=None if guidance == 1.0 else condition(word=0),
        )

    torch.testing.assert_close(made(2.0, 1), made(1.0, 2))
    torch.testing.assert_close(made(0.0, 1), made(1.0, 0))


@pytest.mark.parametrize(("steps", "eta"), [(0, 1.0), (4, 0.0), (4, 1.1)])
def test_impossible_grids_are_refused(steps: int, eta: float) -> None:
    perfect: Any = Perfect(Flow(), draw(0), draw(1))
    with pytest.raises(ValueError, match=r"at least one step.* and a start level in \(0, 1\]"):
        sample(perfect, condition(), draw(1), steps=steps, shift=1.0, start_BCFHW=draw(0), eta=eta)


def test_a_start_below_noise_needs_latents() -> None:
    perfect: Any = Perfect(Flow(), draw(0), draw(1))
    with pytest.raises(AssertionError, match="needs latents to start from"):
        sample(perfect, condition(), draw(1), steps=4, shift=1.0, eta=0.5)
