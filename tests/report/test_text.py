from __future__ import annotations

import math
from dataclasses import replace

import pytest

from rushes.report import text
from rushes.report.model import MetricRow, Report

from .conftest import metric

MINUS = text.MINUS


def of(*metrics: MetricRow) -> Report:
    return Report("t", "r", metrics[0].name, metrics)


def lost_dots(low: float, high: float, n: int = 256) -> MetricRow:
    return MetricRow("lost_dots", "lower", 0.323, 0.22, -0.103, low, high, n)


def test_verdict_better() -> None:
    sentence = text.verdict(of(lost_dots(-0.123, -0.083)))
    assert sentence == (
        f"Better: lost dots fell from 0.323 to 0.220 (difference {MINUS}0.103, "
        f"95 % interval {MINUS}0.123 to {MINUS}0.083, 256 pairs)."
    )


def test_verdict_worse_says_so_whatever_the_direction() -> None:
    assert text.verdict(of(metric("lost_dots", 0.1, 0.3))).startswith("Worse: lost dots (px) rose from 1.00 to 1.20 ")
    assert text.verdict(of(metric("motion", -0.3, -0.1, "higher"))).startswith("Worse: motion (px) fell from 1.00")


def test_verdict_undecided_claims_nothing() -> None:
    sentence = text.verdict(of(lost_dots(-0.21, 0.004)))
    assert sentence.startswith("No change shown: lost dots went from") and "the interval includes zero" in sentence
    assert "Better" not in sentence and "fell" not in sentence


def test_one_pair_cannot_show_a_change() -> None:
    sentence = text.verdict(of(lost_dots(-math.inf, math.inf, 1)))
    assert sentence.startswith("No change shown") and "1 pair cannot show a change" in sentence


def test_all_metrics_together_in_one_sentence() -> None:
    worse, better = replace(metric("jerk", 1, 2), p_adjusted=0.01), replace(metric("cuts", -2, -1), p_adjusted=0.02)
    open_, level = metric("c", -1, 1), metric("sharpness", 1, 2, "neutral")
    report = Report("t", "r", "", (worse, better, open_, level), systems=("old", "new"), pairs=9)
    assert text.verdict(report) == (
        "new against old: worse on jerk (1.00 to 2.50) and better on cuts (1.00 to \u22120.50), undecided on 1 more "
        "(9 pairs; corrected for all 3 metrics, a false claim has a chance of at most 5 %)."
    )
    assert text.verdict(replace(report, metrics=(open_, level))).startswith(
        "No change shown: no metric distinguishes new from old (9 pairs; corrected for 1 metric,"
    )


def test_harm_that_the_correction_does_not_uphold_is_said_apart() -> None:
    suspect = replace(metric("jerk", 1, 2), p_adjusted=0.3)
    success = replace(metric("cuts", -2, -1), p_adjusted=0.3)
    assert (suspect.outcome, success.outcome) == ("suspect", "undecided")
    report = Report("t", "r", "", (suspect, success), systems=("old", "new"), pairs=9)
    assert text.verdict(report).startswith("No change shown")
    assert text.regressions(report).startswith("Jerk may have got worse: the interval says so")
    assert text.verdict(replace(report, headline="jerk")).startswith("Perhaps worse: jerk (px) rose")
    assert "a test over the prompts does not confirm" in text.verdict(replace(report, headline="cuts"))
    assert "But jerk may have got worse" in text.regressions(replace(report, headline="cuts"))
    assert text.ordered((success, suspect)) == (suspect, success)


def test_regressions_are_named() -> None:
    good, bad, open_ = metric("a", -2, -1), metric("bad_art", 1, 2), metric("c", -1, 1)
    assert text.regressions(of(good, bad, open_)) == "Of 2 other metrics, 1 got worse: bad art."
    assert text.regressions(of(bad, good)) == "Nothing else got worse beyond its interval (1 other metric)."
    assert text.regressions(of(good)) == "No other metric was measured."
    assert [m.name for m in text.ordered((good, open_, bad))] == ["bad_art", "c", "a"]


@pytest.mark.parametrize(
    ("value", "digits", "signed", "shown"),
    [
        (-0.5, 2, False, f"{MINUS}0.50"),
        (0.5, 1, True, "+0.5"),
        (-0.001, 1, True, "0.0"),
        (math.inf, 2, True, "unknown"),
    ],
)
def test_numbers(value: float, digits: int, signed: bool, shown: str) -> None:
    assert text.number(value, digits, signed) == shown


def test_digits_follow_the_width_of_the_interval() -> None:
    assert text.metric_digits(metric("x", -0.0004, 0.0004)) == 5
    assert text.metric_digits(metric("x", -40, 40)) == 0
    assert text.metric_digits(metric("x", 0.5, 0.5, base=0.031)) == 3


@pytest.mark.parametrize(
    ("base", "trained", "words", "points"),
    [
        (0.224, 0.180, "About one in five lost dots is gone: 18 %, before 22 %.", "\u22126.6 to \u22122.2"),
        (0.212, 0.178, "About one in six lost dots is gone: 18 %, before 21 %.", "\u22125.1 to \u22121.7"),
        (0.2, 0.1, "About half of the lost dots are gone: 10 %, before 20 %.", "\u221215.0 to \u22125.0"),
        (0.2, 0.0, "About nine in ten lost dots are gone: 0 %, before 20 %.", "\u221230.0 to \u221210.0"),
        (0.2, 0.3, "Lost dots rose by 50 %: 30 %, before 20 %.", "+5.0 to +15.0"),
        (0.2, 0.198, "Lost dots fell by 1 %: 20 %, before 20 %.", "\u22120.3 to \u22120.1"),
    ],
)
def test_the_verdict_in_short(base: float, trained: float, words: str, points: str) -> None:
    moved = trained - base
    low, high = sorted((moved / 2, 3 * moved / 2))
    row = MetricRow("lost_dots", "lower", base, trained, moved, low, high, 96)
    assert text.in_short(of(row)) == f"{words} Likely range of the change: {points} points."


def test_what_is_not_claimed_is_not_said_in_short() -> None:
    assert text.in_short(of(lost_dots(-0.21, 0.004))) == ""
    assert text.in_short(of(metric("motion", 0.1, 0.3, "higher"))) == "Motion rose by 20 %."
