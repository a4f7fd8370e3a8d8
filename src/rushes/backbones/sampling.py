"""From noise, or from a partly noised clip, to clean latents."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from rushes.backbones.base import Backbone, Condition
from rushes.noise.paths import sampling_times


@torch.no_grad()
def sample(
    backbone: Backbone,
    condition: Condition,
    noise_BCFHW: Tensor,
    *,
    steps: int,
    shift: float,
    guidance: float = 1.0,
    unconditional: Condition | None = None,
    start_BCFHW: Tensor | None = None,
    eta: float = 1.0,
) -> Tensor:
    """Follow the path from noise level `eta` to 0 on a shifted grid.

    Each step goes from the clean latents and the noise that a prediction implies to the next level: Euler for a flow,
    DDIM for a variance-preserving path. A given first frame is at time 0 throughout and stays as it is.

    Args:
        backbone: the model.
        condition: of B clips.
        noise_BCFHW: their noise.
        steps: of the whole grid; from eta < 1 only those below eta are taken.
        shift: of the grid towards noise.
        guidance: classifier-free guidance scale; 1 = none, else `unconditional` is needed.
        start_BCFHW: clean latents to start from at eta < 1 (DenseDPO's guided pairs).
        eta: noise level to start from, in (0, 1]; below 1 only with `start_BCFHW`.

    Raises:
        ValueError: `eta` outside (0, 1], or no steps.
    """
    assert start_BCFHW is not None or eta == 1.0, "a start below pure noise needs the latents to start from"
    path = backbone.spec.path
    times = sampling_times(steps, shift, eta).to(noise_BCFHW.device)
    b, _, f, _, _ = noise_BCFHW.shape
    given = condition.first_frame

    def level(t: Tensor) -> Tensor:
        t_BF = t.expand(b, f).clone()
        if given is not None:
            t_BF[:, 0] = 0.0
        return t_BF

    x = noise_BCFHW if start_BCFHW is None else path.mix(start_BCFHW, noise_BCFHW, level(times[0]))
    if given is not None:
        x = torch.cat([given, x[:, :, 1:]], 2)  # at time 0 no step changes it
    for now, after in pairwise(times):
        t = level(now)
        prediction = backbone.predict(x, t, condition)
        if guidance != 1.0:
            assert unconditional is not None, "guidance needs an unconditional condition"
            other = backbone.predict(x, t, unconditional)
            prediction = other + guidance * (prediction - other)
        clean, noise = path.clean_from(x, prediction, t), path.noise_from(x, prediction, t)
        x = path.mix(clean, noise, level(after))
    return x
