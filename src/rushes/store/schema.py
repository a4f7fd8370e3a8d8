"""What stands in a project's database: one table, its indexes, and two triggers that keep its rows as they are."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from rushes.sidefile import RESTORE, check_schema

# Raise it whenever an older Rushes could misread what this one writes. The table itself is the same in all of them.
# 2: captions, candidates of kind "gap", unjudged segments; 3: decisions; 4: captions of kind "scenario".
# 5: candidates of kind "probe"; 6: films of clips, further captions, clips that the footage no longer has.
# 7: films of takes; 8: annotations; 9: segments whose label was made from spans.
SCHEMA = 9
APPLICATION = 0x52757368  # "Rush"; databases that were made before it have 0

# One table for all kinds: ids are unique across kinds, as preferences and scores refer to clips and candidates alike,
# and the order of insertion is one order. The body holds the whole row; the other columns are its keys, kept to search.
COLUMNS = ("split", "kind", "system", "group", "judge", "supersedes", "metric", "subject", "name")
ADD_CRC = "ALTER TABLE rows ADD COLUMN crc INTEGER"  # of the body: SQLite notices no byte of a text that a disk changed
TABLES = (
    f"""CREATE TABLE rows (seq INTEGER PRIMARY KEY, type TEXT NOT NULL, id TEXT NOT NULL UNIQUE,
    body TEXT NOT NULL, {", ".join(f'"{column}" TEXT' for column in COLUMNS)})""",
    ADD_CRC,
    "CREATE INDEX by_type ON rows (type)",
    'CREATE INDEX by_group ON rows ("group") WHERE "group" IS NOT NULL',
    "CREATE INDEX by_system ON rows (system) WHERE system IS NOT NULL",
    "CREATE INDEX by_judge ON rows (judge) WHERE judge IS NOT NULL",
    "CREATE INDEX by_superseded ON rows (supersedes) WHERE supersedes > ''",
    "CREATE INDEX by_metric ON rows (metric) WHERE metric IS NOT NULL",
    "CREATE INDEX by_subject ON rows (subject) WHERE subject IS NOT NULL",
    "CREATE TRIGGER never_update BEFORE UPDATE ON rows BEGIN SELECT RAISE(ABORT, 'rows are never edited'); END",
    "CREATE TRIGGER never_delete BEFORE DELETE ON rows BEGIN SELECT RAISE(ABORT, 'rows are never deleted'); END",
)


def check_own(file: sqlite3.Connection, path: Path) -> None:
    """Refuse a project's database before its rows are read and before anything is written.

    Raises:
        ValueError: of another program or a newer Rushes, or with something in it that Rushes does not make.
    """
    (by,) = file.execute("PRAGMA application_id").fetchone()
    names = [name for (name,) in file.execute("SELECT name FROM sqlite_schema")]
    if by not in (0, APPLICATION) or (names and "rows" not in names):
        raise ValueError(f"{path}: the database of another program; choose another folder")
    (version,) = file.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA:
        raise ValueError(
            f"{path}: written by a newer Rushes (schema {version}, this one reads up to {SCHEMA}); "
            "upgrade with `pip install --upgrade rushes`"
        )
    check_schema(file, path, TABLES, f"if you added it, drop it, else {RESTORE}")
