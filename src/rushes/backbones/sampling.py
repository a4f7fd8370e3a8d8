"""From noise, or from a partly noised clip, to clean latents."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rushes.backbones.base import Backbone, BackboneSpec, Condition, Solver
from rushes.backbones.first_frame_consistency import matched_end, matched_step
from rushes.noise.draws import seeded
from rushes.noise.paths import NoisePath, sampling_times


class PathSolver:
    """From the clean latents and the noise that a prediction implies to the next level: Euler for a flow, DDIM for a
    variance-preserving path.
    """

    def __init__(self, path: NoisePath, times: Tensor) -> None:
        """`times` [n + 1] fall from the level to start from to the last one."""
        self.path, self.levels, self.after = path, times[:-1], times[1:]

    def step(self, prediction_BCFHW: Tensor, noised_BCFHW: Tensor, index: int, given: bool) -> Tensor:
        """See `rushes.backbones.base.Solver`."""
        now, after = (_levels(at[index], noised_BCFHW, given) for at in (self.levels, self.after))
        clean = self.path.clean_from(noised_BCFHW, prediction_BCFHW, now)
        noise = self.path.noise_from(noised_BCFHW, prediction_BCFHW, now)
        return self.path.mix(clean, noise, after)


def _levels(level: Tensor, latents_BCFHW: Tensor, given: bool) -> Tensor:
    """[B, F], 0 for a given latent frame 0."""
    b, _, f, _, _ = latents_BCFHW.shape
    t_BF = level.to(latents_BCFHW.device).expand(b, f).clone()
    if given:
        t_BF[:, 0] = 0.0
    return t_BF


@torch.no_grad()
def sample(
    backbone: Backbone,
    condition: Condition,
    noise_BCFHW: Tensor,
    *,
    steps: int,
    shift: float | None = None,
    guidance: float = 1.0,
    guidance_2: float = 0.0,
    unconditional: Condition | None = None,
    start_BCFHW: Tensor | None = None,
    eta: float = 1.0,
    match: float = 0.0,
    image_cond_noise_scale: float | None = None,
    seeds: Sequence[int] = (),
    stepped: Callable[[float], None] = lambda share: None,
) -> Tensor:
    """Follow the path from a share of noise `eta` to a clean clip on the model's schedule.

    A given first frame is at time 0 throughout and stays as it is.

    Args:
        backbone: the model; `condition` is of B clips.
        noise_BCFHW: their noise.
        steps: of the whole grid; from eta < 1 only those below its time are taken.
        shift: of the grid towards noise; None = the model's own.
        guidance: guidance scale. Where it takes two passes, 1 = none, else `unconditional` is needed.
        guidance_2: that of the second of two experts; 0 = as `guidance`.
        unconditional: condition that guidance leads away from.
        start_BCFHW: clean latents to start from at eta < 1 (DenseDPO's guided pairs).
        eta: share of noise, noise / (noise + signal), to start from, in (0, 1]; below 1 only with `start_BCFHW`.
        match: share of the steps, the last ones, in which frame 1 takes the statistics of frame 0; later frames take
            those of frame 1 in all steps, and all frames those of frame 0 at the end. 0 = none of this.
        image_cond_noise_scale: of noise on a given first frame, by `seeds` of the clips; None = the model's own.
        stepped: called after each step with the share of them that are done.

    Raises:
        ValueError: `eta` outside (0, 1] or the schedule, no steps, or what the model does not have (`refused`).
    """
    spec = backbone.spec
    assert start_BCFHW is not None or eta == 1.0, "sampling that starts below pure noise needs latents to start from"
    if problems := refused(spec, guidance_2, image_cond_noise_scale, match):
        raise ValueError("\n".join(problems))
    begin = eta if eta == 1.0 else spec.path.time_of_share(eta)  # the time that the network is told
    solver, given = _solver(spec, steps, shift, begin, noise_BCFHW), condition.first_frame
    if spec.guidance == "embedded":
        condition, guidance = condition.with_more(guidance=torch.full((len(noise_BCFHW),), guidance)), 1.0
    first_at = _first_frames(given, spec, image_cond_noise_scale, seeds)
    x = _begun(noise_BCFHW, condition, spec.start_share)
    if start_BCFHW is not None:
        x = spec.path.mix(start_BCFHW, noise_BCFHW, _levels(torch.tensor(begin), x, given is not None))
    for index, level in enumerate(solver.levels):
        x = _with_first(x, first_at(float(level)))
        scale = guidance if _is_high(level, spec) else guidance_2 or guidance
        prediction = _guided(backbone, x, _levels(level, x, given is not None), condition, unconditional, scale)
        x = solver.step(prediction, x, index, given is not None)
        if match:
            x = matched_step(_with_first(x, given), index >= round((1 - match) * len(solver.levels)))
        stepped((index + 1) / len(solver.levels))
    return matched_end(_with_first(x, given)) if match else _with_first(x, given)


def refused(
    spec: BackboneSpec, guidance_2: float = 0.0, image_cond_noise_scale: float | None = None, match: float = 0.0
) -> list[str]:
    """What a model cannot do of what `sample` is asked for, a sentence each, by the settings' names."""
    refusals = []
    if match and spec.temporal_ratio > 1:
        refusals.append(
            f"generate.adain_share: it needs one pixel frame per latent frame, but {spec.name} has "
            f"{spec.temporal_ratio} in all but the first; set it to 0"
        )
    if guidance_2 and spec.boundary is None:
        refusals.append(
            f"generate.guidance_scale_2: this {spec.name} has one network and no second expert; set it to 0"
        )
    if image_cond_noise_scale and spec.image_cond_noise_scale is None:
        refusals.append(
            f"generate.image_cond_noise_scale: this {spec.name} is not sampled with noise on its first frame; "
            "set it to -1, which is the model's own"
        )
    return refusals


def _is_high(level: Tensor, spec: BackboneSpec) -> bool:
    """Whether the first expert answers; in the level's own precision, in which 0.9 may lie below 0.9 of another."""
    return spec.boundary is None or bool(level >= spec.boundary)


def _guided(
    backbone: Backbone, x_BCFHW: Tensor, t_BF: Tensor, condition: Condition, away: Condition | None, scale: float
) -> Tensor:
    """A prediction, led away from that under another condition where the scale is not 1."""
    prediction = backbone.predict(x_BCFHW, t_BF, condition)
    if scale == 1.0:
        return prediction
    assert away is not None, "guidance needs an unconditional condition"
    other = backbone.predict(x_BCFHW, t_BF, away)
    return other + scale * (prediction - other)


def _first_frames(
    given: Tensor | None, spec: BackboneSpec, scale: float | None, seeds: Sequence[int]
) -> Callable[[float], Tensor | None]:
    """The given first frame as the network sees it at a noise level: with scale * level^2 of fresh noise.

    That is how LTX's pipeline for conditions keeps clips from standing still; the network is told time 0 all the same.
    """
    scale = spec.image_cond_noise_scale if scale is None else scale
    if given is None or not scale:
        return lambda level: given
    assert len(seeds) == len(given), "noise on first frames needs one seed per clip"
    clean, amount = given, scale
    generators = [seeded("first frame", seed) for seed in seeds]

    def at(level: float) -> Tensor:
        noise = torch.stack([torch.randn(clean.shape[1:], generator=generator) for generator in generators])
        return clean + amount * level**2 * noise.to(clean)

    return at


def _solver(spec: BackboneSpec, steps: int, shift: float | None, begin: float, latents_BCFHW: Tensor) -> Solver:
    f, h, w = latents_BCFHW.shape[2:]
    times = sampling_times(steps, shift or spec.shift, begin)  # also where it is not followed: it checks its arguments
    solver = spec.solver(steps, shift, begin, (f, h, w)) if spec.solver else PathSolver(spec.path, times)
    if not torch.isfinite(solver.levels).all():  # a stretch of levels to an end needs two of them
        raise ValueError(f"generate.steps {steps}: too few for the schedule of this {spec.name}; set it to 2 or more")
    return solver


def _with_first(latents_BCFHW: Tensor, given: Tensor | None) -> Tensor:
    return latents_BCFHW if given is None else torch.cat([given.to(latents_BCFHW), latents_BCFHW[:, :, 1:]], 2)


def _begun(noise_BCFHW: Tensor, condition: Condition, share: float) -> Tensor:
    """Noise with a share of the first frame's latent in all frames, for models that are sampled so."""
    if not share:
        return noise_BCFHW
    first = condition.more["first"] if condition.first_frame is None else condition.first_frame
    return (1 - share) * noise_BCFHW + share * first.to(noise_BCFHW)
