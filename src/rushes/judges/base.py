"""What the labelling of pairs asks of a judge, and the scoring of single clips of a rater."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from rushes.arrays import Frames, middles
from rushes.metrics.base import Shot


@dataclass(frozen=True)
class Judgement:
    """Labels per segment (+1 left is better, 0 tie, -1 right), and the gap between the sides in the judge's unit.

    `unjudged` and `by_slot` are those of `rushes.records.Preference`; a judge that sees no order leaves them empty.
    """

    labels: tuple[int, ...]
    strength: float | None
    unjudged: tuple[int, ...] = ()
    by_slot: tuple[int, ...] = ()


class Viewer(Protocol):
    """Looks at clips."""

    @property
    def name(self) -> str:
        """What its preferences or scores are signed with."""

    @property
    def size_px(self) -> tuple[int, int] | None:
        """(height, width) that clips are read at; None = as they are."""


class Judge(Viewer, Protocol):
    """Compares two clips of one caption."""

    def compare(self, left: Shot, right: Shot, segment_s: float | None) -> Judgement:
        """Judge whole clips (`segment_s` None, one label) or segments. Swapping the sides must flip the labels."""


class Rater(Viewer, Protocol):
    """Scores single clips."""

    def rate(self, shot: Shot) -> float:
        """A score from 0 to 10, higher is better; NaN where it cannot tell."""


def sampled(frames_FHWC: Frames, fps: float, frames_per_s: float) -> list[Frames]:
    """Frames [H,W,3] at `frames_per_s` a second, evenly spaced, at least one: what every model sees of a clip."""
    return evenly(frames_FHWC, max(1, round(len(frames_FHWC) / fps * frames_per_s)))


def evenly(frames_FHWC: Frames, count: int) -> list[Frames]:
    """Frames [H,W,3] at the middles of `count` equal parts of a clip; all where there are fewer."""
    return [frames_FHWC[k] for k in middles(len(frames_FHWC), min(len(frames_FHWC), count))]


def out_of_ten(value: float, worst: float, best: float) -> float:
    """A value in [worst, best], higher is better, as a score from 0 to 10 that keeps the order; NaN stays NaN.

    Linear between two finite ends. With one finite end 10 / (1 + the distance to the best), or 10 less that of the
    distance to the worst; with none 10 / (1 + exp(-value)).
    """
    if math.isnan(value):
        return value
    if math.isfinite(worst) and math.isfinite(best):
        score = 10 * (value - worst) / (best - worst)
    elif math.isfinite(best):
        score = 10 / (1 + best - value)
    elif math.isfinite(worst):
        score = 10 - 10 / (1 + value - worst)
    else:
        score = 5 + 5 * math.tanh(value / 2)
    return min(10.0, max(0.0, score))


Scorer = Callable[[Shot, float | None], tuple[float, ...]]


@dataclass(frozen=True)
class PointwiseJudge:
    """Scores each clip alone and prefers the higher score, with a tie while the gap is within `margin`.

    Swapping the sides flips the labels by construction, so there is no order to swap for.
    """

    name: str
    score: Scorer  # higher is better, one per segment; not finite = cannot tell, a tie
    margin: float
    size_px: tuple[int, int] | None = None
    worst: float = -math.inf  # ends of what `score` can give
    best: float = math.inf
    left_out: tuple[str, ...] = ()  # what of its source could not be used, a sentence each
    scored: frozenset[str] = frozenset()  # content hashes that its source has scores of; empty = it scores any clip

    def compare(self, left: Shot, right: Shot, segment_s: float | None) -> Judgement:
        """See `Judge.compare`. Raises ValueError for clips of unequal numbers of segments."""
        left_scores, right_scores = self.score(left, segment_s), self.score(right, segment_s)
        if len(left_scores) != len(right_scores):
            raise ValueError(
                f"clips of {len(left_scores)} and {len(right_scores)} segments cannot be compared; make both as long"
            )
        gaps = [a - b for a, b in zip(left_scores, right_scores, strict=True)]
        # where a side cannot be scored neither can the gap, which is then not finite
        labels = tuple(((gap > self.margin) - (gap < -self.margin)) * math.isfinite(gap) for gap in gaps)
        finite = [gap for gap in gaps if math.isfinite(gap)]
        unjudged = tuple(at for at, gap in enumerate(gaps) if not math.isfinite(gap))
        return Judgement(labels, sum(finite) / len(finite) if finite else 0.0, unjudged)

    def rate(self, shot: Shot) -> float:
        """The clip's own score, brought to 0 to 10 by `out_of_ten`."""
        (value,) = self.score(shot, None)
        return out_of_ten(value, self.worst, self.best)
