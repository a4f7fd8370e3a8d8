"""Is a clip real footage? Two vision-language models must both say so (PhysHPO, arXiv 2508.10858, sec. 3.1).

The first looks at every clip, the second only at those that the first took to be real. The paper's figure on 1,000
videos: 99.6 % right after the first, 100 % after both. The second reads the choices in the opposite order, so that
models which like the first choice let no clip through by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from rushes.config.curate import Unreadable
from rushes.config.tables import Settings
from rushes.curate.asking import ModelClient, asking_stage, first_model, last_line, one_line, other_model, seen, unread
from rushes.curate.base import CurationEntry, CurationFinding, Dropped, Stage, Task
from rushes.files import MediaError
from rushes.judges.messages import QuestionPart
from rushes.plugins import toml_table

NAME, VERSION = "reality", 1
ORDINALS = ("first", "second")
KINDS: Mapping[str, str] = toml_table("curate", "questions.toml")["reality"]


class Look(BaseModel):
    """What a judge answers."""

    model_config = ConfigDict(extra="forbid")
    reason: str
    footage: Literal["real", "animation", "game", "generated", "screen", "unclear"]


def question(reverse: bool) -> str:
    """What a judge is asked, with the choices in this order or in the opposite one."""
    kinds = list(KINDS.items())[:: -1 if reverse else 1]
    return (
        "These are frames of one video clip, in order. Which kind of footage is it?\n"
        + "\n".join(f"- {name}: {text}" for name, text in kinds)
        + "\nLook at textures, light and shadow, edges, faces and hands, and at how things move from frame to frame. "
        'Answer with one JSON object and nothing else: {"reason": one short sentence, "footage": one of '
        + ", ".join(f'"{name}"' for name, _ in kinds)
        + "}"
    )


@dataclass
class _JudgedClip:
    """What is known of one clip so far."""

    values: dict[str, float] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    unread: str = ""


def measure(models: Sequence[ModelClient], frames: int, unreadable: Unreadable, task: Task) -> CurationFinding:
    """What the judges say; the next is asked only if the one before said real. Raises EndpointError.

    Values `real_first` and `real_second` are 1 or 0, and `reality_unread` is 1 where an answer could not be read.
    """
    try:
        images = seen(task, frames)
    except MediaError as error:
        return CurationFinding(problem=str(error))
    verdict = _JudgedClip()
    for at, (ordinal, model) in enumerate(zip(ORDINALS, models, strict=False)):
        real = _look(verdict, ordinal, model, [question(reverse=at == 1), *images])
        if verdict.unread and unreadable == "drop":
            return CurationFinding(problem=verdict.unread)
        if real is False:
            break
    if verdict.unread:
        verdict.values["reality_unread"] = 1.0
    return CurationFinding(verdict.values, captions={"verdict": "\n".join(verdict.lines)})


def _look(verdict: _JudgedClip, ordinal: str, model: ModelClient, parts: Sequence[QuestionPart]) -> bool | None:
    """Ask one judge: real or not, None where its answer cannot be read."""
    answer = model.ask(parts, Look)
    if answer.parsed is None:
        verdict.unread = unread(model, answer.problem)
        verdict.lines.append(f"{ordinal} judge: {verdict.unread}")
        return None
    verdict.values[f"real_{ordinal}"] = float(answer.parsed.footage == "real")
    verdict.lines.append(f"{ordinal} judge, {model.name}: {answer.parsed.footage}: {one_line(answer.parsed.reason)}")
    return answer.parsed.footage == "real"


def choose(unreadable: Unreadable, entries: Sequence[CurationEntry]) -> Dropped:
    """Clips that a judge did not take to be real."""
    dropped = {}
    for entry in entries:
        values = entry.finding.values
        if any(values.get(f"real_{ordinal}") == 0 for ordinal in ORDINALS):
            dropped[entry.id] = f"not real: {last_line(entry.finding.captions.get('verdict', ''))}"
        elif values.get("reality_unread") and unreadable == "drop":
            dropped[entry.id] = "a judge's answer could not be read"
    return dropped


def make(settings: Settings, answers: Path) -> Stage:
    """The stage. Raises ValueError where a model is not named, its key is missing, or both judges are one model."""
    table = settings.curate.reality
    models = [first_model(settings.endpoint, answers, NAME)]
    if table.double_check:
        where = "curate.reality.second"
        if not table.second.model:
            raise ValueError(
                f"{where}.model is empty; name a second vision-language model, or set curate.reality.double_check to "
                "false, which lets more clips through that are not real"
            )
        models.append(other_model(settings.endpoint, table.second, answers, where, NAME))
        if models[0].name == models[1].name:
            raise ValueError(
                f"{where}.model: {models[1].name} is the first judge too, and would repeat its mistakes; name another "
                "model, or set curate.reality.double_check to false"
            )
    prompt = [question(False), question(True), Look.model_json_schema(), table.frames, settings.endpoint.max_side_px]
    look = partial(measure, tuple(models), table.frames, table.unreadable)
    chosen = partial(choose, table.unreadable)
    return asking_stage(NAME, VERSION, settings, models, prompt, look, chosen, each=len(models))
