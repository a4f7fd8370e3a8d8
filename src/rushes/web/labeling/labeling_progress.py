"""Who has labelled how much, and how well people agree: with each other, with themselves, and with the key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rushes.judges.label_agreement import Ratings, agreement, first_slot, labels_by, matching, ratings_of
from rushes.records import Preference
from rushes.store.annotators import AGAIN, ANNOTATOR
from rushes.web.labeling.session import LabelingSession


def progress_of(session: LabelingSession) -> dict[str, Any]:
    """Facts for the page of progress: of the project, of each dimension, and of each person."""
    rows = [row for row in session.store.preferences() if row.judge.startswith(ANNOTATOR)]
    # Of a pair of the key the first answer counts: who could correct until it fits would read the key.
    asked = ratings_of(_first_answers(session.store.preferences(current=False))) if session.plan.gold_by else {}
    first = [row for row in rows if not row.judge.endswith(AGAIN)]
    again = [row for row in rows if row.judge.endswith(AGAIN)]
    ratings, second = ratings_of(first), ratings_of(again)
    names = dict.fromkeys([*session.assignments.people(), *(row.judge.removeprefix(ANNOTATOR) for row in first)])
    return {
        **{name: count for name, count in session.progress("").items() if name != "done"},
        "several": int((session.votes.counts > 1).sum()),
        "dimensions": {name: asdict(agreement(by_pair)) for name, by_pair in ratings.items()},
        "people": [
            _person(name, first, ratings, second) | _gold(name, ratings, asked, session.plan.gold_by) for name in names
        ],
    }


_COUNTS = ("pairs", "open", "several")  # of the project, for everybody
_OWN = ("name", "pairs", "skipped", "repeats", "first_slot", "seconds", "fast")  # of a person, for that person


def own_progress(facts: dict[str, Any], name: str) -> dict[str, Any]:
    """What of these facts a person may see who is not the owner: the project's counts, and what is their own.

    Agreement is not among them, as it is with others, of whom one is the person whose labels are the key.
    """
    own = [{key: row[key] for key in _OWN if key in row} for row in facts["people"] if row["name"] == name]
    return {**{key: facts[key] for key in _COUNTS}, "people": own}


def _first_answers(rows: Sequence[Preference]) -> list[Preference]:
    """Of each person, pair and question the row that was stored first; repeats are left out."""
    first: dict[tuple[str, str, str, str], Preference] = {}
    for row in rows:
        if row.judge.startswith(ANNOTATOR) and not row.judge.endswith(AGAIN):
            first.setdefault((row.judge, row.left, row.right, row.dimension), row)
    return list(first.values())


def _gold(name: str, ratings: dict[str, Ratings], asked: dict[str, Ratings], gold_by: str) -> dict[str, Any]:
    """How many of a person's first answers are the key's, which is as it stands now."""
    same = total = 0
    for dimension, by_pair in ratings.items():
        key = labels_by(by_pair, ANNOTATOR + gold_by) if gold_by and gold_by != name else {}
        counts = matching(labels_by(asked.get(dimension, {}), ANNOTATOR + name), key)
        same, total = same + counts[0], total + counts[1]
    return {"gold": {"same": same, "of": total}}


def _person(
    name: str, rows: list[Preference], ratings: dict[str, Ratings], second: dict[str, Ratings]
) -> dict[str, Any]:
    judge = ANNOTATOR + name
    mine = [row for row in rows if row.judge == judge]
    ones, decided = first_slot(mine)
    steady = [0, 0]
    for dimension, by_pair in ratings.items():
        own = labels_by(by_pair, judge)
        again = labels_by(second.get(dimension, {}), judge + AGAIN)
        same, total = matching(own, again)
        steady = [steady[0] + same, steady[1] + total]
    return {
        "name": name,
        "pairs": len({(row.left, row.right) for row in mine}),
        "skipped": sum(len(row.unjudged) == len(row.labels) for row in mine),
        "agreement": {dimension: asdict(agreement(by_pair, judge)) for dimension, by_pair in ratings.items()},
        "repeats": {"same": steady[0], "of": steady[1]},
        "first_slot": {"first": ones, "of": decided},
    }
