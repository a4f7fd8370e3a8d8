"""What a model at an endpoint answered, and what all calls have cost: one SQLite file, safe to kill at any time."""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from rushes.records import now

_WAIT_S = 60.0


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


class Answers:
    """Answers by the hash of the question, and a ledger of every request; threads and processes may share the file."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._file = sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False)
        for statement in (
            "PRAGMA synchronous = FULL",
            "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, text TEXT NOT NULL, stopped TEXT NOT NULL)",
            "CREATE TABLE IF NOT EXISTS calls (at TEXT NOT NULL, outcome TEXT NOT NULL, cost REAL NOT NULL)",
        ):
            self._file.execute(statement)

    def close(self) -> None:
        """Close the file; what was added is on disk."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def find(self, key: str) -> Reply | None:
        """The answer that is kept under `key`, or None."""
        with self._lock:
            row = self._file.execute("SELECT text, stopped FROM answers WHERE key = ?", (key,)).fetchone()
        return Reply(*row) if row else None

    def keep(self, key: str, reply: Reply) -> None:
        """Keep the answer under `key`; the first one stays."""
        with self._lock:
            self._file.execute("INSERT OR IGNORE INTO answers VALUES (?, ?, ?)", (key, reply.text, reply.stopped))

    def pay(self, outcome: str, cost: float) -> None:
        """Note one request, its outcome (a word or a status), and what it cost."""
        with self._lock:
            self._file.execute("INSERT INTO calls VALUES (?, ?, ?)", (now(), outcome, cost))

    def spent(self) -> Spent:
        """All requests of this file, those of earlier runs included."""
        with self._lock:
            calls, cost = self._file.execute("SELECT count(*), coalesce(sum(cost), 0) FROM calls").fetchone()
        return Spent(calls, cost)
