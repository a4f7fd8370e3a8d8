"""Who may open a page of the project: names, and the hash of the token that each person's browser holds."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence
from pathlib import Path

from rushes.sidefile import SideFile

NAME = re.compile(r"[^\W_](?:[\w .-]{0,38}[\w.])?")
_NAME_RULE = "letters and digits, up to 40, with spaces, dots, hyphens and underscores between them"
_TABLES = (
    "CREATE TABLE IF NOT EXISTS people (name TEXT PRIMARY KEY, token_hash TEXT NOT NULL UNIQUE)",
    "CREATE TABLE IF NOT EXISTS place (id TEXT NOT NULL)",
)


class AccessDenied(ValueError):
    """A request that changes nothing; the text says why, for the person who made it."""


class Accounts(SideFile):
    """The file that knows them."""

    loss = "people are then invited anew, and all labels stay"

    def __init__(self, path: Path, tables: Sequence[str] = ()) -> None:
        super().__init__(path, (*_TABLES, *tables))
        self.run("INSERT INTO place SELECT ? WHERE NOT EXISTS (SELECT 1 FROM place)", secrets.token_hex(8))

    def invite(self, name: str) -> str:
        """A new token for a person, who is known from now on; an earlier token stops working.

        Raises ValueError for a name that is no name.
        """
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r:.60} is no name for an annotator: use {_NAME_RULE}")
        token = secrets.token_urlsafe(24)
        self.run(
            "INSERT INTO people VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET token_hash = excluded.token_hash",
            name,
            _hash(token),
        )
        return token

    def who(self, token: str) -> str | None:
        """The person with this token, or None."""
        row = self.first("SELECT name FROM people WHERE token_hash = ?", _hash(token))
        return row[0] if row else None

    @property
    def place(self) -> str:
        """What tells this project from others that are served at the same address, before or after it."""
        return str(self.first("SELECT id FROM place")[0])

    def people(self) -> tuple[str, ...]:
        """Everybody who was invited or joined."""
        return tuple(name for (name,) in self.run("SELECT name FROM people ORDER BY rowid"))


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
