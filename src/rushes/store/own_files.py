"""Files and folders that a project names itself. None may be a link: it would read or write what lies elsewhere.

A whole folder may be one where the user allowed what it leads to, as large folders often lie on another disk.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from rushes.store.compared import COMPARED_FILE
from rushes.trust import allowed, link_word, way_to_allow

# Files by the hash of what they hold are many, and each is looked at where it is opened: their folders alone are here.
_BY_HASH = ("media", "texts")
_FOLDERS = ("latents", "runs", "reports", "weights", "eta", "bank", *_BY_HASH)
_ENDS = (".db", ".db-wal", ".db-shm", ".db-journal", ".toml", ".json", ".npz")
LOG = "run.log"  # what `run --detach` says
LOCK = ".lock"  # of who has the project open; hidden, so that no copy of the project takes it
_IN_NAMES, _LONGEST = frozenset("/\\\0"), 255  # what no name may hold, and bytes of the longest
_OTHERS = "wandb"  # a tracker's folder in a run's; it links to its own newest files, and nothing of ours reads it


def is_own(name: str) -> bool:
    """Whether a project names something so at the top of its folder; all else there is the user's."""
    return name in _FOLDERS or name.endswith(_ENDS) or name in (LOG, LOCK) or name.startswith(COMPARED_FILE)


def check_no_links(project: Path) -> None:
    """Refuse a project of which a part is a link, or a pipe or device; what a user put beside those parts may be one.

    Raises:
        ValueError: names the first, and for a whole folder the word that allows it.
    """
    link = next(_links(project), None)
    if link is None:
        return
    if not os.path.islink(link):
        raise ValueError(f"{link}: a pipe, socket or device, which a reader would wait for; delete it")
    word = _word(link) if os.path.dirname(link) == os.fspath(project) else ""
    raise ValueError(
        f"{link}: a link, which is refused inside a project, as it may point anywhere; replace it by a copy of what it "
        "points to, or delete it (the project's folder as a whole may be a link)"
        + (f"; if you trust it, {way_to_allow(word)}" if word else "")
    )


def own_path(project: Path, *parts: str) -> Path:
    """A file or folder of a project's own, of which a reader wants no other; it may be missing.

    Raises:
        ValueError: a part is no name, or a link: no part below the project may be one, but a whole folder that the user
            allowed (as `check_no_links`).
    """
    path = project
    for at, part in enumerate(parts):
        if part in ("", ".", "..") or not _IN_NAMES.isdisjoint(part) or len(os.fsencode(part)) > _LONGEST:
            raise ValueError(f"{part!r:.80} is not the name of a file in {path}")
        path = path / part
        if path.is_symlink() and (at or _word(os.fspath(path)) not in allowed()):
            raise ValueError(f"{path}: a link, which is not followed; replace it by a copy of what it points to")
    return path


def _word(link: str) -> str:
    """What allows a link in place of a whole folder of ours; "" = nothing, as it leads to no folder or is a file's."""
    folder = os.path.basename(link) in _FOLDERS and os.path.isdir(link)
    return link_word(os.path.realpath(link)) if folder else ""


def _links(project: Path) -> Iterator[str]:
    with os.scandir(project) as entries:
        own = sorted((entry for entry in entries if is_own(entry.name)), key=lambda entry: entry.name)
    for entry in own:
        if entry.is_symlink() and _word(entry.path) not in allowed():
            yield entry.path
        elif entry.is_dir():
            yield from _below(entry.path, entry.name in _BY_HASH)
        elif _is_special(entry):
            yield entry.path


def _below(top: str, alone: bool) -> Iterator[str]:
    """Links and special files below a folder, or of what lies in it `alone`."""
    folders = [top]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_symlink() or _is_special(entry):
                    yield entry.path
                elif not alone and entry.is_dir() and entry.name != _OTHERS:
                    folders.append(entry.path)


def _is_special(entry: os.DirEntry[str]) -> bool:
    """Whether something is neither file nor folder; what has gone meanwhile is nothing."""
    return not (entry.is_dir() or entry.is_file()) and os.path.lexists(entry.path)
