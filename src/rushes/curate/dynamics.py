"""Does a caption tell of hard foreground motion? DenseDPO's filter on captions (arXiv 2506.03517, app. A).

By a language model that answers yes or no with a reason, or by lists of words. Lists are weaker: they take "a running
tap" for a run, know only English, and miss what they do not list. They never ask anything.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from rushes.config.curate import Unreadable
from rushes.config.tables import Settings
from rushes.curate.asking import ModelClient, asking_stage, last_line, one_line, text_model, unread
from rushes.curate.base import CurationEntry, CurationFinding, Dropped, Stage, Task
from rushes.plugins import toml_table

NAME, VERSION = "dynamics", 1

_WORDS = toml_table("curate", "questions.toml")["dynamics"]
QUESTION = _WORDS["question"]


class Motion(BaseModel):  # answers and findings are kept under a hash that has this name and the line below in it
    """What the model answers."""

    model_config = ConfigDict(extra="forbid")
    reason: str
    dynamic: Literal["yes", "no"]


_TWIN = "(?:[bdgmnprt](?=ed|ing))?"  # running, hopped


def _any(sort: str) -> str:
    return "|".join(_WORDS[sort].split())


_MOVES = re.compile(
    rf"\b(?:(?:{_any('verbs')}){_TWIN}(?:e|es|s|ed|ing|y|ies|ied|ying)?|(?:{_any('nouns_too')}){_TWIN}ing"
    rf"|{_any('irregular')})\b",
    re.IGNORECASE,
)
_STILL = re.compile(
    r"\b(slow[- ]motion|time[- ]?lapse|hyper[- ]?lapse|aerial|drone|bird'?s[- ]eye|top[- ]down map|animat(?:ed|ion)|"
    r"cartoons?|anime|3d render\w*|cgi|video ?games?|gameplay|screen ?(?:recording|shot|cast)s?|split[- ]screen|"
    r"news ?(?:cast|reader|anchor|studio|report)\w*|slide ?shows?|presentation|crowds?|still image|photo(?:graph)?s?|"
    r"static shot|motionless|stationary)\b",
    re.IGNORECASE,
)


def moving_words(caption: str) -> list[str]:
    """Words of a caption that tell of large movement, each once."""
    return sorted({match[0].lower() for match in _MOVES.finditer(caption)})


def excluding_words(caption: str) -> list[str]:
    """Words that tell of what DenseDPO leaves out: slow motion, views from the air, drawings, games, news, crowds."""
    return sorted({match[0].lower() for match in _STILL.finditer(caption)})


def by_rules(task: Task) -> CurationFinding:
    """Value `dynamic`: 1 where a word tells of movement and none excludes the clip."""
    moving, excluded = moving_words(task.caption), excluding_words(task.caption)
    verdict = f"excluded by {', '.join(excluded)}" if excluded else f"moving words: {', '.join(moving) or 'none'}"
    return CurationFinding({"dynamic": float(bool(moving) and not excluded)}, captions={"verdict": f"rules: {verdict}"})


def by_model(model: ModelClient, unreadable: Unreadable, task: Task) -> CurationFinding:
    """Value `dynamic`, 1 or 0, or `dynamic_unread`. Raises EndpointError."""
    if not task.caption.strip():
        return CurationFinding(problem="it has no caption to read; write one first (stage captions)")
    answer = model.ask([QUESTION.replace("CAPTION", task.caption)], Motion)
    if answer.parsed is not None:
        verdict = f"{model.name}: {one_line(answer.parsed.reason)}"
        return CurationFinding({"dynamic": float(answer.parsed.dynamic == "yes")}, captions={"verdict": verdict})
    problem = unread(model, answer.problem)
    return CurationFinding(problem=problem) if unreadable == "drop" else CurationFinding({"dynamic_unread": 1.0})


def choose(unreadable: Unreadable, entries: Sequence[CurationEntry]) -> Dropped:
    """Clips whose captions tell of no hard motion."""
    dropped = {}
    for entry in entries:
        if entry.finding.values.get("dynamic") == 0:
            dropped[entry.id] = f"no hard motion: {last_line(entry.finding.captions.get('verdict', ''))}"
        elif entry.finding.values.get("dynamic_unread") and unreadable == "drop":
            dropped[entry.id] = "the model's answer could not be read"
    return dropped


def make(settings: Settings, answers: Path) -> Stage:
    """The stage. Raises ValueError where a model is to answer and none is named, or its key is missing."""
    table = settings.curate.dynamics
    chosen = partial(choose, table.unreadable)
    if table.by == "rules":
        return Stage(NAME, f"{NAME}.{VERSION}:rules", by_rules, chosen, reads_caption=True)
    model = text_model(settings.curate.text, settings.endpoint, answers, NAME)
    prompt, measure = [QUESTION, Motion.model_json_schema()], partial(by_model, model, table.unreadable)
    return asking_stage(NAME, VERSION, settings, [model], prompt, measure, chosen, each=1, reads_caption=True)
