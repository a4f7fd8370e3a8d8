from __future__ import annotations

import numpy as np
import pytest
from scipy.special import polygamma
from scipy.stats import t

from rushes.stats.moderated import FEWEST, NOTHING, Prior, fit_prior, inverse_trigamma


@pytest.mark.parametrize("x", [0.01, 0.3, 1.0, 7.5, 400.0])
def test_inverse_trigamma(x: float) -> None:
    assert inverse_trigamma(float(polygamma(1, x))) == pytest.approx(x, rel=1e-8)


def test_a_prior_is_as_many_more_observations() -> None:
    assert Prior(4.0, 6.0).moderated(1.0, 2.0) == pytest.approx(((6 * 4 + 2 * 1) / 8, 8.0))
    assert NOTHING.moderated(1.0, 2.0) == (1.0, 2.0)
    assert Prior(4.0, np.inf).moderated(1.0, 2.0) == (4.0, np.inf)


@pytest.mark.parametrize(("df", "worth", "scale"), [(2.0, 6.0, 0.01), (4.0, 20.0, 3.0)])
def test_the_prior_that_drew_the_variances_is_found(df: float, worth: float, scale: float) -> None:
    rng = np.random.default_rng(0)
    true = worth * scale / rng.chisquare(worth, 20_000)
    prior = fit_prior((true * rng.chisquare(df, len(true)) / df).tolist(), df)
    assert prior.df == pytest.approx(worth, rel=0.15)
    assert prior.variance == pytest.approx(scale, rel=0.05)


def test_equal_variances_are_pooled_and_no_more() -> None:
    """Their prior is worth as much as all of them, and not more."""
    rng = np.random.default_rng(1)
    found = [fit_prior((2.0 * rng.chisquare(2.0, 30) / 2.0).tolist(), 2.0) for _ in range(50)]
    assert max(prior.df for prior in found) == 60.0
    assert np.median([prior.variance for prior in found]) == pytest.approx(2.0, rel=0.15)


def test_scale_goes_through() -> None:
    rng = np.random.default_rng(2)
    variances = rng.chisquare(2.0, 40) * rng.uniform(0.2, 3.0, 40)
    one, other = fit_prior(variances.tolist(), 2.0), fit_prior((9 * variances).tolist(), 2.0)
    assert other.variance == pytest.approx(9 * one.variance) and other.df == pytest.approx(one.df)


def test_sides_that_are_equal_but_for_rounding_do_not_count() -> None:
    variances = np.random.default_rng(4).chisquare(2.0, 30).tolist()
    assert fit_prior([*variances, 0.0, 1e-12, 3e-9], 2.0) == fit_prior(variances, 2.0)


def test_too_few_lend_nothing() -> None:
    assert fit_prior([1.0] * (FEWEST - 1) + [0.0] * 9, 2.0) == NOTHING
    assert fit_prior([1.0, 2.0, 1.5, 3.0, 0.0], 2.0).df > 0


def test_p_values_are_right_where_there_is_no_difference() -> None:
    """Three seeds, forty comparisons of unlike spread: 5 % of the p-values are below 0.05, and power is gained."""
    rng = np.random.default_rng(3)
    low, plain, moderated = list[float](), list[float](), list[float]()
    for _ in range(200):
        spread = np.sqrt(8.0 / rng.chisquare(8.0, 40))
        d = rng.normal(0.0, spread, (3, 40))
        effect = rng.normal(4.0, spread, (3, 40))
        prior = fit_prior(d.var(0, ddof=1).tolist(), 2.0)
        for x, kept in ((d, low), (effect, moderated)):
            pairs = [prior.moderated(float(v), 2.0) for v in x.var(0, ddof=1)]
            kept += [2 * t.sf(abs(m) / np.sqrt(v / 3), df) for m, (v, df) in zip(x.mean(0), pairs, strict=True)]
        plain += (2 * t.sf(abs(effect.mean(0)) / np.sqrt(effect.var(0, ddof=1) / 3), 2)).tolist()
    assert 0.04 < np.mean(np.array(low) < 0.05) < 0.06
    assert np.mean(np.array(moderated) < 0.001) > 0.6 > 0.05 > np.mean(np.array(plain) < 0.001)
