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
    asks: bool = False,
    tick: Callable[[], None] = lambda: None,
) -> Counter[int | None]:
    """Judge the pairs that this judge has not judged under these settings.

    A pair's newest label counts in training, so that an older one that is asked for again is stored again.

    Args:
        asks: the judge asks a model, so that what is unjudged may be judged another time: it is asked again about pairs
            with such segments, and a pair of which it could judge nothing is not stored.

    Returns:
        How many segments of all the judge's pairs were labelled +1, 0 and -1; None: unjudged.
    """
    counts: Counter[int | None] = Counter()
    shot = lru_cache(_SHOTS)(lambda candidate: _shot(store, candidate, judge))
    judged_before = {p.id: p for p in store.preferences(judge=judge.name, current=False)}
    newest = {frozenset((row.left, row.right)): row for row in judged_before.values()}
    corrected = {p.supersedes for p in store.preferences(current=False)}
    for left, right in pairs(candidates):
        id = stable_hash([judge.name, left.id, right.id, segment_s, settings_hash])
        while (later := stable_hash(["again", id])) in judged_before:
            id = later
        preference = before = judged_before.get(id)
        if preference is None or (asks and preference.unjudged and id not in corrected):
            judged = judge.compare(shot(left), shot(right), segment_s)
            preference = Preference(
                id=later if before else id,
                left=left.id,
                right=right.id,
                labels=judged.labels,
                judge=judge.name,
                segment_s=segment_s,
                strength=judged.strength,
                created_at=now(),
                settings_hash=settings_hash,
                supersedes=id if before else "",
                unjudged=judged.unjudged,
                by_slot=judged.by_slot,
            )
            if not asks or _says_more(preference, before):
                store.add([preference])
            else:
                preference = before or preference
        if preference is before:
            last = newest[frozenset((left.id, right.id))]
            if (last.segment_s, last.settings_hash) != (segment_s, settings_hash):
                store.add([replace(preference, id=stable_hash([preference.id, last.id]), created_at=now())])
        counts.update(mark_counts(preference))
        tick()
    return counts


def _says_more(preference: Preference, before: Preference | None) -> bool:
    """Whether more of a pair is judged than before."""
    unjudged = len(before.unjudged) if before else len(preference.labels)
    return len(preference.unjudged) < unjudged


def mark_counts(preference: Preference) -> Counter[int | None]:
    """How many segments of a row are labelled +1, 0 and -1; None: unjudged, which is no tie."""
    return Counter(None if at in preference.unjudged else mark for at, mark in enumerate(preference.labels))


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
