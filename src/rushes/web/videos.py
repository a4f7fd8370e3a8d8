"""Video files for a browser: those of the project as they are, or a small copy of one that browsers do not play."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path

from rushes.media.read import read_video
from rushes.media.write import encode_bytes
from rushes.records import Candidate, Clip
from rushes.store.database import Store

_SIDE_PX, _FRAMES, _CACHED = 400, 600, 16  # of a copy: longest side and length; and how many stay in memory


class Copies:
    """Small h264 copies of videos, made when they are asked for, one at a time; threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cached: OrderedDict[str, bytes] = OrderedDict()

    def of(self, store: Store, row: Clip | Candidate) -> bytes:
        """An mp4 file with the first frames of a clip, at its own rate.

        Raises:
            ValueError: the file is missing or a link, or cannot be read.
        """
        path = store.media_path(row.media)
        with self._lock:
            if row.media not in self._cached:
                self._cached[row.media] = _copy(path, row)
                if len(self._cached) > _CACHED:
                    self._cached.popitem(last=False)
            self._cached.move_to_end(row.media)
            return self._cached[row.media]


def _copy(path: Path, row: Clip | Candidate) -> bytes:
    shrink = min(1.0, _SIDE_PX / max(row.width_px, row.height_px))
    size_px = (max(1, round(row.height_px * shrink)), max(1, round(row.width_px * shrink)))
    frames = min(row.frames, _FRAMES)
    video = read_video(path, fps=row.fps, frames=frames, size_px=size_px, fit="stretch", allow_truncated=True)
    return encode_bytes(video.frames_FHWC, video.fps, crf=24)
