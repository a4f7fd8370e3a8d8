"""Captions as people keep them: a text file beside each video, one line for each video, or a table."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any
from unicodedata import normalize

LISTS = ("captions.txt", "prompts.txt", "prompt.txt")
TABLES = ("captions.csv", "captions.jsonl")
SCENARIO = "scenario"
_SHOWN = 5


def natural(path: Path) -> tuple[str, str]:
    """Sorting key under which 2.mp4 comes before 10.mp4, and what a folder holds after a file of its name."""
    return "\0".join(_NUMBER.sub(_numbered, part) for part in (*path.parent.parts, path.stem)), path.as_posix()


_NUMBER = re.compile("[0-9]+")


def _numbered(digits: re.Match[str]) -> str:
    """Digits as a text that sorts by value, before all letters; equal values by how they are written."""
    value = digits[0].lstrip("0")
    return f"\1{chr(len(value) + 1)}{value}\1{digits[0]}\1"


def shown(names: Iterable[object]) -> str:
    """Up to five names, and how many more there are."""
    texts = [str(name) for name in names]
    more = len(texts) - _SHOWN
    return ", ".join(texts[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def inside(folder: Path, path: Path) -> Path:
    """`path` again. Raises ValueError when it is a link that is broken or leads out of `folder`."""
    if path.is_symlink():
        try:
            path.resolve(strict=True).relative_to(folder.resolve())
        except (OSError, RuntimeError, ValueError) as error:
            raise ValueError(f"{path}: a link that is broken or leads out of {folder}; copy the file there") from error
    return path


def read_text(path: Path) -> str:
    """The text of a file with a byte order mark taken off and all line ends as \\n."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_lines(path: Path) -> tuple[str, ...]:
    """One caption a line, stripped; blank lines at the end do not count, those between are empty captions."""
    text = read_text(path).rstrip()
    return tuple(line.strip() for line in text.split("\n")) if text else ()


def captions_of(folder: Path, videos: Sequence[Path]) -> Iterator[str]:
    """The caption of each of `videos`, "" where there is none; those beside the videos are read one by one.

    Raises ValueError when the folder keeps captions in more than one way, when counts differ, or when a table is bad.
    """
    beside = any(video.with_suffix(".txt").is_file() for video in videos)
    named = [path for name in (*LISTS, *TABLES) if (path := folder / name).is_file()]
    files = [path for path in named if not any(path == video.with_suffix(".txt") for video in videos)]
    ways = [path.name for path in files] + (["text files beside the videos"] if beside else [])
    if len(ways) > 1:
        raise ValueError(f"{folder}: captions in {' and in '.join(ways)}; keep one of them")
    if beside:
        return (_beside(folder, video.with_suffix(".txt")) for video in videos)
    if not files:
        return repeat("", len(videos))
    path = inside(folder, files[0])
    if path.name in TABLES:
        return _from_table(folder, path, videos)
    return iter(lines_for(path, videos))


def _beside(folder: Path, path: Path) -> str:
    return " ".join(read_text(inside(folder, path)).split()) if path.is_file() else ""


def lines_for(path: Path, videos: Sequence[Path]) -> tuple[str, ...]:
    """The lines of `path`, one for each video. Raises ValueError with both counts when they differ."""
    lines = read_lines(path)
    if len(lines) != len(videos):
        raise ValueError(f"{path}: {len(lines)} captions for {len(videos)} videos; give each video one line, in order")
    return lines


def _from_table(folder: Path, path: Path, videos: Sequence[Path]) -> Iterator[str]:
    by_name = _by_name(folder, videos)
    captions: dict[Path, str] = {}
    for number, row in table_rows(path):
        name, caption = row.get("file"), row.get("caption")
        if not isinstance(name, str) or not isinstance(caption, str) or None in row:
            raise ValueError(f"{path}, line {number}: expected file and caption, quoted where they hold commas: {row}")
        video = by_name(name)
        if video is None or video in captions:
            cause = "names no video in the folder" if video is None else "names a video for the second time"
            raise ValueError(f"{path}, line {number}: {name!r} {cause}; correct or delete the line")
        captions[video] = caption.strip()
    return (captions.get(video, "") for video in videos)


def _by_name(folder: Path, videos: Sequence[Path]) -> Callable[[str], Path | None]:
    """From a name in a table to the video, also where one of them composes its letters and the other does not."""
    exact = {video.relative_to(folder).as_posix(): video for video in videos}
    composed = {normalize("NFC", name): video for name, video in exact.items()}

    def find(name: str) -> Path | None:
        name = Path(name).as_posix()
        return exact.get(name) or composed.get(normalize("NFC", name))

    return find


def scenarios_of(folder: Path, videos: Sequence[Path], column: str = "") -> dict[Path, str]:
    """The scenario of each of `videos` that the folder's table names one for.

    Args:
        column: of the table; "" = the one called scenario, if there is one.

    Raises:
        ValueError: there is no table with this column.
    """
    name = column or SCENARIO
    path = next((path for each in TABLES if (path := folder / each).is_file()), None)
    rows = list(table_rows(path)) if path else []
    if column and not any(column in row for _, row in rows):
        raise ValueError(
            f"footage.scenario_column: {path or folder} has no column {column!r}; name a column of the table"
        )
    by_name = _by_name(folder, videos if rows else ())
    named = ((by_name(str(row.get("file"))), row.get(name)) for _, row in rows)
    return {video: one_line(text) for video, text in named if video and isinstance(text, str) and text.strip()}


def one_line(text: str) -> str:
    """A text without line ends and doubled spaces."""
    return " ".join(text.split())


def table_rows(path: Path) -> Iterator[tuple[int, dict[Any, object]]]:
    """Line number and fields of each row of a CSV or JSONL file. Raises ValueError for a line that is neither."""
    return _csv_rows(path) if path.suffix == ".csv" else _jsonl_rows(path)


def _csv_rows(path: Path) -> Iterator[tuple[int, dict[Any, object]]]:
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        yield from ((reader.line_num, row) for row in reader)
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.reader.line_num}: {error}") from error


def _jsonl_rows(path: Path) -> Iterator[tuple[int, dict[Any, object]]]:
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            try:
                row = json.loads(line)
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}") from error
            yield number, row if isinstance(row, dict) else {"not an object": row}
