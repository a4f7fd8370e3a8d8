"""The reader of every form of preferences that other programs keep."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rushes.formats.answers import MeaningTable
from rushes.formats.label_studio import labelstudio
from rushes.formats.pair_folders import folder_pairs
from rushes.formats.preferences import ForeignPairs, Form, first_row, read_entries, trl, videodpo, videoreward

SUFFIXES = (".csv", ".json", ".jsonl")
_WRITTEN: dict[Form, str] = {
    "videoreward": ".csv",
    "videodpo": ".json",
    "trl": ".jsonl, .json or .csv",
    "labelstudio": ".json",
}
_SIGNS: dict[Form, set[str]] = {  # fields by which a form is known
    "trl": {"chosen", "rejected"},
    "videoreward": {"path_A", "path_B"},
    "videodpo": {"video1", "video2", "label"},
}


def find_pairs(path: Path, rejected: Path | None = None, prompts: Path | None = None) -> ForeignPairs:
    """All pairs of two folders, of one, or of a file whose form its fields tell.

    Args:
        path: folder of the better videos, of all videos, or the file.
        rejected: folder of the worse videos; None = `path` says.
        prompts: file of prompts, for folders.

    Raises:
        ValueError: as `folder_pairs` and `read_pairs` do; a file of no form that is known by its fields.
    """
    if path.is_dir():
        return folder_pairs(path, rejected, prompts)
    if rejected or prompts:
        raise ValueError(f"{path}: not a folder; name two folders, or one file that holds the prompts too")
    return read_pairs(path, form_of(path))


def form_of(path: Path) -> Form:
    """The form of a file by its first entry. Raises ValueError where it is none of those that say all themselves."""
    if not path.is_file():
        raise ValueError(f"{path}: no such folder or file; name that of the pairs")
    _check_kind(path, "trl")
    fields = first_row(path)
    form = next((form for form, signs in _SIGNS.items() if signs <= fields), None)
    if form is None:
        raise ValueError(
            f"{path}: has {', '.join(sorted(fields)) or 'no fields'}; call them prompt, chosen and rejected, or take "
            "it in with `rushes labels import --form FORM`"
        )
    return form


def read_pairs(path: Path, form: Form, left: str = "", answers: Sequence[str] = ()) -> ForeignPairs:
    """All pairs of a file; paths of videos are relative to its folder.

    Args:
        path: the file.
        form: what wrote it.
        left: key of the left video, where the form leaves that open (Label Studio).
        answers: meanings of answers, as "Left is worse=right".

    Raises:
        ValueError: the file is not of this form, no entry of it can be used, or answers whose meaning nothing says.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; name the file that holds the preferences")
    _check_kind(path, form)
    if left and form != "labelstudio":
        raise ValueError(f"--left {left}: {form} says itself which side is left; leave it out")
    pairs = ForeignPairs(path, MeaningTable(answers))
    if form == "labelstudio":
        read = labelstudio(path, pairs, left)
    else:
        read = {"videoreward": videoreward, "videodpo": videodpo, "trl": trl}[form](path, pairs)
    read_entries(path, pairs, read)
    pairs.meanings.check(path)
    pairs.refuse_if_empty()
    return pairs


def _check_kind(path: Path, form: Form) -> None:
    """Raises ValueError for a file of another kind, such as Parquet or a video; JSON may be called anything."""
    with path.open("rb") as file:
        begins = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if path.suffix.lower() not in SUFFIXES and begins not in (b"[", b"{"):
        kind = f"a file of {path.suffix}" if path.suffix else "a file that is no JSON"
        raise ValueError(
            f"{path}: {kind} is not read; write the preferences of {form} as {_WRITTEN[form]}, and name that"
        )
