"""Who has labelled how much, and how well people agree: with each other, with themselves, and with the key."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rushes.judges.label_agreement import Ratings, agreement, first_slot, labels_by, matching, ratings_of
from rushes.records import Preference
from rushes.store.annotators import AGAIN, ANNOTATOR
from rushes.web.labeling.session import LabelingSession


def progress_of(session: LabelingSession) -> dict[str, Any]:
    """Facts for the page of progress: of the project, of each dimension, and of each person."""
    rows = [row for row in session.store.preferences() if row.judge.startswith(ANNOTATOR)]
    first = [row for row in rows if not row.judge.endswith(AGAIN)]
    again = [row for row in rows if row.judge.endswith(AGAIN)]
    ratings, second = ratings_of(first), ratings_of(again)
    names = dict.fromkeys([*session.assignments.people(), *(row.judge.removeprefix(ANNOTATOR) for row in first)])
    return {
        **{name: count for name, count in session.progress("").items() if name != "done"},
        "several": int((session.votes.counts > 1).sum()),
        "dimensions": {name: asdict(agreement(by_pair)) for name, by_pair in ratings.items()},
        "people": [_person(name, first, ratings, second, session.plan.gold_by) for name in names],
    }


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
