"""Who has labelled how much, and how well people agree: with each other, with themselves, and with the key."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import chain
from statistics import median
from typing import Any

from rushes.judges.label_agreement import Ratings, agreement, first_slot, labels_by, matching, ratings_of
from rushes.records import Annotation, Preference
from rushes.store.annotators import AGAIN, ANNOTATOR, HUMAN, is_own_answer, labels_to_train_on
from rushes.web.labeling.labeling_session import LabelingSession


def progress_of(session: LabelingSession) -> dict[str, Any]:
    """Facts for the page of progress: of the project, of each dimension, and of each person."""
    rows = [row for row in session.store.preferences() if row.judge.startswith(ANNOTATOR)]
    # The first answer to a pair of the key counts: who could correct until it fits would read the key.
    asked = ratings_of(_first_answers(session.store.preferences(current=False))) if session.plan.gold_by else {}
    first = [row for row in rows if is_own_answer(row)]
    again = [row for row in rows if row.judge.endswith(AGAIN)]
    ratings, second = ratings_of(first), ratings_of(again)
    timed = _timed(session, {row.id: row for row in rows})
    voted = Counter(
        row.judge.removeprefix(ANNOTATOR) for row in session.store.preferences(votes=True) if is_own_answer(row)
    )
    there = (row.judge.removeprefix(ANNOTATOR) for row in first)
    names = dict.fromkeys([*session.assignments.people(), *there, *voted])
    return {
        **{name: count for name, count in session.progress("").items() if name != "done"},
        "several": int((session.votes.counts > 1).sum()),
        "dimensions": {name: asdict(agreement(by_pair)) for name, by_pair in ratings.items()},
        "people": [
            _person(name, first, ratings, second, session.votes.dimension)
            | _gold(name, ratings, asked, session.plan.gold_by)
            | _pace(timed[ANNOTATOR + name])
            | {"practice": session.practice.facts(name), "votes": voted[name]}
            for name in names
        ],
        "judges": _judges(session),
        "reasons": _reasons(session.store.annotations()),
    }


_COUNTS = ("pairs", "open", "several")  # of the project, for everybody
_OWN = (
    "name",
    "pairs",
    "skipped",
    "repeats",
    "first_slot",
    "seconds",
    "fast",
    "practice",
)  # of a person, for that person


def own_progress(facts: dict[str, Any], name: str) -> dict[str, Any]:
    """What of these facts a person may see who is not the owner: the project's counts, and what is their own.

    Agreement is not among them, as it is with others, of whom one is the person whose labels are the key.
    """
    own = [{key: row[key] for key in _OWN if key in row} for row in facts["people"] if row["name"] == name]
    return {**{key: facts[key] for key in _COUNTS}, "people": own}


def _judges(session: LabelingSession) -> list[dict[str, Any]]:
    """How many labels of each program are what people say together, on segments that both labelled."""
    question = session.votes.dimension
    rows = [row for row in session.store.preferences() if not row.judge.startswith(ANNOTATOR)]
    people = labels_to_train_on(session.store, HUMAN, question) if rows else {}
    ratings = ratings_of([*rows, *people]).get(question, {})
    together = labels_by(ratings, HUMAN)
    counts = {
        judge: matching(labels_by(ratings, judge), together) for judge in dict.fromkeys(row.judge for row in rows)
    }
    return [{"name": judge, "same": same, "of": total} for judge, (same, total) in counts.items()]


def _first_answers(rows: Sequence[Preference]) -> list[Preference]:
    """The row that was stored first for each person, pair and question; repeats are left out."""
    first: dict[tuple[str, str, str, str], Preference] = {}
    for row in rows:
        if is_own_answer(row):
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


def typical_seconds(session: LabelingSession) -> float | None:
    """Median seconds that an answer took, of all whose time was taken; None where nobody's was."""
    taken = [remarks.seconds for remarks in session.store.annotations() if remarks.seconds is not None]
    return median(taken) if taken else None


def _timed(session: LabelingSession, rows: Mapping[str, Preference]) -> dict[str, list[tuple[float, bool]]]:
    """By person, for answers whose time was taken: seconds, and whether they are fewer than the clips last."""
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


def _first_by_pair(rows: Iterable[Preference]) -> dict[str, int]:
    """In how many of the decided pairs the clip shown first won: parts of one pair are no independent evidence."""
    sums = [total for row in rows if (total := sum(row.by_slot))]
    return {"first": sum(total > 0 for total in sums), "of": len(sums)}


def _person(
    name: str, rows: list[Preference], ratings: dict[str, Ratings], second: dict[str, Ratings], question: str
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
        "first_by_pair": _first_by_pair(row for row in mine if row.dimension == question),
    }
