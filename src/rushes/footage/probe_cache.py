"""What is known of video files, kept beside the project: a file is decoded once, however often it is imported."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rushes.files import MediaError, content_hash
from rushes.formats.contents import Contents
from rushes.formats.layouts import SourceVideo
from rushes.media.examine import CutFinder, examine
from rushes.media.pictures import WOVEN
from rushes.sidefile import SideFile

FILE = "footage.db"
EXAMINED = 3  # raise the number when what is found out about a file changes
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
    treated: tuple[str, ...] = ()  # what the reader does to frames that the file leaves open, or cannot do, in words
    problem: str = ""  # what is wrong and what to do, without the name of the file
    reason: str = ""  # the same in a word or two

    @property
    def shape(self) -> dict[str, Any]:
        """What a row says of it, by the row's fields."""
        return {"width_px": self.width_px, "height_px": self.height_px, "frames": self.frames, "fps": self.fps}


class ProbeCache(SideFile):
    """A file of facts in the project's folder; when it is lost, files are decoded again and nothing else happens.

    A file is known by its place, size and time of change, and its facts by its content: files that moved are hashed
    again, not decoded. Each is kept as soon as it is found.
    """

    cache = True

    def __init__(self, project: Path) -> None:
        super().__init__(project / FILE, _TABLES)
        self._contents = Contents(project)

    def close(self) -> None:
        """Close the file, and delete what was unpacked."""
        super().close()
        self._contents.close()

    def file(self, item: SourceVideo) -> Path:
        """The video as a file, until the next one is asked for; see `Contents`."""
        return self._contents.file(item)

    def of(self, item: SourceVideo, finder: CutFinder | None = None) -> VideoFacts:
        """Facts of a video, with the cuts that `finder` finds."""
        examined = f"{EXAMINED} {finder.name if finder else ''}"
        try:
            media = self._media(item)
            if not media:
                return _examined(item.path, "", finder)  # which says what is there instead of a file
            body = self.note(media, examined)
            if body:
                values = json.loads(body)
                return VideoFacts(**{**values, **{name: tuple(values[name]) for name in ("cuts_s", "treated")}})
            facts = _examined(self.file(item), media, finder)
        except OSError as error:
            return VideoFacts(
                problem=f"cannot be read ({error.strerror}); check the path and its permissions", reason="unreadable"
            )
        except MediaError as error:
            return VideoFacts(problem=str(error).removeprefix(f"{item.source}: "), reason=error.reason)
        self.write(media, examined, json.dumps(asdict(facts)))
        return facts

    def note(self, media: str, examined: str) -> str:
        """What was written of a content hash under `examined`; "" = nothing."""
        row = self.first("SELECT body FROM facts WHERE media = ? AND how = ?", media, examined)
        return str(row[0]) if row else ""

    def write(self, media: str, examined: str, body: str) -> None:
        """Keep something about a content hash, in place of what was there under `examined`."""
        self.run("INSERT OR REPLACE INTO facts VALUES (?, ?, ?)", media, examined, body)

    def _media(self, item: SourceVideo) -> str:
        """Content hash of a video, taken from the last time where its file did not change; "" = no file."""
        if not item.path.is_file():
            return ""
        place, stat = os.path.abspath(item.path), item.path.stat()
        if item.part:
            place += f"|{item.part.column}|{item.part.at}"
        size, changed = stat.st_size, stat.st_mtime_ns
        row = self.first("SELECT size, time, media FROM files WHERE place = ?", place)
        if row and row[:2] == (size, changed):
            return str(row[2])
        media = content_hash(self.file(item))
        self.run("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", place, size, changed, media)
        return media


def _examined(path: Path, media: str, finder: CutFinder | None) -> VideoFacts:
    try:
        examined = examine(path, finder)
    except MediaError as error:
        return VideoFacts(media, problem=str(error).removeprefix(f"{path}: "), reason=error.reason)
    info = examined.info
    return VideoFacts(
        media,
        width_px=info.width_px,
        height_px=info.height_px,
        frames=info.frames,
        fps=info.fps,
        seconds=info.duration_s,
        steady=not info.variable_frame_rate,
        moves=examined.moves,
        cuts_s=examined.cuts_s,
        treated=(*info.treated, *([WOVEN] if examined.woven else [])),
    )
