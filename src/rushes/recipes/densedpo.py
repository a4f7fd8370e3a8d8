"""DenseDPO: two denoisings of one partly noised real clip, labelled per second (arXiv 2506.03517), and its baselines.

Loss, per latent frame f with a label: -log sigmoid(-(beta / 2) label_f (D0_f - D1_f)), the mean over all labelled
frames of the batch; D_f is the policy's mean squared error in that frame minus the reference's. Noise and time are
shared.

Modes:
- `dense`: guided pairs, one label per segment (the paper's method).
- `structural`: the same guided pairs, the majority of their segment labels for the whole clip.
- `vanilla`: pairs from independent noise, the majority label.

Where the paper disagrees with itself, and what is done here:
- each clip has noise of its own in its equations, and one noise for both in its listing: one for both.
- the one-half is in its listing and not in its equations: kept, so beta 500 means the listing's 500.
- the sigmoid acts per frame in the listing and on the sum in equation 7: per frame by default,
  `reduction = "sum_inside"` gives the other.
- guided sampling steps with a minus sign; the algorithm box prints a plus, against its own definition of velocity.

Settings of the published run: LoRA of rank 128, lr 1e-5, beta 500, batch 256, 1000 steps, 250 of warm-up, t
logit-normal, eta from U(0.65, 0.8), segments of one second. No code was released.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from rushes.config.base import SettingsTable
from rushes.noise.draws import TimeDraw
from rushes.objectives.terms import Reduction, Term
from rushes.records import Candidate, CandidateKind, Preference
from rushes.store.annotators import labels_to_train_on
from rushes.store.database import Store
from rushes.training.comparison import Comparison, LatentGrid
from rushes.training.views import candidate_view, labelled_takes

PAPER = "DenseDPO (arXiv 2506.03517)"
NEEDS: tuple[str, ...] = ("guided", "labels")
TINY: Mapping[str, Any] = {"learning_rate": 3e-5, "steps": 50, "batch": 8, "shift": 1.0, "options": {"beta": 2000.0}}
PUBLISHED: Mapping[str, tuple[Any, str]] = {
    "generate.kind": ("guided", PAPER),
    "generate.takes": (2, PAPER),
    "generate.eta": ([0.65, 0.8], PAPER),
    "label.segment_s": (1.0, PAPER),
    "train.reference": ("frozen", PAPER),
    "train.times": ("logit_normal", PAPER),
    "train.objective.sft_weight": (0.0, f"{PAPER}: no anchor"),
    "train.options.beta": (500.0, f"{PAPER}, its listing"),
}


class Options(SettingsTable):
    """Settings of DenseDPO and its baselines."""

    mode: Literal["dense", "structural", "vanilla"] = Field("dense", description="the method, or one of its baselines")
    beta: float = Field(500.0, gt=0, description="strength per mean squared error, with the one-half")
    reduction: Literal["per_frame", "sum_inside"] = Field("per_frame", description="sigmoid per frame, or on the sum")
    least_labelled: float = Field(
        0.2, ge=0, lt=1, description="a pair is used if more than this share of its segments is not a tie (mode dense)"
    )
    judge: str = Field(
        "", description="use the labels of this judge only; human = people, several merged into one; empty = all"
    )
    mixed_eta: bool = Field(
        False,
        description="take pairs whose members started from different noise levels, from which it learns the level",
    )
    dimension: str = Field("overall", min_length=1, description="labels of this question only")


def times(options: Options) -> TimeDraw:
    """The distribution of training times, where the settings name no other."""
    return TimeDraw("logit_normal")


def majority(labels: tuple[int, ...]) -> int:
    """The label of a whole clip from its segments: the side with more segments, a tie when equal."""
    total = sum(labels)
    return (total > 0) - (total < 0)


def comparisons(store: Store, options: Options, grid: LatentGrid) -> list[Comparison]:
    """A comparison per labelled pair: views left and right.

    Raises:
        ValueError: a pair whose members answer different requests, or labels that do not fit the clips.
    """
    candidates, clips = _candidates(store, options, grid), {clip.id: clip for clip in store.clips("train")}
    found = []
    for preference in labels_to_train_on(store, options.judge, options.dimension):
        term = _term_or_reason(preference, candidates, options, grid)
        if isinstance(term, str):
            continue
        left, right = candidates[preference.left], candidates[preference.right]
        clip = clips.get(left.clip_id)
        views = (candidate_view(left, clip, grid), candidate_view(right, clip, grid))
        found.append(Comparison(preference.id, left.group, views, (term,)))
    return found


def account(store: Store, options: Options, grid: LatentGrid) -> dict[str, int]:
    """How many labelled pairs are compared, and why the others are not."""
    candidates, counts = _candidates(store, options, grid), Counter[str]()
    for preference in labels_to_train_on(store, options.judge, options.dimension):
        term = _term_or_reason(preference, candidates, options, grid)
        counts[term if isinstance(term, str) else "pairs"] += 1
    return dict(counts)


def _candidates(store: Store, options: Options, grid: LatentGrid) -> dict[str, Candidate]:
    kind: CandidateKind = "take" if options.mode == "vanilla" else "guided"
    return {c.id: c for c in labelled_takes(store, grid, kind)}


def _term_or_reason(
    preference: Preference, candidates: Mapping[str, Candidate], options: Options, grid: LatentGrid
) -> Term | str:
    """What a labelled pair says, or why it says nothing."""
    left, right = candidates.get(preference.left), candidates.get(preference.right)
    if left is None or right is None:
        return "of_other_takes"
    _check_pair(left, right, options.mixed_eta)
    labels, decided = preference.labels, sum(label != 0 for label in preference.labels)
    if options.mode != "dense":
        labels = (majority(labels),)
    elif decided and decided <= options.least_labelled * len(labels):
        return "too_few_decided"
    term = _term(labels, preference.segment_s, options, grid)
    return term if any(term.labels) else "ties"


def _term(labels: tuple[int, ...], segment_s: float | None, options: Options, grid: LatentGrid) -> Term:
    dense = options.mode == "dense"
    reduction: Reduction = "clip"
    if dense:
        reduction = "segment" if options.reduction == "per_frame" else "sum_inside"
    per_frame = grid.labels(labels, segment_s if dense else None)
    return Term("segment" if dense else "clip", (1.0, -1.0), per_frame, options.beta, reduction=reduction)


def _check_pair(left: Candidate, right: Candidate, mixed_eta: bool) -> None:
    """Refuse pairs that are not aligned: of different clips, or started from different noise levels.

    From different levels the model learns the level (app. C).
    """
    if left.group != right.group:
        raise ValueError(
            f"candidates {left.id} and {right.id} are a pair but answer different requests ({left.group} and "
            f"{right.group}); compare only candidates of one clip or prompt"
        )
    if left.eta != right.eta and not mixed_eta:
        raise ValueError(
            f"candidates {left.id} and {right.id} are a pair but started from noise levels {left.eta} and {right.eta}; "
            "make both with the same eta, as `rushes generate` does, or set train.options.mixed_eta"
        )
