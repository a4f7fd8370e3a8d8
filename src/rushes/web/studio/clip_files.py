"""Clips and takes as the studio's pages have them: what is shown of their rows, and their videos."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from fastapi import APIRouter

from rushes.records import Candidate, Clip
from rushes.store.database import Store
from rushes.store.media import MediaFolder
from rushes.store.own_files import own_path
from rushes.store.row_queries import StoredRow, reading, row_of
from rushes.web.videos import add_videos


def add_project_videos(router: APIRouter, project: Path, person: Any) -> None:
    """The videos of a project's clips and takes, see `add_videos`."""
    media, lock = MediaFolder(project / "media"), threading.Lock()
    stores: list[Store] = []

    def stored(id: str) -> tuple[Store, Clip | Candidate]:
        """From the project, which is opened for the first copy that is asked for."""
        with lock:
            if not stores:
                stores.append(Store.open(project))
        row = stores[0].get(id)
        if not isinstance(row, Clip | Candidate):
            raise ValueError(f"{id!r:.60} is no clip")
        return stores[0], row

    add_videos(router, person, lambda id: _path(project, media, id), stored)


def shown(row: StoredRow) -> dict[str, Any]:
    """What a page shows of a clip or a take."""
    names = ("id", "caption", "width_px", "height_px", "frames", "fps")
    more = ("system", "kind", "seed", "eta", "source")
    return {name: row[name] for name in names} | {name: row[name] for name in more if row.get(name) is not None}


def _path(project: Path, media: MediaFolder, id: str) -> Path:
    with reading(project) as connection:
        kinds = ("candidates", "clips")
        rows = [row for kind in kinds if connection is not None and (row := row_of(connection, id, kind))]
    if not rows:
        raise ValueError(f"{id!r:.60} is no clip")
    own_path(project, "media")
    return media.path(rows[0]["media"])
