"""Rows to Parquet and JSONL and back, without loss.

One file holds one kind of row, one column for each field. Hugging Face `datasets` reads both forms as they are. Pages
of Parquet have checksums, which are compared when they are read; JSONL has none.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from itertools import islice
from pathlib import Path
from typing import Any, Literal, get_type_hints

import pyarrow as pa
import pyarrow.parquet as pq

from rushes.files import make_folder, whole_file
from rushes.formats.entries import parquet_rows
from rushes.formats.outgoing import Outgoing
from rushes.records import INLINE, Annotation, Candidate, CaptionRow, Clip, Decision, Preference, Row, Score
from rushes.store.database import Store
from rushes.store.rows import KIND_NAMES, R, decode, encode

ExchangeFormat = Literal["parquet", "jsonl"]
EXCHANGED: tuple[type[Row], ...] = (Clip, Candidate, Preference, Annotation, Score, CaptionRow, Decision)
_BATCH_ROWS = 5000
_ARROW: dict[Any, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    int | None: pa.int64(),
    bool: pa.bool_(),
    float: pa.float64(),
    float | None: pa.float64(),
    tuple[int, ...]: pa.list_(pa.int64()),
    tuple[float, ...]: pa.list_(pa.float64()),
    tuple[str, ...]: pa.list_(pa.string()),
    tuple[tuple[str, ...], ...]: pa.list_(pa.list_(pa.string())),
}


def export_project(
    store: Store, folder: Path, form: ExchangeFormat = "parquet", outgoing: Outgoing | None = None
) -> dict[str, int]:
    """Write all rows but runs to `folder`, superseded preferences too; return their numbers by kind.

    Media files are not copied; rows name them by content hash. `outgoing` says how rows leave, and counts.
    """
    make_folder(folder)
    leaving = (outgoing or Outgoing()).row
    names = {kind: KIND_NAMES[kind] for kind in EXCHANGED}
    return {
        name: write_rows(kind, map(leaving, store.stream(kind)), folder / f"{name}.{form}")
        for kind, name in names.items()
    }


@dataclass(frozen=True)
class ProjectExported:
    """Rows of a project as files, and the weights of a run."""

    rows: Mapping[str, int] = field(metadata=INLINE)  # by kind: `clips`, `candidates`, `preferences`, ...
    personal_data: Mapping[str, int]  # personal data: `people` by names or pseudonyms, `times`, `notes`
    weights: Path | None = None  # file or folder; null = no run was named
    load: str | None = None  # Python that puts the weights to use; null = `backbone.path` or ComfyUI does
    output_change: float | None = None  # size of the adapter's effect on a prediction, over the prediction's
    read_back_difference: float | None = None  # file's effect minus the trained model's, over the prediction

    def lines(self) -> list[str]:
        """The same in words; the last line puts the weights to use."""
        rows = ", ".join(f"{kind} {count}" for kind, count in self.rows.items() if count)
        personal = ", ".join(f"{kind} {count}" for kind, count in self.personal_data.items())
        lines = [f"rows: {rows or 'none'}", *([f"personal data in them: {personal}"] if personal else [])]
        if self.weights is None:
            return lines
        lines += [f"weights: {self.weights}"]
        if self.output_change is None:  # a whole model
            return [*lines, f"load: set backbone.path of a project to {self.weights}"]
        lines.append(
            f"read back, the adapter changes a prediction by {self.output_change:.2g} of its size; it differs from the "
            f"trained model by {self.read_back_difference or 0:.2g}"
        )
        comfy = f"put {self.weights / '*.safetensors'} in ComfyUI's models/loras, and choose it in a Load LoRA node"
        return [*lines, *f"load: {self.load or comfy}".splitlines()]


@dataclass(frozen=True)
class RowsImported:
    """Rows that another project exported."""

    new_rows: int


def import_project(store: Store, folder: Path) -> int:
    """Add the rows of every file that `export_project` would write; return how many were new.

    All of them are added or, when one is bad, none. Raises ValueError as `read_rows` and `Store.add` do, and when
    the folder holds no such file or one kind in both forms.
    """
    sources: list[tuple[type[Row], Path]] = []
    for kind in EXCHANGED:
        paths = [path for form in ("parquet", "jsonl") if (path := folder / f"{KIND_NAMES[kind]}.{form}").is_file()]
        if len(paths) > 1:
            raise ValueError(f"{folder}: has both {paths[0].name} and {paths[1].name}; keep one")
        sources += [(kind, path) for path in paths]
    if not sources:
        raise ValueError(
            f"{folder}: none of clips, candidates, preferences, annotations, scores, captions or decisions "
            "as .parquet or .jsonl"
        )
    rows = [row for kind, path in sources for row in read_rows(kind, path)]
    try:
        return store.add(rows)
    except ValueError as error:  # what is stored contradicts them
        raise ValueError(f"{folder}: {error}; import it into a new project") from error


def write_rows(kind: type[R], rows: Iterable[R], path: Path) -> int:
    """Write `rows` to `path`, a .parquet or .jsonl file that appears whole or not at all; return their number.

    Raises ValueError for another suffix, and for an integer that does not fit Parquet's 64 bits.
    """
    count = 0
    with whole_file(path) as part:
        if _form(path) == "jsonl":
            with part.open("w", encoding="utf-8", newline="\n") as file:
                for row in rows:
                    file.write(encode(row) + "\n")
                    count += 1
        else:
            schema = _schema(kind)
            with pq.ParquetWriter(part, schema, write_page_checksum=True) as writer:
                source = iter(rows)
                while batch := [vars(row) for row in islice(source, _BATCH_ROWS)]:
                    writer.write_table(_table(batch, schema, path))
                    count += len(batch)
    return count


def read_rows(kind: type[R], path: Path) -> Iterator[R]:
    """Rows of one kind from a .parquet or .jsonl file, in its order.

    Raises ValueError with the file, the line (or row) number from 1 and the reason at the first that cannot be read.
    Blank lines are passed over; absent fields take their defaults.
    """
    lines: Iterator[tuple[str, bytes | dict[str, Any]]]
    jsonl = _form(path) == "jsonl"
    lines = _jsonl_lines(path) if jsonl else ((f"row {at + 1}", values) for at, values in parquet_rows(path))
    for place, line in lines:
        try:
            row = decode(kind, line if isinstance(line, bytes) else json.dumps(line))
            encode(row)  # refuses the NaN and infinity that the parser lets pass, in settings
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}, {place}: {error}; export the rows again, or correct this one") from error
        yield row


def _jsonl_lines(path: Path) -> Iterator[tuple[str, bytes | dict[str, Any]]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line := line.removeprefix(b"\xef\xbb\xbf").strip():
                yield f"line {number}", line


def _schema(kind: type[Any]) -> pa.Schema:
    hints = get_type_hints(kind)  # what is left are literals, which are strings
    return pa.schema([pa.field(field.name, _ARROW.get(hints[field.name], pa.string())) for field in fields(kind)])


def _table(batch: list[dict[str, Any]], schema: pa.Schema, path: Path) -> pa.Table:
    try:
        return pa.Table.from_pylist(batch, schema)
    except (pa.ArrowException, OverflowError) as error:
        raise ValueError(f"{path}: a value does not fit its column's type ({error}); export as JSONL") from error


def _form(path: Path) -> ExchangeFormat:
    if path.suffix == ".jsonl":
        return "jsonl"
    if path.suffix == ".parquet":
        return "parquet"
    raise ValueError(f"{path}: {path.suffix!r} is an unknown format; use a .parquet or .jsonl file")
