"""Candidates of two systems for the same prompts and seeds -> scores, and paired differences with intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rushes.arrays import Frames
from rushes.evaluate.suites import MetricSuite
from rushes.media.read import read_video
from rushes.metrics.base import Shot
from rushes.records import Candidate, Score, stable_hash
from rushes.stats import Difference, Measure, compare_systems
from rushes.store.database import Store


def unmeasured(store: Store, candidates: Sequence[Candidate], meter: MetricSuite) -> list[Candidate]:
    """Candidates that have no score by this meter."""
    done = {s.subject for s in store.scores() if s.measured_by == meter.name}
    return [candidate for candidate in candidates if candidate.id not in done]


def score(
    store: Store,
    candidates: Sequence[Candidate],
    meter: MetricSuite,
    still: Callable[[Candidate], Frames | None] = lambda candidate: None,
    tick: Callable[[], None] = lambda: None,
) -> None:
    """Measure candidates, each stored before the next is read; values that are not finite are not stored.

    `still` gives the frame [H, W, 3] that a candidate should start from, where there is one.
    """
    for candidate in candidates:
        video = read_video(store.media_path(candidate.media), fps=candidate.fps, size_px=meter.size_px)
        values = meter.measure(Shot(video.frames_FHWC, video.fps, candidate.caption, still(candidate)))
        store.add(
            Score(
                id=stable_hash([candidate.id, metric, meter.name]),
                subject=candidate.id,
                metric=metric,
                value=value,
                per_segment=seconds if all(math.isfinite(s) for s in seconds) else (),
                measured_by=meter.name,
            )
            for metric, (value, seconds) in values.items()
            if math.isfinite(value)
        )
        tick()


@dataclass(frozen=True)
class TakePair:
    """Two candidates, by their ids, that answer one prompt from one seed."""

    prompt: str
    base: str
    trained: str


def pairs(base: Sequence[Candidate], trained: Sequence[Candidate]) -> list[TakePair]:
    """Candidates of two systems that share prompt and seed."""
    partners = {(candidate.group, candidate.seed): candidate.id for candidate in trained}
    keyed = [(c, partners.get((c.group, c.seed))) for c in base]
    return [TakePair(c.group, c.id, partner) for c, partner in keyed if partner is not None]


def compare(store: Store, meter: MetricSuite, pairs: Sequence[TakePair], *, seed: int = 0) -> dict[str, dict[str, Any]]:
    """Differences of two systems over pairs, the bootstrap clustered by prompt.

    A metric that could not be measured on either side leaves the pair out of that metric; `n` says how many are in, and
    a metric without any is not in the table. `p_adjusted` is Holm's over the metrics that have a direction.

    Raises:
        ValueError: no pairs, or none that the meter's headline metric (without one, any metric) could measure.
    """
    if not pairs:
        raise ValueError("the systems have no held-out prompt and seed in common; run `rushes evaluate`")
    measures = []
    for metric, better in meter.better.items():
        values = {s.subject: s.value for s in store.scores(metric=metric) if s.measured_by == meter.name}
        sides = {"base": [p.base for p in pairs], "trained": [p.trained for p in pairs]}
        keyed = {
            system: {
                (p.prompt, at): values[id] for at, (p, id) in enumerate(zip(pairs, ids, strict=True)) if id in values
            }
            for system, ids in sides.items()
        }
        measures.append(Measure(metric, better, keyed, meter.units.get(metric, "")))
    differences = compare_systems(("base", "trained"), measures, seed=seed).pairs["base", "trained"]
    if meter.headline not in (*differences, "") or not differences:
        what = meter.headline or "nothing"
        raise ValueError(
            f"{what} could be measured on no pair of the {len(pairs)}, so there is no verdict; look at some clips in "
            "media/, they may be too short or without anything that moves"
        )
    return {m.name: _row(m, differences[m.name]) for m in measures if m.name in differences}


def _row(measure: Measure, difference: Difference) -> dict[str, Any]:
    return {
        "base": difference.first,
        "trained": difference.second,
        "difference": difference.interval.value,
        "low": difference.interval.low,
        "high": difference.interval.high,
        "n": difference.interval.n,
        "p": difference.p,
        "p_adjusted": difference.p_adjusted,
        "prompts": difference.prompts,
        "spread": difference.spread,
        "better": measure.better,
        "unit": measure.unit,
    }
