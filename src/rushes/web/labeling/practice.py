"""Practice on pairs of the key: rounds of a few pairs that are explained after the answer, and never count.

A person gets practice until a round has as many answers of the key as the project asks for. What was practised on is
offered to that person no more: the key's answer is known by then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from rushes.records import Preference, seed_of, stable_hash
from rushes.store.annotators import ANNOTATOR, newest, turned_round, whole_mark
from rushes.store.database import Store
from rushes.web.accounts import AccessDenied
from rushes.web.labeling.assignments import Assignment, AssignmentStore
from rushes.web.labeling.label_rows import LabelingPlan, LabelSubmission


@dataclass(frozen=True)
class PracticeStanding:
    """How a person's newest round goes."""

    right: int
    of: int  # answers of the round so far
    size: int  # of a round; 0 = there is nothing to practise on
    passed: bool


@dataclass(frozen=True)
class Explanation:
    """What a person learns after an answer, in terms of what was shown."""

    right: bool
    key: tuple[int | None, ...]  # the key's marks: +1 A is better, 0 tie, -1 B, None = cannot be told
    yours: tuple[int | None, ...]
    reasons: tuple[str, ...]
    note: str
    strength: str
    standing: PracticeStanding


class Practice:
    """Rounds of practice of all people; `segments` says how many labels a pair takes."""

    def __init__(
        self, store: Store, assignments: AssignmentStore, plan: LabelingPlan, segments: Callable[[Assignment], int]
    ) -> None:
        self._store, self._assignments, self._plan, self._segments = store, assignments, plan, segments
        self._passed: set[str] = set()  # so that nothing is read at each pair of who has

    def standing(self, name: str) -> PracticeStanding | None:
        """How this person's practice goes; None where none is asked of them."""
        plan = self._plan
        if not plan.practice or plan.ranks or name == plan.gold_by:
            return None
        answers = self._assignments.practised(name)
        size = min(plan.practice, len(self._key()))
        if not size:
            return PracticeStanding(0, 0, 0, passed=True)
        rounds = [answers[at : at + size] for at in range(0, len(answers), size)]
        passed = any(len(each) == size and sum(each) >= plan.pass_mark * size for each in rounds)
        last = rounds[-1] if rounds else []
        return PracticeStanding(sum(last), len(last), size, passed)

    def due(self, name: str) -> bool:
        """Whether this person is to practise before anything counts."""
        if not self._plan.practice or name in self._passed:
            return False
        standing = self.standing(name)
        if standing and standing.passed and standing.size:
            self._passed.add(name)
        return standing is not None and not standing.passed

    def next(self, name: str, have: Sequence[str]) -> Assignment | None:
        """The pair that comes next; None where the page has it already and the round ends with it."""
        key = self._key()
        size, number = min(self._plan.practice, len(key)), len(self._assignments.practised(name))
        waiting = self._assignments.get(_item_id(self._plan, name, number))
        if waiting and waiting.id in have:
            number += 1
            if number % size == 0:
                return None
        id = _item_id(self._plan, name, number)
        before = self._assignments.get(id)
        if before and any((row.left, row.right) == (before.left, before.right) for row in key):
            return before
        row = self._least_practised(name, key, [waiting] if waiting and waiting.id in have else [])
        swapped = seed_of("practice side", self._plan.seed, name, row.left, number) % 2 == 1
        # Without a lease it is with nobody, and without a time of saving in nobody's list.
        item = Assignment(id, name, row.left, row.right, kind="practice", swapped=swapped, until=0.0)
        self._assignments.put(item)
        return item

    def _least_practised(self, name: str, key: Sequence[Preference], waiting: Sequence[Assignment]) -> Preference:
        """The pair of the key that this person was told of the fewest times: what was just explained tells
        nothing. `waiting` are on the page already."""
        times = Counter([*self._assignments.practised_pairs(name), *((item.left, item.right) for item in waiting)])
        return min(key, key=lambda row: times[row.left, row.right])

    def save(self, item: Assignment, given: LabelSubmission) -> Explanation:
        """Keep whether an answer is the key's, the first time it comes, and explain. Raises AccessDenied as rows do."""
        row = next((row for row in self._key() if (row.left, row.right) == (item.left, item.right)), None)
        if row is None:
            raise AccessDenied("This pair is no longer part of the practice; here is another.")
        shown = turned_round(row) if item.swapped else row
        yours = tuple(given.labels[row.dimension])
        key = shown.marks
        right = whole_mark(yours) == whole_mark(key)
        self._assignments.practise(item, right)
        remarks = next(iter(self._store.annotations(subject=row.id)), None)
        reasons = dict.fromkeys(word for words in (remarks.reasons if remarks else ()) for word in words)
        standing = self.standing(item.annotator)
        assert standing is not None
        return Explanation(
            right, key, yours, tuple(reasons), note=remarks.note if remarks else "",
            strength=remarks.strength if remarks else "", standing=standing,
        )  # fmt: skip

    def facts(self, name: str) -> Mapping[str, object] | None:
        """The standing for pages."""
        standing = self.standing(name)
        return asdict(standing) if standing and standing.size else None

    def _key(self) -> list[Preference]:
        """Labels of the key that fit the pairs as they are shown now, in an order of their own."""
        plan = self._plan
        rows = newest(self._store.preferences(judge=ANNOTATOR + plan.gold_by)) if plan.gold_by else ()
        fit = [row for row in rows if row.dimension == plan.dimensions[0] and self._fits(row)]
        return sorted(fit, key=lambda row: seed_of("practice", plan.seed, *sorted((row.left, row.right))))

    def _fits(self, row: Preference) -> bool:
        if len(row.unjudged) == len(row.labels):
            return False
        shown = Assignment("", "", row.left, row.right, kind="practice", swapped=False, until=0.0)
        return row.segment_s == self._plan.segment_s and len(row.labels) == self._segments(shown)


def _item_id(plan: LabelingPlan, name: str, number: int) -> str:
    return stable_hash(["practice", plan.seed, name, number])
