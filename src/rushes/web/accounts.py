"""Who may open a page of the project: names, the hash of the token that each person's browser holds, and how it came.

The start key, new with each opening of the file and never stored, makes who holds it the project's owner: it is in
the address that the command prints, which nobody else on the machine can read. The owner says a name where one is
needed; everybody else has a link of their own.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rushes.sidefile import SideFile

NAME = re.compile(r"[^\W_](?:[\w .-]{0,38}[\w.])?")
_NAME_RULE = "letters and digits, up to 40, with spaces, dots, hyphens and underscores between them"
_TABLES = (
    "CREATE TABLE IF NOT EXISTS people (name TEXT PRIMARY KEY, token_hash TEXT NOT NULL UNIQUE)",
    "CREATE TABLE IF NOT EXISTS place (id TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS crowd (door TEXT NOT NULL, code TEXT NOT NULL, pairs_each INTEGER NOT NULL)",
)
_ADDED = (("people", "came", "TEXT NOT NULL DEFAULT ''"), ("place", "away", "INTEGER NOT NULL DEFAULT 0"))
_NO_TOKEN = "token_hash = lower(hex(randomblob(32)))"  # the hash of no token

CROWD = "id "  # before the id under which somebody came by the open link
_ID = re.compile(r"[A-Za-z0-9]{4,36}")  # as the platforms have them, which send people
_CODE = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"  # no letter of it looks like another

# How a token came: by the start key, by an invitation, by the open link, ended by the owner, or before that was stored.
Came = Literal["start", "invite", "open", "forgotten", ""]


class AccessDenied(ValueError):
    """A request that changes nothing; the text says why, for the person who made it."""


class NameTaken(ValueError):
    """A name that somebody has; `again`: the owner may take it up again, as the start key gave it out."""

    def __init__(self, name: str, again: bool) -> None:
        own = f"{name} was here before, in another browser; that one is signed out then. Are you {name}? Start again."
        super().__init__(own if again else f"{name} has a link of their own: open that, or choose another name.")
        self.again = again


@dataclass(frozen=True)
class Visitor:
    """Who sends a request."""

    name: str  # "" = the owner, who has not said one
    owner: bool
    crowd: bool = False  # came by the open link, and may label alone


@dataclass(frozen=True)
class OpenLink:
    """The open link: one for all, under ids that a platform gave them."""

    door: str  # secret part of the address
    code: str  # what who has done their part shows the platform
    pairs_each: int


class Accounts(SideFile):
    """The file that knows them."""

    loss = "people are then invited anew, and all labels stay"

    def __init__(self, path: Path, tables: Sequence[str] = (), added: Sequence[tuple[str, str, str]] = ()) -> None:
        super().__init__(path, (*_TABLES, *tables), added=(*_ADDED, *added))
        self.run("INSERT INTO place (id) SELECT ? WHERE NOT EXISTS (SELECT 1 FROM place)", secrets.token_hex(8))
        self.key = secrets.token_urlsafe(24)
        self._open = False  # whether the open link lets people in; a server that is not asked for it does not

    def opened(self, local: bool) -> None:
        """A server begins, for this machine alone (`local`) or for others too.

        Tokens that were given out without an invitation while it was for this machine end when others may come.
        """
        if not local:
            self.run(f"UPDATE people SET {_NO_TOKEN} WHERE came != 'invite' AND (SELECT away FROM place) = 0")
        self.run("UPDATE place SET away = ?", int(not local))

    def invite(self, name: str) -> str:
        """A new token for a person, who is known from now on; an earlier token stops working.

        Raises ValueError for a name that is no name.
        """
        return self._token(name, "invite")

    def join(self, name: str, again: bool = False) -> str:
        """A token for the owner under a name; with `again` also under one that the start key gave out before.

        Raises ValueError for a name that is no name, NameTaken for one that somebody has.
        """
        row = self.first("SELECT came FROM people WHERE name = ?", name)
        own = row is not None and row[0] in ("start", "")
        if row is not None and not (own and again):
            raise NameTaken(name, own)
        return self._token(name, "start")

    def open_link(self, pairs_each: int) -> OpenLink:
        """Let people in by the open link, which stays the same, until this server ends; each labels so many pairs."""
        before = self.crowd()
        door = before.door if before else secrets.token_urlsafe(12)
        code = before.code if before else "".join(secrets.choice(_CODE) for _ in range(8))
        self.run("DELETE FROM crowd")
        self.run("INSERT INTO crowd (door, code, pairs_each) VALUES (?, ?, ?)", door, code, pairs_each)
        self._open = True
        return OpenLink(door, code, pairs_each)

    def crowd(self) -> OpenLink | None:
        """The open link; None where the project never had one."""
        row = self.first("SELECT door, code, pairs_each FROM crowd")
        return OpenLink(*row) if row else None

    def enter(self, door: str, id: str) -> tuple[str, str]:
        """Name and token of somebody who comes by the open link; who comes again is signed out elsewhere.

        Raises:
            ValueError: an id that is none.
            AccessDenied: no such link now, or a name that came otherwise.
        """
        crowd = self.crowd() if self._open else None
        if crowd is None or not secrets.compare_digest(door.encode(), crowd.door.encode()):
            raise AccessDenied("This link is closed; ask whoever sent you here.")
        if not _ID.fullmatch(id):
            raise ValueError("This link lacks your id (?id=...); open it from the platform that sent you.")
        # A platform may write an id in either case: whoever came before keeps the name as it was written then.
        row = self.first("SELECT name, came FROM people WHERE name = ? COLLATE NOCASE ORDER BY rowid", CROWD + id)
        name, came = row or (CROWD + id, "open")
        if came != "open":
            raise AccessDenied("This id is closed here; ask whoever sent you.")
        return name, self._token(name, "open")

    def _token(self, name: str, came: Came) -> str:
        check_name(name)
        token = secrets.token_urlsafe(24)
        self.run(
            "INSERT INTO people (name, token_hash, came) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE "
            "SET token_hash = excluded.token_hash, came = excluded.came",
            name,
            _hash(token),
            came,
        )
        return token

    def forget(self, name: str) -> None:
        """End a person's token. The name stays theirs: only an invitation opens it again.

        Raises ValueError: nobody has this name.
        """
        if name not in self.people():
            there = ", ".join(self.people()) or "nobody was here yet"
            raise ValueError(f"--forget {name}: nobody has this name ({there})")
        self.run(f"UPDATE people SET {_NO_TOKEN}, came = 'forgotten' WHERE name = ?", name)

    def visitor(self, token: str) -> Visitor | None:
        """Whose token this is, or None."""
        if secrets.compare_digest(_hash(token), _hash(self.key)):
            return Visitor("", owner=True)
        row = self.first("SELECT name, came FROM people WHERE token_hash = ?", _hash(token))
        if not row or (row[1] == "open" and not self._open):
            return None
        return Visitor(row[0], owner=row[1] == "start", crowd=row[1] == "open")

    def who(self, token: str) -> str | None:
        """The person with this token, or None."""
        visitor = self.visitor(token)
        return visitor.name if visitor else None

    @property
    def place(self) -> str:
        """What tells this project from others that are served at the same address, before or after it."""
        return str(self.first("SELECT id FROM place")[0])

    def people(self) -> tuple[str, ...]:
        """Everybody who was invited or joined."""
        return tuple(name for (name,) in self.run("SELECT name FROM people ORDER BY rowid"))


def check_name(name: str) -> None:
    """Raise ValueError for a name that nobody can be given."""
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r:.60} is not a name for an annotator: use {_NAME_RULE}")


def bearer(authorization: str) -> str:
    """The token in a header."""
    return authorization.removeprefix("Bearer ").strip()


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
