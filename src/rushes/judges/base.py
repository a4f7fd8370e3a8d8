"""What labels pairs of clips asks of a judge."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from rushes.metrics.base import Shot


@dataclass(frozen=True)
class Judgement:
    """Labels per segment (+1 left is better, 0 tie, -1 right), and the gap between the sides in the judge's unit."""

    labels: tuple[int, ...]
    strength: float


class Judge(Protocol):
    """Compares two clips of one caption."""

    @property
    def name(self) -> str:
        """What its preferences are signed with."""
        ...

    @property
    def size_px(self) -> tuple[int, int] | None:
        """(height, width) that clips are read at; None = as they are."""
        ...

    def compare(self, left: Shot, right: Shot, segment_s: float | None) -> Judgement:
        """Judge whole clips (`segment_s` None, one label) or segments. Swapping the sides must flip the labels."""
        ...


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

    def compare(self, left: Shot, right: Shot, segment_s: float | None) -> Judgement:
        """See `Judge.compare`. Raises ValueError for clips of unequal numbers of segments."""
        one, other = self.score(left, segment_s), self.score(right, segment_s)
        if len(one) != len(other):
            raise ValueError(f"clips of {len(one)} and {len(other)} segments cannot be compared; make both as long")
        gaps = [a - b for a, b in zip(one, other, strict=True)]
        # where a side cannot be scored neither can the gap, which is then not finite
        labels = tuple(((gap > self.margin) - (gap < -self.margin)) * math.isfinite(gap) for gap in gaps)
        known = [gap for gap in gaps if math.isfinite(gap)]
        return Judgement(labels, sum(known) / len(known) if known else 0.0)
