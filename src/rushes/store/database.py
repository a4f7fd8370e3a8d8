"""The project folder and its database: the one object that stages share."""

from __future__ import annotations

import logging
import os
import sqlite3
import sys
import threading
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import Self, cast

from rushes.files import make_folder
from rushes.records import (
    VOTE,
    Annotation,
    Candidate,
    CandidateKind,
    CaptionKind,
    CaptionRow,
    Clip,
    Decision,
    Preference,
    Row,
    Run,
    Score,
    Split,
)
from rushes.sidefile import RESTORE, WAIT_S, connect, plainly
from rushes.store.decisions import decided, standing
from rushes.store.in_use import HeldProject
from rushes.store.media import MediaFolder
from rushes.store.own_files import check_no_links
from rushes.store.rows import KIND_NAMES, KINDS, R, decode, encode, kind_of, same
from rushes.store.schema import ADD_CRC, APPLICATION, COLUMNS, SCHEMA, TABLES, check_own

FOLDERS = ("media", "latents", "runs", "reports")
_PAGE_ROWS = 2000
_LOG = logging.getLogger(__name__)
_INSERT = f"""INSERT INTO rows (type, id, body, crc, {", ".join(f'"{column}"' for column in COLUMNS)})
    VALUES (?, ?, ?, ?{", ?" * len(COLUMNS)}) ON CONFLICT (id) DO NOTHING"""


