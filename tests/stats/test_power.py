"""What a number of prompts can show, against statsmodels, exact sums and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom, ttest_1samp

from rushes.stats import (
    chance_to_see,
    detectable_difference,
    detectable_win_rate,
    outcome_spread,
    prompts_needed,
    spread_of_means,
)


@pytest.mark.parametrize(
    ("difference", "sd", "prompts"), [(0.1, 0.3, 50), (1.0, 1.0, 9), (0.3, 1.0, 200), (2.0, 1.0, 4)]
)
def test_chance_agrees_with_statsmodels(difference: float, sd: float, prompts: int) -> None:
    power = pytest.importorskip("statsmodels.stats.power").TTestPower()
    expected = power.power(difference / sd, prompts, 0.05)
    assert chance_to_see(difference, sd, prompts) == pytest.approx(expected, abs=2e-4)
    assert chance_to_see(-difference, sd, prompts) == chance_to_see(difference, sd, prompts)


def test_prompts_needed_agrees_with_statsmodels() -> None:
    power = pytest.importorskip("statsmodels.stats.power").TTestPower()
    exact = power.solve_power(0.05 / outcome_spread(0.55), power=0.8, alpha=0.05)
    assert prompts_needed(0.05, outcome_spread(0.55)) == math.ceil(exact) == 779


def test_chance_is_what_simulated_studies_find() -> None:
    rng = np.random.default_rng(0)
    studies = rng.normal(0.4, 1.0, (4000, 30))
    found = (ttest_1samp(studies, 0, axis=1).pvalue <= 0.05).mean()
    assert chance_to_see(0.4, 1.0, 30) == pytest.approx(found, abs=0.025)


def test_detectable_difference_and_prompts_needed_are_each_others_inverse() -> None:
    for prompts in (2, 5, 9, 40, 1000):
        smallest = detectable_difference(2.0, prompts)
        assert chance_to_see(smallest, 2.0, prompts) == pytest.approx(0.8, abs=1e-6)
        assert prompts_needed(smallest * 1.0001, 2.0) == prompts
    assert detectable_difference(1.0, 9) == pytest.approx(1.067, abs=1e-3)


def test_win_rates_need_the_exact_sign_test() -> None:
    assert detectable_win_rate(5) is None  # 5 of 5 is 1 in 16
    six = detectable_win_rate(6)
    assert six is not None and six**6 == pytest.approx(0.8)
    nine = detectable_win_rate(9)
    assert nine is not None and binom.sf(7, 9, nine) == pytest.approx(0.8)
    tied = detectable_win_rate(18, ties=0.5)
    assert tied == pytest.approx(0.25 + nine / 2)


def test_spread_of_outcomes_is_that_of_the_outcomes() -> None:
    outcomes = np.r_[np.ones(45), np.full(30, 0.5), np.zeros(25)]
    assert outcome_spread(0.6, 0.3) == pytest.approx(outcomes.std())
    assert outcome_spread(0.5) == 0.5
    with pytest.raises(ValueError, match="lower the ties"):
        outcome_spread(0.9, 0.4)


def test_seeds_help_as_far_as_they_differ() -> None:
    assert spread_of_means(1.0, 4, 0.0) == 0.5
    assert spread_of_means(1.0, 4, 1.0) == 1.0
    rng = np.random.default_rng(0)
    values = math.sqrt(0.3) * rng.normal(size=(20_000, 1)) + math.sqrt(0.7) * rng.normal(size=(20_000, 4))
    assert spread_of_means(1.0, 4, 0.3) == pytest.approx(values.mean(1).std(), rel=0.02)
    with pytest.raises(ValueError, match="one seed or more"):
        spread_of_means(1.0, 0, 0.3)


def test_what_cannot_be_asked_is_refused() -> None:
    with pytest.raises(ValueError, match="2 or more"):
        chance_to_see(1, 1, 1)
    with pytest.raises(ValueError, match="positive number"):
        detectable_difference(0, 9)
    with pytest.raises(ValueError, match="difference of 0"):
        prompts_needed(0, 1)
    with pytest.raises(ValueError, match="power must lie"):
        prompts_needed(1, 1, power=0.01)
    with pytest.raises(ValueError, match="give a larger difference"):
        prompts_needed(1e-6, 1)
