"""A database from elsewhere is data: what SQLite would run or delete on its behalf is refused at once."""

from __future__ import annotations

import logging
import sqlite3
import struct
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from rushes.config.tables import Settings
from rushes.footage.probe_cache import ProbeCache
from rushes.judges.endpoint import Answers
from rushes.project.settings import write_settings
from rushes.store.database import Store
from rushes.store.row_queries import reading
from rushes.web.labeling.assignments import AssignmentStore

from ..projects import Rushes

ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)"
COLUMNS = "'clips' AS type, x AS id, '{}' AS body, NULL AS split, NULL AS kind, NULL AS system, NULL AS \"group\""
MORE = "NULL AS judge, NULL AS supersedes, NULL AS metric, NULL AS subject, NULL AS name, NULL AS crc"
ADDED = {
    "view 'rows'": f"DROP TABLE rows; CREATE VIEW rows AS {ENDLESS} SELECT x AS seq, {COLUMNS}, {MORE} FROM n",
    "view 'seen'": "CREATE VIEW seen AS SELECT * FROM rows",
    "trigger 'on_label'": "CREATE TRIGGER on_label AFTER INSERT ON rows BEGIN DELETE FROM rows; END",
    "trigger 'never_delete'": "DROP TRIGGER never_delete; CREATE TRIGGER never_delete BEFORE INSERT ON rows "
    "BEGIN SELECT RAISE(IGNORE); END",
    "table 'text'": "CREATE VIRTUAL TABLE text USING fts5(body)",
    "table 'rows'": "ALTER TABLE rows ADD COLUMN longer AS (hex(zeroblob(100000000)))",
    "index 'by_length'": "CREATE INDEX by_length ON rows (length(hex(zeroblob(seq))))",
}


def altered(path: Path, script: str) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.executescript(script)


@pytest.mark.parametrize("what", ADDED)
def test_what_rushes_does_not_make_is_refused_before_it_is_read_or_written(
    what: str, tmp_path: Path, rushes: Rushes
) -> None:
    Store.create(tmp_path / "theirs").close()
    write_settings(tmp_path / "theirs", Settings())
    database = tmp_path / "theirs" / "rushes.db"
    altered(database, ADDED[what])
    before = database.read_bytes()
    for command in ("report", "import", "verify"):
        status, out, err = rushes(command, tmp_path / "theirs")
        assert status and f"{database}: its {what} is not as Rushes makes it" in out + err, (out, err)
    with pytest.raises(ValueError, match="not as Rushes makes it"), reading(tmp_path / "theirs"):
        pass
    assert database.read_bytes() == before and not list(database.parent.glob("rushes.db-*"))


def test_a_side_file_with_more_than_ours_is_refused_and_a_cache_is_rebuilt(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Store.create(tmp_path).close()
    AssignmentStore(tmp_path / "labelling.db").close()
    trigger = "CREATE TRIGGER nobody AFTER INSERT ON people BEGIN DELETE FROM people; END"
    altered(tmp_path / "labelling.db", trigger)
    with pytest.raises(ValueError, match=r"its trigger 'nobody' is not as Rushes makes it.*or delete it: people are"):
        AssignmentStore(tmp_path / "labelling.db")
    altered(tmp_path / "footage.db", "CREATE VIEW files AS SELECT 1 AS place")
    with caplog.at_level(logging.WARNING):
        ProbeCache(tmp_path).close()
    assert "footage.db: a damaged cache; it is rebuilt" in caplog.text


def journal_naming(database: Path, victim: Path) -> Path:
    """A journal as SQLite writes it for several files together: it names the file that lists them all."""
    name, magic = str(victim).encode(), bytes.fromhex("d9d505f920a163d7")
    head = magic + struct.pack(">5I", 0, 1, database.stat().st_size // 4096, 512, 4096)
    sums = sum(struct.unpack(f"{len(name)}b", name)) & 0xFFFFFFFF
    journal = database.with_name(f"{database.name}-journal")
    end = struct.pack(">I", 2**30 // 4096 + 1) + name + struct.pack(">2I", len(name), sums) + magic
    journal.write_bytes(head.ljust(512, b"\0") + end)
    return journal


OPENED: dict[str, Callable[[Path], object]] = {
    "rushes.db": Store.open,
    "answers.db": lambda project: Answers(project / "answers.db"),
    "footage.db": lambda project: ProbeCache(project).close(),
}


@pytest.mark.parametrize("name", OPENED)
def test_no_journal_deletes_a_file_of_this_user(name: str, tmp_path: Path) -> None:
    """SQLite deletes the file that a journal names when it has rolled back, as soon as the project opens."""
    project, victim = tmp_path / "theirs", tmp_path / "thesis.tex"
    Store.create(project).close()
    altered(project / name, "PRAGMA journal_mode = DELETE; CREATE TABLE IF NOT EXISTS rows (x)")
    victim.write_text("years of work")
    journal = journal_naming(project / name, victim)
    try:
        OPENED[name](project)
    except ValueError as error:
        assert str(error) == f"{journal}: names another file, which SQLite would delete; delete this journal"
    assert victim.exists() and (name == "footage.db") != journal.exists()
