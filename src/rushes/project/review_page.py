"""The review page of a project: its clips, their scenarios, and how near each lies to a threshold. Free of torch."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rushes.config.tables import Settings
from rushes.curate import motion, technical
from rushes.curate.balance import NO_TOPIC, OTHER, topics_of
from rushes.curate.base import Threshold
from rushes.project.defaults import with_sizes
from rushes.project.labeling_page import LABEL_ASSIGNMENTS
from rushes.records import Clip, Decision, plain
from rushes.store.database import Store
from rushes.store.decisions import IMPORT
from rushes.web.labeling.assignments import AssignmentStore
from rushes.web.review.queue import QueueEntry, ReviewQueue, ScenarioProgress
from rushes.web.review.review_session import MEASURED, ReviewSession, ReviewThreshold


def thresholds(settings: Settings) -> dict[str, Threshold]:
    """Name of a metric, as in STAGE/NAME -> what it must lie within, for the stages that are run."""
    tables = settings.curate
    recording = technical.limits(tables.technical, settings.backbone, settings.footage.fit)
    every = {"technical": recording, "motion": motion.limits(tables.motion)}
    return {
        f"{stage}/{limit.name}": limit for stage, limits in every.items() if stage in tables.stages for limit in limits
    }


def margins(store: Store, limits: Mapping[str, Threshold]) -> dict[str, float]:
    """Clip id -> how far it lies from the nearest threshold.

    Distances are in interquartile ranges of their metric, so that metrics can be compared. A clip that lies outside of
    some threshold counts by the farthest of these, as all of them must change for it to stay.
    """
    nearest: dict[str, float] = {}
    beyond: dict[str, float] = {}
    for name, limit in limits.items():
        values = _values(store, name, limit)
        bounds = [(bound, side) for bound, side in ((limit.low, 1), (limit.high, -1)) if math.isfinite(bound)]
        if not values or not bounds:
            continue
        scale = _spread(list(values.values()))
        for id, value in values.items():
            inside = min(side * (value - bound) for bound, side in bounds) / scale
            side = nearest if inside >= 0 else beyond
            side[id] = min(nearest.get(id, math.inf), inside) if inside >= 0 else max(beyond.get(id, 0.0), -inside)
    return nearest | beyond


def _values(store: Store, name: str, limit: Threshold) -> dict[str, float]:
    """Clip id -> the value that a limit is on: the metric of its name, or what the limit makes of its stage's."""
    if limit.of is None:
        return {score.subject: score.value for score in store.scores(metric=MEASURED + name)}
    measured: dict[str, dict[str, float]] = {}
    for score in store.scores_under(f"{MEASURED}{name.partition('/')[0]}/"):
        measured.setdefault(score.subject, {})[score.metric.rpartition("/")[2]] = score.value
    return {id: value for id, values in measured.items() if (value := limit.value(values)) is not None}


def _spread(values: Sequence[float]) -> float:
    """Interquartile range, the standard deviation where it is 0, else 1."""
    low, high = np.percentile(values, (25, 75))
    return float(high - low) or float(np.std(values)) or 1.0


@contextmanager
def open_review(folder: Path, settings: Settings) -> Iterator[ReviewSession]:
    """All clips of a project for people to look at, closed at the end.

    Raises:
        ValueError: no project, or no clip in it.
    """
    store, settings = Store.open(folder), with_sizes(settings)
    cropped_to = settings.backbone.shape_of if settings.footage.fit == "crop" else None
    try:
        limits = thresholds(settings)
        queue = queue_of(store, settings, margins(store, limits))
        if not queue.ids:
            raise ValueError(f"{folder} holds no clips to review; run `rushes import {shlex.quote(str(folder))}`")
        bounds = {name: ReviewThreshold(plain(limit.low), plain(limit.high)) for name, limit in limits.items()}
        review = ReviewSession(store, queue, AssignmentStore(folder / LABEL_ASSIGNMENTS), bounds, cropped_to=cropped_to)
    except BaseException:
        store.close()
        raise
    try:
        yield review
    finally:
        review.close()


def queue_of(store: Store, settings: Settings, margins: Mapping[str, float]) -> ReviewQueue:
    """Every clip that was imported, in order, with its scenario by the caption that programs left it."""
    written = {row.subject: row.caption for row in store.stream(Decision) if not row.person and row.made_by != IMPORT}
    clips = [(clip.id, written.get(clip.id) or clip.caption, clip.source) for clip in store.stream(Clip)]
    quotas = quotas_of(settings)
    captions, sources = [caption for _, caption, _ in clips], [source for _, _, source in clips]
    if settings.curate.balance.by == "scenario":
        named = store.scenarios()
        topics = [name if (name := named.get(id, "")) in quotas else OTHER for id, _, _ in clips]
    else:
        topics = topics_of(captions, sources, settings.curate.balance.topics if quotas else {})
    entries = [
        QueueEntry(id, "" if topic == OTHER else topic, margins.get(id, math.inf))
        for (id, _, _), topic in zip(clips, topics, strict=True)
    ]
    return ReviewQueue(entries, quotas, _held_back)


def quotas_of(settings: Settings) -> dict[str, int | None]:
    """Scenario -> clips that are wanted of it, None = any number: the topics that the balance of a set lists."""
    table = settings.curate.balance
    listed = {"keywords": list(table.topics), "scenario": list(table.wanted), "clusters": []}[table.by]
    return {name: table.wanted.get(name, table.most) or None for name in listed}


def _held_back(decision: Decision) -> bool:
    """Whether a clip is out only because there were enough of its scenario."""
    return decision.reason.startswith("balance: ") and NO_TOPIC not in decision.reason


@dataclass(frozen=True)
class ReviewProgress:
    """How far the review of a project's clips is."""

    clips: int
    in_set: int
    decided_by_people: int
    people: Mapping[str, int]  # decisions by person
    scenarios: tuple[ScenarioProgress, ...]


def progress_of(review: ReviewSession) -> ReviewProgress:
    """Clips, those in the set, those that people decided, and each scenario."""
    queue = review.queue
    in_set, by_people = queue.size("in_set"), queue.size("people")
    return ReviewProgress(len(queue.ids), in_set, by_people, review.people_at_work(), queue.counts())


def progress_lines(result: ReviewProgress) -> list[str]:
    """The progress as lines."""
    people = ", ".join(f"{name} {count}" for name, count in result.people.items())
    by = f"{result.decided_by_people} decided by people" + (f" ({people})" if people else "")
    return [f"{result.clips} clips, {result.in_set} in the set, {by}", *scenario_lines(result.scenarios)]


def scenario_lines(counts: Sequence[ScenarioProgress]) -> list[str]:
    """A table of scenarios: clips wanted, found, in the set, kept by people, and missing; empty without scenarios."""
    if not any(count.name for count in counts):
        return []
    rows = [("scenario", "wanted", "found", "in the set", "by people", "missing")]
    for count in counts:
        wanted, missing = ("-", "-") if count.wanted is None else (str(count.wanted), str(count.missing))
        name = count.name or "(none)"
        rows.append((name, wanted, str(count.in_footage), str(count.in_set), str(count.by_people), missing))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
