"""Who may label, and which pair is assigned to whom: a small SQLite file in the project, apart from the labels.

Labels themselves go to the store. This file can be lost without losing one: then invitations must be sent again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import combinations
from pathlib import Path
from typing import Literal

from rushes.web.accounts import Accounts

AssignmentKind = Literal["new", "overlap", "repeat", "gold", "practice"]
ClipSide = Literal["a", "b", "c", "d", "e", "f"]
SIDES: tuple[ClipSide, ...] = ("a", "b", "c", "d", "e", "f")


@dataclass(frozen=True)
class Assignment:
    """A pair that a person is to label, or several takes that they are to rank: `takes`, as they are shown, of which
    left and right are two. `event` is the last that was saved of it, `pending` one that is being saved."""

    id: str
    annotator: str
    left: str
    right: str
    kind: AssignmentKind
    swapped: bool  # the right clip is shown first
    until: float  # Unix time when the lease ends
    event: str = ""
    pending: str = ""
    saved_at: float = 0.0
    takes: tuple[str, ...] = ()

    @property
    def shown(self) -> dict[ClipSide, str]:
        """Ids of the takes by the letter that each is shown under."""
        pair = (self.right, self.left) if self.swapped else (self.left, self.right)
        return dict(zip(SIDES, self.takes or pair, strict=False))

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """All pairs that an answer labels."""
        return tuple(combinations(self.takes, 2)) if self.takes else ((self.left, self.right),)


_NAMES = [field.name for field in fields(Assignment)]
_COLUMNS = ", ".join(_NAMES)
_TABLES = (
    f"CREATE TABLE IF NOT EXISTS items ({', '.join(_NAMES[:-1]).replace('id,', 'id PRIMARY KEY,', 1)})",
    "CREATE INDEX IF NOT EXISTS by_annotator ON items (annotator, saved_at)",
    "CREATE INDEX IF NOT EXISTS by_pair ON items (annotator, left, right, kind)",
    "CREATE TABLE IF NOT EXISTS practice "
    "(item TEXT PRIMARY KEY, annotator TEXT, left TEXT, right TEXT, correct INTEGER)",
)


class AssignmentStore(Accounts):
    """The file of the people, with their items."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, _TABLES, [("items", "takes", "")])  # which was added for rankings

    def put(self, item: Assignment) -> None:
        """Write an item, new or changed."""
        marks = ", ".join("?" * len(fields(Assignment)))
        values = {**vars(item), "takes": json.dumps(item.takes) if item.takes else None}
        self.run(f"INSERT OR REPLACE INTO items ({_COLUMNS}) VALUES ({marks})", *values.values())

    def drop(self, item: str) -> None:
        """Forget an item that was given back."""
        self.run("DELETE FROM items WHERE id = ?", item)

    def get(self, item: str) -> Assignment | None:
        """The item with this id, or None."""
        return next(self._select("id = ?", item), None)

    def open(self, now: float) -> Iterator[Assignment]:
        """Items that are assigned and not saved yet."""
        return self._select("event = '' AND until > ?", now)

    def unsaved(self, annotator: str) -> Iterator[Assignment]:
        """Items that a person was given and has not saved, the one that was looked at last first; none of practice."""
        where = "annotator = ? AND saved_at = 0 AND event = '' AND until > 0 ORDER BY until DESC, rowid DESC LIMIT 8"
        return self._select(where, annotator)

    def saved_before(self, annotator: str, moment: float) -> Assignment | None:
        """What a person saved last before a moment, or None."""
        return next(iter(self.saved(annotator, moment, 1)), None)

    def saved(self, annotator: str, before: float, limit: int) -> list[Assignment]:
        """What a person saved before a moment, the last first."""
        where = "annotator = ? AND saved_at > 0 AND saved_at < ? ORDER BY saved_at DESC LIMIT ?"
        return list(self._select(where, annotator, before, limit))

    def to_repeat(self, annotator: str, after: int) -> Assignment | None:
        """The oldest pair that this person has had once, with at least `after` saved since; None = there is none."""
        recent = "SELECT saved_at FROM items WHERE annotator = ?1 ORDER BY saved_at DESC LIMIT 1 OFFSET ?2"
        again = (
            "SELECT 1 FROM items AS other WHERE other.annotator = ?1 AND other.left = items.left "
            "AND other.right = items.right AND other.kind = 'repeat'"
        )
        where = (
            f"annotator = ?1 AND saved_at > 0 AND kind != 'repeat' AND saved_at <= ({recent}) "
            f"AND NOT EXISTS ({again}) ORDER BY saved_at LIMIT 1"
        )
        return next(self._select(where, annotator, after), None)

    def practise(self, item: Assignment, correct: bool) -> None:
        """Note an answer in practice; the first of an item stays."""
        values = item.id, item.annotator, item.left, item.right, int(correct)
        self.run("INSERT OR IGNORE INTO practice VALUES (?, ?, ?, ?, ?)", *values)

    def practised(self, annotator: str) -> list[bool]:
        """Whether each of a person's answers in practice was the key's, in their order."""
        rows = self.run("SELECT correct FROM practice WHERE annotator = ? ORDER BY rowid", annotator)
        return [bool(correct) for (correct,) in rows]

    def practised_pairs(self, annotator: str) -> list[tuple[str, str]]:
        """Pairs of which a person was told the key's answer, each as often as that was."""
        rows = self.run("SELECT left, right FROM practice WHERE annotator = ?", annotator)
        return [(left, right) for left, right in rows]

    def count(self, annotator: str) -> int:
        """How many items a person has had."""
        return int(self.first("SELECT count(*) FROM items WHERE annotator = ? AND kind != 'practice'", annotator)[0])

    def _select(self, where: str, *arguments: object) -> Iterator[Assignment]:
        for row in self.run(f"SELECT {_COLUMNS} FROM items WHERE {where}", *arguments):
            values = dict(zip(_NAMES, row, strict=True))
            takes = tuple(json.loads(values["takes"])) if values["takes"] else ()
            yield Assignment(**{**values, "swapped": bool(values["swapped"]), "takes": takes})
