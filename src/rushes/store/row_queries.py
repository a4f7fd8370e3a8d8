"""Rows as SQL finds them, for who only looks at a project while it grows: no lock, no write, and no row is built."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from rushes.sidefile import connect, plainly
from rushes.store.own_files import own_path
from rushes.store.rows import MOST_OF_NAME
from rushes.store.schema import check_own
from rushes.text_reader import MOST_CHARACTERS

# A row of `rushes.records` as JSON, its texts cut. It stays a dict: pages hand most of it on as JSON, and a row of a
# former version lacks entries that a dataclass needs.
StoredRow = dict[str, Any]
DATABASE = "rushes.db"
_NAMES = 1000  # of systems, metrics or judges that a page offers
TAKES = '"group" IS NOT NULL'  # candidates alone have one, and it is indexed


@contextmanager
def reading(project: Path) -> Iterator[sqlite3.Connection | None]:
    """A connection that can only read, None where there is no database; each request has one of its own.

    Raises:
        ValueError: a link, no database, or one that `check_own` refuses.
        OSError: it cannot be read now.
    """
    path = own_path(project, DATABASE)
    if not path.is_file():
        yield None
        return
    try:
        with closing(connect(path, read_only=True)) as connection:
            check_own(connection, path)
            connection.row_factory = sqlite3.Row
            yield connection
    except sqlite3.Error as error:
        raise plainly(error, path) from error


def bodies(connection: sqlite3.Connection, query: str, *values: object) -> list[StoredRow]:
    """The stored rows that a query gives as its first column, their texts as far as people look at them."""
    return [_cut(json.loads(row[0])) for row in connection.execute(query, values)]  # one row in memory as it is


def _cut(row: StoredRow) -> StoredRow:
    return {
        name: f"{value[:MOST_CHARACTERS]}..." if isinstance(value, str) and len(value) > MOST_CHARACTERS else value
        for name, value in row.items()
    }


def marks(values: Sequence[object]) -> str:
    """Places for so many values in a statement."""
    return ", ".join("?" * len(values))


def takes_of(connection: sqlite3.Connection, group: str) -> list[StoredRow]:
    """All candidates that answer one request, as they were stored."""
    return bodies(connection, f'SELECT body FROM rows WHERE {TAKES} AND "group" = ? ORDER BY seq', group)


def row_of(connection: sqlite3.Connection, id: str, kind: str) -> StoredRow | None:
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


def distinct(connection: sqlite3.Connection, column: str) -> list[str]:
    """Values of an indexed column, each looked up by the one before it: as fast with a million rows.

    A stranger's project fills no page: longer names than a file may have are cut, and the first `_NAMES` stand for all.
    """
    values, value = list[str](), ""
    query = f"SELECT min({column}) FROM rows WHERE {column} > ?"
    while len(values) < _NAMES and (value := connection.execute(query, (value,)).fetchone()[0]) is not None:
        values.append(value)
    return [_shortened(value) for value in values]


def _shortened(name: str) -> str:
    return name if len(name) <= MOST_OF_NAME else f"{name[:MOST_OF_NAME]}..."


def runs_of(connection: sqlite3.Connection) -> list[StoredRow]:
    """Finished runs, the newest last."""
    return bodies(connection, "SELECT body FROM rows WHERE type = 'runs' ORDER BY seq")


def held_out_systems(connection: sqlite3.Connection) -> dict[str, int]:
    """Systems that have held-out takes, and the place of the first of them."""
    here = f"SELECT min(seq) FROM rows WHERE {TAKES} AND system = ? AND split = 'eval' AND kind != 'probe'"
    first = {name: connection.execute(here, (name,)).fetchone()[0] for name in distinct(connection, "system")}
    return {name: place for name, place in first.items() if place is not None}


def held_out_takes(connection: sqlite3.Connection, system: str) -> list[StoredRow]:
    """Held-out takes of a system, as they were stored."""
    where = f"{TAKES} AND split = 'eval' AND system = ? AND kind != 'probe'"
    return bodies(connection, f"SELECT body FROM rows WHERE {where} ORDER BY seq", system)


def metrics_of(connection: sqlite3.Connection, ids: Sequence[str]) -> list[str]:
    """What was measured of some of these clips and takes."""
    query = f"SELECT DISTINCT metric FROM rows WHERE subject IN ({marks(ids)}) AND metric IS NOT NULL ORDER BY metric"
    return [_shortened(name) for (name,) in connection.execute(query, tuple(ids))]


def values_of(connection: sqlite3.Connection, metric: str) -> dict[str, float]:
    """Id -> the value of a metric, the last where there are more."""
    query = "SELECT subject, json_extract(body, '$.value') FROM rows WHERE metric = ? ORDER BY seq"
    return dict(connection.execute(query, (metric,)).fetchall())


def range_of(connection: sqlite3.Connection, metric: str) -> list[float] | None:
    """The lowest and the highest value of a metric."""
    value = "json_extract(body, '$.value')"
    low, high = connection.execute(
        f"SELECT min({value}), max({value}) FROM rows WHERE metric = ?", (metric,)
    ).fetchone()
    return None if low is None else [low, high]
