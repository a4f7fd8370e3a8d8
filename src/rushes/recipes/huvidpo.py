"""HuViDPO: clips that people scored from 0 to 10, each against all others of its group (arXiv 2502.01690).

Loss, per pair of a winner w and a loser l: -log sigmoid(-(beta / 2) (D_w - D_l)), with D the policy's mean squared
error minus the reference's over the latent frames that are not given. Both members of a pair share time and noise. The
first latent frame is clean and counts in no error.

Where this differs from the authors' code, and why:
- Equal scores make no pair. There the clip that comes second wins.
- A pair is two clips from one first frame. There any two clips of an action are one, each from its own first frame;
  `pairs = "caption"` does so.
- Scores are numbers. A form may send text, and as text "10" is less than "9".
- The reference needs no gradient and no second copy of the network.
- The gap between two scores may weight their pair (`weight = "gap"`). There it is loaded and not used.

Settings of the published run: Stable Diffusion 1.4 made into a video model (backbone `inflated_sd`), 16 frames at
512 x 320. First its motion layers on 8 to 16 clips of one action, lr 3e-5, 25,000 steps of one clip. Then LoRA of rank
16, alpha 32 and dropout 0.1 on all attentions: AdamW at lr 1e-4 with weight decay 1e-4 and eps 1e-3, clip norm 1, beta
50, 12 rounds over all pairs of the action, one pair a step, t uniform.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import fmean
from typing import Any, Literal

from pydantic import Field

from rushes.config.base import SettingsTable
from rushes.config.ranges import Factor, LossWeight, RowCount
from rushes.objectives.terms import Term, frame_labels
from rushes.records import Clip, stable_hash
from rushes.store.database import Store
from rushes.training.comparison import Comparison, LatentGrid, View
from rushes.training.views import candidate_view, real_view, takes, training_clips

PAPER = "HuViDPO (arXiv 2502.01690)"
NEEDS: tuple[str, ...] = ("takes", "scores", "first_frame")
TINY: Mapping[str, Any] = {
    "learning_rate": 3e-5,
    "steps": 48,
    "batch": 8,
    "options": {"beta": 50.0, "metric": "world"},
}
_CODE = f"{PAPER}, the authors' code"
PUBLISHED: Mapping[str, tuple[Any, str]] = {
    "train.batch": (1, _CODE),
    "train.weight_decay": (1e-4, _CODE),
    "train.reference": ("frozen", _CODE),
    "train.times": ("uniform", _CODE),
    "train.objective.sft_weight": (0.0, f"{_CODE}: no anchor"),
    "train.options.beta": (50.0, _CODE),
}


class Options(SettingsTable):
    """Settings of HuViDPO."""

    beta: LossWeight = Field(
        50.0, gt=0, description="DPO beta; the logit is -beta / 2 times the difference of mean squared errors"
    )
    metric: str = Field("human", min_length=1, description="scores to use: human, world, or metric:NAME")
    margin: Factor = Field(0.0, ge=0, description="largest score difference that counts as a tie")
    pairs: Literal["first_frame", "caption"] = Field(
        "first_frame",
        description="what both members of a pair share; caption, as published, allows different first frames",
    )
    most_pairs: RowCount = Field(
        0, ge=0, description="maximum pairs per group, those with the widest score gap; 0 = all"
    )
    weight: Literal["equal", "gap"] = Field(
        "equal", description="weight of a pair: equal, or proportional to its score gap"
    )
    first_frame: Literal["clean", "noised"] = Field(
        "clean",
        description="clean = the first frame is given and not scored, noised = it is noised and scored like all others",
    )


def terms(frames: int | Sequence[int], options: Options | None = None, *, gap: float = 1.0) -> tuple[Term, ...]:
    """The clip of the higher score, view 0, against the other.

    Args:
        frames: latent frames, or a label for each, 0 for those that are not scored (a given first frame).
        options: `beta`, `weight`.
        gap: of the two scores, over the mean gap of all pairs; it weights the pair where `weight` is "gap".
    """
    options = options or Options()
    weight = gap if options.weight == "gap" else 1.0
    return (Term("clip", (1.0, -1.0), frame_labels(frames), options.beta, weight=weight),)


@dataclass(frozen=True)
class ScoredClip:
    """A clip or take with its score, and what its pairs share."""

    id: str
    group: str
    view: View
    grid: LatentGrid
    score: float


@dataclass(frozen=True)
class ScoredPair:
    """Two scored clips of one group, the better one first."""

    winner: ScoredClip
    loser: ScoredClip

    @property
    def gap(self) -> float:
        """How much better, in points of ten."""
        return self.winner.score - self.loser.score

    @property
    def alike(self) -> bool:
        """Whether both have one shape; clips under one caption may not, and such cannot be seen together."""
        return self.winner.view.shape == self.loser.view.shape


def comparisons(store: Store, options: Options, grid: LatentGrid) -> list[Comparison]:
    """A comparison per pair of unequal scores: views winner, loser.

    Raises ValueError: the model is given no first frame, the scores go by another name, or are not from 0 to 10.
    """
    pairs = _compared(_pairs(store, options, grid), options)
    mean = fmean(pair.gap for pair in pairs) if pairs else 1.0
    return [
        Comparison(
            stable_hash(["scores", pair.winner.id, pair.loser.id]),
            pair.winner.group,
            (pair.winner.view, pair.loser.view),
            terms(pair.winner.grid.labels((1,)), options, gap=pair.gap / mean),
        )
        for pair in pairs
    ]


def account(store: Store, options: Options, grid: LatentGrid) -> dict[str, int]:
    """What became of the scored clips' pairs: how many are compared, tie, or are more than the options ask for."""
    pairs = list(_pairs(store, options, grid))
    alike = [pair for pair in pairs if pair.alike]
    untied = sum(pair.gap > options.margin for pair in alike)
    compared = len(_compared(pairs, options))
    counts = {"pairs": compared, "ties": len(alike) - untied, "over_most_pairs": untied - compared}
    return counts | ({"of_two_shapes": len(pairs) - len(alike)} if len(alike) < len(pairs) else {})


