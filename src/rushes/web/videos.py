"""Video files for a browser: those of the project as they are, or a small copy of one that browsers do not play."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rushes.media.read import read_video
from rushes.media.write import encode_bytes
from rushes.records import Candidate, Clip
from rushes.store.database import Store

_SIDE_PX, _FRAMES, _CACHED = 400, 600, 16  # of a copy: longest side and length; and how many stay in memory
_WAITING = 64  # copies that are asked for and not begun


class Busy(Exception):
    """Too many copies are asked for at once; ask again in a second."""


class Copies:
    """Small h264 copies of videos, made when they are asked for, one at a time; belongs to one event loop.

    They are made in a thread of their own: whoever waits for one takes no thread from requests that need none.
    """

    def __init__(self) -> None:
        self._maker = ThreadPoolExecutor(1, thread_name_prefix="copies")
        self._cached: OrderedDict[str, bytes] = OrderedDict()
        self._making: dict[str, asyncio.Future[bytes]] = {}

    async def of(self, store: Store, row: Clip | Candidate) -> bytes:
        """An mp4 file with the first frames of a clip, at its own rate.

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
            making = asyncio.get_running_loop().run_in_executor(self._maker, _copy, path, row)
            making.add_done_callback(lambda done: self._store(row.media, done))
            self._making[row.media] = making
        return await asyncio.shield(self._making[row.media])  # others may wait for it when this one leaves

    def _store(self, media: str, done: asyncio.Future[bytes]) -> None:
        self._making.pop(media, None)
        if not done.cancelled() and done.exception() is None:
            self._cached[media] = done.result()
            if len(self._cached) > _CACHED:
                self._cached.popitem(last=False)


def _copy(path: Path, row: Clip | Candidate) -> bytes:
    shrink = min(1.0, _SIDE_PX / max(row.width_px, row.height_px))
    size_px = (max(1, round(row.height_px * shrink)), max(1, round(row.width_px * shrink)))
    frames = min(row.frames, _FRAMES)
    video = read_video(path, fps=row.fps, frames=frames, size_px=size_px, fit="stretch", allow_truncated=True)
    return encode_bytes(video.frames_FHWC, video.fps, crf=24)
