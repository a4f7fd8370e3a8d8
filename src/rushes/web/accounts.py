"""Who may open a page of the project: names, and the hash of the token that each person's browser holds."""

from __future__ import annotations

import hashlib
import re
import secrets
import sqlite3
import threading
from pathlib import Path
from typing import Self

NAME = re.compile(r"[^\W_](?:[\w .-]{0,38}[\w.])?")
_NAME_RULE = "letters and digits, up to 40, with spaces, dots, hyphens and underscores between them"


class AccessDenied(ValueError):
    """A request that changes nothing; the text says why, for the person who made it."""


class Accounts:
    """The file that knows them; threads may share it. What was written survives a kill of the process."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._file = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
        self._file.execute("PRAGMA journal_mode = WAL")
        self._file.execute("PRAGMA synchronous = NORMAL")
        self._file.execute("CREATE TABLE IF NOT EXISTS people (name TEXT PRIMARY KEY, token_hash TEXT NOT NULL UNIQUE)")
        self._file.execute("CREATE TABLE IF NOT EXISTS place (id TEXT NOT NULL)")
        self._file.execute("INSERT INTO place SELECT ? WHERE NOT EXISTS (SELECT 1 FROM place)", (secrets.token_hex(8),))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def invite(self, name: str) -> str:
        """A new token for a person, who is known from now on; an earlier token stops working.

        Raises ValueError for a name that is no name.
        """
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r:.60} is no name for an annotator: use {_NAME_RULE}")
        token = secrets.token_urlsafe(24)
        with self._lock:
            self._file.execute(
                "INSERT INTO people VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET token_hash = excluded.token_hash",
                (name, _hash(token)),
            )
        return token

    def who(self, token: str) -> str | None:
        """The person with this token, or None."""
        with self._lock:
            row = self._file.execute("SELECT name FROM people WHERE token_hash = ?", (_hash(token),)).fetchone()
        return row[0] if row else None

    @property
    def place(self) -> str:
        """What tells this project from others that are served at the same address, before or after it."""
        with self._lock:
            return str(self._file.execute("SELECT id FROM place").fetchone()[0])

    def people(self) -> tuple[str, ...]:
        """Everybody who was invited or joined."""
        with self._lock:
            return tuple(name for (name,) in self._file.execute("SELECT name FROM people ORDER BY rowid"))


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
