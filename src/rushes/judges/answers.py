"""What a model at an endpoint answered, and what all calls have cost: one SQLite file, safe to kill at any time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rushes.records import now
from rushes.sidefile import SideFile

_TABLES = (
    "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, text TEXT NOT NULL, stopped TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS calls (at TEXT NOT NULL, outcome TEXT NOT NULL, cost REAL NOT NULL)",
)


@dataclass(frozen=True)
class Reply:
    """The text of one answer, and why the model broke off ("" = it did not)."""

    text: str
    stopped: str = ""


@dataclass(frozen=True)
class Spent:
    """Requests sent so far, and money in the unit of the prices that the settings name."""

    calls: int
    cost: float


class Answers(SideFile):
    """Answers by the hash of the question, and a ledger of every request."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        super().__init__(path, _TABLES, paid=True)

    def find(self, key: str) -> Reply | None:
        """The answer that is kept under `key`, or None."""
        row = self.first("SELECT text, stopped FROM answers WHERE key = ?", key)
        return Reply(*row) if row else None

    def keep(self, key: str, reply: Reply) -> None:
        """Keep the answer under `key`; the first one stays."""
        self.run("INSERT OR IGNORE INTO answers VALUES (?, ?, ?)", key, reply.text, reply.stopped)

    def pay(self, outcome: str, cost: float) -> None:
        """Note one request, its outcome (a word or a status), and what it cost."""
        self.run("INSERT INTO calls VALUES (?, ?, ?)", now(), outcome, cost)

    def spent(self) -> Spent:
        """All requests of this file, those of earlier runs included."""
        return Spent(*self.first("SELECT count(*), coalesce(sum(cost), 0) FROM calls"))
