"""Candidates and a judge -> preferences, one per pair that answers the same request, or scores of single candidates."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations
from typing import Any

from rushes.judges.base import Judge, Judgement, Rater
from rushes.media.read import read_video
from rushes.metrics.base import Shot
from rushes.progress import ParallelMap, in_turn
from rushes.records import Candidate, Preference, Score, now, stable_hash
from rushes.store.database import Store
from rushes.store.media import MediaFolder

TakePair = tuple[Candidate, Candidate]
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


@dataclass(frozen=True)
class _JudgeRequest:
    """A pair, under what its label is stored, and what is stored of it."""

    pair: TakePair
    id: str
    before: Preference | None
    new: bool  # the judge is asked


def label(
    store: Store,
    judge: Judge,
    candidates: Sequence[Candidate],
    *,
    segment_s: float | None,
    settings_hash: str,
    asks: bool = False,
    tick: Callable[[], None] = lambda: None,
    spread: ParallelMap = in_turn,
) -> Counter[int | None]:
    """Judge the pairs that this judge has not judged under these settings.

    A pair's newest label counts in training, so that an older one that is asked for again is stored again.

    Args:
        asks: the judge asks a model, so that what is unjudged may be judged another time: it is asked again about pairs
            with such segments, and a pair of which it could judge nothing is not stored.
        spread: who judges the pairs; processes that help call `judge_each`.

    Returns:
        How many segments of all the judge's pairs were labelled +1, 0 and -1; None: unjudged.
    """
    counts: Counter[int | None] = Counter()
    judged_before = {p.id: p for p in store.preferences(judge=judge.name, current=False)}
    newest = {frozenset((row.left, row.right)): row for row in judged_before.values()}
    corrected = {p.supersedes for p in store.preferences(current=False)}
    wanted = list(_requests(pairs(candidates), [judge.name, segment_s, settings_hash], judged_before, corrected, asks))
    judgements = judge_each(store.media, judge, [each.pair for each in wanted if each.new], segment_s, spread)
    answer: tuple[TakePair, Judgement] | None = None
    for each in wanted:
        (left, right), preference = each.pair, each.before
        before = preference
        if each.new:
            answer = answer or next(judgements)
            if answer[0] != each.pair:  # nobody could judge it, which is reported when all others are judged
                continue
            preference, answer = _labelled(each, answer[1], [judge.name, segment_s, settings_hash]), None
            if not asks or _says_more(preference, before):
                store.add([preference])
            else:
                preference = before or preference
        assert preference is not None
        if preference is before:
            last = newest[frozenset((left.id, right.id))]
            if (last.segment_s, last.settings_hash) != (segment_s, settings_hash):
                store.add([replace(preference, id=stable_hash([preference.id, last.id]), created_at=now())])
        counts.update(mark_counts(preference))
        tick()
    next(judgements, None)
    return counts


def _labelled(request: _JudgeRequest, judged: Judgement, judging: Sequence[Any]) -> Preference:
    """What is stored of a pair that was judged; `judging`: the judge's name, seconds of a segment, the settings."""
    before, (left, right), (name, segment_s, settings_hash) = request.before, request.pair, judging
    return Preference(
        id=stable_hash(["again", request.id]) if before else request.id,
        left=left.id,
        right=right.id,
        labels=judged.labels,
        judge=name,
        segment_s=segment_s,
        strength=judged.strength,
        created_at=now(),
        settings_hash=settings_hash,
        supersedes=request.id if before else "",
        unjudged=judged.unjudged,
        by_slot=judged.by_slot,
    )


def _requests(
    both: Iterable[TakePair],
    judging: Sequence[object],
    judged_before: Mapping[str, Preference],
    corrected: Set[str],
    asks: bool,
) -> Iterator[_JudgeRequest]:
    judge, *more = judging
    for left, right in both:
        id = stable_hash([judge, left.id, right.id, *more])
        while (later := stable_hash(["again", id])) in judged_before:
            id = later
        before = judged_before.get(id)
        again = asks and before is not None and bool(before.unjudged) and id not in corrected
        yield _JudgeRequest((left, right), id, before, before is None or again)


def judge_each(
    media: MediaFolder, judge: Judge, asked: Sequence[TakePair], segment_s: float | None, spread: ParallelMap = in_turn
) -> Iterator[tuple[TakePair, Judgement]]:
    """Pairs with what a judge says of them; nothing is stored."""
    shot = lru_cache(_SHOTS)(lambda candidate: _shot(media, candidate, judge))
    return spread(asked, lambda pair: judge.compare(shot(pair[0]), shot(pair[1]), segment_s))


def _says_more(preference: Preference, before: Preference | None) -> bool:
    """Whether more of a pair is judged than before."""
    unjudged = len(before.unjudged) if before else len(preference.labels)
    return len(preference.unjudged) < unjudged


def mark_counts(preference: Preference) -> Counter[int | None]:
    """How many segments of a row are labelled +1, 0 and -1; None: unjudged, which is no tie."""
    return Counter(preference.marks)


def rate(
    store: Store,
    rater: Rater,
    candidates: Sequence[Candidate],
    *,
    tick: Callable[[], None] = lambda: None,
    spread: ParallelMap = in_turn,
) -> Counter[bool]:
    """Score from 0 to 10 the candidates that this rater has not scored; processes that help call `rate_each`.

    Returns:
        How many of the candidates have a score (True), and how many the rater could not score (False).
    """
    rated = {score.subject for score in store.scores(metric=rater.name) if score.measured_by == rater.name}
    missing = [candidate for candidate in candidates if candidate.id not in rated]
    counts = Counter(True for candidate in candidates if candidate.id in rated)
    for _ in range(counts.total()):
        tick()
    for candidate, value in rate_each(store.media, rater, missing, spread):
        if math.isfinite(value):
            id = stable_hash(["score", rater.name, candidate.id])
            store.add([Score(id, candidate.id, rater.name, value, measured_by=rater.name)])
        counts[math.isfinite(value)] += 1
        tick()
    return counts


def rate_each(
    media: MediaFolder, rater: Rater, missing: Sequence[Candidate], spread: ParallelMap = in_turn
) -> Iterator[tuple[Candidate, float]]:
    """What a rater gives candidates; nothing is stored."""
    return spread(missing, lambda candidate: rater.rate(_shot(media, candidate, rater)))


def _shot(media: MediaFolder, candidate: Candidate, judge: Judge | Rater) -> Shot:
    video = read_video(media.path(candidate.media), fps=candidate.fps, size_px=judge.size_px)
    return Shot(video.frames_FHWC, video.fps, candidate.caption, media=candidate.media)
