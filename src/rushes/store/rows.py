"""Rows as JSON text and back: the one form that the database, JSONL and Parquet share."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from math import isfinite
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from rushes.records import Annotation, Candidate, CaptionRow, Clip, Decision, Preference, Row, Run, Score

R = TypeVar("R", bound=Row)

KINDS: dict[str, type[Row]] = {
    "clips": Clip,
    "candidates": Candidate,
    "preferences": Preference,
    "annotations": Annotation,
    "scores": Score,
    "captions": CaptionRow,
    "decisions": Decision,
    "runs": Run,
}
KIND_NAMES: dict[type[Any], str] = {kind: name for name, kind in KINDS.items()}
_IN_PATHS = ("id", "name", "system")  # what files, folders and members of archives are named after
# No project of a stranger's fills memory or the screen: ten times what an import takes of a caption, what a file may be
# called, and the whole of a row, with its settings and lists.
MOST_CHARACTERS, MOST_OF_NAME, MOST_OF_ROW = 100_000, 255, 2**22
_RANGES = {"width_px": (1, 2**17), "height_px": (1, 2**17), "frames": (1, 10**9), "fps": (1e-4, 1e5)}  # of any video
_PATH_PART = re.compile(r"(?!\.\.?\Z)[^/\\\0]*", re.DOTALL)  # of a path: one part, which goes neither up nor down
_ADAPTERS: dict[type[Any], TypeAdapter[Any]] = {kind: TypeAdapter(kind) for kind in KINDS.values()}


def kind_of(row: Row) -> str:
    """What a row is, in a word: clip, caption, ..."""
    return KIND_NAMES[type(row)].removesuffix("s")


def encode(row: Row) -> str:
    """JSON text of a row. Raises ValueError for NaN, infinity, and what is not JSON or not Unicode."""
    try:
        text = json.dumps(vars(row), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        text.encode()
    except (TypeError, ValueError) as error:
        reason = error if isinstance(error, TypeError | UnicodeError) else "one of its numbers is NaN or infinite"
        raise ValueError(f"{kind_of(row)} {row.id!r:.80} cannot be stored: {reason}") from error
    return text


def decode(kind: type[R], text: str | bytes) -> R:
    """The row that `text` holds. Types are checked, none are converted; absent fields take their defaults.

    Raises ValueError with every reason when a field is missing, unknown or of the wrong type, or a name is a path, or a
    text is too long, or a number is NaN, infinite or none that a video has.
    """
    if len(text) > MOST_OF_ROW:
        raise ValueError(f"{len(text):,} characters; {MOST_OF_ROW:,} are the most")
    try:
        row = cast(R, _ADAPTERS[kind].validate_json(text, strict=True, extra="forbid"))
    except ValidationError as error:
        raise ValueError("; ".join(_reason(item["loc"], item["msg"]) for item in error.errors())[:2000]) from error
    for field in _IN_PATHS:
        if not _PATH_PART.fullmatch(getattr(row, field, field)):
            raise ValueError(
                f"{field}: {getattr(row, field)!r:.80} would point outside its folder; use letters, "
                "digits, dots and hyphens"
            )
    for field, (low, high) in _RANGES.items():
        if not low <= getattr(row, field, low) <= high:
            raise ValueError(f"{field}: {getattr(row, field):.6g}, and no video has less than {low:g} or over {high:g}")
    for field, value in vars(row).items():
        most = MOST_OF_NAME if field in _IN_PATHS else MOST_CHARACTERS
        if isinstance(value, str) and len(value) > most:
            raise ValueError(f"{field}: {len(value):,} characters; {most:,} are the most")
        if not _is_finite(value):
            raise ValueError(f"{field}: NaN or infinite, which no row may hold")
    return row


def _is_finite(value: Any) -> bool:
    return isfinite(value) if isinstance(value, float) else not isinstance(value, tuple) or all(map(_is_finite, value))


def same(kind: type[R], text: str, other: str) -> bool:
    """Whether two encoded rows say the same, whenever each of them was written."""
    return _undated(decode(kind, text)) == _undated(decode(kind, other))


def _undated(row: Row) -> Row:
    return replace(row, created_at="") if isinstance(row, Preference | Annotation | Decision | Run) else row


def _reason(where: tuple[int | str, ...], message: str) -> str:
    message = message.removeprefix("Value error, ").replace("keyword argument", "field")
    return f"{'.'.join(map(str, where))}: {message}" if where else message
