"""The video file behind each piece of footage: where it lies, or unpacked from its tar or table for a moment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rushes.files import MediaError
from rushes.formats.entries import PARQUET_ERRORS, column_values
from rushes.formats.layouts import VIDEO_SUFFIXES, Part, SourceVideo

_CHUNK_BYTES = 2**22


class Contents:
    """Opens footage one at a time; at most one video is unpacked, into `folder`, and deleted when the next is opened.

    Tables are read from front to back: rows of one in rising order cost one pass over it.
    """

    def __init__(self, folder: Path) -> None:
        self._temporary = TemporaryDirectory(dir=folder, prefix=".unpacked-")
        self._unpacked: Path | None = None
        self._table: tuple[Path, str] | None = None
        self._rows: Iterator[tuple[int, Any]] = iter(())
        self._at = -1

    def close(self) -> None:
        """Delete what is unpacked."""
        self._temporary.cleanup()

    def file(self, item: SourceVideo) -> Path:
        """The video as a file, until the next call. Raises MediaError where there is none, OSError where unreadable."""
        if item.part is None:
            return item.path
        if self._unpacked:
            self._unpacked.unlink(missing_ok=True)
        if item.part.size < 0:
            data = self._row(item)
            self._unpacked = self._new(suffix_of(item.part.name, data[:12]))
            self._unpacked.write_bytes(data)
        else:
            self._unpacked = self._new(suffix_of(item.part.name, b""))
            self._copy(item, item.part)
        return self._unpacked

    def _new(self, suffix: str) -> Path:
        return Path(self._temporary.name) / f"video{suffix}"

    def _copy(self, item: SourceVideo, part: Part) -> None:
        assert self._unpacked is not None
        left = part.size
        with item.path.open("rb") as tar, self._unpacked.open("wb") as file:
            tar.seek(part.at)
            while left and (chunk := tar.read(min(left, _CHUNK_BYTES))):
                file.write(chunk)
                left -= len(chunk)
        if left:
            raise MediaError(f"{item.source}: the tar is cut short inside it; download the tar again", "cut short")

    def _row(self, item: SourceVideo) -> bytes:
        assert item.part is not None
        wanted = (item.path, item.part.column)
        try:
            if self._table != wanted or self._at >= item.part.at:
                self._table, self._rows = wanted, column_values(*wanted, item.part.at)
            for at, cell in self._rows:
                self._at = at
                if at == item.part.at:
                    data = cell.get("bytes") if isinstance(cell, dict) else cell
                    if not isinstance(data, bytes) or not data:
                        raise MediaError(
                            f"{item.source}: the cell holds no video; fill it in or delete the row", "no video"
                        )
                    return data
        except PARQUET_ERRORS as error:
            self._table = None
            raise MediaError(f"{item.source}: cannot be read ({error}); get the complete file", "unreadable") from error
        raise MediaError(f"{item.source}: the table no longer has this row; import it again", "unreadable")


def suffix_of(name: str, head: bytes) -> str:
    """The suffix of a video by its name, else by how it begins; readers look at the content alone."""
    named = Path(name).suffix.lower()
    if named in VIDEO_SUFFIXES:
        return named
    for begins, suffix in ((b"\x1a\x45\xdf\xa3", ".mkv"), (b"RIFF", ".avi"), (b"GIF8", ".gif"), (b"\x47", ".ts")):
        if head.startswith(begins):
            return suffix
    return ".mp4"
