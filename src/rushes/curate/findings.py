"""What stages found out about clips: by column, so that a clip costs its numbers alone, and as rows of the store.

They are kept under the signature of the stage that made them.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from rushes.curate.base import CurationFinding, Stage
from rushes.records import CaptionKind, CaptionRow, Row, Score, stable_hash
from rushes.store.database import Store

_SHORT = 2**15


class MeasureColumns:
    """Findings about the clips of these ids, each in its place."""

    def __init__(self, ids: Sequence[str]) -> None:
        self.places = {id: at for at, id in enumerate(ids)}
        self.values: dict[str, NDArray[np.float64]] = {}  # by place; NaN = the clip has none
        self._words: dict[str, dict[int, Sequence[float]]] = {}
        self._captions: dict[CaptionKind, dict[int, str]] = {}

    def add(self, id: str, finding: CurationFinding) -> None:
        """Take in what was found out about a clip; what it has under the same name is replaced."""
        for name, value in finding.values.items():
            self.add_value(id, name, value)
        for name, numbers in finding.words.items():
            self.add_words(id, name, numbers)
        for kind, text in finding.captions.items():
            self.add_caption(id, kind, text)

    def add_value(self, id: str, name: str, value: float) -> None:
        column = self.values.get(name)
        if column is None:
            column = self.values[name] = np.full(len(self.places), np.nan)
        column[self.places[id]] = value

    def add_words(self, id: str, name: str, numbers: Sequence[float]) -> None:
        self._words.setdefault(name, {})[self.places[id]] = packed(numbers)

    def add_caption(self, id: str, kind: CaptionKind, text: str) -> None:
        self._captions.setdefault(kind, {})[self.places[id]] = text

    def caption(self, id: str, kind: CaptionKind) -> str:
        """A text that was written for a clip; "" = none."""
        return self._captions.get(kind, {}).get(self.places[id], "")

    def finding(self, id: str) -> CurationFinding:
        """All of one clip; its values are looked up when they are asked for."""
        at = self.places[id]
        words = {name: each[at] for name, each in self._words.items() if at in each}
        captions = {kind: each[at] for kind, each in self._captions.items() if at in each}
        return CurationFinding(_ColumnRow(self.values, at), words, captions)

    def forget_words(self) -> None:
        """Words are for the stage that found them; later ones read values and captions."""
        self._words.clear()


class _ColumnRow(Mapping[str, float]):
    """The values of one clip."""

    __slots__ = ("_at", "_columns")

    def __init__(self, columns: Mapping[str, NDArray[np.float64]], at: int) -> None:
        self._columns, self._at = columns, at

    def __getitem__(self, name: str) -> float:
        value = float(self._columns[name][self._at])
        if math.isnan(value):
            raise KeyError(name)
        return value

    def __iter__(self) -> Iterator[str]:
        return (name for name, column in self._columns.items() if not math.isnan(column[self._at]))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def packed(numbers: Sequence[float]) -> Sequence[float]:
    """The same numbers in two bytes each where all are whole and small, as of fingerprints, else in eight."""
    if isinstance(numbers, array):
        return numbers
    exact = array("d", numbers)
    if all(number.is_integer() and -_SHORT <= number < _SHORT for number in exact):
        return array("h", map(int, exact))
    return exact


NOTHING = "nothing"  # stands for a finding without any value


def rows_of(stage: Stage, clip: str, caption: str, finding: CurationFinding) -> list[Row]:
    """The rows that keep a finding about a clip that goes by `caption`: to be added together, all or none."""
    under = _caption_key(stage, caption)
    values = {name: (float(value), ()) for name, value in finding.values.items()}
    words = {name: (float(len(words)), tuple(map(float, words))) for name, words in finding.words.items()}
    numbers = {**values, **words} or {NOTHING: (0.0, ())}
    rows: list[Row] = [
        Score(
            _id(stage, clip, under, name),
            clip,
            _metric(stage, name),
            value=value,
            per_segment=several,
            measured_by=stage.signature,
            settings_hash=under,
        )
        for name, (value, several) in numbers.items()
    ]
    rows += [
        CaptionRow(
            _id(stage, clip, under, f"caption {kind}"),
            clip,
            text,
            kind=kind,
            about="",
            made_by=stage.signature,
            settings_hash=under,
        )
        for kind, text in finding.captions.items()
    ]
    return rows


def find_before(store: Store, stage: Stage, captions: Mapping[str, str], columns: MeasureColumns) -> NDArray[np.bool_]:
    """Put what this stage found out before into `columns`, for clips that go by these captions.

    Returns:
        For each clip in its place whether anything was found out.
    """
    measured = np.zeros(len(columns.places), np.bool_)
    for score in store.scores_under(_metric(stage, "")):
        if _is_current(stage, captions, score):
            measured[columns.places[score.subject]] = True
            name = score.metric.rpartition("/")[2]
            if score.per_segment:
                columns.add_words(score.subject, name, score.per_segment)
            elif name != NOTHING:
                columns.add_value(score.subject, name, score.value)
    for text in store.stream(CaptionRow) if measured.any() else ():
        if text.subject in captions and measured[columns.places[text.subject]] and _is_current(stage, captions, text):
            columns.add_caption(text.subject, text.kind, text.text)
    return measured


def _is_current(stage: Stage, captions: Mapping[str, str], row: Score | CaptionRow) -> bool:
    made_by = row.measured_by if isinstance(row, Score) else row.made_by
    if made_by != stage.signature or row.subject not in captions:
        return False
    return row.settings_hash == _caption_key(stage, captions[row.subject])


def _metric(stage: Stage, name: str) -> str:
    return f"curate/{stage.name}/{name}"


def _caption_key(stage: Stage, caption: str) -> str:
    return stable_hash(caption) if stage.reads_caption else ""


def _id(stage: Stage, clip: str, under: str, name: str) -> str:
    return stable_hash(["curate", stage.name, stage.signature, clip, under, name])
