"""A copy of a project that is whole: its database by SQLite's online backup, and the files that this names.

Stages may run meanwhile: media never change, and the database is copied before them, so that all which the copy names
is there. What can be made again (latents, reference errors, captions as they are read) is left out.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from rushes.files import content_hash, make_folder, whole_file
from rushes.progress import Bar, no_bar
from rushes.records import Candidate, Clip
from rushes.sidefile import connect, plainly
from rushes.store.database import FOLDERS, Store

DERIVED = ("latents", "bank", "texts", "weights")  # made again when they are needed


@dataclass(frozen=True)
class BackupResult:
    """A copy of a project."""

    to: Path  # a project, to be used as it is
    files: int  # that it consists of
    copied: int  # of them now; the others were there
    bytes: int  # of all of them
    lost: int | None = None  # videos that rows name and the project lacks, or has damaged; null = none


def backup(project: Path, to: Path, bar: Bar = no_bar, checkpoints: bool = True) -> BackupResult:
    """Copy a project into a folder that is new, or has an earlier or stopped copy of it, which is brought up to date.

    Args:
        project: its folder.
        to: where the copy goes.
        bar: shows how many files are copied.
        checkpoints: those of runs too, from which they go on.

    Raises:
        ValueError: no project, or a folder that has something else, rows that the project lacks, or lies in it.
        OSError: the disk is full; the same command goes on.
    """
    if to.resolve().is_relative_to(project.resolve()):
        raise ValueError(f"{to} lies in the project; name a folder elsewhere, best on another disk")
    Store.open(project).close()  # which says what is wrong with a database that cannot be copied
    _check_earlier(project, to)
    for folder in FOLDERS:
        make_folder(to / folder)
    files = [path.relative_to(project) for path in sorted(project.glob("*.db"))]
    for name in files:
        _copy_database(project / name, to / name)
    others, copied, lost = _others(project, checkpoints), len(files), 0
    with Store.open(project) as source, Store.open(to) as target:
        hashes = {digest for row in _rows(target) for digest in (row.media, getattr(row, "first_frame", "")) if digest}
        with bar("backup", len(hashes) + len(others)) as tick:
            for digest in sorted(hashes):
                tick(1)
                if not source.media.sound(digest):
                    lost += 1
                    continue
                path = source.media.path(digest)
                files.append(path.relative_to(project))
                if not target.media.sound(digest):
                    target.media.put(path)
                    copied += 1
            for path in others:
                tick(1)
                files.append(path.relative_to(project))
                copied += _copy(path, to / files[-1])
    return BackupResult(to, len(files), copied, sum((to / name).stat().st_size for name in files), lost or None)


def _check_earlier(project: Path, to: Path) -> None:
    """Refuse a folder that no earlier state of the project can be: rows are only ever added."""
    copy = to / "rushes.db"
    if not copy.is_file():
        if any(path.is_file() and not path.name.startswith(".") for path in to.rglob("*")):
            raise ValueError(f"{to} holds something else than a backup; name a new folder")
        return
    try:
        with closing(_reader(project / "rushes.db")) as source, closing(connect(copy, read_only=True)) as target:
            ids = target.execute("SELECT id FROM rows")
            strange = any(source.execute("SELECT 1 FROM rows WHERE id = ?", id).fetchone() is None for id in ids)
    except sqlite3.Error as error:
        raise ValueError(f"{copy}: no copy of a project that can be read ({error}); name a new folder") from error
    if strange:
        raise ValueError(
            f"{to} holds another project, or rows that {project} lacks, and these would be lost; name a new folder "
            "(the first is the project, the second its copy)"
        )


def _reader(path: Path) -> sqlite3.Connection:
    return connect(path, read_only=not all(os.access(place, os.W_OK) for place in (path, path.parent)))


def _rows(store: Store) -> Iterator[Clip | Candidate]:
    yield from store.stream(Clip)
    yield from store.stream(Candidate)


def _copy_database(source: Path, target: Path) -> None:
    """As it is at one moment, while others write; in one file, without a log beside it."""
    try:
        with (
            whole_file(target) as part,
            closing(_reader(source)) as file,
            closing(sqlite3.connect(part)) as copy,
        ):
            file.backup(copy)
            (mode,) = file.execute("PRAGMA journal_mode").fetchone()
            copy.execute(f"PRAGMA journal_mode = {mode}")
    except sqlite3.Error as error:
        raise plainly(error, source) from error
    for end in ("-wal", "-shm"):  # of the copy before
        target.with_name(target.name + end).unlink(missing_ok=True)


def _others(project: Path, checkpoints: bool) -> list[Path]:
    """Settings, results, curves, weights and checkpoints: all but databases, media, what is derived, and leftovers."""
    paths = []
    for at, folders, names in os.walk(project):
        left_out = {"media", *DERIVED} if Path(at) == project else set() if checkpoints else {"checkpoints"}
        folders[:] = sorted(name for name in folders if name not in left_out and not name.startswith("."))
        there = (Path(at) / name for name in sorted(names) if not name.startswith(".") and ".db" not in name)
        paths += [path for path in there if path.is_file() and not path.is_symlink()]
    return paths


def _copy(source: Path, target: Path) -> bool:
    """Copy a file unless the same content is there; whether it was copied."""
    digest = content_hash(source)
    if target.is_file() and target.stat().st_size == source.stat().st_size and content_hash(target) == digest:
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(target) as part:
        shutil.copyfile(source, part)
        if content_hash(part) != digest:
            raise ValueError(f"{source}: changed while it was copied; run the same command again once no stage writes")
    return True
