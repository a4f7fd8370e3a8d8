from __future__ import annotations

import math

import pytest

from rushes.report.model import Report

from .conftest import metric


@pytest.mark.parametrize(
    ("low", "high", "better", "outcome"),
    [
        (-0.2, -0.1, "lower", "better"),
        (0.1, 0.2, "lower", "worse"),
        (0.1, 0.2, "higher", "better"),
        (-0.2, -0.1, "higher", "worse"),
        (-0.1, 0.2, "lower", "undecided"),
        (0.0, 0.0, "higher", "undecided"),
        (0.0, 0.2, "higher", "undecided"),
        (-math.inf, math.inf, "lower", "undecided"),
        (math.nan, math.nan, "lower", "undecided"),
    ],
)
def test_outcome_needs_an_interval_on_one_side_of_zero(low: float, high: float, better: str, outcome: str) -> None:
    assert metric("x", low, high, better).outcome == outcome


def test_unknown_headline_is_refused_with_the_names() -> None:
    with pytest.raises(ValueError, match="'typo'; there are: x"):
        Report("t", "r", "typo", (metric("x", 0, 1),))
