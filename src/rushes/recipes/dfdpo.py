"""Discriminator-free DPO: a real clip beats edited copies of itself (arXiv 2504.08542).

Loss, per copy k: -log sigmoid(-(beta / 2) (D_real - D_copy_k)), with D the policy's mean squared prediction error minus
the reference's; the mean over copies. All views share caption, time and noise. No take is made and nobody judges.

Edits are made on pixels after resampling, between file and codec. Which ones a clip gets is drawn from its id, so it
gets the same whenever the recipe is run. A copy that does not differ from its clip (a still clip played backwards) is
dropped and counted by the train stage.

Where the paper leaves open what is done here: the abstract names temporal reversal, frame shuffling and noise; frozen
clips and faults within a box of space and time are ours. With a given first frame, copies start from the real clip's,
as they answer the same request; the reversed one starts from its own first frame, which is the clip's last.

Settings of the published run: CogVideoX; beta, learning rate and steps are not known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from rushes.config.base import SettingsTable
from rushes.config.ranges import Few, GreyLevels, LossWeight, Seed
from rushes.edits.words import begins_anew, words
from rushes.objectives.terms import Term, one_against_each
from rushes.recipes import realdpo
from rushes.records import Clip, seed_of
from rushes.store.database import Store
from rushes.training.comparison import OWN, Comparison, LatentGrid, View
from rushes.training.views import real_view, training_clips

PAPER = "Discriminator-free DPO (arXiv 2504.08542)"
NEEDS: tuple[str, ...] = ()
TINY: Mapping[str, Any] = realdpo.TINY
PUBLISHED: Mapping[str, tuple[Any, str]] = {
    "train.objective.sft_weight": (0.0, f"{PAPER}: no SFT term is mentioned"),
    "train.options.beta": (2000.0, f"Diffusion-DPO (arXiv 2311.12908), as {PAPER} gives none"),
}

DistortionName = Literal["reverse", "shuffle", "noise", "freeze", "blur-box", "shuffle-box", "freeze-box"]


class Options(SettingsTable):
    """Settings of discriminator-free DPO."""

    beta: LossWeight = Field(
        2000.0, gt=0, description="DPO beta; the logit is -beta / 2 times the difference of mean squared errors"
    )
    edits: Annotated[tuple[DistortionName, ...], Field(min_length=1)] = Field(
        ("reverse", "shuffle", "noise", "freeze", "blur-box", "shuffle-box", "freeze-box"),
        strict=False,
        description="edits that may be applied to a clip to make the loser",
    )
    losers: Few = Field(
        1, ge=1, description="edited copies that each clip is compared with, each with a different edit"
    )
    noise: GreyLevels = Field(
        20.0, gt=0, description="standard deviation of the noise in grey levels, 0 to 255 (edit noise)"
    )
    seed: Seed = Field(0, ge=0, description="seed that assigns edits to clips")


def terms(copies: int, frames: int | Sequence[int], options: Options | None = None) -> tuple[Term, ...]:
    """The real clip, view 0, against each of its edited copies, views 1 .. N; they share the weight.

    Args:
        copies: N; `options.losers` is not looked at.
        frames: latent frames, or a label for each, 0 for those that are not scored (a given first frame).
        options: `beta`.
    """
    # -0.0, as the hashes by which stored runs go on were taken of it.
    return one_against_each(copies, frames, (options or Options()).beta, unused=-0.0)


def comparisons(store: Store, options: Options, grid: LatentGrid) -> list[Comparison]:
    """A comparison per real clip: views real, copy 1 .. N."""
    rows = []
    for clip in training_clips(store):
        own = grid.of(clip)
        real = real_view(clip, own)
        copies = [_copy(real, edit) for edit in _drawn(clip, options)]
        rows.append(Comparison(clip.id, clip.id, (real, *copies), terms(len(copies), own.labels((1,)), options)))
    return rows


def _drawn(clip: Clip, options: Options) -> list[str]:
    """The edits of one clip, no two of a name."""
    number = seed_of("edits", options.seed, clip.id)
    names = np.random.default_rng(number).permutation(list(dict.fromkeys(options.edits)))[: options.losers]
    arguments: dict[str, tuple[object, ...]] = {"reverse": (), "noise": (options.noise, number)}
    return [words(name, *arguments.get(name, (number,))) for name in names.tolist()]


def _copy(real: View, edit: str) -> View:
    own = real.first_frame and begins_anew(edit)
    return replace(real, edit=edit, first_frame=OWN if own else real.first_frame, source="edited")
