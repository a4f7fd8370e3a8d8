"""Readers of rows: VideoReward's CSV, VideoDPO's pair.json, and tables of pairs, whose columns `sides` finds.

A video is a path, or its own bytes: a binary cell, or as `datasets` writes one, a struct of bytes and path.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rushes.formats.answers import Meaning, MeaningTable
from rushes.formats.contents import suffix_of
from rushes.formats.entries import json_list
from rushes.formats.preferences import ForeignPair, ReadEntry, UnusableEntry, clean_prompt, local_video
from rushes.formats.sides import PairColumns, own_words, tokens

_QUESTIONS = {"vq": "visual_quality", "mq": "motion", "ta": "text", "overall": "overall"}  # in any letters


def text_of(row: Mapping[Any, object], name: str) -> str:
    """A field that must be a text."""
    if name not in row:
        raise UnusableEntry(f"has no {name}", f"it has {', '.join(map(str, row))}")
    value = row[name]
    if not isinstance(value, str) or not value.strip():
        raise UnusableEntry(f"{name} is not text", f"{value!r:.60}")
    return value.strip()


def videoreward(path: Path, meanings: MeaningTable) -> ReadEntry:
    """Rows of VideoReward's CSV."""

    def read(place: str, row: Mapping[str, Any]) -> Iterator[ForeignPair]:
        left, right, prompt = (text_of(row, name) for name in ("path_A", "path_B", "prompt"))
        sides = [local_video(path.parent, text) for text in (left, right)]
        systems = (str(row.get("A_model") or "imported"), str(row.get("B_model") or "imported"))
        names = systems if len(set(systems)) == 2 else ("A", "B")
        given = {}
        for column, cell in row.items():
            if question := _QUESTIONS.get(str(column).lower()):
                if question in given:
                    raise UnusableEntry("two columns for one question", str(column), "delete one")
                given[question] = str(cell or "").strip()
        answers = {question: meanings.meaning(text, place) for question, text in given.items() if text}
        if not answers:
            raise UnusableEntry("no label")
        yield ForeignPair(
            place, sides[0], sides[1], prompt=clean_prompt(prompt), answers=answers, judge="videoreward",
            systems=systems, names=names, why="path_A is left",
        )  # fmt: skip

    return read


def videodpo(path: Path, meanings: MeaningTable) -> ReadEntry:
    """Entries of VideoDPO's pair.json. Raises ValueError where metadata.json lacks or does not name the videos."""
    table = path.parent / "metadata.json"
    if not table.is_file():
        raise ValueError(f"{table}: no such file; copy it beside the pairs, as it names their videos")
    videos = [_clip_path(item, f"{table}, entry {at}") for at, item in enumerate(json_list(table), 1)]

    def read(place: str, row: Mapping[str, Any]) -> Iterator[ForeignPair]:
        label, prompt = row.get("label"), row.get("frame_caption")
        places = [at for at in (row.get("video1"), row.get("video2")) if type(at) is int and 0 <= at < len(videos)]
        if len(places) != 2 or type(label) is not int:
            raise UnusableEntry(
                f"expected video1 and video2, numbers below {len(videos)} (the videos in {table.name}), and a label, "
                "0 or 1",
                f"{row!s:.120}",
            )
        sides = [local_video(path.parent, videos[at]) for at in places]
        prompt = next(iter(prompt), "") if isinstance(prompt, list) else prompt
        by_form: dict[int, Meaning] = {0: "left", 1: "right"}
        if label not in by_form:
            raise UnusableEntry("its label is neither 0 nor 1", f"{label}")
        answers = {"overall": meanings.meaning(str(label), place, by_form=by_form[label])}
        yield ForeignPair(
            place, sides[0], sides[1], prompt=clean_prompt(text_of({"frame_caption": prompt}, "frame_caption")),
            answers=answers, judge="videodpo", names=("video1", "video2"),
            why="video1 is left",
        )  # fmt: skip

    return read


def _clip_path(item: Any, place: str) -> str:
    basic = item.get("basic") if isinstance(item, dict) else None
    path = basic.get("clip_path") if isinstance(basic, dict) else item.get("video") if isinstance(item, dict) else None
    if not isinstance(path, str):
        raise ValueError(f"{place}: neither basic.clip_path nor video names a file; add one of them")
    return path


@dataclass(frozen=True)
class VideoCells:
    """The videos that cells of a table name or hold."""

    folders: Sequence[Path]  # that names are relative to: the first where there is such a file
    unpacked: Path | None = None  # folder for videos that cells hold

    def file(self, place: str, row: Mapping[str, Any], column: str) -> Path:
        """The video of a cell. Raises UnusableEntry where there is none."""
        value = _message(row[column]) if column in row else None
        data = value.get("bytes") if isinstance(value, dict) else value
        name = value.get("path") if isinstance(value, dict) else value
        if isinstance(data, bytes) and data:
            return self._unpack(data, f"{place} {column}", name if isinstance(name, str) else "")
        text = text_of({**row, column: name} if column in row else row, column)
        for folder in self.folders[:-1]:
            with suppress(UnusableEntry):
                return local_video(folder, text)
        return local_video(self.folders[-1], text)

    def _unpack(self, data: bytes, label: str, name: str) -> Path:
        assert self.unpacked is not None, "the table contains the videos themselves, which need a folder"
        path = self.unpacked / f"{re.sub(r'[^a-zA-Z0-9_.]+', '-', label)[-150:]}{suffix_of(name, data[:12])}"
        path.write_bytes(data)
        return path


