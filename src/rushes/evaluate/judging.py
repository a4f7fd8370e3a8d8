"""Judges for plain folders: side by side by any judge of the labels, or a questionnaire by the model of [endpoint]."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from math import comb
from pathlib import Path

from rushes.config.files import load_settings
from rushes.config.tables import Settings
from rushes.evaluate.folders import Folders
from rushes.evaluate.judged import Verdicts, judge_all, rate_all
from rushes.judges.build import ANSWERS, judge_of
from rushes.judges.endpoint import ChatEndpoint
from rushes.judges.protocols import adherence, by_endpoint, questionnaire
from rushes.progress import Bar

QUESTIONNAIRES = ("realdpo", "videophy")


def judge_folders(
    names: Sequence[str], overrides: Sequence[str], out: Path, bar: Bar, folders: Folders, notes: list[str]
) -> Verdicts:
    """Ask every named judge: `metric:NAME`, `vlm`, `reward` (set up by --set), or a questionnaire.

    A questionnaire (`realdpo`, `videophy`) scores each clip alone and becomes metrics; what the model answered is kept
    in `out`.

    Raises:
        ValueError: no such judge, or what it needs is not there.
    """
    verdicts = Verdicts()
    for name in names:
        by, _, metric = name.partition(":")
        if by in QUESTIONNAIRES:
            settings = _settings(overrides)
            with ChatEndpoint(settings.endpoint, out / ANSWERS) as endpoint:
                ask, affirm = by_endpoint(endpoint, settings.label.frames_per_s)
                rate = partial(questionnaire, ask) if by == "realdpo" else partial(adherence, affirm)
                with bar(f"evaluate: {name}", sum(len(of) for of in folders.videos.values())) as tick:
                    verdicts.measures += rate_all(rate, folders, notes, tick)
            continue
        chosen = (*overrides, f"label.by={by}", *((f"label.metric={metric}",) if metric else ()))
        pairs = comb(len(folders.systems), 2) * len(folders.prompts)
        with judge_of(_settings(chosen), out) as judge, bar(f"evaluate: {name}", pairs) as tick:
            answers = judge_all(judge, folders, notes, tick)
        verdicts.rows += answers.rows
        verdicts.strengths |= {
            (s if len(names) == 1 else f"{name}: {s}"): value for s, value in answers.strengths.items()
        }
    return verdicts


def _settings(overrides: Sequence[str]) -> Settings:
    return load_settings(Path(os.devnull), overrides)
