"""RealDPO: a real clip beats N of the model's own takes of the same caption and first frame (arXiv 2510.14955).

Loss, per take k: -log sigmoid(-(beta / 2) (D_real - D_take_k)), with D the policy's mean squared prediction error minus
the reference's; the mean over takes. All views share the time and the noise. The real clip runs once per step.

Where this differs from the authors' code, and why:
- Takes and real clips go through one and the same encoding. The released loader feeds takes to the codec without
  normalising pixels; `rushes.training.comparison_checks` refuses such latents.
- The mean over takes, not the sum, so that the learning rate does not depend on N; one backward pass and one step.
- A moving reference is kept in float32. In bfloat16 the released blend of 0.1 % changes no weight.
- beta is read from the settings. The released loss holds a literal 5000 whatever the flag says.

Settings of the published run: CogVideoX-5B-I2V, all weights, lr 1e-6, beta 5000, 3 takes, t uniform in the low-noise
half (`train.t_high = 0.5`), reference ema 0.999 every 100 steps, 49 frames at 480 x 720.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field

from rushes.config.base import SettingsTable
from rushes.config.ranges import Few, LossWeight
from rushes.edits.words import CODEC
from rushes.objectives.terms import Term, one_against_each
from rushes.store.database import Store
from rushes.training.comparison import Comparison, LatentGrid
from rushes.training.views import candidate_view, of_clip, real_view, takes, training_clips

PAPER = "RealDPO (arXiv 2510.14955)"
NEEDS: tuple[str, ...] = ("takes",)
TINY: Mapping[str, Any] = {
    "learning_rate": 3e-5,
    "steps": 96,
    "batch": 8,
    "objective": {"sft_weight": 20.0},  # without it winners fit worse; a larger one loses motion (LOG.md)
    "options": {"beta": 2000.0},
}
_CODE = f"{PAPER}, the authors' code"
PUBLISHED: Mapping[str, tuple[Any, str]] = {
    "generate.takes": (3, _CODE),
    "train.weight_decay": (1e-4, _CODE),
    "train.reference": ("ema", _CODE),
    "train.reference_ema": (0.999, _CODE),
    "train.reference_sync_steps": (100, _CODE),
    "train.times": ("uniform", _CODE),
    "train.t_high": (0.5, _CODE),
    "train.objective.sft_weight": (0.0, f"{_CODE}: no anchor"),
    "train.options.beta": (5000.0, _CODE),
}


class Options(SettingsTable):
    """Settings of RealDPO."""

    beta: LossWeight = Field(
        5000.0, gt=0, description="DPO beta; the logit is -beta / 2 times the difference of mean squared errors"
    )
    losers: Few = Field(0, ge=0, description="takes that each real clip is compared with; 0 = all")
    winner: Literal["real", "codec"] = Field(
        "real", description="the real clip as it is, or after encoding and decoding by the model's codec, as for takes"
    )


def terms(takes: int, frames: int | Sequence[int], options: Options | None = None) -> tuple[Term, ...]:
    """The real clip, view 0, against each of its takes, views 1 .. N; they share the weight.

    Args:
        takes: N; `options.losers` is not looked at.
        frames: latent frames, or a label for each, 0 for those that are not scored (a given first frame).
        options: `beta`.
    """
    return one_against_each(takes, frames, (options or Options()).beta)


def comparisons(store: Store, options: Options, grid: LatentGrid) -> list[Comparison]:
    """A comparison per real clip that has takes by what training starts from: views real, take 1 .. N."""
    takes_of, rows = of_clip(takes(store, grid)), []
    for clip in training_clips(store):
        losers = takes_of.get(clip.id, ())[: options.losers or None]
        if not losers:
            continue
        own = grid.of(clip)
        real = replace(real_view(clip, own), edit=CODEC if options.winner == "codec" else "")
        views = (real, *(candidate_view(take, clip, own) for take in losers))
        rows.append(Comparison(clip.id, clip.id, views, terms(len(losers), own.labels((1,)), options)))
    return rows


def account(store: Store, options: Options, grid: LatentGrid) -> dict[str, int]:
    """How many clips have no take to stand against."""
    takes_of = of_clip(takes(store, grid))
    lacking = sum(clip.id not in takes_of for clip in training_clips(store))
    return {"clips_without_takes": lacking} if lacking else {}
