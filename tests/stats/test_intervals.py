"""Closed forms, published values and simulated cover."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import t

from rushes.stats import Interval, holm, mean_interval, paired_difference, ratio_interval, wilson, win_rate

NAN = math.nan


def test_paired_difference_is_trained_minus_base_and_reproducible() -> None:
    rng = np.random.default_rng(1)
    base, trained = rng.normal(size=50), rng.normal(-1, 1, size=50)
    first = paired_difference(base, trained, seed=3)
    assert first.value == pytest.approx((trained - base).mean())
    assert first.low < first.value < first.high < 0 and first.n == 50
    assert first.excludes_zero
    assert paired_difference(base, trained, seed=3) == first
    assert paired_difference(base, trained, seed=4) != first


def test_one_pair_says_nothing_about_spread() -> None:
    only = paired_difference([1.0], [0.5])
    assert only == Interval(-0.5, -math.inf, math.inf, 1)
    assert not only.excludes_zero
    assert not paired_difference([1.0, 2.0], [0.0, 1.0], clusters=["p", "p"]).excludes_zero


@pytest.mark.parametrize("n", [2, 5, 40])
def test_constant_differences_have_no_width(n: int) -> None:
    assert paired_difference(np.zeros(n), np.full(n, 0.1)) == Interval(0.1, 0.1, 0.1, n)
    assert not paired_difference(np.ones(n), np.ones(n)).excludes_zero


@pytest.mark.parametrize(
    ("base", "trained", "words"),
    [([1.0, NAN], [1.0, 2.0], "NaN or infinite"), ([], [], "empty"), ([1.0], [1.0, 2.0], "one value of each per pair")],
)
def test_what_cannot_be_compared_is_refused(base: list[float], trained: list[float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        paired_difference(base, trained)


def test_cluster_names_must_match() -> None:
    with pytest.raises(ValueError, match="one per value"):
        mean_interval([1.0, 2.0, 3.0], clusters=["a", "b"])


def test_few_values_give_student_t() -> None:
    values = np.array([1.0, 2.0, 4.0, 9.0])
    half = t.ppf(0.975, 3) * values.std(ddof=1) / 2
    found = mean_interval(values)
    assert (found.low, found.high) == pytest.approx((4 - half, 4 + half))


def test_repeating_a_prompt_adds_no_certainty() -> None:
    values = np.random.default_rng(0).normal(size=30)
    single = mean_interval(values)
    repeated = mean_interval(np.repeat(values, 8), clusters=np.repeat(np.arange(30), 8).tolist())
    naive = mean_interval(np.repeat(values, 8))
    assert (repeated.low, repeated.high) == pytest.approx((single.low, single.high))
    assert naive.high - naive.low < 0.5 * (repeated.high - repeated.low)


@pytest.mark.parametrize("clusters", [6, 12, 30])
def test_cover_of_clustered_intervals(clusters: int) -> None:
    rng = np.random.default_rng(clusters)
    names = np.repeat(np.arange(clusters), 3).tolist()
    trials, hits = 500, 0
    for trial in range(trials):
        values = np.repeat(rng.normal(size=clusters), 3) + rng.normal(size=3 * clusters)
        found = mean_interval(values, clusters=names, resamples=600, seed=trial)
        hits += found.low <= 0 <= found.high
    assert 0.92 <= hits / trials <= 0.98


def test_win_rate_counts_margins_ties_and_direction() -> None:
    base, trained = [1.0, 1.0, 1.0, 1.0], [0.0, 0.95, 1.0, 2.0]
    lower = win_rate(base, trained, "lower", margin=0.1)
    assert (lower.wins, lower.ties, lower.losses) == (1, 2, 1)
    assert lower.rate.value == 0.5
    higher = win_rate(base, trained, "higher", margin=0.1)
    assert (higher.wins, higher.losses) == (1, 1)
    assert win_rate(base, trained, "lower").wins == 2


def test_win_rate_of_all_wins_keeps_its_doubt() -> None:
    all_won = win_rate(np.ones(20), np.zeros(20), "lower").rate
    assert all_won.high == 1.0 and 0.7 < all_won.low < wilson(20, 20).low + 1e-9
    one_prompt = win_rate(np.ones(20), np.zeros(20), "lower", clusters=[0] * 20).rate
    assert (one_prompt.low, one_prompt.high) == (0.0, 1.0)


def test_win_rate_without_ties_or_clusters_is_nearly_wilson() -> None:
    trained = np.r_[np.zeros(600), np.full(400, 2.0)]
    found, expected = win_rate(np.ones(1000), trained, "lower").rate, wilson(600, 1000)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=2e-4)


def test_clusters_widen_the_win_rate() -> None:
    trained = np.repeat(np.random.default_rng(0).choice([0.0, 2.0], 20), 10)
    free = win_rate(np.ones(200), trained, "lower").rate
    clustered = win_rate(np.ones(200), trained, "lower", clusters=np.repeat(np.arange(20), 10).tolist()).rate
    assert clustered.high - clustered.low > 2.5 * (free.high - free.low)


def test_wilson_published_value_and_edges() -> None:
    found = wilson(60, 100)
    assert (found.value, found.n) == (0.6, 100)
    assert (found.low, found.high) == pytest.approx((0.5020, 0.6906), abs=5e-5)
    assert wilson(0, 5).low == 0.0 and wilson(5, 5).high == 1.0
    with pytest.raises(ValueError, match="n >= 1"):
        wilson(0, 0)


def test_holm_worked_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == pytest.approx([1.0, 1.0])
    with pytest.raises(ValueError, match="0, 1"):
        holm([1.2])


def test_a_ratio_and_how_far_it_can_be_off() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        bottom = rng.gamma(4.0, 0.25, 25)
        top = 0.3 * bottom + rng.normal(0, 0.1, 25)
        found = ratio_interval(top, bottom, resamples=400)
        assert found.value == pytest.approx(top.mean() / bottom.mean())
        covered += found.low <= 0.3 <= found.high
    assert 0.9 <= covered / 200 <= 0.985


def test_a_share_of_itself_is_one_for_sure() -> None:
    values = [0.2, 0.5, 0.1, 0.9]
    found = ratio_interval(values, values)
    assert (found.value, found.low, found.high, found.n) == pytest.approx((1.0, 1.0, 1.0, 4))


def test_a_share_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a positive mean, got -0"):
        ratio_interval([1.0, 2.0], [0.5, -0.6])
