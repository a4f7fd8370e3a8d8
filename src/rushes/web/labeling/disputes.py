"""Pairs that people, or people and a program, see differently, and the owner's answer that settles one.

What is stored is one more label, signed as the owner's settlement; those of the others stay as they were given.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from rushes.records import Preference, now, stable_hash
from rushes.store.annotators import ANNOTATOR, SETTLED, is_own_answer, newest, on_one_grid, turned_round, whole_mark
from rushes.store.database import Store
from rushes.web.accounts import AccessDenied
from rushes.web.labeling.label_rows import LabelingPlan, label_of
from rushes.web.site import Body, Id


@dataclass(frozen=True)
class Dispute:
    """A pair with what was said of it; all rows have the same clip on their left."""

    rows: tuple[Preference, ...]  # of people, in one grid of segments
    programs: tuple[Preference, ...]
    weight: int  # 3 = people chose opposite sides, 2 = some a tie, 1 = they differ from a program alone, 0 = settled
    settled: Preference | None = None  # the owner's label

    @property
    def left(self) -> str:
        """Id of the clip on the left."""
        return (self.settled or self.rows[0]).left

    @property
    def right(self) -> str:
        """Id of the clip on the right."""
        return (self.settled or self.rows[0]).right


class SettleDispute(Body):
    """The owner's labels of a pair: +1 the left clip is better, 0 tie, -1 the right one, null = cannot be told."""

    left: Annotated[str, Field(max_length=200)]
    right: Annotated[str, Field(max_length=200)]
    segment_s: Annotated[float, Field(gt=0, le=1e6, strict=False, allow_inf_nan=False)] | None
    labels: Annotated[list[Annotated[int, Field(ge=-1, le=1)] | None], Field(max_length=4096)]
    event: Id
    revises: Id | Literal[""] = ""


def disputes(store: Store, dimension: str) -> list[Dispute]:
    """Pairs that nobody has settled and that are seen differently over the whole clip, the worst first."""
    people, programs, settled = _by_pair(store, dimension)
    every = (_dispute(of, programs.get(pair, [])) for pair, of in people.items() if pair not in settled)
    return sorted((each for each in every if each), key=lambda each: -each.weight)


def settled_pairs(store: Store, dimension: str) -> list[Dispute]:
    """Pairs that the owner settled, the last at the end, as of the left clip of that label."""
    people, programs, settled = _by_pair(store, dimension)
    return [
        Dispute(
            on_one_grid(_turned(people.get(pair, []), last.left)), _turned(programs.get(pair, []), last.left), 0, last
        )
        for pair, (*_, last) in settled.items()
    ]


def _by_pair(store: Store, dimension: str) -> tuple[dict[frozenset[str], list[Preference]], ...]:
    """Labels of people, of programs, and those that settle, by pair."""
    people: dict[frozenset[str], list[Preference]] = {}
    programs: dict[frozenset[str], list[Preference]] = {}
    settled: dict[frozenset[str], list[Preference]] = {}
    for row in newest(store.preferences()):
        by = people if is_own_answer(row) else settled if row.judge.endswith(SETTLED) else programs
        if row.dimension == dimension and (by is not programs or not row.judge.startswith(ANNOTATOR)):
            by.setdefault(frozenset((row.left, row.right)), []).append(row)
    return people, programs, settled


def settlement(store: Store, given: SettleDispute, name: str, plan: LabelingPlan) -> Preference:
    """The owner's label of a pair, under a name. It takes the place of a label of an earlier visit, which is named by
    its row, whoever signed it, or of one of this visit, which is named by its event.

    Raises AccessDenied: labels that are none, or an event without an id of its own.
    """

    def id_of(event: str) -> str:
        return stable_hash(["settled", name, given.left, given.right, event])

    rows = {row.id for pair in settled_pairs(store, plan.dimensions[0]) if (row := pair.settled)}
    this_visit = id_of(given.revises) if given.revises else ""
    before = given.revises if given.revises in rows else this_visit
    if before == id_of(given.event):
        raise AccessDenied("The event has no id of its own.")
    try:
        return label_of(
            id_of(given.event),
            (given.left, given.right),
            given.labels,
            judge=f"{ANNOTATOR}{name}{SETTLED}",
            segment_s=given.segment_s,
            dimension=plan.dimensions[0],
            supersedes=before,
            created_at=now(),
            settings_hash=plan.settings_hash,
        )
    except ValueError as error:
        raise AccessDenied(str(error)) from error


def _dispute(people: list[Preference], programs: list[Preference]) -> Dispute | None:
    last = people[-1]
    rows = on_one_grid(_turned(people, last.left))
    verdicts = {mark for row in rows if (mark := whole_mark(row.marks)) is not None}
    others = _turned(programs, last.left)
    if len(verdicts) > 1:
        return Dispute(rows, others, 3 if {-1, 1} <= verdicts else 2)
    against = any(mark and -mark in verdicts for mark in (whole_mark(row.marks) for row in others))
    return Dispute(rows, others, 1) if against else None


def _turned(rows: Iterable[Preference], left: str) -> tuple[Preference, ...]:
    return tuple(row if row.left == left else turned_round(row) for row in rows)
