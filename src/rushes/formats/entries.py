"""The entries of files that people bring, whatever their form: Parquet, CSV, a JSON list, a JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rushes.text_reader import json_rows, parse_json, read_by_line, read_rows, read_text

PARQUET = ".parquet"
PARQUET_ERRORS = (pa.ArrowException, OSError, UnicodeError, OverflowError)  # of a table that is torn or odd
_ROWS_BYTES = 2**28


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


def column_values(path: Path, column: str, first: int) -> Iterator[tuple[int, Any]]:
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


def fields_of(path: Path) -> list[str]:
    """Names of the columns of a table, or of the fields of a file's first entry that is sound; none where there is no
    such."""
    if path.suffix.lower() == PARQUET:
        return list(open_parquet(path).schema_arrow.names)
    return next(([*map(str, row)] for _, row in entries_of(path) if isinstance(row, dict)), [])


def entries_of(path: Path) -> Iterator[tuple[str, Any]]:
    """Place and content of each entry of a table, of a JSON list, or of a file with a JSON object a line.

    The content of a row that cannot be used is the row itself, with its problem.
    """
    if path.suffix.lower() == PARQUET:
        yield from ((f"row {at}", row) for at, row in parquet_rows(path))
        return
    if path.suffix.lower() == ".csv":
        yield from ((f"line {row.line}", row if row.problem else dict(row.cells)) for row in read_rows(path))
        return
    text = read_by_line(path)
    if text.lstrip()[:1] == "[" or (path.suffix.lower() == ".json" and not _is_object(text.partition("\n")[0])):
        # a list has no lines that a bad byte could cost
        yield from ((f"entry {number}", row) for number, row in enumerate(json_list(path), start=1))
        return
    yield from ((f"line {row.line}", row if row.problem else dict(row.cells)) for row in json_rows(text))


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def json_list(path: Path) -> list[Any]:
    """The entries of a JSON list. Raises ValueError for what is none."""
    rows = parse_json(read_text(path), f"{path}: not JSON, save it as a list of objects")
    if not isinstance(rows, list):
        raise ValueError(f"{path}: not a list of objects; save it as one")
    return rows
