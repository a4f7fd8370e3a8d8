"""The video file behind each piece of footage: where it lies, or unpacked from its tar or table for a moment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rushes.files import MediaError
from rushes.formats.layouts import VIDEO_SUFFIXES, Part, SourceVideo

_CHUNK_BYTES = 2**22
_ROWS_BYTES = 2**28
PARQUET = ".parquet"
PARQUET_ERRORS = (pa.ArrowException, OSError, UnicodeError, OverflowError)  # of a table that is torn or odd


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
                self._table, self._rows = wanted, _cells(*wanted, item.part.at)
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


def _cells(path: Path, column: str, first: int) -> Iterator[tuple[int, Any]]:
    """Number and value of each row, from the row group that holds row `first` on, one value in memory at a time."""
    file = pq.ParquetFile(path, pre_buffer=False, buffer_size=2**20)
    at = 0
    if column not in file.schema_arrow.names:
        return
    for group in range(file.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        if at + rows > first:
            for batch in file.iter_batches(batch_size=1, row_groups=[group], columns=[column]):
                yield at, batch.column(0)[0].as_py()
                at += 1
        else:
            at += rows


def open_parquet(path: Path) -> pq.ParquetFile:
    """A table of which little is in memory at a time. Raises ValueError for one that cannot be read."""
    try:
        return pq.ParquetFile(path, pre_buffer=False, buffer_size=2**20, page_checksum_verification=True)
    except PARQUET_ERRORS as error:
        raise ValueError(f"{path}: not a readable Parquet file ({error}); get the complete file") from error


def parquet_rows(path: Path, columns: Sequence[str] | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number and cells of each row. Raises ValueError for a table that cannot be read.

    So many rows are in memory that `_ROWS_BYTES` hold them if each has all that its group of rows holds: a value that
    a file holds once may stand in all of its rows.
    """
    file, at = open_parquet(path), 0
    try:
        for group in range(file.num_row_groups):
            size = file.metadata.row_group(group).total_byte_size  # unpacked
            together = min(max(1, _ROWS_BYTES // max(1, size)), 64)  # more gain nothing, and a table may lie about it
            for batch in file.iter_batches(batch_size=together, row_groups=[group], columns=columns):
                for row in batch.to_pylist() or [{}] * batch.num_rows:
                    yield at, row
                    at += 1
    except PARQUET_ERRORS as error:
        raise ValueError(f"{path}, row {at}: cannot be read ({error}); get the complete file") from error


def suffix_of(name: str, head: bytes) -> str:
    """The suffix of a video by its name, else by how it begins; readers look at the content alone."""
    named = Path(name).suffix.lower()
    if named in VIDEO_SUFFIXES:
        return named
    for begins, suffix in ((b"\x1a\x45\xdf\xa3", ".mkv"), (b"RIFF", ".avi"), (b"GIF8", ".gif"), (b"\x47", ".ts")):
        if head.startswith(begins):
            return suffix
    return ".mp4"
