"""Videos in a browser: their files, a small copy of one that it does not play, or a frame of it."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter, HTTPException
from fastapi.responses import Response

from rushes.media.images import jpeg_of, read_image
from rushes.media.read import read_video
from rushes.media.resize import resize_frame
from rushes.media.write import encode_bytes
from rushes.records import Candidate, Clip
from rushes.store.database import Store
from rushes.store.media import MediaFolder
from rushes.store.own_files import own_path
from rushes.store.row_queries import StoredRow, reading, row_of
from rushes.web.accounts import AccessDenied
from rushes.web.site import NotThere, video_answer

_SIDE_PX, _FRAMES, _CACHED = 400, 600, 16  # of a copy: longest side and length; and how many stay in memory
_POSTER_PX, _QUALITY, _POSTERS = 320, 80, 1200  # longest side of a frame; of 100; how many stay in memory, some 12 MB
_WAITING = 64  # of them that are asked for and not begun


class Busy(Exception):
    """Too many copies are asked for at once; ask again in a second."""


class VideoPreviews:
    """What is made of videos when it is asked for, one at a time; belongs to one event loop.

    It is made in a thread of its own: whoever waits for one takes no thread from requests that need none.

    Args:
        make: makes it from a file and its row; ValueError = the file cannot be read.
        most: how many stay in memory.
    """

    def __init__(self, make: Callable[[Path, Clip | Candidate], bytes], most: int) -> None:
        self._make, self._most = make, most
        self._maker = ThreadPoolExecutor(1, thread_name_prefix="copies")
        self._cached: OrderedDict[str, bytes] = OrderedDict()
        self._making: dict[str, asyncio.Future[bytes]] = {}

    async def of(self, store: Store, row: Clip | Candidate) -> bytes:
        """What is made of the video of a clip or a take.

        Raises:
            ValueError: the file is missing or a link, or cannot be read.
            Busy: too many wait already.
        """
        path = store.media_path(row.media)
        if row.media in self._cached:
            self._cached.move_to_end(row.media)
            return self._cached[row.media]
        if row.media not in self._making:
            if len(self._making) >= _WAITING:
                raise Busy
            making = asyncio.get_running_loop().run_in_executor(self._maker, self._make, path, row)
            making.add_done_callback(lambda done: self._store(row.media, done))
            self._making[row.media] = making
        return await asyncio.shield(self._making[row.media])  # others may wait for it when this one leaves

    def _store(self, media: str, done: asyncio.Future[bytes]) -> None:
        self._making.pop(media, None)
        if not done.cancelled() and done.exception() is None:
            self._cached[media] = done.result()
            if len(self._cached) > self._most:
                self._cached.popitem(last=False)


def small_copies() -> VideoPreviews:
    """Small h264 files with the first frames of a video, at its own rate."""
    return VideoPreviews(_copy, _CACHED)


def posters() -> VideoPreviews:
    """A small JPEG of the frame in the middle of a video, or of a still: first frames are often black."""
    return VideoPreviews(_poster, _POSTERS)


def video_facts(row: Clip | Candidate) -> dict[str, Any]:
    """What a page plays a video by."""
    return {"fps": row.fps, "frames": row.frames, "width_px": row.width_px, "height_px": row.height_px}


def add_videos(
    router: APIRouter,
    person: Any,
    path_of: Callable[[str], Path],
    stored: Callable[[str], tuple[Store, Clip | Candidate]],
) -> None:
    """`/media/ID/file`, and what is made of it: `/media/ID/copy` where a browser does not play it, `/media/ID/poster`.

    `path_of` gives the file of an id, `stored` its row and the project; ValueError where there is none.
    """
    rendered = {"copy": small_copies(), "poster": posters()}
    kinds = {"copy": "video/mp4", "poster": "image/jpeg"}

    @router.get("/media/{id}/file", dependencies=[person])
    def file(id: str) -> Response:
        return video_answer(lambda: path_of(id))

    @router.get("/media/{id}/{kind}", dependencies=[person])
    async def rendering(id: str, kind: Literal["copy", "poster"]) -> Response:
        try:
            return Response(await rendered[kind].of(*stored(id)), media_type=kinds[kind])
        except (AccessDenied, NotThere):
            raise
        except Busy as error:
            raise HTTPException(429, "Many videos are asked for at once; wait a second.") from error
        except ValueError as error:
            raise HTTPException(404, "This video cannot be read.") from error


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


def _copy(path: Path, row: Clip | Candidate) -> bytes:
    frames = min(row.frames, _FRAMES)
    size_px = _within(row, _SIDE_PX)
    video = read_video(path, fps=row.fps, frames=frames, size_px=size_px, fit="stretch", allow_truncated=True)
    return encode_bytes(video.frames_FHWC, video.fps, crf=24)


def _poster(path: Path, row: Clip | Candidate) -> bytes:
    size_px = _within(row, _POSTER_PX)
    if row.frames == 1:
        return jpeg_of(resize_frame(read_image(path), size_px, "stretch"), _QUALITY)
    middle_s = (row.frames - 1) / 2 / row.fps
    video = read_video(path, start_s=middle_s, frames=1, size_px=size_px, fit="stretch", allow_truncated=True)
    return jpeg_of(video.frames_FHWC[0], _QUALITY)


def _within(row: Clip | Candidate, side_px: int) -> tuple[int, int]:
    """Height and width of a video, made smaller where its longest side is above `side_px`."""
    shrink = min(1.0, side_px / max(row.width_px, row.height_px))
    return max(1, round(row.height_px * shrink)), max(1, round(row.width_px * shrink))