def ratings(store: Store, metric: str) -> dict[str, float]:
    """Score of each subject: of each rater the latest one counts, and raters are averaged.

    Raises ValueError: a score outside 0 to 10.
    """
    latest: dict[str, dict[str, float]] = {}
    for score in store.scores(metric=metric):
        if not 0 <= score.value <= 10:
            raise ValueError(
                f"score {score.id} by {metric!r} is {score.value:g}, not from 0 to 10; set train.options.metric to "
                "scores that are, which `rushes label --form scores` and `rushes import --scores` make"
            )
        latest.setdefault(score.subject, {})[score.measured_by] = score.value
    return {subject: fmean(by_rater.values()) for subject, by_rater in latest.items()}


def _compared(pairs: Iterator[ScoredPair] | Sequence[ScoredPair], options: Options) -> list[ScoredPair]:
    """Pairs of one shape that do not tie; of each group at most as many as asked for, the widest first."""
    untied = [pair for pair in pairs if pair.alike and pair.gap > options.margin]
    if not options.most_pairs:
        return untied
    taken: Counter[str] = Counter()
    widest = []
    for pair in sorted(untied, key=lambda pair: -pair.gap):
        taken[pair.winner.group] += 1
        if taken[pair.winner.group] <= options.most_pairs:
            widest.append(pair)
    return widest


def _pairs(store: Store, options: Options, grid: LatentGrid) -> Iterator[ScoredPair]:
    """All pairs of each group, ties included."""
    groups: dict[str, list[ScoredClip]] = {}
    for scored in _scored(store, options, grid):
        groups.setdefault(scored.group, []).append(scored)
    for members in groups.values():
        for first, second in combinations(members, 2):
            yield ScoredPair(first, second) if first.score >= second.score else ScoredPair(second, first)


def _scored(store: Store, options: Options, grid: LatentGrid) -> Iterator[ScoredClip]:
    """Training clips and takes that have a score."""
    if not grid.first_frame:
        raise ValueError(
            "recipe 'huvidpo' compares clips that start from a given first frame; set backbone.first_frame to true, on "
            "a backbone that takes one"
        )
    scores = ratings(store, options.metric)
    clips = {clip.id: clip for clip in training_clips(store)}
    given = grid if options.first_frame == "clean" else replace(grid, first_frame=False)
    grids = {clip.id: given.of(clip) for clip in clips.values()}
    subjects = [(clip.id, clip, real_view(clip, grids[clip.id])) for clip in clips.values()]
    for take in takes(store, grid):
        clip = clips.get(take.clip_id)
        view = candidate_view(take, clip, grids.get(take.clip_id, given))
        assert clip is not None  # or there would be no view
        if take.caption != clip.caption:
            raise ValueError(
                f"take {take.id} and its clip {clip.id} have different captions ({take.caption!r} and "
                f"{clip.caption!r}), so they cannot be a pair; import them under one caption"
            )
        subjects.append((take.id, clip, view))
    rows = [
        ScoredClip(id, _group(clip, options), view, grids[clip.id], scores[id])
        for id, clip, view in subjects
        if id in scores
    ]
    if subjects and not rows:
        _check_metric(store, options.metric, {id for id, _, _ in subjects})
    yield from rows


def _group(clip: Clip, options: Options) -> str:
    return clip.id if options.pairs == "first_frame" else stable_hash(["caption", clip.caption])


def _check_metric(store: Store, metric: str, subjects: set[str]) -> None:
    """Refuse a name under which nothing is scored while something is under another."""
    others = sorted({score.metric for score in store.scores() if score.subject in subjects} - {metric})
    if others:
        raise ValueError(
            f"train.options.metric: no clip has a score by {metric!r}; there are scores by {', '.join(others)}"
        )
