"""Means, paired differences and shares with their intervals and p-values. Pure functions; no seed is hidden.

The unit of evidence is the cluster, usually the prompt: four seeds of one prompt are not four independent witnesses.
Every interval here resamples or counts clusters. None of them knows about what was not repeated, such as the
training seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm, t

from rushes.arrays import Floats

# Below this many clusters resampling sees too few distinct means: simulated cover of 95 % intervals falls to 86-94 %
# for normal values with four to nine clusters, where Student's t keeps 94-95 %.
FEW_CLUSTERS = 10
_CHUNK = 500_000  # numbers drawn at a time: small enough to stay in the cache


@dataclass(frozen=True)
class Interval:
    """An estimate and its confidence interval; `n` counts the values behind it (pairs, clips, comparisons).

    `low` and `high` are infinite when one cluster is all there is: then nothing is known about the spread.
    """

    value: float
    low: float
    high: float
    n: int

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies wholly on one side of zero."""
        return self.low > 0 or self.high < 0

    def rounded(self, digits: int) -> Interval:
        """The same to so many digits."""
        value, low, high = (round(float(end), digits) for end in (self.value, self.low, self.high))
        return Interval(value, low, high, self.n)


@dataclass(frozen=True)
class WinRate:
    """Head-to-head counts; `rate` is the share of wins with a tie counted as half a win, in [0, 1]."""

    wins: int
    ties: int
    losses: int
    rate: Interval


