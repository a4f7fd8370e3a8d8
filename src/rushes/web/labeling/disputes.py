"""Pairs that people, or people and a program, see differently, and the owner's answer that settles one.

What is stored is one more label, signed as the owner's settlement; those of the others stay as they were given.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rushes.records import Preference, now, stable_hash
from rushes.store.annotators import ANNOTATOR, SETTLED, is_own_answer, newest, on_one_grid, turned_round, whole_mark
from rushes.store.database import Store
from rushes.web.accounts import AccessDenied

Marks = Sequence[int | None]


@dataclass(frozen=True)
class Dispute:
    """A pair with what was said of it; all rows have the same clip on their left."""

    rows: tuple[Preference, ...]  # of people, in one grid of segments
    programs: tuple[Preference, ...]
    weight: int  # 3 = people chose opposite sides, 2 = some of them a tie, 1 = they differ from a program alone

    @property
    def left(self) -> str:
        """Id of the clip on the left."""
        return self.rows[0].left

    @property
    def right(self) -> str:
        """Id of the clip on the right."""
        return self.rows[0].right


def disputes(store: Store, dimension: str) -> list[Dispute]:
    """Pairs that nobody has settled and that are seen differently over the whole clip, the worst first."""
    rows = [row for row in newest(store.preferences()) if row.dimension == dimension]
    settled = {_pair(row) for row in rows if row.judge.endswith(SETTLED)}
    people: dict[frozenset[str], list[Preference]] = {}
    programs: dict[frozenset[str], list[Preference]] = {}
    for row in rows:
        by = people if is_own_answer(row) else None if row.judge.startswith(ANNOTATOR) else programs
        if by is not None and _pair(row) not in settled:
            by.setdefault(_pair(row), []).append(row)
    every = (_dispute(of, programs.get(pair, [])) for pair, of in people.items())
    return sorted((each for each in every if each), key=lambda each: -each.weight)


def settlement(
    left: str, right: str, labels: Marks, *, name: str, event: str, revises: str, segment_s: float | None,
    dimension: str, settings_hash: str = "",
) -> Preference:  # fmt: skip
    """The owner's label of a pair: +1 the left clip is better, 0 tie, -1 the right one, None = cannot be told.

    Raises AccessDenied: labels that are none, or an event without an id of its own.
    """
    if not event or event == revises:
        raise AccessDenied("The event has no id of its own.")
    marks = tuple(mark or 0 for mark in labels)
    try:
        return Preference(
            id=_row_id(left, right, name, event),
            left=left,
            right=right,
            labels=marks,
            judge=f"{ANNOTATOR}{name}{SETTLED}",
            segment_s=segment_s,
            dimension=dimension,
            supersedes=_row_id(left, right, name, revises) if revises else "",
            created_at=now(),
            settings_hash=settings_hash,
            unjudged=tuple(at for at, mark in enumerate(labels) if mark is None),
            by_slot=marks,
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


def _pair(row: Preference) -> frozenset[str]:
    return frozenset((row.left, row.right))


def _row_id(left: str, right: str, name: str, event: str) -> str:
    return stable_hash(["settled", name, left, right, event])
