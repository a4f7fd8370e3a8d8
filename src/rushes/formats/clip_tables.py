"""Tables of videos with captions: Parquet, JSONL or CSV, and the layouts of Hugging Face `datasets`.

A table names each video by a path, relative to its own folder, or holds its bytes: as a binary column, or as `datasets`
writes videos, a struct of bytes and path. Names and captions are read here, never the bytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pyarrow as pa

from rushes.files import inside, is_file, odd_name
from rushes.formats.archives import CAPTION_NAMES, caption_in
from rushes.formats.caption_files import SCENARIO, TABLES, natural, not_outside, say_spans, shown, spans_in
from rushes.formats.entries import PARQUET, open_parquet, parquet_rows
from rushes.formats.layouts import FolderFiles, Listing, Part, RefusedVideo, SourceVideo
from rushes.formats.spool import Spool
from rushes.text_reader import Caption, read_rows, unprintable

TABLE_SUFFIXES = (PARQUET, ".jsonl", ".csv")
METADATA = tuple(f"metadata{suffix}" for suffix in TABLE_SUFFIXES)  # as `datasets` calls the table of a videofolder
VIDEO_NAMES = ("file_name", "video", "file", "path", "video_path", "filename", "video_file_name", "video_file", "mp4")
_HEAD_ROWS = 100  # by which the columns of a text table are known
FIRST_FRAME = "first_frame"  # column with the path of a still, where a clip has one of its own


@dataclass(frozen=True)
class TableColumns:
    """Which columns of a table are read."""

    video: str
    caption: str  # "" = none
    bytes: bool = False  # the video column holds videos
    first_frame: str = ""  # "" = none
    scenario: str = ""  # "" = none
    spans: tuple[str, ...] = ()  # that say which part of a video a row speaks of, see `spans_in`


def find_columns(path: Path, video: str = "", caption: str = "", scenario: str = "") -> TableColumns:
    """The columns of a table by name and, in Parquet, type. Raises ValueError when a table has no video column."""
    return _find_columns(path, _columns(path), video, caption, scenario)


def _find_columns(path: Path, kinds: Mapping[str, bool], video: str, caption: str, scenario: str) -> TableColumns:
    named = {column.lower(): column for column in reversed([*kinds])}  # in small or capital letters
    for setting, name in (("video_column", video), ("caption_column", caption), ("scenario_column", scenario)):
        if name and name.lower() not in named:
            raise ValueError(f"footage.{setting}: {path} has no column {name!r}; it has {', '.join(kinds)}")
    names = (
        [named[video.lower()]]
        if video
        else [*(named[name] for name in VIDEO_NAMES if name in named), *filter(kinds.get, kinds)]
    )
    if not names:
        raise ValueError(
            f"{path}: none of its columns ({', '.join(kinds) or 'none'}) holds videos; set footage.video_column to the "
            "column that does"
        )
    captions = (
        [named[caption.lower()]]
        if caption
        else [named[name] for name in CAPTION_NAMES if named.get(name, names[0]) != names[0]]
    )
    scenario, still = named.get(scenario.lower() or SCENARIO, ""), named.get(FIRST_FRAME, "")
    used = TableColumns(
        names[0], captions[0] if captions else "", kinds[names[0]], first_frame=still, scenario=scenario,
        spans=spans_in(kinds),
    )  # fmt: skip
    for column in filter(None, (used.video, used.caption, still, scenario)):
        if other := next((name for name in kinds if name != column and name.lower() == column.lower()), ""):
            raise ValueError(f"{path}: the columns {column!r} and {other!r} have the same name; rename or delete one")
    return used


def fits(path: Path, video: str = "", caption: str = "") -> bool:
    """Whether a table has columns of videos and captions.

    Raises ValueError for one that cannot be read and by its name is the folder's own.
    """
    try:
        kinds = _columns(path)
    except ValueError:
        if path.name.lower() in METADATA:
            raise
        return False
    try:
        return bool(_find_columns(path, kinds, video, caption, "").caption)
    except ValueError:
        return False


def find_metadata(files: FolderFiles) -> list[Path]:
    """The metadata tables of a videofolder: of the folder, or of its subfolders.

    Raises ValueError for two in one folder.
    """
    return _in_one_form([path for path in files.others if path.name.lower() in METADATA])


def _in_one_form(tables: list[Path]) -> list[Path]:
    """`tables` again. Raises ValueError for a table that lies there in two forms, each of which would be read."""
    forms: dict[tuple[Path, str], list[str]] = {}
    for path in tables:
        forms.setdefault((path.parent, path.stem.lower()), []).append(path.name)
    for (folder, _), names in forms.items():
        if len(names) > 1:
            raise ValueError(f"{folder}: {shown(names)} are tables with the same name, and all would be read; keep one")
    return tables


def find_tables(files: FolderFiles, video: str = "", caption: str = "") -> list[Path]:
    """A table itself, or those in a folder: its Parquet files with those of subfolders, else the others that fit."""
    place = files.top
    if place.is_file():
        return [place]
    parquet = [path for path in files.of_suffix(PARQUET) if fits(path, video, caption)]
    others = [path for path in sorted(place.iterdir(), key=natural) if path.suffix.lower() in (".jsonl", ".csv")]
    texts = [
        path for path in others if path.name.lower() not in TABLES and fits(not_outside(place, path), video, caption)
    ]
    _in_one_form([*parquet, *texts])
    return parquet or texts


def read_tables(
    files: FolderFiles, tables: Sequence[Path], video: str = "", caption: str = "", scenario: str = ""
) -> Listing:
    """Every row of some tables, one footage each.

    Args:
        files: of the folder that paths may not leave; videos in it that no row names are listed.
        tables: Parquet, JSONL or CSV files.
        video: column of the videos; "" = by name and type.
        caption: column of the captions; "" = by name.
        scenario: column of the scenarios; "" = the one called scenario, if there is one.

    Raises:
        ValueError: no table, a table that cannot be read or has no such column.
    """
    if not tables:
        raise ValueError(
            f"{files.top}: no table here has a column of videos and a column of captions; set footage.path to "
            "the table's file"
        )
    footage, named = Spool(SourceVideo), set[Path]()
    refused: list[RefusedVideo] = []
    metadata: dict[Path, Path] = {}  # video -> the folder's own table that names it
    for path in tables:
        for row in _rows(files.top, path, find_columns(path, video, caption, scenario)):
            if isinstance(row, RefusedVideo):
                refused.append(row)
                continue
            footage.append(row)
            if row.part is None:
                if path.name.lower() in METADATA and (other := metadata.setdefault(row.path, path)) != path:
                    raise ValueError(
                        f"{path} and {other} both name {row.path}, and may contradict each other; keep one of the "
                        "tables"
                    )
                named |= {row.path, Path(os.path.normpath(row.path))}  # sub/../v.mp4 is v.mp4
    loose = tuple(str(path) for path in files.videos if path not in named)
    return Listing(footage, (*refused, *files.refused), loose, files.suffixes({*tables, *named}))


def _columns(path: Path) -> dict[str, bool]:
    """Names of the columns, and whether each holds videos."""
    if path.suffix.lower() == PARQUET:
        return {field.name: _holds_bytes(field.type) for field in open_parquet(path).schema_arrow}
    with_header = path.suffix.lower() == ".csv"  # of JSONL the first may lack some
    rows = islice((row for row in read_rows(path) if with_header or not row.problem), _HEAD_ROWS)
    return {name: False for row in rows for name in row.cells}


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return {"bytes", "path"} <= {kind.field(i).name for i in range(kind.num_fields)}
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _rows(top: Path, path: Path, columns: TableColumns) -> Iterator[SourceVideo | RefusedVideo]:
    parquet = path.suffix.lower() == PARQUET
    say_spans(path, columns.spans)
    parts: dict[str, tuple[str, str]] = {}  # video -> its part, and where that stands
    for where, at, row in _parquet_rows(path, columns) if parquet else _text_rows(path):
        if isinstance(row, str):
            yield RefusedVideo(where, "bad row", row)
            continue
        value = row.get(columns.video)
        caption, scenario = (
            caption_in(row, (name,)) if name else Caption("") for name in (columns.caption, columns.scenario)
        )
        problem = f"{where}: {caption.problem}" if caption.problem else ""
        name = value.get("path") if isinstance(value, dict) else value
        if columns.spans and isinstance(name, str):
            span = str([row.get(column) for column in columns.spans])
            before, place = parts.setdefault(name, (span, where))
            if before != span:
                raise ValueError(
                    f"{where}: {name!r} has another {' and '.join(columns.spans)} than at {place}, and rows about "
                    "parts of a video cannot be read; cut the parts into files of their own (ffmpeg -ss START -to "
                    "END) and name these files"
                )
        if bad := unprintable(name) if isinstance(name, str) else "":
            video: SourceVideo | RefusedVideo = RefusedVideo(where, "bad row", f"{bad} of its name; write it anew")
        elif columns.bytes and row.get("held"):
            label = f"{where} ({name})" if isinstance(name, str) and name else where
            part = Part(name if isinstance(name, str) else "", at, column=columns.video)
            video = SourceVideo(path, caption.text, label, part=part)
        elif not isinstance(name, str) or not name:
            video = RefusedVideo(where, "no video", f"column {columns.video!r} is empty; fill it in or delete the row")
        else:
            video = _named(top, path, where, name, caption.text, row.get(columns.first_frame or None))
        if isinstance(video, SourceVideo):
            video = replace(video, scenario=scenario.text, caption_problem=problem)
        yield video


def _named(top: Path, table: Path, where: str, name: str, caption: str, still: object) -> SourceVideo | RefusedVideo:
    """A row that names a file."""
    root = top.parent if top.is_file() else top
    try:
        names = (name, normalize("NFC", name), normalize("NFD", name), name.replace("\\", "/"))  # the last of Windows
        forms = (table.parent / each for each in names)
        there = next((path for path in forms if is_file(path)), table.parent / name)  # macOS writes letters apart
        video = inside(root, there)
        frame = inside(root, table.parent / still) if isinstance(still, str) and still else None
    except UnicodeEncodeError as error:
        return RefusedVideo(where, "name", f"{name}: {odd_name(str(error.object))}")
    except ValueError as error:
        return RefusedVideo(where, "points outside the folder", str(error))
    return SourceVideo(video, caption, str(video), frame)


def _text_rows(path: Path) -> Iterator[tuple[str, int, dict[Any, Any] | str]]:
    """Place, line and cells of each row; of one that cannot be used why not."""
    for row in read_rows(path):
        yield f"{path}, line {row.line}", row.line, row.problem or dict(row.cells)


def _parquet_rows(path: Path, columns: TableColumns) -> Iterator[tuple[str, int, dict[Any, Any] | str]]:
    """Rows without the bytes of their videos; `held` says whether there are any."""
    kind = open_parquet(path).schema_arrow.field(columns.video).type
    struct = pa.types.is_struct(kind)
    names = [f"{columns.video}.path" if struct else columns.video, columns.caption, columns.scenario]
    wanted = [name for name in (*names, columns.first_frame, *columns.spans) if name]
    if columns.bytes and not struct:  # which rows are empty is reported when they are read
        wanted = wanted[1:]
    for at, row in parquet_rows(path, wanted):
        yield f"{path}, row {at}", at, {**row, "held": columns.bytes}