def paired_difference(
    base: ArrayLike,
    trained: ArrayLike,
    *,
    clusters: Sequence[object] | None = None,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Mean of `trained - base` over pairs [N] with its interval; see `mean_interval` for the method.

    Raises ValueError when the lengths differ, when there is no pair, or when a value is not finite: whether a clip
    that could not be measured is dropped or counted as a failure is the caller's decision and belongs in the report.
    """
    first, second = _pairs(base, trained)
    return mean_interval(second - first, clusters=clusters, resamples=resamples, seed=seed, level=level)


def mean_interval(
    values: ArrayLike,
    *,
    clusters: Sequence[object] | None = None,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Mean of values [N] with a confidence interval over clusters (one name per value; default: every value its own).

    The interval is the expanded percentile bootstrap: percentiles of means of resampled clusters, taken further out
    so that normal data get the width of Student's t (Hesterberg, "What teachers should know about the bootstrap",
    2015, section 5.2). Plain percentile and BCa intervals are too narrow with few clusters, and BCa's acceleration
    suffers from heavy tails: with 16 clusters from Student's t of 3 degrees they covered 91 % and 88 %, this one 94 %.
    Below `FEW_CLUSTERS` clusters Student's t over clusters is used. With one cluster the interval is the whole line;
    values that are all equal give that value at both ends. Raises ValueError for empty or non-finite values.
    """
    data = _finite(values, "values")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    sums, counts = _cluster_sums(data, clusters)
    mean, k = float(data.mean()), len(sums)
    if k == 1:
        return Interval(mean, -np.inf, np.inf, data.size)
    if np.ptp(data) == 0:
        constant = float(data[0])
        return Interval(constant, constant, constant, data.size)
    quantile = float(t.ppf((1 + level) / 2, k - 1))
    if k < FEW_CLUSTERS:
        half = quantile * _cluster_error(sums, counts)
        return Interval(mean, mean - half, mean + half, data.size)
    tail = float(norm.cdf(-quantile * np.sqrt(k / (k - 1))))
    low, high = np.quantile(_resampled_means(sums, counts, resamples, seed), [tail, 1 - tail])
    return Interval(mean, float(low), float(high), data.size)


def ratio_interval(
    top: ArrayLike,
    bottom: ArrayLike,
    *,
    clusters: Sequence[object] | None = None,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Mean of `top` over mean of `bottom`, paired values [N], with its interval over clusters.

    The interval is that of the mean of r + (top - r bottom) / mean(bottom), r being the ratio: to first order the ratio
    moves as this mean does (the delta method; Cochran, "Sampling Techniques", 1977, section 6.3), and `mean_interval`
    says how far that is.

    Raises:
        ValueError: values that are not finite, of unequal number or none, or a mean of `bottom` that is not positive.
    """
    over, under = _pairs(bottom, top)
    scale = float(over.mean())
    if scale <= 0:
        raise ValueError(f"a margin as a share needs a positive mean, got {scale:.4g}")
    ratio = float(under.mean()) / scale
    linear = ratio + (under - ratio * over) / scale
    interval = mean_interval(linear, clusters=clusters, resamples=resamples, seed=seed, level=level)
    return Interval(ratio, interval.low, interval.high, interval.n)


def mean_p_value(
    values: ArrayLike,
    *,
    clusters: Sequence[object] | None = None,
    resamples: int = 4000,
    seed: int = 0,
) -> float:
    """Two-sided p-value of a mean of zero: one minus the level at which the ends of `mean_interval` touch zero.

    One cluster gives 1. Values that are all equal and not zero have no spread to judge by; they give 2^(1 - clusters),
    the least that flipping signs by chance can reach. Raises ValueError for empty or non-finite values.
    """
    data = _finite(values, "values")
    sums, counts = _cluster_sums(data, clusters)
    mean, k = float(data.mean()), len(sums)
    if k == 1 or mean == 0:
        return 1.0
    if np.ptp(data) == 0:
        return 2.0 ** (1 - k)
    if k < FEW_CLUSTERS:
        error = _cluster_error(sums, counts)
        return float(2 * t.sf(abs(mean) / error, k - 1)) if error else 2.0 ** (1 - k)
    means = _resampled_means(sums, counts, resamples, seed)
    beyond = (means * np.sign(mean) <= 0).sum()
    tail = max(1, int(beyond)) / (resamples + 1)
    return float(min(1.0, 2 * t.sf(norm.isf(tail) * np.sqrt((k - 1) / k), k - 1)))


def win_rate(
    base: ArrayLike,
    trained: ArrayLike,
    better: Literal["lower", "higher"],
    *,
    margin: float = 0.0,
    clusters: Sequence[object] | None = None,
    level: float = 0.95,
) -> WinRate:
    """How often `trained` beats `base` over pairs [N]; gaps of at most `margin` (in the metric's unit) are ties.

    The interval is Wilson's, with the number of pairs divided by the design effect of the clusters (never below 1)
    and the few-cluster factor of Dean and Pagano (2015). It stays inside [0, 1] and does not shrink to a point when
    every pair is won; with many ties it is a little too wide. Raises ValueError as `paired_difference` does.
    """
    first, second = _pairs(base, trained)
    if margin < 0:
        raise ValueError(f"margin must not be negative, got {margin}")
    gain = second - first if better == "higher" else first - second
    scores = np.where(gain > margin, 1.0, np.where(gain < -margin, 0.0, 0.5))
    sums, counts = _cluster_sums(scores, clusters)
    rate, k, n = float(scores.mean()), len(sums), scores.size
    if k == 1:
        interval = Interval(rate, 0.0, 1.0, n)
    else:
        variance = max(scores.var() / n, _cluster_error(sums, counts) ** 2)
        effective = rate * (1 - rate) / variance if variance > 0 else float(k)
        shrink = float(norm.ppf((1 + level) / 2) / t.ppf((1 + level) / 2, k - 1)) ** 2
        low, high = _wilson(rate, effective * shrink, level)
        interval = Interval(rate, low, high, n)
    wins, losses = int((scores == 1).sum()), int((scores == 0).sum())
    return WinRate(wins, n - wins - losses, losses, interval)


def wilson(successes: float, n: int, level: float = 0.95) -> Interval:
    """Share of successes among n independent trials with Wilson's score interval (1927), within [0, 1].

    Raises ValueError unless 0 <= successes <= n and n >= 1.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"need 0 <= successes <= n and n >= 1, got {successes} of {n}")
    low, high = _wilson(successes / n, n, level)
    return Interval(successes / n, low, high, n)


def holm(p_values: ArrayLike) -> Floats:
    """Holm's adjusted p-values [N] (1979): reject where one is at most alpha and the family-wise error is alpha."""
    p = _finite(p_values, "p_values")
    if ((p < 0) | (p > 1)).any():
        raise ValueError("p_values must lie in [0, 1]")
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted


def _pairs(base: ArrayLike, trained: ArrayLike) -> tuple[Floats, Floats]:
    first, second = _finite(base, "base"), _finite(trained, "trained")
    if first.shape != second.shape:
        raise ValueError(f"base has {first.size} values and trained {second.size}: give one value of each per pair")
    return first, second


def _finite(values: ArrayLike, name: str) -> Floats:
    data = np.asarray(values, float).ravel()
    if data.size == 0:
        raise ValueError(f"{name} is empty: there is nothing to compare")
    if not np.isfinite(data).all():
        raise ValueError(
            f"{name} has {int((~np.isfinite(data)).sum())} values that are NaN or infinite: drop or score them"
        )
    return data


def _cluster_sums(values: Floats, clusters: Sequence[object] | None) -> tuple[Floats, Floats]:
    """Sum and count of the values of each cluster, in order of first appearance."""
    if clusters is None:
        return values, np.ones_like(values)
    if len(clusters) != values.size:
        raise ValueError(f"{len(clusters)} cluster names for {values.size} values: give one per value")
    index: dict[object, int] = {}
    inverse = np.array([index.setdefault(name, len(index)) for name in clusters])
    return np.bincount(inverse, values).astype(float), np.bincount(inverse).astype(float)


def _cluster_error(sums: Floats, counts: Floats) -> float:
    """Standard error of the mean of all values, from the residuals of whole clusters."""
    k, n = len(sums), counts.sum()
    residuals = sums - counts * (sums.sum() / n)
    return float(np.sqrt(k / (k - 1) * (residuals**2).sum()) / n)


def _resampled_means(sums: Floats, counts: Floats, resamples: int, seed: int) -> Floats:
    k, rng = len(sums), np.random.default_rng(seed)
    block = max(1, _CHUNK // k)
    draws = (rng.integers(k, size=(min(block, resamples - at), k)) for at in range(0, resamples, block))
    return np.concatenate([sums[drawn].sum(1) / counts[drawn].sum(1) for drawn in draws])


def _wilson(share: float, n: float, level: float) -> tuple[float, float]:
    z2 = float(norm.ppf((1 + level) / 2)) ** 2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))
