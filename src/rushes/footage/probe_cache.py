"""What is known of video files, kept beside the project: a file is decoded once, however often it is imported."""

from __future__ import annotations

import json
import os
import sqlite3
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from rushes.files import MediaError, content_hash
from rushes.formats.contents import Contents
from rushes.formats.layouts import SourceVideo
from rushes.media.examine import CutFinder, examine

FILE = "footage.db"
EXAMINED = 1  # raise the number when what is found out about a file changes
_TABLES = (
    "CREATE TABLE IF NOT EXISTS files (place TEXT PRIMARY KEY, size INTEGER, time INTEGER, media TEXT) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS facts (media TEXT, how TEXT, body TEXT, PRIMARY KEY (media, how)) WITHOUT ROWID",
)


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """One video file, by decoding all of it; where `problem` is not "", nothing else but `media` holds."""

    media: str = ""  # content hash; "" = it could not be read at all
    width_px: int = 0
    height_px: int = 0
    frames: int = 0
    fps: float = 0.0
    seconds: float = 0.0
    steady: bool = True  # the frame rate is constant
    moves: bool = True
    cuts_s: tuple[float, ...] = ()
    problem: str = ""  # what is wrong and what to do, without the name of the file
    reason: str = ""  # the same in a word or two

    @property
    def shape(self) -> tuple[int, int, int, float]:
        """What a row says of it."""
        return self.width_px, self.height_px, self.frames, self.fps


class ProbeCache:
    """A file of facts in the project's folder; when it is lost, files are decoded again and nothing else happens.

    A file is known by its place, size and time of change, and its facts by its content: files that moved are hashed
    again, not decoded. Each is kept as soon as it is found.
    """

    def __init__(self, project: Path) -> None:
        self._connection = sqlite3.connect(project / FILE, timeout=60, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        for statement in _TABLES:
            self._connection.execute(statement)
        self._contents = Contents(project)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._connection.close()
        self._contents.__exit__(kind, error, at)

    def file(self, item: SourceVideo) -> Path:
        """The video as a file, until the next one is asked for; see `Contents`."""
        return self._contents.file(item)

    def of(self, item: SourceVideo, finder: CutFinder | None = None) -> VideoFacts:
        """Facts of a video, with the cuts that `finder` finds."""
        how = f"{EXAMINED} {finder.name if finder else ''}"
        try:
            media = self._media(item)
            if not media:
                return _examined(item.path, "", finder)  # which says what is there instead of a file
            body = self._first_column("SELECT body FROM facts WHERE media = ? AND how = ?", media, how)
            if body:
                values = json.loads(body)
                return VideoFacts(**{**values, "cuts_s": tuple(values["cuts_s"])})
            facts = _examined(self.file(item), media, finder)
        except OSError as error:
            return VideoFacts(
                problem=f"cannot be read ({error.strerror}); check the path and its permissions", reason="unreadable"
            )
        except MediaError as error:
            return VideoFacts(problem=str(error).removeprefix(f"{item.source}: "), reason=error.reason)
        self._put("INSERT OR REPLACE INTO facts VALUES (?, ?, ?)", media, how, json.dumps(asdict(facts)))
        return facts

    def _media(self, item: SourceVideo) -> str:
        """Content hash of a video, taken from the last time where its file did not change; "" = no file."""
        if not item.path.is_file():
            return ""
        place, stat = os.path.abspath(item.path), item.path.stat()
        if item.part:
            place += f"|{item.part.column}|{item.part.at}"
        size, changed = stat.st_size, stat.st_mtime_ns
        row = self._connection.execute("SELECT size, time, media FROM files WHERE place = ?", (place,)).fetchone()
        if row and row[:2] == (size, changed):
            return str(row[2])
        media = content_hash(self.file(item))
        self._put("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", place, size, changed, media)
        return media

    def _first_column(self, query: str, *values: str) -> str:
        row = self._connection.execute(query, values).fetchone()
        return str(row[0]) if row else ""

    def _put(self, statement: str, *values: object) -> None:
        self._connection.execute(statement, values)


def _examined(path: Path, media: str, finder: CutFinder | None) -> VideoFacts:
    try:
        examined = examine(path, finder)
    except MediaError as error:
        return VideoFacts(media, problem=str(error).removeprefix(f"{path}: "), reason=error.reason)
    info = examined.info
    size = (info.width_px, info.height_px, info.frames, info.fps, info.duration_s)
    return VideoFacts(media, *size, not info.variable_frame_rate, examined.moves, examined.cuts_s)
