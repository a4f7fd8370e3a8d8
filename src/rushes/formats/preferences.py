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

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from rushes.files import inside, is_file, odd_name
from rushes.formats.answers import LABELS, Meaning, MeaningTable
from rushes.formats.layouts import RefusedVideo
from rushes.text_reader import TableRow, caption_of, counted, printable

P = TypeVar("P")
PreferenceFormat = Literal["videoreward", "videodpo", "trl", "labelstudio", "table"]
FORMS: tuple[PreferenceFormat, ...] = ("videoreward", "videodpo", "trl", "labelstudio", "table")


class UnusableEntry(ValueError):
    """An entry that is left out: its reason, the same words for all alike, what is particular to it, and the remedy."""

    def __init__(self, reason: str, particular: str = "", remedy: str = "correct or delete it") -> None:
        super().__init__(f"{reason}{particular and ': '}{particular}{remedy and '; '}{remedy}")
        self.reason = reason

    def at(self, place: str) -> RefusedVideo:
        """The entry at a place, as it is reported."""
        return RefusedVideo(place, self.reason, printable(str(self)))


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


ReadEntry = Callable[[str, Mapping[str, Any]], Iterator[ForeignPair | RefusedVideo]]
"""Pairs of an entry, by its place and its fields, and what of it is left out. Raises UnusableEntry for all of it."""


@dataclass
class ForeignPairs:
    """What a file holds: pairs with labels, and what is left out."""

    path: Path
    meanings: MeaningTable = field(default_factory=MeaningTable)
    pairs: list[ForeignPair] = field(default_factory=list)
    refused: list[RefusedVideo] = field(default_factory=list)  # entries that are left out, by their places
    passed_over: Counter[str] = field(default_factory=Counter)  # results that are no preferences, by kind
    notes: list[str] = field(default_factory=list)  # what else there is to say

    @property
    def entries(self) -> int:
        """Pairs and those left out."""
        return len(self.pairs) + len(self.refused)

    @property
    def left_out(self) -> Counter[str]:
        """How many entries are left out, by reason."""
        return Counter(refused.reason for refused in self.refused)

    @property
    def examples(self) -> dict[str, str]:
        """The first entry of each reason, in full."""
        first: dict[str, str] = {}
        for refused in self.refused:
            first.setdefault(refused.reason, printable(f"{refused.source}: {refused.words}"))
        return first

    def read(self, entries: Iterable[tuple[str, Any]], read: ReadEntry) -> None:
        """Add what is read of each entry, one at a time, by its place and content."""
        for place, row in entries:
            try:
                if isinstance(row, TableRow):
                    reason = "the row has more or fewer cells than the header" if row.ragged else "bad row"
                    raise UnusableEntry(reason, row.problem, "")
                if not isinstance(row, dict):
                    raise UnusableEntry("not an object", repr(row)[:60])
                self.pairs.extend(self.usable(read(place, row)))
            except UnusableEntry as error:
                self.refused.append(error.at(place))

    def usable(self, each_or_refused: Iterable[P | RefusedVideo]) -> Iterator[P]:
        """What is not refused; what is counts as left out."""
        for each in each_or_refused:
            if isinstance(each, RefusedVideo):
                self.refused.append(each)
            else:
                yield each

    def refuse_if_empty(self) -> None:
        """Raises ValueError where no pair is left, with the reasons and the first entry of each."""
        if not self.pairs:
            if not self.entries:
                raise ValueError(f"{self.path}: the file has no entries; name the file that holds the preferences")
            reasons = "; ".join(f"{count} {reason}" for reason, count in self.left_out.items())
            first = "".join(f"\n{example}" for example in self.examples.values())
            entries = counted(self.entries, "entry", "entries")
            raise ValueError(f"{self.path}: none of {entries} can be used ({reasons}){first}")


def clean_prompt(text: str) -> str:
    """A prompt as a caption, which it is trained on as. Raises UnusableEntry for what is none."""
    prompt = caption_of(text)
    if prompt.problem:
        raise UnusableEntry("bad prompt", prompt.problem, "")
    return prompt.text


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
