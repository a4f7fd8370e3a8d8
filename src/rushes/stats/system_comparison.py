"""Several systems on several metrics: means, paired differences, and what may be claimed of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np

from rushes.stats.intervals import Interval, WinRate, holm, mean_interval, mean_p_value, paired_difference, win_rate

Better = Literal["lower", "higher", "neutral"]
Outcome = Literal["worse", "suspect", "undecided", "better"]
Key = tuple[str, int]  # prompt, seed

ALPHA = 0.05
# Fewer independent prompts make no claim: with seven, one odd prompt decides, and a sign test needs all of them.
LEAST_PROMPTS = 8


@dataclass(frozen=True)
class Measure:
    """One metric's finite values: system -> (prompt, seed) -> value. What could not be measured is not in it.

    `low` and `high` are the metric's own ends: the interval of a system's mean stops there.
    """

    name: str
    better: Better
    values: Mapping[str, Mapping[Key, float]]
    unit: str = ""
    low: float = -math.inf
    high: float = math.inf


@dataclass(frozen=True)
class Difference:
    """Second system minus first, over the prompts and seeds where both have a value.

    `wins` counts where the second is better; a metric without a better direction has ties only. `p` is two-sided,
    `p_adjusted` is Holm's over the metrics of the pair that have a direction and are not primary. `effect` is the
    difference in standard deviations over the first system's clips (Glass's delta), None where those do not differ.
    """

    interval: Interval
    wins: WinRate
    first: float  # mean over the shared prompts and seeds
    second: float
    p: float
    p_adjusted: float
    effect: float | None
    prompts: int = 0  # independent ones: clusters of prompts
    spread: float = 0.0  # standard deviation of the clusters' own differences; 0 for one cluster


@dataclass(frozen=True)
class ComparisonTable:
    """All of a comparison. `means[metric][system]`; `pairs[first, second][metric]`, each pair in the systems' order."""

    systems: tuple[str, ...]
    means: Mapping[str, Mapping[str, Interval]]
    pairs: Mapping[tuple[str, str], Mapping[str, Difference]]


def outcome(better: Better, interval: Interval, p_adjusted: float | None = None, prompts: int = 0) -> Outcome:
    """What may be said of a difference, which is nothing below `LEAST_PROMPTS` independent `prompts` (0 = unknown).

    "better" and "worse" hold for all metrics together with a chance of error of at most 5 % (`p_adjusted`; without
    it the interval decides). "suspect" is a change for the worse that this metric's own interval shows and the
    correction for many metrics does not: harm is reported earlier than success.
    """
    if better == "neutral" or not interval.excludes_zero or 0 < prompts < LEAST_PROMPTS:
        return "undecided"
    gained = (interval.low > 0) == (better == "higher")
    if p_adjusted is None or p_adjusted <= ALPHA:
        return "better" if gained else "worse"
    return "undecided" if gained else "suspect"


def compare_systems(
    systems: Sequence[str],
    measures: Iterable[Measure],
    *,
    seed: int = 0,
    margins: Mapping[str, float] | None = None,
    cluster_of: Mapping[str, str] | None = None,
    primary: str = "",
) -> ComparisonTable:
    """Means of every system and differences of every pair.

    `primary` is a metric that was chosen before anything was measured, as a trial's primary endpoint is: it is judged
    alone, and the others are corrected among themselves.

    The bootstrap is clustered by prompt; prompts that `cluster_of` names alike are one cluster. A metric with no shared
    value is left out of the pair. Gaps of at most `margins[metric]` are ties. Equal values, seed and order give equal
    tables. Raises ValueError for fewer than two systems, or names with a "|".
    """
    if len(systems) < 2 or len(set(systems)) < len(systems):
        raise ValueError(f"a comparison needs two systems or more with different names, got {', '.join(systems)}")
    if odd := [name for name in systems if "|" in name or not name]:
        raise ValueError(f"the name of a system, {odd[0]!r}, is empty or contains '|'; rename the system")
    measures, of = list(measures), cluster_of or {}
    means = {m.name: {system: _mean(m, system, seed, of) for system in systems} for m in measures}
    pairs: dict[tuple[str, str], Mapping[str, Difference]] = {}
    for first, second in combinations(systems, 2):
        differences = {
            m.name: _difference(m, first, second, seed, (margins or {}).get(m.name, 0.0), of) for m in measures
        }
        shared = {name: difference for name, difference in differences.items() if difference is not None}
        directed = [m.name for m in measures if m.better != "neutral" and m.name in shared]
        for family in ([n for n in directed if n == primary], [n for n in directed if n != primary]):
            adjusted = holm([shared[name].p for name in family]) if family else ()
            for name, p in zip(family, adjusted, strict=True):
                shared[name] = replace(shared[name], p_adjusted=float(p))
        pairs[first, second] = shared
    return ComparisonTable(tuple(systems), means, pairs)


def _mean(measure: Measure, system: str, seed: int, cluster_of: Mapping[str, str]) -> Interval:
    values = measure.values.get(system, {})
    if not values:
        return Interval(math.nan, math.nan, math.nan, 0)
    keys = sorted(values)
    clusters = [cluster_of.get(prompt, prompt) for prompt, _ in keys]
    mean = mean_interval([values[key] for key in keys], clusters=clusters, seed=seed)
    return replace(mean, low=max(mean.low, measure.low), high=min(mean.high, measure.high))


def _difference(
    measure: Measure, first: str, second: str, seed: int, margin: float, cluster_of: Mapping[str, str]
) -> Difference | None:
    first_values, second_values = measure.values.get(first, {}), measure.values.get(second, {})
    keys = sorted(first_values.keys() & second_values.keys())
    if not keys:
        return None
    a, b = np.array([first_values[key] for key in keys]), np.array([second_values[key] for key in keys])
    prompts = [cluster_of.get(prompt, prompt) for prompt, _ in keys]
    interval = paired_difference(a, b, clusters=prompts, seed=seed)
    if measure.better == "neutral":
        wins = WinRate(0, len(keys), 0, Interval(0.5, 0.0, 1.0, len(keys)))
    else:
        wins = win_rate(a, b, measure.better, margin=margin, clusters=prompts)
    spread = float(np.std(a, ddof=1)) if len(a) > 1 else 0.0
    p = mean_p_value(b - a, clusters=prompts, seed=seed)
    effect = interval.value / spread if spread else None
    names = np.array(prompts)
    own = [float((b - a)[names == name].mean()) for name in dict.fromkeys(prompts)]
    varied = float(np.std(own, ddof=1)) if len(own) > 1 else 0.0
    return Difference(
        interval,
        wins,
        float(a.mean()),
        second=float(b.mean()),
        p=p,
        p_adjusted=p,
        effect=effect,
        prompts=len(own),
        spread=varied,
    )
