"""Preferences that other programs keep, as pairs of videos: VideoReward, VideoDPO, TRL, Label Studio and tables.

| form | file | says |
|---|---|---|
| videoreward | CSV | path_A, path_B, prompt, A_model, B_model; VQ, MQ, TA and Overall are A, B or same |
| videodpo | pair.json | video1, video2 (places in metadata.json), label 0 = the first is better, frame_caption |
| trl | table | prompt, chosen, rejected: texts, or messages that hold them; perhaps scores of both |
| table | table | what the names of its columns say, see `pair_tables` |
| labelstudio | JSON export | two videos in `data`; results of `pairwise`, `choices` or `rating` |

VideoDPO's label is as its authors' `dump_VPD_metadata` writes it: the winner is video1, the label 0.

Readers open no video. An entry that cannot be used is left out, counted by its reason, and the first of each reason is
named; an answer of unknown meaning ends the reading, as one table of words gives all of them a meaning.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from rushes.files import inside, is_file, odd_name
from rushes.formats.answers import LABELS, Meaning, MeaningTable
from rushes.formats.contents import PARQUET, open_parquet, parquet_rows
from rushes.records import Candidate, Clip
from rushes.store.database import Store
from rushes.text_reader import (
    TableRow,
    caption_of,
    counted,
    json_rows,
    parse_json,
    printable,
    read_by_line,
    read_rows,
    read_text,
)

PreferenceFormat = Literal["videoreward", "videodpo", "trl", "labelstudio", "table"]
FORMS: tuple[PreferenceFormat, ...] = ("videoreward", "videodpo", "trl", "labelstudio", "table")

_QUESTIONS = {"vq": "visual_quality", "mq": "motion", "ta": "text", "overall": "overall"}  # in any letters


class UnusableEntry(ValueError):
    """An entry that is left out: its reason, the same words for all alike, what is particular to it, and the remedy."""

    def __init__(self, reason: str, particular: str = "", remedy: str = "correct or delete it") -> None:
        super().__init__(f"{reason}{particular and ': '}{particular}{remedy and '; '}{remedy}")
        self.reason = reason


@dataclass(frozen=True)
class ForeignPair:
    """Two videos of one prompt and what somebody said of them, by question."""

    place: str  # where it stands, for messages
    left: Path
    right: Path
    prompt: str
    answers: Mapping[str, Meaning]
    judge: str
    systems: tuple[str, str] = ("imported", "imported")
    names: tuple[str, str] = ("left", "right")  # what the file calls the sides
    why: str = ""  # what says which side is left

    @property
    def labels(self) -> dict[str, int]:
        """+1 left, 0 tie or unjudged, -1 right, by question."""
        return {question: LABELS[meaning] for question, meaning in self.answers.items()}


@dataclass
class ForeignPairs:
    """What a file holds: pairs with labels, and how many entries are left out, by reason."""

    path: Path
    meanings: MeaningTable = field(default_factory=MeaningTable)
    entries: int = 0  # pairs and those left out
    pairs: list[ForeignPair] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)  # reason -> the first that has it, in full
    refused: dict[str, str] = field(default_factory=dict)  # place -> why it is left out, of all that are
    passed_over: Counter[str] = field(default_factory=Counter)  # results that are no preferences, by kind
    notes: list[str] = field(default_factory=list)  # what else there is to say

    def leave_out(self, error: UnusableEntry, place: str) -> None:
        """Count an entry that cannot be used."""
        self.left_out[error.reason] += 1
        self.refused[place] = printable(str(error))
        self.examples.setdefault(error.reason, printable(f"{place}: {error}"))

    def refuse_if_empty(self) -> None:
        """Raises ValueError where no pair is left, with the reasons and the first entry of each."""
        if not self.pairs:
            if not self.entries:
                raise ValueError(f"{self.path}: the file has no entries; name the file that holds the preferences")
            reasons = "; ".join(f"{count} {reason}" for reason, count in self.left_out.items())
            first = "".join(f"\n{example}" for example in self.examples.values())
            entries = counted(self.entries, "entry", "entries")
            raise ValueError(f"{self.path}: none of {entries} can be used ({reasons}){first}")


def _with_clean_prompt(pair: ForeignPair) -> ForeignPair:
    """The pair under its prompt as a caption, which it is trained on as."""
    prompt = caption_of(pair.prompt)
    if prompt.problem:
        raise UnusableEntry("bad prompt", prompt.problem, "")
    return replace(pair, prompt=prompt.text)


ReadEntry = Callable[[str, Mapping[str, Any]], Iterator[ForeignPair]]
"""Pairs of an entry, by its place and its fields. Raises UnusableEntry."""


def read_entries(path: Path, pairs: ForeignPairs, read: ReadEntry, before: str = "") -> None:
    """Read each entry of a file into `pairs`, one entry at a time; `before` is put before its place."""
    for place, row in ((before + place, row) for place, row in _rows(path)):
        pairs.entries += 1
        try:
            if isinstance(row, TableRow):
                raise UnusableEntry(
                    "the row has more or fewer cells than the header" if row.ragged else "bad row", row.problem, ""
                )
            if not isinstance(row, dict):
                raise UnusableEntry("not an object", repr(row)[:60])
            pairs.pairs.extend(map(_with_clean_prompt, read(place, row)))
        except UnusableEntry as error:
            pairs.leave_out(error, place)


def first_row(path: Path) -> list[str]:
    """Names of the columns of a table, or of the fields of a file's first entry that is sound; none where there is no
    such."""
    if path.suffix.lower() == PARQUET:
        return list(open_parquet(path).schema_arrow.names)
    return next(([*map(str, row)] for _, row in _rows(path) if isinstance(row, dict)), [])


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
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
        whole = read_text(path)  # a list has no lines that a bad byte could cost
        yield from ((f"entry {number}", row) for number, row in enumerate(entries(path, whole), start=1))
        return
    yield from ((f"line {row.line}", row if row.problem else dict(row.cells)) for row in json_rows(text))


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def entries(path: Path, text: str) -> list[Any]:
    """The entries of a JSON list. Raises ValueError for what is none."""
    rows = parse_json(text, f"{path}: not JSON, save it as a list of objects")
    if not isinstance(rows, list):
        raise ValueError(f"{path}: not a list of objects; save it as one")
    return rows


def text_of(row: Mapping[Any, object], name: str) -> str:
    """A field that must be a text."""
    if name not in row:
        raise UnusableEntry(f"has no {name}", f"it has {', '.join(map(str, row))}")
    value = row[name]
    if not isinstance(value, str) or not value.strip():
        raise UnusableEntry(f"{name} is not text", f"{value!r:.60}")
    return value.strip()


def local_video(folder: Path, text: str) -> Path:
    """The file that a field names, relative to a folder; whether it is a video is seen when it is opened."""
    if "://" in text:
        raise UnusableEntry("a web address, not a file", f"{text!r:.80}", "download the video and name its file")
    try:
        path = inside(folder, text)
    except ValueError as error:
        raise UnusableEntry("points outside the folder", str(error), "") from None
    if not is_file(path):
        try:
            os.fsencode(path)
        except UnicodeEncodeError:
            raise UnusableEntry("not a usable file name", text, odd_name(text)) from None
        raise UnusableEntry("no such file", f"{path!s:.200}", f"name a video, relative to {folder}")
    return path


def videoreward(path: Path, pairs: ForeignPairs) -> ReadEntry:
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
        answers = {question: pairs.meanings.meaning(text, place) for question, text in given.items() if text}
        if not answers:
            raise UnusableEntry("no label")
        answered = {question: meaning for question, meaning in answers.items() if meaning}
        yield ForeignPair(
            place, sides[0], sides[1], prompt=prompt, answers=answered, judge="videoreward", systems=systems,
            names=names, why="path_A is left",
        )  # fmt: skip

    return read


def videodpo(path: Path, pairs: ForeignPairs) -> ReadEntry:
    """Entries of VideoDPO's pair.json. Raises ValueError where metadata.json lacks or does not name the videos."""
    table = path.parent / "metadata.json"
    if not table.is_file():
        raise ValueError(f"{table}: no such file; copy it beside the pairs, as it names their videos")
    videos = [_clip_path(item, f"{table}, entry {at}") for at, item in enumerate(entries(table, read_text(table)), 1)]

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
        meaning = pairs.meanings.meaning(str(label), place, by_form=by_form[label])
        yield ForeignPair(
            place, sides[0], sides[1], prompt=text_of({"frame_caption": prompt}, "frame_caption"),
            answers={"overall": meaning} if meaning else {}, judge="videodpo", names=("video1", "video2"),
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
class ClipsListed:
    """A list of clips for a program that scores them."""

    clips: int
    file: Path  # JSONL: content hash, file and caption of each


def media_needed(store: Store) -> Iterator[dict[str, str]]:
    """Content hash, file and caption of every clip and candidate: what a program that scores them has to know."""
    seen: set[str] = set()
    rows: tuple[Clip | Candidate, ...] = (*store.clips(), *store.candidates())
    for row in rows:
        if row.media not in seen:
            seen.add(row.media)
            yield {"media": row.media, "file": str(store.media.locate(row.media)), "caption": row.caption}
