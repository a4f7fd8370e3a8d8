"""Candidates of two systems for the same prompts and seeds -> scores, and paired differences with intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rushes.media.read import read_video
from rushes.media.resize import Frames
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


def unmeasured(store: Store, candidates: Sequence[Candidate], meter: Meter) -> list[Candidate]:
    """Candidates that have no score by this meter."""
    done = {s.subject for s in store.scores() if s.measured_by == meter.name}
    return [candidate for candidate in candidates if candidate.id not in done]


def score(
    store: Store,
    candidates: Sequence[Candidate],
    meter: Meter,
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
class Pair:
    """Two candidates, by their ids, that answer one prompt from one seed."""

    prompt: str
    base: str
    trained: str


def pairs(base: Sequence[Candidate], trained: Sequence[Candidate]) -> list[Pair]:
    """Candidates of two systems that share prompt and seed."""
    partners = {(candidate.group, candidate.seed): candidate.id for candidate in trained}
    keyed = [(c, partners.get((c.group, c.seed))) for c in base]
    return [Pair(c.group, c.id, partner) for c, partner in keyed if partner is not None]


def compare(store: Store, meter: Meter, pairs: Sequence[Pair], *, seed: int = 0) -> dict[str, dict[str, Any]]:
    """Differences of two systems over pairs, the bootstrap clustered by prompt.

    A metric that could not be measured on either side leaves the pair out of that metric; `n` says how many are in, and
    a metric without any is not in the table.

    Raises:
        ValueError: no pairs, or none that the meter's headline metric could measure.
    """
    if not pairs:
        raise ValueError("the systems have no held-out prompt and seed in common; run `rushes evaluate`")
    table = {}
    for metric, better in meter.better.items():
        values = {s.subject: s.value for s in store.scores(metric=metric) if s.measured_by == meter.name}
        known = [p for p in pairs if p.base in values and p.trained in values]
        if not known:
            continue
        base, trained = [values[p.base] for p in known], [values[p.trained] for p in known]
        difference = paired_difference(base, trained, clusters=[p.prompt for p in known], seed=seed)
        table[metric] = {
            "base": sum(base) / len(base),
            "trained": sum(trained) / len(trained),
            "difference": difference.value,
            "low": difference.low,
            "high": difference.high,
            "n": difference.n,
            "better": better,
            "unit": meter.units.get(metric, ""),
        }
    if meter.headline not in table:
        raise ValueError(
            f"{meter.headline} could be measured on no pair of the {len(pairs)}, so there is no verdict; look at some "
            "clips in media/, they may be too short or without anything that moves"
        )
    return table