def table(columns: PairColumns, meanings: MeaningTable, cells: VideoCells, judge: str) -> ReadEntry:
    """Rows of a table with these columns, plain or conversational; `judge` is who is taken to have chosen."""

    def read(place: str, row: Mapping[str, Any]) -> Iterator[ForeignPair]:
        name = columns.prompt
        prompt = text_of({**row, name: _message(row[name])} if name in row else row, name)
        left, right = (cells.file(place, row, column) for column in (columns.left, columns.right))
        models = tuple(str(row.get(column) or "") if column else "" for column in columns.models)
        systems = (models[0] or "imported", models[1] or "imported")
        names = systems if all(models) and models[0] != models[1] else (columns.left, columns.right)
        if columns.in_order:
            _check_scores(row)
            answers: dict[str, Meaning] = {"overall": "left"}
        else:
            answers = _by_share(columns, row) if columns.shares else _by_answer(columns, row, place, names, meanings)
        yield ForeignPair(
            place, left, right, prompt=clean_prompt(prompt), answers=answers, judge=judge, systems=systems, names=names,
            why=f"{columns.left} is left",
        )  # fmt: skip

    return read


def _by_answer(
    columns: PairColumns, row: Mapping[str, Any], place: str, names: tuple[str, str], meanings: MeaningTable
) -> dict[str, Meaning]:
    """What the column of answers says: a side by its own word, its column or its video, or words of the table."""
    value = row.get(columns.answer)
    text = "" if value is None or value != value else str(value).strip()
    if not text:
        raise UnusableEntry("no label", columns.answer)
    sides: list[Meaning] = []
    own: tuple[Meaning, ...] = ("left", "right")
    videos = columns.left, columns.right
    for side, column, word in zip(own, videos, own_words(*videos), strict=True):
        if row[column] == text:  # the video itself: each pair has another, and all of these mean one thing
            text = column
        if text.casefold() in (column.casefold(), word):
            sides.append(side)
    number = _number(text) is not None  # 1 may be the first of two, or the second of 0 and 1
    by_form = sides[0] if len(sides) == 1 else None
    return {"overall": meanings.meaning(text, place, names, by_form=by_form, by_table=not number)}


def _by_share(columns: PairColumns, row: Mapping[str, Any]) -> dict[str, Meaning]:
    """The side that more people chose, by question."""
    answers: dict[str, Meaning] = {}
    for question, names in columns.shares.items():
        left, right = (_number(row.get(name)) for name in names)
        if left is not None and right is not None:
            answers[question] = "left" if left > right else "right" if right > left else "tie"
    if not answers:
        raise UnusableEntry("no label")
    return answers


def _message(value: object) -> object:
    """What the last message of a conversation says, or the value itself: a text, or the text or video of its parts."""
    if isinstance(value, list) and value and isinstance(value[-1], dict):
        content = value[-1].get("content", value[-1].get("value"))
        if not isinstance(content, list):
            return content
        texts = [part.get(part.get("type")) for part in content if isinstance(part, dict)]
        return texts[0] if len(texts) == 1 else content
    return value


def _check_scores(row: Mapping[str, Any]) -> None:
    """Refuse a row whose own scores, or margin, say that the rejected side is as good.

    They are called score_chosen, chosen_score, chosen-rating, rating_chosen, ... by the programs that write them.
    """
    scores = {
        frozenset(tokens(str(name))): (str(name), value) for name, value in row.items() if value not in (None, "")
    }
    for noun in ("score", "rating", "reward"):
        sides = [scores.get(frozenset({noun, side})) for side in ("chosen", "rejected")]
        if any(sides):
            (chosen, better), (rejected, worse) = (
                side or (f"{noun}_{name}", None) for side, name in zip(sides, ("chosen", "rejected"), strict=True)
            )
            numbers = _number(better), _number(worse)
            if numbers[0] is None or numbers[1] is None:
                raise UnusableEntry(f"{chosen} or {rejected} is not a number", f"{[better, worse]}")
            if numbers[0] <= numbers[1]:
                raise UnusableEntry(f"{chosen} is not above {rejected}", f"{numbers[0]:g} and {numbers[1]:g}")
    margin = _number(row.get("margin"))
    if margin is not None and margin < 0:
        raise UnusableEntry("its margin is negative", f"{margin:g}")


def _number(value: object) -> float | None:
    """A finite number, or one that is written as text, as all cells of a CSV file are; None = it is none."""
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and "_" not in str(value) else None
