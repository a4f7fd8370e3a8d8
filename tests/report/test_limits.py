"""What so many prompts cannot show."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from rushes.report.limits import limits, reaches, wins_needed
from rushes.stats import detectable_difference, prompts_needed

from .conftest import metric


@pytest.mark.parametrize(("prompts", "wins"), [(1, 0), (5, 0), (6, 6), (9, 8), (20, 15)])
def test_wins_needed_are_those_of_the_sign_test(prompts: int, wins: int) -> None:
    assert wins_needed(prompts) == wins


def test_nine_prompts_are_told_what_they_cannot_show() -> None:
    said = limits([metric("a", -1, 1)], 9, judged=False)
    assert "at least 1.07 standard deviations" in said[0] and "does not mean that nothing changed" in said[0]
    assert "at least 8 of 9 prompts" in said[1]
    assert any("few prompts" in words for words in said) and any("another training seed" in words for words in said)
    assert "add a judge" in said[-1]
    assert not any("add a judge" in words or "few prompts" in words for words in limits([], 200, judged=True))
    assert "Even 4 wins of 4" in limits([], 4, judged=True)[1]
    assert limits([], 1, judged=True)[0].startswith("One prompt")


def test_reach_of_each_metric() -> None:
    known = replace(metric("a", -0.5, 0.1), prompts=9, spread=0.4)
    neutral = replace(known, name="level", better="neutral")
    (reach,) = reaches([known, neutral, metric("no_spread", -1, 1)])
    assert reach.name == "a" and reach.smallest == pytest.approx(detectable_difference(0.4, 9))
    assert reach.needed == prompts_needed(known.difference, 0.4)
    (none,) = reaches([replace(known, difference=0.0)])
    assert none.needed is None
    (far,) = reaches([replace(known, difference=1e-4)])
    assert far.needed is None and math.isfinite(far.smallest)
