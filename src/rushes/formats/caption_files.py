"""Captions as people keep them: a text file beside each video, one line for each video, or a table."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any
from unicodedata import normalize

from rushes.text_reader import Caption, Refuse, TableRow, caption_of, counted, raw_lines, read_caption, read_rows

LISTS = ("captions.txt", "prompts.txt", "prompt.txt")
TABLES = ("captions.csv", "captions.jsonl")
ORDERS = ("video.txt", "videos.txt")  # the videos in the order of a list's lines
SCENARIO = "scenario"
_SHOWN = 5
_SPAN = re.compile(  # of a column's name without what is no letter
    "(?:clip|segment|video|time|frame)?(?:(?P<start>start|begin)|end|stop|duration)"
    "(?:time|timestamp|s|sec|seconds|ms|frames?|idx|index)?"
)
_LOG = logging.getLogger(__name__)


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


def not_outside(folder: Path, path: Path) -> Path:
    """`path` again. Raises ValueError when it is a link that is broken or points outside `folder`."""
    if path.is_symlink():
        try:
            path.resolve(strict=True).relative_to(folder.resolve())
        except (OSError, RuntimeError, ValueError) as error:
            raise ValueError(
                f"{path}: a link that is broken or points outside {folder}; replace it by a copy of the file"
            ) from error
    return path


def refuse_all(place: str, words: str) -> None:
    """Raise ValueError for the first thing that is refused."""
    raise ValueError(f"{place}: {words}")


def captions_of(folder: Path, videos: Sequence[Path], refuse: Refuse = refuse_all) -> Iterator[Caption]:
    """The caption of each of `videos`, empty where there is none; those beside the videos are read one by one.

    Args:
        refuse: is called for each row of a table that belongs to no video; by default it raises.

    Raises ValueError when the folder keeps captions in more than one way, when counts differ, or when a table is bad.
    """
    beside = texts_beside(videos)
    texts = {path for paths in beside.values() for path in paths}
    files = [path for path in lists_in(folder) if path not in texts]
    ways = [path.name for path in files] + (["text files beside the videos"] if beside else [])
    if len(ways) > 1:
        raise ValueError(f"{folder}: captions stand in {' and in '.join(ways)}; keep one")
    if beside:
        return (_beside(folder, beside.get(video, ())) for video in videos)
    if not files:
        return repeat(Caption(""), len(videos))
    return captions_in(not_outside(folder, files[0]), folder, videos, refuse)


def captions_in(path: Path, folder: Path, videos: Sequence[Path], refuse: Refuse = refuse_all) -> Iterator[Caption]:
    """The caption of each of `videos` by a file: a line each where it is .txt, else a table of file and caption.

    Raises ValueError as `captions_of` does.
    """
    if path.suffix.lower() == ".txt":
        return iter(lines_for(path, videos))
    return _from_table(folder, path, videos, refuse)


def spans_in(columns: Iterable[object]) -> tuple[str, ...]:
    """Columns of a table that say which part of a video a row speaks of, such as start and end; () = none."""
    words = {str(column): "".join(re.findall("[a-z]+", str(column).lower())) for column in columns}
    spans = {name: match for name, word in words.items() if (match := _SPAN.fullmatch(word))}
    return tuple(spans) if len({bool(match["start"]) for match in spans.values()}) == 2 else ()


def say_spans(path: Path, columns: Sequence[str]) -> None:
    """Say that columns with the part of the video that a row speaks of are not read, where there are any."""
    if columns:
        names = " and ".join(columns)
        _LOG.warning("%s: the columns %s are not read: each caption applies to the whole video", path, names)


def named_in(folder: Path, name: str) -> Path | None:
    """The file of a folder that is called `name`, in small or capital letters; None = none.

    Raises ValueError when there are two.
    """
    with os.scandir(folder) as entries:
        paths = sorted(Path(entry.path) for entry in entries if entry.name.lower() == name and entry.is_file())
    if len(paths) > 1:
        raise ValueError(f"{paths[0]} and {paths[1].name} differ only in upper and lower case; keep one")
    return paths[0] if paths else None


def lists_in(folder: Path) -> list[Path]:
    """The lists and tables of captions of a folder. Raises ValueError as `named_in` does."""
    return [path for name in (*LISTS, *TABLES) if (path := named_in(folder, name))]


def texts_beside(videos: Sequence[Path]) -> dict[Path, list[Path]]:
    """Text files of the videos' names, whatever the case of the suffix."""
    texts: dict[Path, list[Path]] = {}
    for folder in dict.fromkeys(video.parent for video in videos):
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.name.lower().endswith(".txt") and entry.is_file())
        for path in (folder / name for name in names):
            texts.setdefault(path.with_suffix(""), []).append(path)
    return {video: several for video in videos if (several := texts.get(video.with_suffix("")))}


def _beside(folder: Path, paths: Sequence[Path]) -> Caption:
    if not paths:
        return Caption("")
    if len(paths) > 1:
        return Caption("", f"{paths[0]} and {paths[1].name} are both captions of one video; keep one")
    try:
        return read_caption(not_outside(folder, paths[0]))
    except ValueError as error:
        return Caption("", str(error))


