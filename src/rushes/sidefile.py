"""Small SQLite files beside a project's database: answers, vectors, accounts, and what was found out of videos."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

WAIT_S = 60.0  # for another process that writes
RESTORE = "copy it from a backup"
_LOG = logging.getLogger(__name__)


def connect(path: Path, read_only: bool = False) -> sqlite3.Connection:
    """Open a file, or make it, for any thread; each statement is a transaction of its own unless one is begun.

    `read_only`: nothing is written, also beside the file, which may then lie in a folder that cannot be written.
    """
    place: str | Path = path
    if read_only:
        # Without a log nobody writes now, and SQLite must not want to make one.
        alone = "" if path.with_name(f"{path.name}-wal").exists() else "&immutable=1"
        place = f"{path.resolve().as_uri()}?mode=ro{alone}"
    connection = sqlite3.connect(place, timeout=WAIT_S, isolation_level=None, check_same_thread=False, uri=read_only)
    connection.execute("PRAGMA trusted_schema = OFF")  # the file may have come from anybody
    return connection


def plainly(error: sqlite3.Error, path: Path, restore: str = RESTORE) -> Exception:
    """An error of SQLite's with the file and what to do; `restore` is that of a damaged file."""
    name: str = getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_FULL", "SQLITE_IOERR")):
        cause = "the disk is full or failing; free some space, then run again: everything stored before is safe"
        return OSError(f"{path}: cannot be written: {cause}")
    if name.startswith("SQLITE_BUSY"):
        return OSError(f"{path}: another process has been writing for {WAIT_S:.0f} s; wait for it, then run again")
    if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return ValueError(f"{path}: not a readable database ({error}); {restore}")
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN")):
        return OSError(f"{path}: cannot be opened for writing ({error}); check the folder's permissions")
    return error


class SideFile:
    """A file of tables that are made where they are missing; threads and processes may share it.

    What was written survives a kill of the process, and where it was `paid` for also a loss of power. A damaged file
    is named, or begun anew where it is a cache.
    """

    cache = False  # nothing is lost with the file but time
    loss = ""  # what is lost with it

    def __init__(self, path: Path, tables: Iterable[str], paid: bool = False) -> None:
        self._lock = threading.Lock()
        self._path = path
        tables = tuple(tables)
        try:
            self._file = self._opened(tables, paid)
        except ValueError:
            if not self.cache:
                raise
            _LOG.warning("%s: a damaged cache; it is rebuilt", path)
            for end in ("", "-wal", "-shm"):
                path.with_name(path.name + end).unlink(missing_ok=True)
            self._file = self._opened(tables, paid)

    def _opened(self, tables: Iterable[str], paid: bool) -> sqlite3.Connection:
        with self._explained():
            file = connect(self._path)
            if not paid:
                file.execute("PRAGMA journal_mode = WAL")
            file.execute(f"PRAGMA synchronous = {'FULL' if paid else 'NORMAL'}")
            for statement in tables:
                file.execute(statement)
            return file

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            loss = f": {self.loss}" if self.loss else ""
            raise plainly(error, self._path, f"{RESTORE}, or delete it{loss}") from error

    def close(self) -> None:
        """Close the file; what was added is on disk."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, statement: str, *values: object) -> list[Any]:
        """All rows that a statement gives. Raises OSError for a full disk, ValueError for a damaged file."""
        with self._lock, self._explained():
            return self._file.execute(statement, values).fetchall()

    def first(self, statement: str, *values: object) -> Any:
        """The first row that a statement gives, or None."""
        return next(iter(self.run(statement, *values)), None)
