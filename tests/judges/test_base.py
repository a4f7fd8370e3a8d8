from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from rushes.judges.base import Judgement, PointwiseJudge, out_of_ten
from rushes.metrics.base import Shot


def shot(brightness: int, seconds: int = 2) -> Shot:
    return Shot(np.full((8 * seconds, 16, 16, 3), brightness, np.uint8), 8.0)


def brightness(shot: Shot, segment_s: float | None) -> tuple[float, ...]:
    """Mean grey level of the clip, or of each second; NaN for black, infinite for white."""
    parts = [shot.frames_FHWC] if segment_s is None else np.split(shot.frames_FHWC, len(shot.frames_FHWC) // 8)
    means = [float(part.mean()) for part in parts]
    return tuple(math.nan if mean == 0 else math.inf if mean == 255 else mean for mean in means)


JUDGE = PointwiseJudge("brightness", brightness, margin=10.0)


@pytest.mark.parametrize(
    ("left", "right", "label"), [(100, 80, 1), (80, 100, -1), (100, 90, 0), (90, 100, 0), (100, 100, 0), (100, 89, 1)]
)
def test_the_higher_score_wins_beyond_the_margin(left: int, right: int, label: int) -> None:
    assert JUDGE.compare(shot(left), shot(right), None) == Judgement((label,), float(left - right))
    assert JUDGE.compare(shot(left), shot(right), 1.0).labels == (label, label)


@pytest.mark.parametrize(("left", "right"), [(100, 80), (100, 95), (0, 50), (255, 3)])
@pytest.mark.parametrize("segment_s", [None, 1.0])
def test_exchanging_the_sides_flips_the_labels(left: int, right: int, segment_s: float | None) -> None:
    one = JUDGE.compare(shot(left), shot(right), segment_s)
    other = JUDGE.compare(shot(right), shot(left), segment_s)
    assert one.strength is not None
    assert other == Judgement(tuple(-label for label in one.labels), -one.strength, one.unjudged)


@pytest.mark.parametrize(("left", "right"), [(0, 100), (100, 0), (255, 100), (100, 255), (255, 255), (0, 255)])
def test_what_cannot_be_scored_is_a_tie(left: int, right: int) -> None:
    """And has a strength that can be stored: a row with NaN or infinity is refused."""
    assert JUDGE.compare(shot(left), shot(right), 1.0) == Judgement((0, 0), 0.0, unjudged=(0, 1))


def test_a_second_that_cannot_be_scored_leaves_the_others() -> None:
    half = shot(100)
    half.frames_FHWC[:8] = 0
    assert JUDGE.compare(half, shot(50), 1.0) == Judgement((0, 1), 50.0, unjudged=(0,))


def test_clips_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="clips of 2 and 3 segments cannot be compared; make both as long"):
        JUDGE.compare(shot(1, seconds=2), shot(1, seconds=3), 1.0)


INF = math.inf


@pytest.mark.parametrize(
    ("value", "worst", "best", "score"),
    [
        *((v, 0.0, 2.0, s) for v, s in ((0.0, 0.0), (0.5, 2.5), (2.0, 10.0))),
        *((v, -INF, 0.0, s) for v, s in ((0.0, 10.0), (-1.0, 5.0), (-9.0, 1.0), (-INF, 0.0))),
        *((v, 1.0, INF, s) for v, s in ((1.0, 0.0), (2.0, 5.0), (10.0, 9.0), (INF, 10.0))),
        *((v, -INF, INF, s) for v, s in ((0.0, 5.0), (math.log(3), 7.5), (-INF, 0.0), (INF, 10.0), (1e6, 10.0))),
        (2.0000001, 0.0, 2.0, 10.0),
    ],
)
def test_any_value_becomes_a_score_out_of_ten(value: float, worst: float, best: float, score: float) -> None:
    assert out_of_ten(value, worst, best) == pytest.approx(score)


@pytest.mark.parametrize(("worst", "best"), [(-3.0, 4.0), (-INF, 4.0), (-3.0, INF), (-INF, INF)])
def test_scores_keep_the_order(worst: float, best: float) -> None:
    scores = [out_of_ten(value / 10, worst, best) for value in range(-30, 41)]
    assert all(a < b for a, b in pairwise(scores)) and 0 <= scores[0] < scores[-1] <= 10


def test_a_judge_scores_single_clips() -> None:
    judge = PointwiseJudge("brightness", brightness, margin=10.0, worst=0.0, best=200.0)
    assert judge.rate(shot(50)) == 2.5
    assert math.isnan(judge.rate(shot(0)))
