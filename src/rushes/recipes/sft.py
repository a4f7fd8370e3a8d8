"""Supervised fine-tuning on real clips: the baseline that every preference method must beat.

Loss: mean squared prediction error of the real clip, no reference. RealDPO and DenseDPO both report this baseline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rushes.config.base import SettingsTable
from rushes.noise.draws import TimeDraw
from rushes.objectives.terms import Term, frame_labels
from rushes.store.database import Store
from rushes.training.comparison import Comparison, LatentGrid
from rushes.training.views import real_view, training_clips

PAPER = "the baseline of RealDPO (arXiv 2510.14955) and DenseDPO (arXiv 2506.03517)"
NEEDS: tuple[str, ...] = ()
TINY: Mapping[str, Any] = {"learning_rate": 3e-4, "steps": 200, "batch": 16, "shift": 1.0}
PUBLISHED: Mapping[str, tuple[Any, str]] = {
    "train.times": ("logit_normal", "DenseDPO (arXiv 2506.03517), its supervised baseline")
}


class Options(SettingsTable):
    """None: supervised fine-tuning has no settings of its own."""


def times(options: Options) -> TimeDraw:
    """The distribution of training times, where the settings name no other."""
    return TimeDraw("logit_normal")


def terms(frames: int | Sequence[int], options: Options | None = None) -> tuple[Term, ...]:
    """The error of the only view, a real clip.

    Args:
        frames: latent frames, or a label for each, 0 for those that are not scored (a given first frame).
        options: none that matter.
    """
    return (Term("supervised", (1.0,), frame_labels(frames), loss_type="error"),)


def comparisons(store: Store, options: Options, grid: LatentGrid) -> list[Comparison]:
    """One view and one term per real clip."""
    of = {clip: grid.of(clip) for clip in training_clips(store)}
    return [Comparison(clip.id, clip.id, (real_view(clip, own),), terms(own.labels((1,)))) for clip, own in of.items()]
