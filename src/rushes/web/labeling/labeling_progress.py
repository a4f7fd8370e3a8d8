"""Who has labelled how much, and how well people agree: with each other, with themselves, and with the key."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from itertools import chain
from statistics import median
from typing import Any

from rushes.judges.label_agreement import Ratings, agreement, first_slot, labels_by, matching, ratings_of
from rushes.records import Annotation, Preference
from rushes.store.annotators import AGAIN, ANNOTATOR
from rushes.web.labeling.session import LabelingSession


def progress_of(session: LabelingSession) -> dict[str, Any]:
    """Facts for the page of progress: of the project, of each dimension, and of each person."""
    rows = [row for row in session.store.preferences() if row.judge.startswith(ANNOTATOR)]
    first = [row for row in rows if not row.judge.endswith(AGAIN)]
    again = [row for row in rows if row.judge.endswith(AGAIN)]
    ratings, second = ratings_of(first), ratings_of(again)
    timed = _timed(session, {row.id: row for row in rows})
    names = dict.fromkeys([*session.assignments.people(), *(row.judge.removeprefix(ANNOTATOR) for row in first)])
    return {
        **{name: count for name, count in session.progress("").items() if name != "done"},
        "several": int((session.votes.counts > 1).sum()),
        "dimensions": {name: asdict(agreement(by_pair)) for name, by_pair in ratings.items()},
        "people": [
            {**_person(name, first, ratings, second, session.plan.gold_by), **_pace(timed[ANNOTATOR + name])}
            for name in names
        ],
        "reasons": _reasons(session.store.annotations()),
    }


def _timed(session: LabelingSession, rows: Mapping[str, Preference]) -> dict[str, list[tuple[float, bool]]]:
    """Of each person and answer whose time was taken: seconds, and whether they are fewer than the clips last."""
    timed: dict[str, list[tuple[float, bool]]] = defaultdict(list)
    for remarks in session.store.annotations():
        row = rows.get(remarks.subject)
        here = row is not None and session.votes.number(row.left, row.right) is not None
        if row is not None and here and remarks.seconds is not None:
            takes = [session.candidate(id) for id in (row.left, row.right)]
            lasts_s = min(take.frames / take.fps for take in takes)
            timed[remarks.judge.removesuffix(AGAIN)].append((remarks.seconds, remarks.seconds < lasts_s))
    return timed


def _pace(timed: list[tuple[float, bool]]) -> dict[str, Any]:
    return {
        "seconds": median(seconds for seconds, _ in timed) if timed else None,
        "fast": {"of": len(timed), "fast": sum(fast for _, fast in timed)},
    }


def _reasons(rows: Iterable[Annotation]) -> dict[str, int]:
    """How many answers name each reason, the commonest first."""
    counts = Counter(reason for row in rows for reason in {*chain(*row.reasons), *chain(*row.span_reasons)})
    return dict(counts.most_common())


def _person(
    name: str, rows: list[Preference], ratings: dict[str, Ratings], second: dict[str, Ratings], gold_by: str
) -> dict[str, Any]:
    judge = ANNOTATOR + name
    mine = [row for row in rows if row.judge == judge]
    ones, decided = first_slot(mine)
    steady, gold = [0, 0], [0, 0]
    for dimension, by_pair in ratings.items():
        own = labels_by(by_pair, judge)
        again = labels_by(second.get(dimension, {}), judge + AGAIN)
        key = labels_by(by_pair, ANNOTATOR + gold_by) if gold_by and gold_by != name else {}
        for counts, other in ((steady, again), (gold, key)):
            same, total = matching(own, other)
            counts[0], counts[1] = counts[0] + same, counts[1] + total
    return {
        "name": name,
        "pairs": len({(row.left, row.right) for row in mine}),
        "skipped": sum(len(row.unjudged) == len(row.labels) for row in mine),
        "agreement": {dimension: asdict(agreement(by_pair, judge)) for dimension, by_pair in ratings.items()},
        "repeats": {"same": steady[0], "of": steady[1]},
        "gold": {"same": gold[0], "of": gold[1]},
        "first_slot": {"first": ones, "of": decided},
    }
