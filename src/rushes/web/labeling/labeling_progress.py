"""Who has labelled how much, and how well people agree: with each other, with themselves, and with the key."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from statistics import median
from typing import Any

from rushes.judges.label_agreement import Ratings, agreement, first_slot, labels_by, matching, ratings_of
from rushes.records import HUMAN, Annotation, Preference
from rushes.store.annotators import AGAIN, ANNOTATOR, is_own_answer, labels_to_train_on
from rushes.web.labeling.labeling_session import LabelingSession


@dataclass(frozen=True)
class _EverybodysAnswers:
    """All that people said, as the facts of a person are made from it; `Ratings` by question."""

    own: Sequence[Preference] = ()
    ratings: Mapping[str, Ratings] = field(default_factory=dict)
    again: Mapping[str, Ratings] = field(default_factory=dict)  # of repeats
    asked: Mapping[str, Ratings] = field(default_factory=dict)  # first answers, where there is a key
    gold_by: str = ""  # whose labels are the key
    question: str = ""  # the first
    timed: Mapping[str, list[tuple[float, bool]]] = field(default_factory=dict)  # see `_timed`


def progress_of(session: LabelingSession) -> dict[str, Any]:
    """Facts for the page of progress: of the project, of each dimension, and of each person."""
    rows = [row for row in session.store.preferences() if row.judge.startswith(ANNOTATOR)]
    own, gold_by = [row for row in rows if is_own_answer(row)], session.plan.gold_by
    answers = _EverybodysAnswers(
        own,
        ratings_of(own),
        ratings_of([row for row in rows if row.judge.endswith(AGAIN)]),
        # The first answer to a pair of the key counts: who could correct until it fits would read the key.
        asked=ratings_of(_first_answers(session.store.preferences(current=False))) if gold_by else {},
        gold_by=gold_by,
        question=session.votes.dimension,
        timed=_timed(session, {row.id: row for row in rows}),
    )
    voted = Counter(
        row.judge.removeprefix(ANNOTATOR) for row in session.store.preferences(votes=True) if is_own_answer(row)
    )
    there = (row.judge.removeprefix(ANNOTATOR) for row in own)
    names = dict.fromkeys([*session.assignments.people(), *there, *voted])
    return {
        **{name: count for name, count in session.progress("").items() if name != "done"},
        "several": int((session.votes.counts > 1).sum()),
        "dimensions": {name: asdict(agreement(by_pair)) for name, by_pair in answers.ratings.items()},
        "people": [
            person_facts(name, answers) | {"practice": session.practice.facts(name), "votes": voted[name]}
            for name in names
        ],
        "judges": _judges(session),
        "reasons": _reasons(session.store.annotations()),
    }


def person_facts(name: str, answers: _EverybodysAnswers = _EverybodysAnswers()) -> dict[str, Any]:
    """Facts of a person, by default of one who has not begun."""
    judge = ANNOTATOR + name
    mine, timed = [row for row in answers.own if row.judge == judge], answers.timed.get(judge, [])
    first, decided = first_slot(mine)
    # Parts of one pair are no independent evidence of a liking for the clip shown first.
    sums = [total for row in mine if row.dimension == answers.question and (total := sum(row.by_slot))]
    key = ANNOTATOR + answers.gold_by if answers.gold_by != name else ""
    return {
        "name": name,
        "pairs": len({(row.left, row.right) for row in mine}),
        "skipped": sum(len(row.unjudged) == len(row.labels) for row in mine),
        "agreement": {question: asdict(agreement(of, judge)) for question, of in answers.ratings.items()},
        "repeats": _same(answers.ratings, judge, answers.again, judge + AGAIN),
        "first_slot": {"first": first, "of": decided},
        "first_by_pair": {"first": sum(total > 0 for total in sums), "of": len(sums)},
        "gold": _same(answers.asked, judge, answers.ratings, key),  # the key as it stands now
        "seconds": median(seconds for seconds, _ in timed) if timed else None,
        "fast": {"of": len(timed), "fast": sum(fast for _, fast in timed)},
        "practice": None,
        "votes": 0,
    }


def _same(ratings: Mapping[str, Ratings], judge: str, others: Mapping[str, Ratings], other: str) -> dict[str, int]:
    """How many labels of one judge are those of another, over all questions that both answered."""
    counts = [
        matching(labels_by(of, judge), labels_by(others.get(question, {}), other)) for question, of in ratings.items()
    ]
    return {"same": sum(same for same, _ in counts), "of": sum(of for _, of in counts)}


_COUNTS = ("pairs", "open", "several")  # of the project, for everybody
# The facts of a person, as that person sees it.
_OWN = ("name", "pairs", "skipped", "repeats", "first_slot", "seconds", "fast", "practice")


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


def _reasons(rows: Iterable[Annotation]) -> dict[str, int]:
    """How many answers name each reason, the commonest first."""
    counts = Counter(reason for row in rows for reason in {*chain(*row.reasons), *chain(*row.span_reasons)})
    return dict(counts.most_common())
