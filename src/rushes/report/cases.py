"""Which clips a report shows: chosen by number and by chance, never by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from rushes.report.model import CaseKind, MetricRow
from rushes.stats import Better


def gain(
    metrics: Sequence[MetricRow], headline: str, first: Mapping[str, float], second: Mapping[str, float]
) -> float | None:
    """How far a clip got better from the first system's measurements to the second's; None where neither can tell.

    By the headline metric in its unit; without one as the mean over all metrics with a direction, each in standard
    deviations over the first system's clips.
    """
    gains = []
    for metric in metrics:
        comparable = metric.name in first and metric.name in second and metric.better != "neutral"
        if not comparable or headline not in ("", metric.name):
            continue
        scale = 1.0 if headline else metric.clip_spread
        if scale:
            sign = 1.0 if metric.better == "higher" else -1.0
            gains.append(sign * (second[metric.name] - first[metric.name]) / scale)
    return fmean(gains) if gains else None


def most_different(first_FHWC: NDArray[np.uint8], second_FHWC: NDArray[np.uint8]) -> int:
    """The frame at which two clips of one size differ most, by the mean absolute difference."""
    count = min(len(first_FHWC), len(second_FHWC))
    apart = np.abs(first_FHWC[:count].astype(np.int16) - second_FHWC[:count]).mean((1, 2, 3))
    return int(apart.argmax())


def faults(seconds: Sequence[Sequence[float]], better: Better) -> list[tuple[float, ...]]:
    """A metric's values of each second of some clips -> 0 (the best among them, or no fault) to 1 (the worst)."""
    every = [value for row in seconds for value in row]
    if not every or better == "neutral":
        return [() for _ in seconds]
    sign = 1.0 if better == "lower" else -1.0
    best = min(0.0, *(sign * value for value in every)) if better == "lower" else min(sign * v for v in every)
    span = max(sign * value for value in every) - best
    return [tuple((sign * value - best) / span if span else 0.0 for value in row) for row in seconds]


def choose(gains: Sequence[float | None], cases: int, seed: int) -> list[tuple[CaseKind, int]]:
    """Places of up to `cases` pairs of each kind: by chance, worst and best gain; every pair at most once.

    A pair without a gain (None) can be chosen by chance alone.
    """
    ranked = sorted((gained, at) for at, gained in enumerate(gains) if gained is not None)
    count = min(cases, (len(ranked) + 2) // 3)
    worst = [at for _, at in ranked[:count]]
    best = [at for _, at in reversed(ranked[count:][-count:])] if count else []
    rest = [at for at in range(len(gains)) if at not in {*worst, *best}]
    order = np.random.default_rng(seed).permutation(len(rest))[:cases]
    kinds: dict[CaseKind, list[int]] = {"random": [rest[at] for at in order], "worst": worst, "best": best}
    return [(kind, at) for kind, chosen in kinds.items() for at in chosen]
