"""The reader of every form of preferences that other programs keep."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from rushes.config.tables import FootageSettings
from rushes.formats.answers import MeaningTable
from rushes.formats.entries import PARQUET, entries_of, fields_of
from rushes.formats.label_studio import labelstudio
from rushes.formats.layouts import folder_files
from rushes.formats.pair_folders import folder_pairs
from rushes.formats.pair_tables import VideoCells, table, videodpo, videoreward
from rushes.formats.preferences import ForeignPairs, PreferenceFormat
from rushes.formats.sides import TRL, PairColumns, find_columns
from rushes.text_reader import counted

SUFFIXES = (".csv", ".json", ".jsonl", PARQUET)
_TABLE = ".parquet, .jsonl, .json or .csv"
_WRITTEN: dict[PreferenceFormat, str] = {
    "videoreward": ".csv",
    "videodpo": ".json",
    "trl": _TABLE,
    "table": _TABLE,
    "labelstudio": ".json",
}
_SIGNS: dict[
    PreferenceFormat, tuple[set[str], set[str]]
] = {  # fields by which a form is known: all of the first, one of the second
    "trl": ({"prompt", "chosen", "rejected"}, {"prompt"}),
    "videoreward": ({"path_A", "path_B"}, {"VQ", "MQ", "TA", "Overall"}),
    "videodpo": ({"video1", "video2", "label", "frame_caption"}, {"label"}),
}
_SHARD = re.compile(r"(.+)-\d{5}-of-\d{5}")  # as data sets of the Hub are laid out: data/train-00000-of-00002.parquet
_SPLITS = {"training": "train", "valid": "validation", "val": "validation", "dev": "validation"}
_SPLITS |= {name: name for name in ("train", "test", "validation")}


def find_pairs(source: FootageSettings, unpacked: Path | None = None) -> ForeignPairs:
    """All pairs of two folders, of one, or of a table whose form its fields tell, as the settings of footage name them.

    `unpacked` is as in `read_pairs`.

    Raises:
        ValueError: as `folder_pairs` and `read_pairs` do; a table of no form that is known by its fields.
    """
    path = Path(source.path)
    prompts = Path(source.prompts) if source.prompts else None
    if path.is_dir() and (source.rejected or not holds_tables(path, source.columns)):
        if source.columns or source.answers:
            raise ValueError(f"{path}: a folder of videos has no columns; leave --columns and --answers out")
        return folder_pairs(path, Path(source.rejected) if source.rejected else None, prompts)
    if source.rejected or prompts:
        raise ValueError(
            f"{path}: not a folder of videos; name two folders of videos, or one table that also holds the prompts"
        )
    return read_pairs(path, answers=source.answers, columns=source.columns, unpacked=unpacked)


def holds_tables(folder: Path, columns: str = "") -> bool:
    """Whether the pairs of a folder are those of its Parquet files, and not of its videos."""
    files = folder_files(folder)
    tables = files.of_suffix(PARQUET)
    if not tables or (folder / "chosen").is_dir():
        return False
    try:
        find_columns(tables[0], fields_of(tables[0]), columns)
    except ValueError:
        return not files.videos
    return True


def form_of(path: Path, columns: str = "") -> PreferenceFormat:
    """The form of a file, or of the tables in a folder, by their fields.

    Raises:
        ValueError: none of those that say all themselves; `columns`, see `read_pairs`, that do not fit.
    """
    tables, _ = _tables(path)
    _check_kind(tables[0], "table")
    fields = fields_of(tables[0])
    if (form := _recognised(fields, columns)) == "table":
        find_columns(tables[0], fields, columns)
    return form


def _recognised(fields: Sequence[str], columns: str) -> PreferenceFormat:
    """The form of a file by its fields; a table where they, or the user, say no other."""
    by_signs = (form for form, (signs, more) in _SIGNS.items() if signs.issubset(fields) and more.intersection(fields))
    return "table" if columns else next(by_signs, "table")


def read_pairs(
    path: Path,
    form: PreferenceFormat | Literal[""] = "",
    left: str = "",
    answers: Sequence[str] = (),
    columns: str = "",
    unpacked: Path | None = None,
) -> ForeignPairs:
    """All pairs of a file, or of the Parquet files in a folder; paths of videos are relative to its folder.

    Args:
        path: the file or the folder.
        form: what wrote it; "" = its fields tell.
        left: key of the left video, where the form leaves that open (Label Studio).
        answers: meanings of answers, as "Left is worse=right".
        columns: of a table, as "chosen=COLUMN,rejected=COLUMN,prompt=COLUMN"; "" = by their names.
        unpacked: folder for videos that a table holds, which must stay as long as the pairs are used.

    Raises:
        ValueError: the file is not of this form, no entry of it can be used, or answers whose meaning nothing says.
    """
    if form and (not path.exists() or (path.is_dir() and form not in ("table", "trl"))):
        raise ValueError(f"{path}: no such file; name the file that holds the preferences")
    tables, notes = _tables(path)
    for each in tables:
        _check_kind(each, form or "table")
    fields = [fields_of(each) for each in tables] if form in ("", "table") else []
    form = form or _recognised(fields[0], columns)
    used = _shared_columns(tables, fields, columns) if form == "table" else TRL
    if left and form != "labelstudio":
        raise ValueError(f"--left {left}: a {form} file defines which side is left; leave the option out")
    if columns and form != "table":
        raise ValueError(f"--columns {columns}: a {form} file has fixed columns; leave the option out")
    pairs = ForeignPairs(path, MeaningTable(answers), notes=notes)
    for each in tables:
        top = path if path.is_dir() else each.parent
        if form == "labelstudio":
            read = labelstudio(each, pairs, left)
        elif form in ("table", "trl"):
            read = table(used, pairs.meanings, VideoCells((*dict.fromkeys((each.parent, top)),), unpacked), form)
        else:
            read = (videoreward if form == "videoreward" else videodpo)(each, pairs.meanings)
        before = f"{each.relative_to(path)}, " if path.is_dir() else ""
        pairs.read(((before + place, row) for place, row in entries_of(each)), read)
    pairs.meanings.check(path)
    pairs.refuse_if_empty()
    return pairs


def _shared_columns(tables: Sequence[Path], fields: Sequence[Sequence[str]], given: str) -> PairColumns:
    """The columns that all tables have."""
    used = [find_columns(each, names, given) for each, names in zip(tables, fields, strict=True)]
    if other := next((each for each, columns in zip(tables, used, strict=True) if columns != used[0]), None):
        raise ValueError(f"{other} and {tables[0]} have different columns; name one of the tables")
    return used[0]


def _tables(path: Path) -> tuple[list[Path], list[str]]:
    """A file itself, or the Parquet files of a folder that are read, and a line on those that are not.

    The split for training is read where there are several.
    """
    if path.is_file():
        return [path], []
    if not path.is_dir() or not (every := folder_files(path).of_suffix(PARQUET)):
        raise ValueError(f"{path}: no such folder or file; name the one that holds the pairs")
    splits = {table: _split(table.relative_to(path)) for table in every}
    if len(set(splits.values())) == 1:
        return every, []
    if "train" not in splits.values():
        there = ", ".join(sorted(set(splits.values())))
        raise ValueError(
            f"{path}: has {there} but no train split; name the file of one split, or a folder with a single split"
        )
    others = Counter(split for split in splits.values() if split != "train")
    notes = [f"passed over: {counted(number, 'file')} of split {split}" for split, number in sorted(others.items())]
    return [table for table in every if splits[table] == "train"], notes


def _split(table: Path) -> str:
    """Which split of a data set a file is of, by its name or its folder's; "unnamed" where these do not say."""
    shard = _SHARD.fullmatch(table.stem)
    names = ((shard[1] if shard else table.stem), *reversed(table.parts[:-1]))
    return next((_SPLITS[name.lower()] for name in names if name.lower() in _SPLITS), "unnamed")


def _check_kind(path: Path, form: PreferenceFormat) -> None:
    """Raises ValueError for a file of another kind, such as a video; JSON may be called anything."""
    with path.open("rb") as file:
        begins = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if path.suffix.lower() not in SUFFIXES and begins not in (b"[", b"{"):
        kind = f"a file of {path.suffix}" if path.suffix else "a file that is not JSON"
        raise ValueError(
            f"{path}: {kind} cannot be read; save the {form} preferences as {_WRITTEN[form]} and name that file"
        )
