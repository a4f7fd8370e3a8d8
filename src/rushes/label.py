"""Candidates and a judge -> preferences, one per pair that answers the same request, or scores of single candidates."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import combinations

from rushes.judges.base import Judge, Rater
from rushes.media.read import read_video
from rushes.metrics.base import Shot
from rushes.records import Candidate, Preference, Score, now, stable_hash
from rushes.store.database import Store

_SHOTS = 8  # clips in memory: each is in several pairs of its group


def groups(candidates: Sequence[Candidate]) -> list[list[Candidate]]:
    """Candidates that answer one request and were made the same way: one kind and noise level, same weights, settings.

    Takes of prompts with gaps answer different prompts and are left out.
    """
    members_of: dict[tuple[object, ...], list[Candidate]] = {}
    for candidate in candidates:
        if candidate.kind == "gap":
            continue
        key = (candidate.group, candidate.kind, candidate.eta, candidate.made_by, candidate.settings_hash)
        members_of.setdefault(key, []).append(candidate)
    return list(members_of.values())


def pairs(candidates: Sequence[Candidate]) -> Iterator[tuple[Candidate, Candidate]]:
    """All pairs within a group."""
    for members in groups(candidates):
        yield from combinations(members, 2)


def label(
    store: Store,
    judge: Judge,
    candidates: Sequence[Candidate],
    *,
    segment_s: float | None,
    settings_hash: str,
    tick: Callable[[], None] = lambda: None,
) -> Counter[int]:
    """Judge the pairs that this judge has not judged under these settings.

    A pair's newest label counts in training, so that an older one that is asked for again is stored again.

    Returns:
        How many segments of all the judge's pairs were labelled +1, 0 and -1.
    """
    counts: Counter[int] = Counter()
    shot = lru_cache(_SHOTS)(lambda candidate: _shot(store, candidate, judge))
    judged_before = {p.id: p for p in store.preferences(judge=judge.name, current=False)}
    newest = {frozenset((row.left, row.right)): row for row in judged_before.values()}
    for left, right in pairs(candidates):
        id = stable_hash([judge.name, left.id, right.id, segment_s, settings_hash])
        preference = judged_before.get(id)
        if preference is None:
            judged = judge.compare(shot(left), shot(right), segment_s)
            preference = Preference(
                id=id,
                left=left.id,
                right=right.id,
                labels=judged.labels,
                judge=judge.name,
                segment_s=segment_s,
                strength=judged.strength,
                created_at=now(),
                settings_hash=settings_hash,
                unjudged=judged.unjudged,
                by_slot=judged.by_slot,
            )
            store.add([preference])
        else:
            last = newest[frozenset((left.id, right.id))]
            if (last.segment_s, last.settings_hash) != (segment_s, settings_hash):
                store.add([replace(preference, id=stable_hash([preference.id, last.id]), created_at=now())])
        counts.update(preference.labels)
        tick()
    return counts


def rate(
    store: Store, rater: Rater, candidates: Sequence[Candidate], *, tick: Callable[[], None] = lambda: None
) -> Counter[bool]:
    """Score from 0 to 10 the candidates that this rater has not scored.

    Returns:
        How many of the candidates have a score (True), and how many the rater could not score (False).
    """
    counts: Counter[bool] = Counter()
    rated = {score.subject for score in store.scores(metric=rater.name) if score.measured_by == rater.name}
    for candidate in candidates:
        done = candidate.id in rated
        if not done:
            value = rater.rate(_shot(store, candidate, rater))
            done = math.isfinite(value)
            if done:
                id = stable_hash(["score", rater.name, candidate.id])
                store.add([Score(id, candidate.id, rater.name, value, measured_by=rater.name)])
        counts[done] += 1
        tick()
    return counts


def _shot(store: Store, candidate: Candidate, judge: Judge | Rater) -> Shot:
    video = read_video(store.media_path(candidate.media), fps=candidate.fps, size_px=judge.size_px)
    return Shot(video.frames_FHWC, video.fps, candidate.caption, media=candidate.media)
