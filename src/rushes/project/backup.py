"""A copy of a project that is whole: its database by SQLite's online backup, and the files that this names.

Stages may run meanwhile: media never change, and the database is copied before them, so that all which the copy names
is there. Files of runs come last; what a run replaces meanwhile is passed over. What can be made again (latents,
reference errors, captions as they are read) is left out.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from rushes.files import content_hash, make_folder, whole_file
from rushes.formats.outgoing import PERSONAL, Outgoing
from rushes.progress import Bar, no_bar
from rushes.records import Candidate, Clip
from rushes.sidefile import connect, plainly
from rushes.store.database import FOLDERS, Store
from rushes.store.media import MediaFolder
from rushes.store.own_files import is_own
from rushes.store.schema import check_own
from rushes.training import checkpoint

_BLOCK = 4 * 2**20
_LOGS = ("-wal", "-shm", "-journal")  # ends of the names of files that SQLite writes beside a database
DERIVED = ("latents", "bank", "texts", "weights")  # made again when they are needed


@dataclass(frozen=True)
class BackupResult:
    """A copy of a project."""

    to: Path  # a project, to be used as it is
    files: int  # files of the copy
    copied: int  # files that were copied now; the others were there already
    bytes: int  # size of all files
    personal_data: Mapping[str, int]  # personal data: `people`, `times`, `notes` of labels, `file_names`, folders
    lost: int | None = None  # videos that the copy lacks, as the project has lost or damaged them; null = none


def backup(project: Path, to: Path, bar: Bar = no_bar, checkpoints: bool = True) -> BackupResult:
    """Copy a project into a folder that is new, or has an earlier or stopped copy of it, which is brought up to date.

    Args:
        project: its folder.
        to: where the copy goes.
        bar: shows how many files are copied.
        checkpoints: those of runs too, from which they go on; the copy's own that the project has replaced are removed.

    Raises:
        ValueError: no project, or a folder that has something else, rows that the project lacks, or lies in it.
        OSError: the disk is full; the same command goes on.
    """
    if to.resolve().is_relative_to(project.resolve()):
        raise ValueError(f"{to} is inside the project; name a folder outside it, preferably on another disk")
    with Store.open(project) as source:  # so that nothing is removed meanwhile; and says what is wrong with a database
        return _backup(source, to, bar, checkpoints)


def _backup(source: Store, to: Path, bar: Bar, checkpoints: bool) -> BackupResult:
    project = source.project
    _check_earlier(project, to)
    for folder in FOLDERS:
        make_folder(to / folder)
    files = [path.relative_to(project) for path in sorted(project.glob("*.db")) if path.is_file()]
    for name in files:
        _copy_database(project / name, to / name)
    copied, lost = len(files), 0
    with Store.open(to) as target:
        personal = _personal(target)
        hashes = {digest for row in _rows(target) for digest in (row.media, getattr(row, "first_frame", "")) if digest}
        with bar("backup", len(hashes)) as tick:
            for digest in sorted(hashes):
                tick(1)
                new = _copy_media(source.media, target.media, digest)
                if new is None:
                    lost += 1
                    continue
                files.append(target.media.locate(digest).relative_to(to))
                copied += new
    others = [path.relative_to(project) for path in _others(project, checkpoints)]  # runs went on in the meantime
    gone = set[Path]()
    with bar("backup", len(others)) as tick:
        for name in others:
            tick(1)
            try:
                copied += _copy(project / name, to / name)
            except FileNotFoundError:
                if (project / name).exists():
                    raise
                gone.add(name)
    files += [name for name in others if name not in gone]
    if checkpoints:
        _drop_former(project, to, {*files}, gone)
    sizes = [(to / name).stat().st_size for name in files if (to / name).exists()]
    return BackupResult(to, len(sizes), copied, sum(sizes), personal, lost=lost or None)


def _personal(store: Store) -> dict[str, int]:
    """What of people is in a copy, which is whole: it is for its user, and names, places and folders stay."""
    outgoing = Outgoing()
    for kind in PERSONAL:
        for row in store.stream(kind):
            outgoing.row(row)
    return outgoing.personal


def _copy_media(source: MediaFolder, target: MediaFolder, digest: str) -> bool | None:
    """Copy a video unless it is there; whether it was copied, None where the project has lost or damaged it.

    What is there is not read in the project, and what is copied is read there once.
    """
    if target.sound(digest):
        return False
    try:
        target.put_as(source.locate(digest), digest)
    except (ValueError, OSError):
        if source.sound(digest):  # so it is the copy's disk
            raise
        return None
    return True


def _drop_former(project: Path, to: Path, files: set[Path], gone: set[Path]) -> None:
    """Remove checkpoints of the copy that the project no longer has, of runs of which it has a newer one now."""
    partly = {_checkpoint_of(name) for name in gone}
    current = {_checkpoint_of(name) for name in files} - partly
    for folder in sorted((to / "runs").glob("*/checkpoints")):
        paths = checkpoint.in_order(folder)
        former = [path for path in paths if path.relative_to(to) not in current]
        rest = [path for path in paths if path not in former]
        there = project / folder.relative_to(to)
        if any(checkpoint.can_be_opened(path) for path in rest) or checkpoint.removed(there):
            for path in former:
                checkpoint.remove(path)


def _checkpoint_of(name: Path) -> Path:
    """runs/NAME/checkpoints/STEP, of a file that is it or lies in it."""
    return Path(*name.parts[:4])


def _check_earlier(project: Path, to: Path) -> None:
    """Refuse a folder that no earlier state of the project can be: rows are only ever added."""
    copy = to / "rushes.db"
    if not copy.is_file():
        if any(path.is_file() and not path.name.startswith(".") for path in to.rglob("*")):
            raise ValueError(f"{to} holds files that are not a backup; name a new folder")
        return
    try:
        with closing(_reader(project / "rushes.db")) as source, closing(connect(copy, read_only=True)) as target:
            check_own(target, copy)
            ids = target.execute("SELECT id FROM rows")
            strange = any(source.execute("SELECT 1 FROM rows WHERE id = ?", id).fetchone() is None for id in ids)
    except sqlite3.Error as error:
        raise ValueError(f"{copy}: not a readable copy of a project ({error}); name a new folder") from error
    if strange:
        raise ValueError(
            f"{to} holds another project, or rows that {project} lacks and that would be lost; name a new folder (the "
            "first argument is the project, the second its copy)"
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
            copy.close()
            for end in _LOGS:  # of the copy before: SQLite would replay them over the new file
                target.with_name(target.name + end).unlink(missing_ok=True)
    except sqlite3.Error as error:
        raise plainly(error, source) from error


def _others(project: Path, checkpoints: bool) -> list[Path]:
    """Settings, results, curves, weights and checkpoints: all but databases, media, what is derived, and leftovers.

    Links are left out, but for folders of the project's own, of which an open project has only those that are allowed.
    """
    paths = []
    databases = {f"{path.name}{end}" for path in project.glob("*.db") if path.is_file() for end in ("", *_LOGS)}
    own = [path for path in sorted(project.iterdir()) if path.is_symlink() and is_own(path.name)]
    linked = [path for path in own if path.name not in ("media", *DERIVED)]
    for at, folders, names in chain(os.walk(project), *(os.walk(path) for path in linked)):  # as `rushes trust` allows
        left_out = {"media", *DERIVED} if Path(at) == project else set() if checkpoints else {"checkpoints"}
        folders[:] = sorted(name for name in folders if name not in left_out and not name.startswith("."))
        copied = databases if Path(at) == project else set()
        there = (Path(at) / name for name in sorted(names) if not name.startswith(".") and name not in copied)
        paths += [path for path in there if path.is_file() and not path.is_symlink()]
    return paths


def _copy(source: Path, target: Path) -> bool:
    """Copy a file unless the same content is there; whether it was copied. Ours are replaced whole, never altered."""
    same_size = target.is_file() and target.stat().st_size == source.stat().st_size
    if same_size and content_hash(target) == content_hash(source):
        return False
    with open(source, "rb") as file:
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(target) as part:
            digest = _copy_hashed(file, part)
            if content_hash(part) != digest:
                raise ValueError(f"{target}: reads back differently from what was written; check the copy's disk")
    return True


def _copy_hashed(source: BinaryIO, target: Path) -> str:
    """Copy what is left of an open file, and return its hash as it was read."""
    digest = hashlib.sha256()
    with open(target, "wb") as copy:
        while block := source.read(_BLOCK):
            digest.update(block)
            copy.write(block)
    return digest.hexdigest()
