"""DenseDPO: two denoisings of one partly noised real clip, labelled per second (arXiv 2506.03517), and its baselines.

Loss, per latent frame f with a label: -log sigmoid(-(beta / 2) label_f (D0_f - D1_f)), the mean over all labelled
frames of the batch; D_f is the policy's mean squared error in that frame minus the reference's. Noise and time are
shared.

Modes:
- `dense`: guided pairs, one label per segment (the paper's method).
- `structural`: the same guided pairs, the majority of their segment labels for the whole clip.
- `vanilla`: pairs from independent noise, the majority label.

Where people drew spans of any length, each frame of a clip takes what they say of it in seconds, and a latent frame the
label of most of its frames (mode `dense`): ours, as the paper's labels are of segments alone.

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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from pydantic import Field

from rushes.config.base import SettingsTable
from rushes.config.ranges import LossWeight, Segment, Share
from rushes.noise.draws import TimeDraw
from rushes.objectives.terms import Reduction, Term, check_labels
from rushes.records import HUMAN, Annotation, Candidate, CandidateKind, Clip, Preference, majority
from rushes.store.annotators import (
    ALL_JUDGES,
    ANNOTATOR,
    check_one_source,
    labels_of,
    labels_to_train_on,
    newest,
    slight_shares,
)
from rushes.store.database import Store
from rushes.training.comparison import Comparison, LatentGrid
from rushes.training.views import candidate_view, labelled_takes, misfit, training_clips

PAPER = "DenseDPO (arXiv 2506.03517)"
NEEDS: tuple[str, ...] = ("guided", "labels")
NEEDS_WHERE: Mapping[tuple[str, Any], tuple[str, ...]] = {("mode", "vanilla"): ("takes", "labels")}
MAJORITY: Mapping[str, Sequence[Any]] = {"mode": ("structural", "vanilla")}
TINY: Mapping[str, Any] = {  # an arm of docs/evidence.md
    "learning_rate": 3e-5,
    "steps": 48,
    "batch": 8,
    "times": "uniform",
    "options": {"beta": 50.0},
}
PUBLISHED: Mapping[str, tuple[Any, str]] = {
    "generate.kind": ("guided", PAPER),
    "generate.takes": (2, PAPER),
    "generate.eta": ([0.65, 0.8], PAPER),
    "label.segment_s": (1.0, PAPER),
    "train.reference": ("frozen", PAPER),
    "train.times": ("logit_normal", PAPER),
    "train.objective.sft_weight": (0.0, f"{PAPER}: no SFT term"),
    "train.options.beta": (500.0, f"{PAPER}, its listing"),
}


class PairOptions(SettingsTable):
    """Settings of any loss of labelled pairs: which labels, and how strong."""

    beta: LossWeight = Field(
        500.0, gt=0, description="DPO beta; the logit is -beta / 2 times the difference of mean squared errors"
    )
    judge: str = Field(
        "",
        description="judge whose labels are used; human = people, several merged into one; empty = the only "
        "judge there is; all = every judge's, pooled",
    )
    dimension: str = Field("overall", min_length=1, description="question whose labels are used")
    segment_s: Segment | Literal["newest", "whole"] = Field(
        "newest",
        description="use only labels of segments of this many seconds, or of whole clips (whole); newest = the "
        "last that each judge gave to a pair",
    )

    strength: Share = Field(
        1.0,
        gt=0,
        le=1,
        description="weight of a pair whose better clip everybody called slightly better; other pairs have 1, "
        "split votes lie between",
    )


class Options(PairOptions):
    """Settings of DenseDPO and its baselines."""

    mode: Literal["dense", "structural", "vanilla"] = Field(
        "dense", description="the method (dense), or one of its baselines"
    )
    reduction: Literal["per_frame", "sum_inside"] = Field(
        "per_frame", description="apply the sigmoid per frame, or to the sum over frames"
    )
    least_labelled: Share = Field(
        0.2, ge=0, lt=1, description="use a pair if more than this fraction of its segments is not a tie (mode dense)"
    )
    mixed_eta: bool = Field(
        False,
        description="accept pairs whose members started at different noise levels; the model can then learn the "
        "noise level",
    )


def times(options: Options) -> TimeDraw:
    """The distribution of training times, where the settings name no other."""
    return TimeDraw("logit_normal")


def terms(
    labels: Sequence[int], segment_s: float | None, grid: LatentGrid, options: Options | None = None
) -> tuple[Term, ...]:
    """A labelled pair, views left and right; none where its labels say nothing.

    Args:
        labels: of each segment: +1 the left one is better, -1 the right one, 0 a tie.
        segment_s: seconds of a segment; None for one label of the whole clip.
        grid: how the clip's latent frames lie in time.
        options: `mode`, `beta`, `reduction`, `least_labelled`.

    Raises ValueError: labels that do not fit the clip, or that are none of +1, -1 and 0.
    """
    given = tuple(labels)
    check_labels(given, "a pair's segments")  # before the majority of them is
    term = _term_or_reason(given, grid, options or Options(), lambda: grid.labels(given, segment_s))
    return () if isinstance(term, str) else (term,)


def comparisons(store: Store, options: Options, grid: LatentGrid) -> list[Comparison]:
    """A comparison per labelled pair: views left and right.

    Raises ValueError: a pair whose members answer different requests, labels that do not fit the clips, or labels of
    several judges of which the options choose none.
    """
    slight = slight_shares(store, _wanted(options), options.dimension) if options.strength < 1 else {}
    rows = []
    for label in _labels(store, options, grid):
        if isinstance(label.term, Term):
            row, takes = label.preference, label.takes
            share = slight.get(frozenset((row.left, row.right)), 0.0) if _by_people(row) else 0.0
            weighted = replace(label.term, weight=(1 - share) + share * options.strength)
            views = tuple(candidate_view(take, label.clip, label.grid) for take in takes)
            rows.append(Comparison(row.id, takes[0].group, views, (weighted,)))
    return rows


def account(store: Store, options: Options, grid: LatentGrid) -> dict[str, int]:
    """How many labelled pairs are compared, and why the others are not; by length where labels are of several."""
    counts, lengths = Counter[str](), Counter[str]()
    for label in _labels(store, options, grid):
        counts[label.term if isinstance(label.term, str) else "pairs"] += 1
        if isinstance(label.term, Term):
            length = label.preference.segment_s
            lengths["labels_of_whole_clips" if length is None else f"labels_of_{length:g}_s"] += 1
    rows = labels_of(store, _wanted(options), options.dimension)
    of_these = newest(rows, options.segment_s)
    read = labels_to_train_on(store, _wanted(options), options.dimension, segment_s=options.segment_s).values()
    more = {
        "older_labels_or_of_other_segments": len(rows) - len(of_these),
        "answers_that_a_settled_label_replaces": len(of_these) - sum(map(len, read)),
        "pairs_of_unlike_segments_joined": sum(len({row.segment_s for row in answers}) > 1 for answers in read),
    }
    counts.update({what: count for what, count in more.items() if count})
    return dict(counts | lengths if len(lengths) > 1 else counts)


@dataclass(frozen=True)
class _Label:
    """A label with the takes it compares, their real clip if there is one, and its term or why there is none."""

    preference: Preference
    term: Term | str
    grid: LatentGrid  # of the takes
    takes: tuple[Candidate, ...] = ()  # left and right
    clip: Clip | None = None


def _labels(store: Store, options: Options, grid: LatentGrid) -> Iterator[_Label]:
    """Each label of the judge that the options choose.

    Raises ValueError: labels of several judges, of which the options choose none; takes that are no pair.
    """
    kind: CandidateKind = "take" if options.mode == "vanilla" else "guided"
    candidates = {take.id: take for take in labelled_takes(store, grid, kind)}
    clips = {clip.id: clip for clip in training_clips(store)}
    labels = labels_to_train_on(store, _wanted(options), options.dimension, segment_s=options.segment_s)
    if not options.judge:
        check_one_source(row for row in labels if row.left in candidates and row.right in candidates)
    drawn = {row.subject: row for row in store.annotations() if row.spans} if options.mode == "dense" else {}
    for preference, answers in labels.items():
        left, right = candidates.get(preference.left), candidates.get(preference.right)
        if left is None or right is None:
            yield _Label(preference, "of_other_takes", grid)
            continue
        _check_pair(left, right, options.mixed_eta)
        clip = clips.get(left.clip_id)  # an imported pair may be of none
        own = grid.of(clip) if clip else grid.of(left, right)
        term: Term | str = misfit(left, preference, own) or misfit(right, preference, own)
        if not term:
            dense = partial(_dense_labels, preference, answers, drawn, own)
            term = _term_or_reason(preference.labels, own, options, dense)
        yield _Label(preference, term, own, (left, right), clip)


def _wanted(options: Options) -> str:
    """The judge whose labels are read, "" for every one."""
    return "" if options.judge == ALL_JUDGES else options.judge


def _by_people(preference: Preference) -> bool:
    return preference.judge == HUMAN or preference.judge.startswith(ANNOTATOR)


def _dense_labels(
    preference: Preference, answers: Sequence[Preference], drawn: Mapping[str, Annotation], grid: LatentGrid
) -> tuple[int, ...]:
    """A label for each latent frame, by the seconds of spans where somebody drew any."""
    if not any(row.id in drawn for row in answers):
        return grid.labels(preference.labels, preference.segment_s)
    frames = []
    for row in answers:
        spans, from_spans = (drawn[row.id].spans, drawn[row.id].from_spans) if row.id in drawn else ((), ())
        labels = grid.frame_labels(row.labels, row.segment_s, spans, from_spans)
        frames.append(labels if row.left == preference.left else tuple(-label for label in labels))
    return grid.voted(frames)


def _term_or_reason(
    labels: tuple[int, ...], grid: LatentGrid, options: Options, dense_labels: Callable[[], tuple[int, ...]]
) -> Term | str:
    """What a labelled pair says, or why it says nothing; `dense_labels` are those of its latent frames, by segments."""
    if options.mode != "dense":
        term = Term("clip", (1.0, -1.0), grid.labels((majority(labels),)), options.beta)
        return term if any(term.labels) else "ties"
    decided = sum(label != 0 for label in labels)
    if decided and decided <= options.least_labelled * len(labels):
        return "too_few_decided"
    reduction: Reduction = "segment" if options.reduction == "per_frame" else "sum_inside"
    term = Term("segment", (1.0, -1.0), dense_labels(), options.beta, reduction=reduction)
    return term if any(term.labels) else "shorter_than_a_latent_frame" if decided else "ties"


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
