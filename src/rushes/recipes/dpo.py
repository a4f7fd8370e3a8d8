"""Diffusion-DPO (arXiv 2311.12908) on labelled pairs of clips: those that you have, or two takes of one prompt.

Loss, per pair of a winner w and a loser l: -log sigmoid(-(beta / 2) (D_w - D_l)), with D the policy's mean squared
error over the scored latent frames minus the reference's. Both clips share time and noise. Labels per segment count as
their majority; a tie makes no pair. Comparisons and loss are those of DenseDPO's baseline `vanilla`.

Neither takes nor real clips are needed. Where the model is given a first frame, a clip of an imported pair starts from
its own.

Settings of the published run: 2048 images a step on noise-predicting models, lr 2.048e-8 * 2000 / beta, a quarter of
the steps warm-up, t uniform, beta 2000 (Stable Diffusion 1.5) and 5000 (SDXL). Written are those of the same loss on
videos and a flow model, DenseDPO's baseline: beta 500, t logit-normal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rushes.objectives.terms import Term
from rushes.recipes import densedpo
from rushes.store.database import Store
from rushes.training.comparison import Comparison, LatentGrid

PAPER = "Diffusion-DPO (arXiv 2311.12908)"
NEEDS: tuple[str, ...] = ("labels",)
MAJORITY: Mapping[str, Any] = {}  # always
TINY: Mapping[str, Any] = densedpo.TINY
_BASELINE = f"{densedpo.PAPER}, its baseline of this loss on videos"
PUBLISHED: Mapping[str, tuple[Any, str]] = {
    "train.reference": ("frozen", PAPER),
    "train.times": ("logit_normal", _BASELINE),
    "train.objective.sft_weight": (0.0, f"{PAPER}: no anchor"),
    "train.options.beta": (500.0, _BASELINE),
}


class Options(densedpo.PairOptions):
    """Settings of Diffusion-DPO."""


times = densedpo.times  # as its baseline has them


def terms(label: int, grid: LatentGrid, options: Options | None = None) -> tuple[Term, ...]:
    """A labelled pair, views left and right; none where it is a tie.

    Args:
        label: +1 the left one is better, -1 the right one, 0 a tie.
        grid: how the clip's latent frames lie in time.
        options: `beta`.
    """
    return densedpo.terms([label], None, grid, _vanilla(options or Options()))


def comparisons(store: Store, options: Options, grid: LatentGrid) -> list[Comparison]:
    """A comparison per labelled pair, views left and right. Raises ValueError as `densedpo.comparisons` does."""
    return densedpo.comparisons(store, _vanilla(options), grid)


def account(store: Store, options: Options, grid: LatentGrid) -> dict[str, int]:
    """How many labelled pairs are compared, and why the others are not."""
    return densedpo.account(store, _vanilla(options), grid)


def _vanilla(options: Options) -> densedpo.Options:
    return densedpo.Options(mode="vanilla", **options.model_dump())