def lines_for(path: Path, videos: Sequence[Path]) -> tuple[Caption, ...]:
    """The lines of `path`, one for each video, in order.

    Raises ValueError with both counts when they differ, or for a line that names a video itself.
    """
    lines = raw_lines(path)
    if named := _line_with_name(lines, videos):
        raise ValueError(
            f"{path}, line {named}: {lines[named - 1]!r:.80} names a video, but this file assigns its lines to the "
            "videos in order; to assign by name, save it as captions.csv with the columns file and caption"
        )
    if len(lines) != len(videos):
        raise ValueError(
            f"{path}: {counted(len(lines), 'caption')} for {counted(len(videos), 'video')}; give each video one "
            "line, in order"
        )
    _say_order(path, videos)
    captions = enumerate(map(caption_of, lines), start=1)
    return tuple(
        Caption("", f"{path}, line {number}: {caption.problem}") if caption.problem else caption
        for number, caption in captions
    )


def _line_with_name(lines: Sequence[str], videos: Sequence[Path]) -> int:
    """Number of the first line that holds the file name of a video, or 1 where each begins with a stem; 0 = none."""
    ends = "|".join(sorted({re.escape(video.suffix) for video in videos if re.search("[a-z]", video.suffix, re.I)}))
    file_name = re.compile(rf"\S(?:{ends})(?!\w)", re.IGNORECASE)
    if named := next((number for number, line in enumerate(lines, start=1) if ends and file_name.search(line)), 0):
        return named
    stems = {video.stem for video in videos}
    begins = {parts[0].strip(" \"'") for line in lines if len(parts := re.split(r"[\t|,:;]", line, maxsplit=1)) == 2}
    return int(len(lines) == len(begins) > 1 and begins <= stems)


def _say_order(path: Path, videos: Sequence[Path]) -> None:
    """Say which video a line goes to where the order by numbers differs from that of the letters, and no list says."""
    by_letters = sorted(videos, key=Path.as_posix)
    if list(videos) != by_letters and not any((path.parent / name).is_file() for name in ORDERS):
        at = next(k for k, pair in enumerate(zip(videos, by_letters, strict=True)) if pair[0] != pair[1])
        _LOG.warning(
            "%s: lines are assigned to videos in the order of the numbers in their names: line %d to %s, not to %s; "
            "for another order list the videos in videos.txt",
            *(path, at + 1, videos[at].name, by_letters[at].name),
        )


def _from_table(folder: Path, path: Path, videos: Sequence[Path], refuse: Refuse) -> Iterator[Caption]:
    by_name = _by_name(folder, videos)
    captions: dict[Path, Caption] = {}
    unread: tuple[str, ...] = ()
    for row in read_rows(path):
        place, cells = f"{path}, line {row.line}", _cells(row)
        unread = unread or spans_in(row.cells)
        if len(cells) < len(row.cells) and not row.ragged:
            raise ValueError(f"{path}: two of its columns, {', '.join(row.cells)}, differ only in upper and lower "
                "case; rename or delete one")  # fmt: skip
        if path.suffix.lower() == ".csv" and not row.problem and not {"file", "caption"} <= cells.keys():
            raise ValueError(f"{path}: its columns are {', '.join(row.cells)}; rename two of them to file and caption")
        name, text = cells.get("file"), cells.get("caption")
        video = by_name(name) if isinstance(name, str) else None
        if video is not None and video in captions:
            captions[video] = Caption("", f"{place}: {name!r} names a video for the second time; delete one line")
        elif video is not None:
            caption = caption_of(text) if isinstance(text, str) else Caption("", "has no caption; write one")
            problem = row.problem or caption.problem
            captions[video] = Caption("", f"{place}: {problem}") if problem else caption
        elif row.problem or not isinstance(name, str):
            refuse(
                place, row.problem or f"expected file and caption, not {dict(row.cells)}; correct or delete the line"
            )
        else:
            refuse(place, f"{name!r} names no video in the folder; correct or delete the line")
    say_spans(path, unread)
    return (captions.get(video, Caption("")) for video in videos)


def _cells(row: TableRow) -> Mapping[str, Any]:
    """The cells of a row by their columns in small letters."""
    return {str(column).lower(): cell for column, cell in row.cells.items()}


def _by_name(folder: Path, videos: Sequence[Path]) -> Callable[[str], Path | None]:
    """From a name in a table to the video, also where one of them composes its letters and the other does not."""
    exact = {video.relative_to(folder).as_posix(): video for video in videos}
    composed = {normalize("NFC", name): video for name, video in exact.items()}

    def find(name: str) -> Path | None:
        forms = [Path(form).as_posix() for form in (name, name.replace("\\", "/"))]  # Windows parts by backslashes
        named = (exact.get(form) or composed.get(normalize("NFC", form)) for form in forms)
        return next(filter(None, named), None)

    return find


def scenarios_of(folder: Path, videos: Sequence[Path], column: str = "") -> dict[Path, str]:
    """The scenario of each of `videos` that the folder's table names one for.

    Args:
        column: of the table; "" = the one called scenario, if there is one.

    Raises:
        ValueError: there is no table with this column.
    """
    name = (column or SCENARIO).lower()
    path = next((path for each in TABLES if (path := named_in(folder, each))), None)
    rows = [_cells(row) for row in read_rows(path) if not row.problem] if path else []
    if column and not any(name in row for row in rows):
        raise ValueError(
            f"footage.scenario_column: {path or folder} has no column {column!r}; name a column of the table"
        )
    by_name = _by_name(folder, videos if rows else ())
    named = ((by_name(str(row.get("file"))), row.get(name)) for row in rows)
    return {video: one_line(text) for video, text in named if video and isinstance(text, str) and text.strip()}


def one_line(text: str) -> str:
    """A text without line ends and doubled spaces."""
    return " ".join(text.split())
