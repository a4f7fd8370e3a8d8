"""Small SQLite files beside a project's database: answers, vectors, accounts, and what was found out of videos."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

WAIT_S = 60.0  # for another process that writes


def connect(path: Path) -> sqlite3.Connection:
    """Open a file, or make it, for any thread; each statement is a transaction of its own unless one is begun."""
    connection = sqlite3.connect(path, timeout=WAIT_S, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA trusted_schema = OFF")  # the file may have come from anybody
    return connection


class SideFile:
    """A file of tables that are made where they are missing; threads and processes may share it.

    What was written survives a kill of the process, and where it was `paid` for also a loss of power.
    """

    def __init__(self, path: Path, tables: Iterable[str], paid: bool = False) -> None:
        self._lock = threading.Lock()
        self._file = connect(path)
        if not paid:
            self._file.execute("PRAGMA journal_mode = WAL")
        self._file.execute(f"PRAGMA synchronous = {'FULL' if paid else 'NORMAL'}")
        for statement in tables:
            self._file.execute(statement)

    def close(self) -> None:
        """Close the file; what was added is on disk."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, statement: str, *values: object) -> list[Any]:
        """All rows that a statement gives."""
        with self._lock:
            return self._file.execute(statement, values).fetchall()

    def first(self, statement: str, *values: object) -> Any:
        """The first row that a statement gives, or None."""
        return next(iter(self.run(statement, *values)), None)
