"""Candidates of two systems for the same prompts and seeds -> scores, and paired differences with intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rushes.media.read import read_video
from rushes.metrics import catalogue
from rushes.metrics.base import Shot
from rushes.records import Candidate, Score, stable_hash
from rushes.stats import paired_difference
from rushes.store.database import Store
from rushes.world import verify as world
from rushes.world.scenes import SIZE_PX

Values = Mapping[str, tuple[float, tuple[float, ...]]]  # metric -> value, and one per second


@dataclass(frozen=True)
class Meter:
    """A named set of metrics that is measured together."""

    name: str  # with a version: scores of different meters are never mixed
    better: Mapping[str, str]  # metric -> "lower" or "higher"
    units: Mapping[str, str]
    headline: str
    size_px: tuple[int, int] | None  # that clips are read at; None = as they are
    measure: Callable[[Shot], Values]


def world_meter() -> Meter:
    """The embedded world's verifier: it knows what should happen, and sees pixels only."""

    def measure(shot: Shot) -> Values:
        verdict = world.verify(shot.frames_FHWC, shot.caption, fps=shot.fps)
        return {m: (getattr(verdict, m), tuple(verdict.per_second[m].tolist())) for m in world.METRICS}

    better = {m: "higher" if m == "dynamic_degree" else "lower" for m in world.METRICS}
    units = {"physics_error": "px", "flicker": "levels", "dynamic_degree": "px/frame"}
    return Meter("world-1", better, units, "bad_frames", (SIZE_PX, SIZE_PX), measure)


def general_meter() -> Meter:
    """Metrics for any footage, without downloaded weights."""
    directed = {name: m for name, m in catalogue.all_metrics().items() if m.better != "neutral"}

    def measure(shot: Shot) -> Values:
        return {name: (m.value, m.per_second) for name, m in catalogue.measure(shot, list(directed)).items()}

    better, units = {n: m.better for n, m in directed.items()}, {n: m.unit for n, m in directed.items()}
    return Meter("general-1", better, units, "warping_error", None, measure)


def score(store: Store, candidates: Sequence[Candidate], meter: Meter, tick: Callable[[], None] = lambda: None) -> int:
    """Measure the candidates that have no score by this meter; values that are not finite are not stored.

    Returns:
        How many candidates were measured.
    """
    done = {s.subject for s in store.scores() if s.measured_by == meter.name}
    missing = [c for c in candidates if c.id not in done]
    for candidate in missing:
        video = read_video(store.media_path(candidate.media), fps=candidate.fps, size_px=meter.size_px)
        values = meter.measure(Shot(video.frames_FHWC, video.fps, candidate.caption))
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
    return len(missing)


def compare(store: Store, meter: Meter, base: str, trained: str, *, seed: int = 0) -> dict[str, dict[str, Any]]:
    """Paired differences of two systems on held-out prompts, the bootstrap clustered by prompt.

    A pair is two candidates of one prompt and one seed. A metric that could not be measured on either side leaves the
    pair out of that metric; `n` says how many are in.

    Raises:
        ValueError: the systems share no prompt and seed.
    """
    sides = [
        {(c.group, c.seed): c.id for c in store.candidates(split="eval", system=system)} for system in (base, trained)
    ]
    shared = [key for key in sides[0] if key in sides[1]]
    if not shared:
        raise ValueError(f"{base!r} and {trained!r} have no held-out prompt and seed in common; run `rushes evaluate`")
    table = {}
    for metric, better in meter.better.items():
        values = {s.subject: s.value for s in store.scores(metric=metric) if s.measured_by == meter.name}
        pairs = [
            (group, values[one], values[other])
            for group, number in shared
            if (one := sides[0][group, number]) in values and (other := sides[1][group, number]) in values
        ]
        if not pairs:
            continue
        groups, one, other = zip(*pairs, strict=True)
        difference = paired_difference(one, other, clusters=groups, seed=seed)
        table[metric] = {
            "base": sum(one) / len(one),
            "trained": sum(other) / len(other),
            "difference": difference.value,
            "low": difference.low,
            "high": difference.high,
            "n": difference.n,
            "better": better,
            "unit": meter.units.get(metric, ""),
        }
    return table
