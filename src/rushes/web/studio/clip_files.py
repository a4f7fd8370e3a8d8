"""Clips and takes as the studio's pages have them: what is shown of their rows, and their videos."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from fastapi import APIRouter, HTTPException
from fastapi.responses import Response

from rushes.records import Candidate, Clip
from rushes.store.database import Store
from rushes.store.media import MediaFolder
from rushes.store.own_files import own_path
from rushes.store.row_queries import StoredRow, reading, row_of
from rushes.web.site import video_answer
from rushes.web.videos import Busy, small_copies


def add_videos(router: APIRouter, project: Path, person: Any) -> None:
    """`/media/ID/file` and, for what a browser does not play, `/media/ID/copy`."""
    media, copies, lock = MediaFolder(project / "media"), small_copies(), threading.Lock()
    stores: list[Store] = []

    def store() -> Store:
        """The project, opened for the first copy that is asked for."""
        with lock:
            if not stores:
                stores.append(Store.open(project))
            return stores[0]

    @router.get("/media/{id}/file", dependencies=[person])
    def file(id: str) -> Response:
        return video_answer(lambda: _path(project, media, id))

    @router.get("/media/{id}/copy", dependencies=[person])
    async def copy(id: str) -> Response:
        try:
            row = store().get(id)
            if not isinstance(row, Clip | Candidate):
                raise ValueError(f"{id!r:.60} is no clip")
            return Response(await copies.of(store(), row), media_type="video/mp4")
        except Busy as error:
            raise HTTPException(429, "Many videos are asked for at once; wait a second.") from error
        except ValueError as error:
            raise HTTPException(404, "This video cannot be read.") from error


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
