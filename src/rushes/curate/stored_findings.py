"""Findings as rows of the store, and back: kept under the signature of the stage that made them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from rushes.curate.base import CurationFinding, Stage
from rushes.curate.columns import MeasureColumns
from rushes.records import CaptionRow, Row, Score, stable_hash
from rushes.store.database import Store

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
