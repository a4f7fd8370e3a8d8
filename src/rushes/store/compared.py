"""Which files were compared with their checksums: what did not change since is not read again, except by verify."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rushes.sidefile import SideFile

COMPARED_FILE = ".compared"  # hidden: it is of this disk alone, so that no copy of the project takes it
SETTLED_NS = 2_000_000_000  # a file that changed later may change again within one tick of the file system's clock
_TABLES = (
    "CREATE TABLE IF NOT EXISTS compared (file TEXT, part TEXT, state TEXT, PRIMARY KEY (file, part)) WITHOUT ROWID",
)
_ERRORS = (OSError, ValueError, sqlite3.Error)  # all of which cost time alone


class CheckedFiles(SideFile):
    """Parts of a project's files that were right, and the state that the file was in: a cache.

    Any number of threads and processes may add to it. Where it cannot be read or written, nothing is remembered.
    """

    cache = True

    def __init__(self, project: Path) -> None:
        super().__init__(project / COMPARED_FILE, _TABLES)
        self._project = project

    def parts(self, file: Path, state: str) -> set[str]:
        """Parts that were right when the file was in this state."""
        with suppress(*_ERRORS):
            rows = self.run("SELECT part FROM compared WHERE file = ? AND state = ?", self._name(file), state)
            return {part for (part,) in rows}
        return set()

    def add(self, file: Path, state: str, parts: Iterable[str]) -> None:
        """Remember parts that were right, unless the file has changed since its `state` was taken."""
        with suppress(*_ERRORS):
            if state and state_of(file) == state:
                ask = "INSERT OR REPLACE INTO compared SELECT ?, value, ? FROM json_each(?)"
                self.run(ask, self._name(file), state, json.dumps(sorted(parts)))

    def forget(self, file: Path) -> None:
        """Compare all of a file again."""
        with suppress(*_ERRORS):
            self.run("DELETE FROM compared WHERE file = ?", self._name(file))

    def _name(self, file: Path) -> str:
        return file.relative_to(self._project).as_posix()


def state_of(file: Path) -> str:
    """What changes with a file: its size, times and inode; "" where it changed just now. Raises OSError."""
    stat = file.stat()
    if time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) < SETTLED_NS:
        return ""
    return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}"


@contextmanager
def remembering(project: Path) -> Iterator[CheckedFiles | None]:
    """What was compared in a project; None where that cannot be written."""
    memory = None
    with suppress(*_ERRORS):
        memory = CheckedFiles(project)
    try:
        yield memory
    finally:
        if memory:
            memory.close()


def forget(project: Path, file: Path) -> None:
    """Note that a file is damaged, as the disk may have changed it without a trace."""
    if (project / COMPARED_FILE).exists():
        with remembering(project) as memory:
            if memory:
                memory.forget(file)
