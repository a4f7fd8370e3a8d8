"""A project's database for pages that only look: rows as SQL finds them, as they grow, with no lock and no write."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from rushes.sidefile import connect, plainly
from rushes.store.own_files import own_path

DATABASE = "rushes.db"
TAKES = '"group" IS NOT NULL'  # candidates alone have one, and it is indexed


@contextmanager
def reading(project: Path) -> Iterator[sqlite3.Connection | None]:
    """A connection that can only read, None where there is no database; each request has one of its own.

    Raises:
        ValueError: a link, or no database.
        OSError: it cannot be read now.
    """
    path = own_path(project, DATABASE)
    if not path.is_file():
        yield None
        return
    try:
        with closing(connect(path, read_only=True)) as connection:
            connection.row_factory = sqlite3.Row
            yield connection
    except sqlite3.Error as error:
        raise plainly(error, path) from error


def bodies(connection: sqlite3.Connection, query: str, *values: object) -> list[dict[str, Any]]:
    """The stored rows that a query gives as its first column."""
    return [json.loads(row[0]) for row in connection.execute(query, values)]


def marks(values: Sequence[object]) -> str:
    """Places for so many values in a statement."""
    return ", ".join("?" * len(values))


def takes_of(connection: sqlite3.Connection, group: str) -> list[dict[str, Any]]:
    """All candidates that answer one request, as they were stored."""
    return bodies(connection, f'SELECT body FROM rows WHERE {TAKES} AND "group" = ? ORDER BY seq', group)


def row_of(connection: sqlite3.Connection, id: str, kind: str) -> dict[str, Any] | None:
    """A stored row by its id, if it is of this kind."""
    rows = bodies(connection, "SELECT body FROM rows WHERE id = ? AND type = ?", id, kind)
    return rows[0] if rows else None


def scores_of(connection: sqlite3.Connection, ids: Sequence[str]) -> dict[str, dict[str, float]]:
    """Id -> metric -> value, the last where it was measured more than once."""
    scores: dict[str, dict[str, float]] = {id: {} for id in ids}
    query = f"SELECT body FROM rows WHERE subject IN ({marks(ids)}) AND type = 'scores' ORDER BY seq"
    for row in bodies(connection, query, *ids):
        scores[row["subject"]][row["metric"]] = row["value"]
    return scores


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """What a page shows of a clip or a take."""
    names = ("id", "caption", "width_px", "height_px", "frames", "fps")
    more = ("system", "kind", "seed", "eta", "source")
    return {name: row[name] for name in names} | {name: row[name] for name in more if row.get(name) is not None}


def distinct(connection: sqlite3.Connection, column: str) -> list[str]:
    """Values of an indexed column, each looked up by the one before it: as fast with a million rows."""
    values: list[str] = []
    query = f"SELECT min({column}) FROM rows WHERE {column} > ?"
    while (value := connection.execute(query, (values[-1] if values else "",)).fetchone()[0]) is not None:
        values.append(value)
    return values
