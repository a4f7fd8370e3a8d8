"""Captions by a vision-language model: is the one that is there true, and a dense one where it is wanted.

Dense captions are like those that RealDPO trains on (arXiv 2510.14955): three to six sentences on who or what is seen,
clothing, action, place and light. A clip's own caption is kept beside.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from rushes.config.curate import CaptionsSettings
from rushes.config.tables import Settings
from rushes.curate.asking import ModelClient, asking_stage, first_model, last_line, one_line, seen, unread
from rushes.curate.base import CurationEntry, CurationFinding, Dropped, Stage, Task
from rushes.files import MediaError
from rushes.judges.messages import QuestionPart
from rushes.plugins import toml_table

NAME, VERSION = "captions", 1

_ASKED = toml_table("curate", "questions.toml")["captions"]
CHECK, WRITE = _ASKED["check"], _ASKED["write"]


class Truth(BaseModel):
    """Whether a caption is true of a clip."""

    model_config = ConfigDict(extra="forbid")
    reason: str
    true: Literal["yes", "no"]


class Dense(BaseModel):
    """A new caption."""

    model_config = ConfigDict(extra="forbid")
    caption: str


@dataclass(frozen=True)
class Captioner:
    """Measures one clip; values are `caption_true`, `caption_written` and `caption_unread` (1 or 0), and words and
    sentences of a new caption."""

    model: ModelClient
    table: CaptionsSettings

    def __call__(self, task: Task) -> CurationFinding:
        """Check, then write, as the settings say. Raises EndpointError."""
        try:
            images = seen(task, self.table.frames)
        except MediaError as error:
            return CurationFinding(problem=str(error))
        values: dict[str, float] = {"caption_written": 0.0}
        verdict, problem = "", ""
        if self.table.check and task.caption.strip():
            verdict, problem = self._check(task.caption, images, values)
        text = ""
        if self._wanted(task.caption, values):
            text, unwritten = self._write(images)
            problem = problem or unwritten
        if problem and self.table.unreadable == "drop":
            return CurationFinding(problem=problem)
        if problem:
            values["caption_unread"] = 1.0
        if text:
            values |= {"caption_written": 1.0, "caption_words": len(text.split()), "caption_sentences": sentences(text)}
        return CurationFinding(
            values, captions={**({"dense": text} if text else {}), **({"verdict": verdict} if verdict else {})}
        )

    def _check(self, caption: str, images: Sequence[QuestionPart], values: dict[str, float]) -> tuple[str, str]:
        answer = self.model.ask([CHECK.replace("CAPTION", caption), *images], Truth)
        if answer.parsed is None:
            return "", unread(self.model, answer.problem)
        values["caption_true"] = float(answer.parsed.true == "yes")
        return f"{self.model.name}: {one_line(answer.parsed.reason)}", ""

    def _wanted(self, caption: str, values: dict[str, float]) -> bool:
        if values.get("caption_true") == 0:
            return self.table.untrue == "write"
        return self.table.write == "all" or (self.table.write == "missing" and not caption.strip())

    def _write(self, images: Sequence[QuestionPart]) -> tuple[str, str]:
        answer = self.model.ask([WRITE, *images], Dense)
        if answer.parsed is None:
            return "", unread(self.model, answer.problem)
        text = " ".join(answer.parsed.caption.split())
        return text, "" if text else f"{self.model.name} wrote an empty caption"


def sentences(text: str) -> int:
    """Sentences of a caption, by the marks that end them."""
    return len(re.findall(r"[^.!?]*\w[^.!?]*(?:[.!?]+(?=\s|$)|$)", text))


def choose(table: CaptionsSettings, entries: Sequence[CurationEntry]) -> Dropped:
    """Clips under an untrue caption that was not replaced, and those whose new caption is too short."""
    dropped = {}
    for entry in entries:
        values = entry.finding.values
        if values.get("caption_true") == 0 and not values.get("caption_written"):
            dropped[entry.id] = f"untrue caption: {last_line(entry.finding.captions.get('verdict', ''))}"
        elif values.get("caption_unread") and table.unreadable == "drop":
            dropped[entry.id] = "the model's answer could not be read"
        elif values.get("caption_written") and values["caption_words"] < table.min_words:
            dropped[entry.id] = (
                f"new caption too short: {values['caption_words']:.0f} words, at least {table.min_words} "
                "(curate.captions.min_words)"
            )
    return dropped


def make(settings: Settings, answers: Path) -> Stage:
    """The stage. Raises ValueError where no model is named, its key is missing, or there is nothing to do."""
    table = settings.curate.captions
    if table.write == "never" and not table.check:
        raise ValueError(
            "curate.captions: write is never and check is false, so the stage does nothing; change one, or remove "
            "captions from curate.stages"
        )
    if table.untrue == "write" and table.write == "never":
        raise ValueError('curate.captions: untrue is "write" but write is "never", a contradiction; change one')
    model = first_model(settings.endpoint, answers, NAME)
    prompt = [CHECK, WRITE, Truth.model_json_schema(), Dense.model_json_schema(), table.frames, table.write,
              table.check, table.untrue, settings.endpoint.max_side_px]  # fmt: skip
    each = int(table.check) + int(table.write != "never")
    measure, chosen = Captioner(model, table), partial(choose, table)
    return asking_stage(NAME, VERSION, settings, [model], prompt, measure, chosen, each=each, reads_caption=True)