class Store:
    """A project folder: rows in rushes.db, videos in media/, and the folders for latents, runs and reports.

    Rows are only ever added. Threads may share a store; processes each open their own. The folder must lie on a
    local disk: SQLite's write-ahead log does not work over a network. One that cannot be written is read.
    """

    def __init__(self, project: Path) -> None:
        check_no_links(project)
        self.project = project
        self.in_use = HeldProject(project)
        self.media = MediaFolder(project / "media")
        self._path = project / "rushes.db"
        self._lock = threading.RLock()
        self._read_only = self._path.exists() and not all(os.access(path, os.W_OK) for path in (project, self._path))
        self._connection = connect(self._path, self._read_only)
        self._crc = "crc"  # the column of the checksums

    @classmethod
    def create(cls, project: Path) -> Self:
        """Make what is missing of the project folder and open it; an existing project is kept as it is."""
        make_folder(project)
        store = cls(project)
        for folder in FOLDERS:
            make_folder(project / folder)
        return store._ready(make=True)

    @classmethod
    def open(cls, project: Path) -> Self:
        """Open an existing project. Raises ValueError when there is none, or when a newer Rushes wrote it."""
        if not (project / "rushes.db").is_file():
            begun = (project / "rushes.toml").is_file()
            words, command = ("nothing is imported yet", "import") if begun else ("not a Rushes project", "init")
            raise ValueError(f"{project}: {words}; run `rushes {command} {quote(str(project))}` first")
        return cls(project)._ready(make=False)

    def _ready(self, make: bool) -> Self:
        try:
            with self._explained():
                self._connection.execute("PRAGMA synchronous = FULL")
                check_own(self._connection, self._path)
                if make and self._version() == 0:
                    self._use_wal()
                    self._make_tables()
                version = self._version() or self._stamp_again()
            with self._explained():
                self._add_crc()
            if version < SCHEMA and not self._read_only:  # the number alone, which keeps older programs out
                with self._explained():
                    self._connection.execute(f"PRAGMA user_version = {SCHEMA}")
        except BaseException:
            self.close()
            raise
        return self

    def _use_wal(self) -> None:
        """Switch to a write-ahead log. SQLite does not wait here when another process is doing the same, so we do."""
        until = time.monotonic() + WAIT_S
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if not error.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() > until:
                    raise
                time.sleep(0.02)

    def _version(self) -> int:
        return cast(int, self._connection.execute("PRAGMA user_version").fetchone()[0])

    def _make_tables(self) -> None:
        with self._transaction():
            if self._version() == 0:  # still so, now that we hold the lock
                if self._connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
                    return  # another program's, or its stamp was lost
                for statement in TABLES:
                    self._connection.execute(statement)
                self._connection.execute(f"PRAGMA user_version = {SCHEMA}")
                self._connection.execute(f"PRAGMA application_id = {APPLICATION}")

    def _add_crc(self) -> None:
        """A place for checksums in a database from before there were any; its rows stay without."""
        here = "SELECT 1 FROM pragma_table_info('rows') WHERE name = 'crc'"
        there = self._connection.execute(here).fetchone()
        if there is None and self._read_only:
            self._crc = "NULL"
        elif there is None:
            with self._transaction():
                if self._connection.execute(here).fetchone() is None:  # still so, now that we hold the lock
                    self._connection.execute(ADD_CRC)

    def _stamp_again(self) -> int:
        """The version of a database whose stamp was lost: the table is the same in all of them."""
        if not self._connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            raise ValueError(f"{self._path}: empty or not made by Rushes; run `rushes init {quote(str(self.project))}`")
        if fault := self.fault():
            raise ValueError(f"{self._path}: is damaged and has no version stamp ({fault}); {RESTORE}")
        self._connection.execute(f"PRAGMA user_version = {SCHEMA}")
        _LOG.warning("%s: had no version stamp; everything else is intact, and the stamp was written again", self._path)
        return SCHEMA

    def fault(self) -> str:
        """What SQLite finds wrong with the file, by reading all of it; empty where nothing is."""
        with self._lock, self._explained():
            (words,) = self._connection.execute("PRAGMA integrity_check(1)").fetchone()
        return "" if words == "ok" else str(words)

    def close(self) -> None:
        """Close the database; what was added is already on disk."""
        self._connection.close()
        self.in_use.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, rows: Iterable[Row]) -> int:
        """Add all of `rows`, or none when anything fails, and return how many were new.

        On return they are on disk and survive a crash. A row that is stored already is kept once; `created_at` does
        not distinguish rows. Raises ValueError when an id is stored with other content, when a value is not of its
        declared type, and when a preference supersedes an event that is not stored before it; OSError when the disk
        is full. `rows` is read to its end before the database is locked.
        """
        checked = [(row, _checked(row)) for row in rows]
        if not checked:
            return 0
        with self._lock, self._explained(), self._transaction():
            return sum(self._add_one(row, body) for row, body in checked)

    def _add_one(self, row: Row, body: str) -> bool:
        kind, name = type(row), KIND_NAMES[type(row)]
        if isinstance(row, Preference) and row.supersedes and not isinstance(self._find(row.supersedes), Preference):
            raise ValueError(f"preference {row.id!r} supersedes {row.supersedes!r}, which must be stored before it")
        keys = [getattr(row, column, None) for column in COLUMNS]
        if self._connection.execute(_INSERT, (name, row.id, body, _crc(body), *keys)).rowcount == 1:
            return True
        stored, old = self._connection.execute("SELECT type, body FROM rows WHERE id = ?", (row.id,)).fetchone()
        if stored != name or not same(kind, old, body):
            raise ValueError(f"{name}: {row.id!r} is stored with other content already; give the new row another id")
        return False

    def put_media(self, path: Path) -> str:
        """Keep a copy of the file at `path` and return its content hash; see `MediaFolder.put`."""
        return self.media.put(path)

    def put_media_bytes(self, data: bytes, suffix: str) -> str:
        """Keep `data` as a file with `suffix` (".mp4") and return its content hash."""
        return self.media.put_bytes(data, suffix)

    def media_path(self, digest: str) -> Path:
        """The file with this content hash. Raises ValueError when it is missing."""
        return self.media.path(digest)

    def get(self, id: str) -> Row:
        """The row with this id. Raises ValueError when there is none."""
        row = self.find(id)
        if row is None:
            raise ValueError(f"{self._path}: no row has the id {id!r}; import the clips and candidates it belongs to")
        return row

    def find(self, id: str) -> Row | None:
        """The row with this id, or None."""
        with self._lock, self._explained():
            return self._find(id)

    def count(self, kind: type[Row]) -> int:
        """How many rows of one kind there are."""
        with self._lock, self._explained():
            query = "SELECT count(*) FROM rows WHERE type = ?"
            return int(self._connection.execute(query, (KIND_NAMES[kind],)).fetchone()[0])

    def _find(self, id: str) -> Row | None:
        row = self._connection.execute(f"SELECT type, body, {self._crc} FROM rows WHERE id = ?", (id,)).fetchone()
        return self._read(KINDS[row[0]], row[1], row[2]) if row else None

    def _read(self, kind: type[R], body: str, crc: int | None) -> R:
        """A stored row. Raises ValueError where it is not what was stored, or a newer Rushes stored it."""
        if crc is not None and _crc(body) != crc:
            raise ValueError(f"{self._path}: a row of {KIND_NAMES[kind]} was altered, {body:.60}...; {RESTORE}")
        try:
            return decode(kind, body)
        except ValueError as error:
            raise ValueError(
                f"{self._path}: a row of {KIND_NAMES[kind]} cannot be read ({error}), {body:.60}...; if a newer Rushes "
                f"wrote it, upgrade with `pip install --upgrade rushes`, else {RESTORE}"
            ) from error

    def check_rows(self) -> Iterator[str]:
        """What is wrong with each row, "" = nothing: a body that was altered, or other keys beside it than in it."""
        # As bytes: a changed bit may make a text none, and SQLite's own module would then refuse the whole page.
        texts = ", ".join(f'CAST("{column}" AS BLOB)' for column in ("type", "id", "body", *COLUMNS))
        query = f"SELECT seq, CAST({self._crc} AS INTEGER), {texts} FROM rows WHERE seq > ? ORDER BY seq LIMIT ?"
        after = 0
        while True:
            with self._lock, self._explained():
                page = self._connection.execute(query, (after, _PAGE_ROWS)).fetchall()
            if not page:
                return
            after = page[-1][0]
            for _, crc, *values in page:
                yield self._problem(crc, values)

    def _problem(self, crc: int | None, values: Sequence[bytes | None]) -> str:
        try:
            texts = [None if value is None else value.decode() for value in values]
        except UnicodeDecodeError:
            id = (values[1] or b"").decode(errors="replace")
            return f"{self._path}: row {id!r:.90} was altered: it is not text; {RESTORE}"
        (name, id, body), keys = (text or "" for text in texts[:3]), texts[3:]
        if name not in KINDS:
            return f"{self._path}: row {id!r} has the unknown kind {name!r:.40}; {RESTORE}"
        try:
            row = self._read(KINDS[name], body, crc)
        except ValueError as error:
            return str(error)
        right = row.id == id and keys == [getattr(row, column, None) for column in COLUMNS]
        return "" if right else f"{self._path}: row {id!r}: its indexed columns differ from its content; {RESTORE}"

    def clips(self, split: Split | None = None, dropped: bool = False) -> tuple[Clip, ...]:
        """Real clips that are in the set, under the captions they go by, in the order they were added (as all below).

        `dropped`: all that were ever imported, as they were, whatever was decided since.
        """
        clips = self._select(Clip, split=split)
        return clips if dropped else tuple(decided(clips, self.decisions()))

    def stream_set(self) -> Iterator[Clip]:
        """As `clips` without arguments, a page in memory at a time."""
        return decided(self.stream(Clip), self.decisions())

    def candidates(
        self,
        split: Split | None = None,
        kind: CandidateKind | None = None,
        system: str | None = None,
        group: str | None = None,
        dropped: bool = False,
    ) -> tuple[Candidate, ...]:
        """Clips that models made; every argument that is given narrows the choice.

        `dropped`: also those that an import set aside, and those of real clips that are no longer in the set.
        """
        rows = self._select(Candidate, split=split, kind=kind, system=system, group=group)
        dropped_ids = set() if dropped else {id for id, decision in self.decisions().items() if not decision.keep}
        return tuple(row for row in rows if dropped_ids.isdisjoint((row.clip_id, row.id))) if dropped_ids else rows

    def decisions(self, subject: str | None = None) -> dict[str, Decision]:
        """Clip id -> the decision that counts, for clips about which there is one."""
        return standing(self.stream(Decision) if subject is None else self._select(Decision, subject=subject))

    def preferences(
        self, judge: str | None = None, current: bool = True, votes: bool = False
    ) -> tuple[Preference, ...]:
        """Preference events, or in their place `votes` on held-out takes, so that nobody trains on these unasked;
        `current` leaves out those that a later event, of whatever judge, supersedes. Two of one both count.
        """
        unless = "NOT EXISTS (SELECT 1 FROM rows AS later WHERE later.supersedes > '' AND later.supersedes = rows.id)"
        rows = self._select(Preference, unless if current else "", judge=judge)
        return tuple(row for row in rows if (row.dimension == VOTE) == votes)

    def annotations(self, judge: str | None = None, subject: str | None = None) -> tuple[Annotation, ...]:
        """What people said beside labels that count still; `subject` is the preference that was saved with it."""
        unless = (
            "NOT EXISTS (SELECT 1 FROM rows AS later WHERE later.supersedes > '' AND later.supersedes = rows.subject)"
        )
        return self._select(Annotation, unless, judge=judge, subject=subject)

    def scores(
        self, metric: str | None = None, system: str | None = None, subject: str | None = None
    ) -> tuple[Score, ...]:
        """Measurements; `system` keeps those whose subject is a candidate of that system."""
        if system is None:
            return self._select(Score, metric=metric, subject=subject)
        made_by = "subject IN (SELECT id FROM rows WHERE system = ?)"
        return self._select(Score, made_by, system, metric=metric, subject=subject)

    def scores_under(self, prefix: str) -> Iterator[Score]:
        """Measurements by all metrics whose names begin so, such as "curate/motion/", a page in memory at a time."""
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        with self._lock, self._explained():
            query = "SELECT DISTINCT metric FROM rows WHERE metric >= ? AND metric < ?"
            names = [name for (name,) in self._connection.execute(query, (prefix, end))]
        for name in names:
            yield from (row for _, row in self._paged(Score, "metric", name))

    def captions(self, kind: CaptionKind | None = None, subject: str | None = None) -> tuple[CaptionRow, ...]:
        """Texts for clips beside their own captions."""
        return self._select(CaptionRow, kind=kind, subject=subject)

    def scenarios(self) -> dict[str, str]:
        """Clip id -> the name of its scenario, for clips whose footage names one; the last counts."""
        return {row.subject: sys.intern(row.text) for row in self.stream(CaptionRow) if row.kind == "scenario"}

    def alternatives(self) -> dict[str, tuple[str, ...]]:
        """Clip id -> what else its footage calls it, for clips that have several captions; the last row counts."""
        rows = {row.subject: row.text for row in self.captions("alternatives")}
        return {id: tuple(text.split("\n")) for id, text in rows.items() if text}

    def runs(self) -> tuple[Run, ...]:
        """Finished training runs."""
        return self._select(Run)

    def stream(self, kind: type[R]) -> Iterator[R]:
        """All rows of one kind, superseded events included, a page in memory at a time."""
        return (row for _, row in self.tail(kind))

    def tail(self, kind: type[R], after: int = 0) -> Iterator[tuple[int, R]]:
        """As `stream`, but with each row's number and only those numbered above `after`; numbers grow with time."""
        return self._paged(kind, "type", KIND_NAMES[kind], after)

    def _paged(self, kind: type[R], column: str, value: str, after: int = 0) -> Iterator[tuple[int, R]]:
        query = f"SELECT seq, body, {self._crc} FROM rows WHERE {column} = ? AND seq > ? ORDER BY seq LIMIT ?"
        while True:
            # A page is fetched whole, so that no read transaction stays open and holds back the log's checkpoint.
            with self._lock, self._explained():
                page = self._connection.execute(query, (value, after, _PAGE_ROWS)).fetchall()
            if not page:
                return
            for after, body, crc in page:
                yield after, self._read(kind, body, crc)

    def _select(self, kind: type[R], extra: str = "", /, *arguments: str, **keys: str | None) -> tuple[R, ...]:
        given = {column: value for column, value in keys.items() if value is not None}
        where = ["type = ?", *([extra] if extra else []), *(f'"{column}" = ?' for column in given)]
        query = f"SELECT body, {self._crc} FROM rows WHERE {' AND '.join(where)} ORDER BY seq"
        with self._lock, self._explained():
            rows = self._connection.execute(query, (KIND_NAMES[kind], *arguments, *given.values()))
            return tuple(self._read(kind, body, crc) for body, crc in rows)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise plainly(error, self._path) from error


def _crc(body: str) -> int:
    return zlib.crc32(body.encode())


def _checked(row: Row) -> str:
    body = encode(row)
    try:
        decode(type(row), body)
    except ValueError as error:
        raise ValueError(f"{kind_of(row)} {row.id!r:.80} cannot be stored: {error}") from error
    return body
