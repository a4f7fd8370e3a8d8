"""Which clips a report shows: chosen by number and by chance, never by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np

from rushes.report.model import CaseKind, MetricRow


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
