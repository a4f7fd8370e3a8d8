"""Variances of many comparisons with few repeats each, drawn towards what they have in common.

Three seeds say little about the spread of one difference, but forty differences of one metric say much about the spread
that such differences have. The model is that of G. K. Smyth, "Linear models and empirical Bayes methods for assessing
differential expression", Stat. Appl. Genet. Mol. Biol. 3 (2004), sections 3 and 6: variances are a scaled inverse
chi-square draw, whose two parameters are fitted to all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma, polygamma

FEWEST = 4  # variances, below which nothing is borrowed
ROUNDING = 1e-4  # of the median variance, below which two sides are equal but for rounding


@dataclass(frozen=True)
class Prior:
    """What the comparisons have in common: a variance, and how many degrees of freedom it is worth (0 = nothing)."""

    variance: float
    df: float

    def moderated(self, variance: float, df: float) -> tuple[float, float]:
        """One comparison's variance, and its degrees of freedom, with the prior's weight added (eq. 1 of section 3)."""
        if self.df == 0:
            return variance, df
        if np.isinf(self.df):
            return self.variance, np.inf
        return (self.df * self.variance + df * variance) / (self.df + df), self.df + df


NOTHING = Prior(0.0, 0.0)


def fit_prior(variances: Sequence[float], df: float) -> Prior:
    """The prior that fits sample variances of `df` degrees of freedom each, by the moments of their logarithms.

    Variances of sides that are equal, or equal but for rounding, say nothing about the others and are left out. The
    prior is never worth more than all the variances together.

    Args:
        variances: at least `FEWEST` above zero, else nothing is borrowed.
        df: above 0.
    """
    assert df > 0, df
    varied = np.asarray(variances, float)[telling(variances)]
    if len(varied) < FEWEST:
        return NOTHING
    e = np.log(varied) - digamma(df / 2) + np.log(df / 2)
    excess = float(e.var(ddof=1) - polygamma(1, df / 2))
    most = df * len(varied)
    if excess <= 0:  # no more spread than chance gives equal variances
        return Prior(float(np.exp(e.mean())), most)
    worth = 2 * inverse_trigamma(excess)
    scale = float(np.exp(e.mean() + digamma(worth / 2) - np.log(worth / 2)))
    return Prior(scale, min(worth, most))


def telling(variances: Sequence[float]) -> NDArray[np.bool_]:
    """Which variances are of sides that differ; others are equal, or equal but for rounding."""
    values = np.asarray(variances, float)
    positive = values[values > 0]
    return values > (ROUNDING * np.median(positive) if len(positive) else 0.0)


def inverse_trigamma(value: float) -> float:
    """The x > 0 whose trigamma is `value` > 0, by Newton's method on 1 / trigamma, which is nearly straight."""
    x = 0.5 + 1 / value
    for _ in range(50):
        trigamma = float(polygamma(1, x))
        step = trigamma * (1 - trigamma / value) / float(polygamma(2, x))
        x += step
        if abs(step) < 1e-10 * x:
            break
    return x
