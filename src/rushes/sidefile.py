"""Small SQLite files beside a project's database: answers, vectors, accounts, and what was found out of videos."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Self

WAIT_S = 60.0  # for another process that writes
RESTORE = "copy it from a backup"
_SCHEMA = "SELECT type, name, tbl_name, sql FROM sqlite_schema"
_NAMES_ANOTHER = bytes.fromhex("d9d505f920a163d7")  # how a journal ends that is of several files together
_LOG = logging.getLogger(__name__)


def connect(path: Path, read_only: bool = False) -> sqlite3.Connection:
    """Open a file, or make it, for any thread; each statement is a transaction of its own unless one is begun.

    `read_only`: nothing is written, also beside the file, which may then lie in a folder that cannot be written.

    Raises:
        ValueError: a journal beside it, by which SQLite would delete another file.
    """
    _check_journal(path.with_name(f"{path.name}-journal"))
    place: str | Path = path
    if read_only:
        # Without a log nobody writes now, and SQLite must not want to make one.
        alone = "" if path.with_name(f"{path.name}-wal").exists() else "&immutable=1"
        place = f"{path.resolve().as_uri()}?mode=ro{alone}"
    connection = sqlite3.connect(place, timeout=WAIT_S, isolation_level=None, check_same_thread=False, uri=read_only)
    for limit in ("trusted_schema = OFF", "cell_size_check = ON"):  # the file may have come from anybody
        connection.execute(f"PRAGMA {limit}")
    return connection


def _check_journal(journal: Path) -> None:
    """Refuse a journal that names another file, as no write of ours does: SQLite deletes that file after a recovery."""
    with suppress(FileNotFoundError), journal.open("rb") as file:
        file.seek(max(0, journal.stat().st_size - len(_NAMES_ANOTHER)))
        if file.read() == _NAMES_ANOTHER:
            raise ValueError(f"{journal}: names another file, which SQLite would delete; delete this journal")


def check_schema(file: sqlite3.Connection, path: Path, own: Sequence[str], remedy: str) -> None:
    """Refuse a file in which something stands that the statements `own` do not make: a view, a trigger, another column.

    Whatever stands there runs as soon as a table is read or written; the list of it alone is read here.
    """
    made_by_us = _made_by(tuple(own))
    strange = next((row for row in file.execute(_SCHEMA) if row not in made_by_us), None)
    if strange is not None:
        kind, name, *_ = strange
        raise ValueError(f"{path}: its {kind:.20} {name!r:.80} is not as Rushes makes it, and may run code; {remedy}")


@cache
def _made_by(statements: tuple[str, ...]) -> frozenset[tuple[str | None, ...]]:
    """What stands in a file into which these statements, or the first of them, were written."""
    there = set[tuple[str | None, ...]]()
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as file:
        file.execute("BEGIN")
        for statement in statements:
            file.execute(statement)
            there.update(file.execute(_SCHEMA))
    return frozenset(there)


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

    def __init__(
        self, path: Path, tables: Sequence[str], paid: bool = False, added: Iterable[tuple[str, str, str]] = ()
    ) -> None:
        """`added`: table, name and kind of columns that files from before they were there lack."""
        self._lock = threading.Lock()
        self._path = path
        columns = [(table, name, f"ALTER TABLE {table} ADD COLUMN {name} {kind}") for table, name, kind in added]
        try:
            self._file = self._opened(tables, columns, paid)
        except ValueError:
            if not self.cache:
                raise
            _LOG.warning("%s: a damaged cache; it is rebuilt", path)
            for end in ("", "-wal", "-shm", "-journal"):
                path.with_name(path.name + end).unlink(missing_ok=True)
            self._file = self._opened(tables, columns, paid)

    def _opened(self, tables: Sequence[str], columns: Sequence[tuple[str, str, str]], paid: bool) -> sqlite3.Connection:
        with self._explained():
            file = connect(self._path)
            check_schema(file, self._path, (*tables, *(statement for *_, statement in columns)), self._remedy)
            if not paid:
                file.execute("PRAGMA journal_mode = WAL")
            file.execute(f"PRAGMA synchronous = {'FULL' if paid else 'NORMAL'}")
            for statement in tables:
                file.execute(statement)
            for table, name, statement in columns:
                if not file.execute("SELECT 1 FROM pragma_table_info(?) WHERE name = ?", (table, name)).fetchone():
                    with suppress(sqlite3.OperationalError):  # another process was faster, or what follows fails
                        file.execute(statement)
            return file

    @property
    def _remedy(self) -> str:
        return f"{RESTORE}, or delete it{f': {self.loss}' if self.loss else ''}"

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise plainly(error, self._path, self._remedy) from error

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
