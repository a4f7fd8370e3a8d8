"""Tables of several systems: definitions, corrections, and what is claimed when nothing changed."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from rushes.stats import (
    Interval,
    Measure,
    compare_systems,
    holm,
    mean_interval,
    mean_p_value,
    outcome,
    paired_difference,
)
from rushes.stats.system_comparison import Better


def keyed(values: list[float], seeds: int = 1) -> dict[tuple[str, int], float]:
    return {(f"p{at // seeds}", at % seeds): value for at, value in enumerate(values) if not math.isnan(value)}


A, B = [3.0, 5.0, 4.0, 6.0], [2.0, 5.5, 3.0, 4.0]


def test_differences_are_second_minus_first_over_what_both_have() -> None:
    measure = Measure("error", "lower", {"A": keyed([*A, math.nan]), "B": keyed([*B, 9.0])}, "px")
    table = compare_systems(["A", "B"], [measure], seed=3)
    found = table.pairs["A", "B"]["error"]
    assert found.interval == paired_difference(A, B, clusters=[0, 1, 2, 3], seed=3)
    assert (found.wins.wins, found.wins.ties, found.wins.losses) == (3, 0, 1)
    assert found.effect == pytest.approx(found.interval.value / np.std(A, ddof=1))
    assert (found.prompts, found.spread) == pytest.approx((4, np.std(np.subtract(B, A), ddof=1)))
    assert (found.first, found.second) == (4.5, 3.625)
    assert table.means["error"]["B"].n == 5  # means count every clip that was measured
    assert table.means["error"]["A"] == mean_interval(A, clusters=[0, 1, 2, 3], seed=3)


def test_seeds_of_a_prompt_are_one_cluster() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=24), rng.normal(size=24)
    found = compare_systems(["A", "B"], [Measure("x", "higher", {"A": keyed([*a], 4), "B": keyed([*b], 4)})])
    difference = found.pairs["A", "B"]["x"]
    assert difference.prompts == 6
    assert difference.interval == paired_difference(a, b, clusters=[k // 4 for k in range(24)])


def test_margins_are_ties_and_neutral_metrics_have_ties_only() -> None:
    sides = {"A": keyed(A), "B": keyed(B)}
    measures = [Measure("error", "lower", sides), Measure("level", "neutral", sides)]
    row = compare_systems(["A", "B"], measures, margins={"error": 0.7}).pairs["A", "B"]
    assert (row["error"].wins.wins, row["error"].wins.ties, row["error"].wins.losses) == (3, 1, 0)
    assert (row["level"].wins.wins, row["level"].wins.ties, row["level"].wins.losses) == (0, 4, 0)


def test_holm_is_over_the_metrics_with_a_direction() -> None:
    rng = np.random.default_rng(1)
    base = rng.normal(size=20)
    turned: list[tuple[Better, float]] = [("lower", -0.2), ("higher", 0.15), ("neutral", 5.0)]
    measures = [
        Measure(f"m{k}", better, {"A": keyed([*base]), "B": keyed([*(base + shift + rng.normal(0, 0.3, 20))])})
        for k, (better, shift) in enumerate(turned)
    ]
    row = compare_systems(["A", "B"], measures).pairs["A", "B"]
    assert [row["m0"].p_adjusted, row["m1"].p_adjusted] == pytest.approx(list(holm([row["m0"].p, row["m1"].p])))
    assert row["m0"].p == mean_p_value(
        [measures[0].values["B"][k] - measures[0].values["A"][k] for k in sorted(measures[0].values["A"])],
        clusters=sorted(prompt for prompt, _ in measures[0].values["A"]),
    )


def test_what_is_not_measured_is_left_out() -> None:
    table = compare_systems(["A", "B"], [Measure("x", "lower", {"A": keyed(A), "B": {}})])
    assert table.pairs["A", "B"] == {} and math.isnan(table.means["x"]["B"].value)


@pytest.mark.parametrize(
    ("systems", "words"), [(["A"], "two systems"), (["A", "A"], "two systems"), (["A", "B|C"], r"'\|'")]
)
def test_systems_need_names(systems: list[str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        compare_systems(systems, [])


@pytest.mark.parametrize(
    ("better", "low", "high", "p", "said"),
    [
        ("lower", -0.2, -0.1, 0.01, "better"),
        ("lower", -0.2, -0.1, 0.2, "undecided"),  # success needs the correction
        ("lower", 0.1, 0.2, 0.2, "suspect"),  # harm is said without it
        ("lower", 0.1, 0.2, 0.01, "worse"),
        ("higher", 0.1, 0.2, None, "better"),
        ("neutral", 0.1, 0.2, 0.0, "undecided"),
        ("lower", -0.1, 0.2, 0.01, "undecided"),
    ],
)
def test_claims(better: str, low: float, high: float, p: float | None, said: str) -> None:
    assert outcome(better, Interval((low + high) / 2, low, high, 9), p) == said  # type: ignore[arg-type]


@pytest.mark.parametrize("clusters", [5, 9, 10, 40])
def test_p_values_are_where_the_interval_touches_zero(clusters: int) -> None:
    rng = np.random.default_rng(clusters)
    values = rng.normal(0.3, 1.0, 2 * clusters)
    names = np.repeat(np.arange(clusters), 2).tolist()
    p = mean_p_value(values, clusters=names)
    assert 0.001 < p < 1
    at = mean_interval(values, clusters=names, resamples=4000, level=1 - p)
    assert min(abs(at.low), abs(at.high)) < 0.01


def test_p_values_agree_with_statsmodels() -> None:
    stats = pytest.importorskip("statsmodels.stats.weightstats")
    values = np.random.default_rng(2).normal(0.2, 1.0, 60)
    _, expected, _ = stats.DescrStatsW(values).ttest_mean(0)
    assert mean_p_value(values) == pytest.approx(expected, rel=0.15)
    _, few, _ = stats.DescrStatsW(values[:8]).ttest_mean(0)
    assert mean_p_value(values[:8]) == pytest.approx(few)


def test_p_values_without_spread() -> None:
    assert mean_p_value([0.2] * 9) == 2.0**-8  # never zero: nine prompts that agree are still nine
    assert mean_p_value([0.0] * 9) == 1.0
    assert mean_p_value([1.0, 2.0], clusters=["p", "p"]) == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("prompts", [9, 20])
def test_false_claims_of_a_whole_table(prompts: int) -> None:
    """Eight metrics, half of them alike, and no difference: a claim in at most one table in twenty."""
    rng, trials, claims, leaning = np.random.default_rng(prompts), 200, 0, 0
    for trial in range(trials):
        sides = rng.normal(size=(2, 8, prompts))
        sides[:, 4:] = 0.8 * sides[:, :4] + 0.6 * sides[:, 4:]
        measures = [
            Measure(f"m{k}", "lower", {name: keyed([*sides[at, k]]) for at, name in enumerate("AB")}) for k in range(8)
        ]
        row = compare_systems("AB", measures, seed=trial).pairs["A", "B"]
        said = {outcome("lower", d.interval, d.p_adjusted) for d in row.values()}
        claims += bool(said & {"better", "worse"})
        leaning += "suspect" in said
    assert claims / trials <= 0.08  # 0.05 and two standard errors of 200 trials
    assert leaning / trials > 0.08  # without the correction harm is seen where there is none


@pytest.mark.slow
@pytest.mark.parametrize(
    ("clusters", "kind"), [(9, "normal"), (12, "normal"), (12, "heavy"), (40, "normal"), (40, "heavy"), (40, "skewed")]
)
def test_cover_of_intervals_is_93_to_97(clusters: int, kind: str) -> None:
    draws: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
        "normal": lambda rng, n: rng.normal(size=n),
        "skewed": lambda rng, n: rng.gamma(4.0, size=n) - 4.0,
        "heavy": lambda rng, n: rng.standard_t(4, size=n),
    }
    draw = draws[kind]
    rng, trials, hits = np.random.default_rng(clusters), 1500, 0
    names = np.repeat(np.arange(clusters), 2).tolist()
    for trial in range(trials):
        values = np.repeat(draw(rng, clusters), 2) + 0.5 * rng.normal(size=2 * clusters)
        found = mean_interval(values, clusters=names, resamples=600, seed=trial)
        hits += found.low <= 0 <= found.high
    assert 0.93 <= hits / trials <= 0.97


def test_an_interval_of_a_mean_stops_at_the_metrics_own_ends() -> None:
    values = {"a": {(str(i), 0): float(i < 7) for i in range(9)}, "b": {(str(i), 0): 1.0 for i in range(9)}}
    free, ended = (
        compare_systems(["a", "b"], [measure]).means["moves"]["a"]
        for measure in (Measure("moves", "higher", values), Measure("moves", "higher", values, low=0.0, high=1.0))
    )
    assert free.high > 1.0 == ended.high and ended.low == free.low


def test_a_primary_metric_is_judged_alone_and_the_others_among_themselves() -> None:
    rng = np.random.default_rng(5)
    keys = [(f"p{k}", 0) for k in range(40)]
    names = ("first", "second", "third")
    measured = [
        Measure(
            name, "lower", {"a": dict.fromkeys(keys, 0.0), "b": dict(zip(keys, rng.normal(-0.3, 1, 40), strict=True))}
        )
        for name in names
    ]
    alone = compare_systems(("a", "b"), measured, primary="second").pairs["a", "b"]
    usual = compare_systems(("a", "b"), measured).pairs["a", "b"]
    assert [row.p for row in alone.values()] == [row.p for row in usual.values()]
    assert alone["second"].p_adjusted == alone["second"].p
    low, high = sorted(alone[name].p for name in ("first", "third"))
    assert sorted(alone[name].p_adjusted for name in ("first", "third")) == pytest.approx(
        [min(1.0, 2 * low), max(min(1.0, 2 * low), high)]
    )
