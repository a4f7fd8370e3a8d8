"""How much physics a caption shows (PhysHPO's selection, arXiv 2508.10858, sec. 3.1): three questions, best first.

The score is of the caption, not of the video: that agreed with people better than scoring the video did (92, 90 and
91 % for the three groups against 85, 81 and 88 %) and better than a score without rewriting (74, 69 and 76 %), but a
caption that promises what the clip does not show is believed.

A caption is rewritten once for each of 17 phenomena (`phenomena.toml`), so that what it implies is stated, and each
rewrite gets a whole score from 1 to 5. A group's score is the mean of its phenomena, the total the product of the
groups, so 1 to 125. (The text speaks of seven dynamic phenomena; the list and the worked examples have six, which make
17 in all.) The wording here is our own.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, create_model

from rushes.config.curate import FidelitySettings
from rushes.config.tables import Settings
from rushes.curate.asking import ModelClient, asking_stage, text_model, unread
from rushes.curate.base import CurationEntry, CurationFinding, Dropped, Stage, Task, Threshold
from rushes.plugins import toml_table

NAME, VERSION = "fidelity", 1


class Rewrite(BaseModel):
    """The caption with one phenomenon brought out, and how well it then shows it."""

    model_config = ConfigDict(extra="forbid")
    caption: str
    reason: str
    score: Literal[1, 2, 3, 4, 5]


@dataclass(frozen=True)
class Group:
    """Phenomena that are asked about in one question: field name -> words."""

    name: str
    phenomena: Mapping[str, str]
    examples: Sequence[tuple[str, str, str, int]]  # phenomenon, caption, reason, score

    @property
    def schema(self) -> type[BaseModel]:
        """The form of an answer: one rewrite for each phenomenon."""
        fields: dict[str, Any] = {key: (Rewrite, ...) for key in self.phenomena}
        return create_model(self.name.capitalize(), __config__=ConfigDict(extra="forbid"), **fields)


GROUPS = tuple(Group(name, **row) for name, row in toml_table("curate", "phenomena.toml").items())
_EGG = "A woman cracks an egg on the rim of a hot pan, and the egg runs out and whitens."  # the caption of the examples


def question(group: Group, caption: str) -> str:
    """What is asked of one caption about all phenomena of a group at once."""
    listed = "\n".join(f"- {key}: {words}" for key, words in group.phenomena.items())
    shown = {key: {"caption": text, "reason": why, "score": score} for key, text, why, score in group.examples}
    return f"""This is the caption of a video clip:
{caption}

For each of these phenomena:
{listed}
1. Rewrite the caption so that it brings the phenomenon out, strictly from what the caption says or plainly implies. Add
no thing and no event. Where the caption has nothing of it, repeat the caption as it is.
2. Give the reason for your score in a few words.
3. Score how well the rewritten caption shows the phenomenon, a whole number: 1 not at all, 2 a trace, 3 in part, 4
well, 5 as a main event with cause and effect. Most captions show most phenomena not at all.

Answer with one JSON object and nothing else, with the keys {", ".join(group.phenomena)}, each an object with caption,
reason and score. For "{_EGG}" two of the entries would be:
{json.dumps(shown)}"""


def group_score(scores: Sequence[int]) -> float:
    """Arithmetic mean of a group's scores, 1..5. (4, 2, 5, 1, 1, 4) gives 2.83, which the paper prints as 2.8."""
    return math.fsum(scores) / len(scores)


def total(group_scores: Sequence[float]) -> float:
    """Product of the groups' scores, 1..125."""
    return math.prod(group_scores)


def as_text(group: Group, rewrites: Mapping[str, Rewrite]) -> str:
    """A group's rewrites, one a line: phenomenon, score, caption and reason."""
    return "\n".join(
        f"{group.name}, {key.replace('_', ' ')}, {rewrites[key].score}: {' '.join(rewrites[key].caption.split())} "
        f"({' '.join(rewrites[key].reason.split())})"
        for key in group.phenomena
    )


def measure(model: ModelClient, task: Task) -> CurationFinding:
    """Values `fidelity` (the total) and `fidelity_GROUP`; words `fidelity_scores`, one for each phenomenon in order.

    A clip of which one group cannot be read has no total, and is named as a problem. Raises EndpointError.
    """
    caption = task.caption.strip()
    if not caption:
        return CurationFinding(problem="it has no caption to score; write one first (stage captions)")
    values: dict[str, float] = {}
    scores: list[float] = []
    lines: list[str] = []
    for group in GROUPS:
        answer = model.ask([question(group, caption)], group.schema)
        if answer.parsed is None:
            return CurationFinding(problem=f"{group.name}: {unread(model, answer.problem)}")
        rewrites: dict[str, Rewrite] = {key: getattr(answer.parsed, key) for key in group.phenomena}
        of_group = [rewrites[key].score for key in group.phenomena]
        values[f"fidelity_{group.name}"] = group_score(of_group)
        scores += map(float, of_group)
        lines.append(as_text(group, rewrites))
    values["fidelity"] = total(list(values.values()))
    return CurationFinding(values, {"fidelity_scores": tuple(scores)}, {"evolved": "\n".join(lines)})


def choose(table: FidelitySettings, entries: Sequence[CurationEntry]) -> Dropped:
    """Clips below the cut. Equal totals stand in the order given, so that the cut is the same on every run."""
    if table.keep == "min_score":
        cut = f"curate.fidelity.min_score {table.min_score:g}"
        return {e.id: f"{_score_text(e)}, {cut}" for e in entries if _total(e) < table.min_score}
    ranked = sorted(entries, key=_total, reverse=True)
    count = table.top_k if table.keep == "top_k" else math.ceil(table.share * len(ranked) - 1e-9)
    cut = f"the best {min(count, len(ranked))} of {len(ranked)} stay (curate.fidelity.{table.keep})"
    return {e.id: f"{_score_text(e)}, rank {rank}; {cut}" for rank, e in enumerate(ranked, 1) if rank > count}


def _total(entry: CurationEntry) -> float:
    return entry.finding.values.get("fidelity", 0.0)


def _score_text(entry: CurationEntry) -> str:
    parts = [entry.finding.values.get(f"fidelity_{group.name}", 0.0) for group in GROUPS]
    return f"physical fidelity {_total(entry):.2f} ({' x '.join(f'{part:.1f}' for part in parts)})"


def make(settings: Settings, answers: Path) -> Stage:
    """The stage. Raises ValueError where no model is named or its key is missing."""
    table = settings.curate.fidelity
    longest = max(settings.endpoint.max_tokens, table.max_tokens)
    endpoint = settings.endpoint.model_copy(update={"max_tokens": longest})
    model = text_model(settings.curate.text, endpoint, answers, NAME)
    prompt = [[question(group, ""), group.schema.model_json_schema()] for group in GROUPS]
    limits = (Threshold("fidelity", "physical fidelity", low=table.min_score),) if table.keep == "min_score" else ()
    return asking_stage(
        NAME,
        VERSION,
        settings,
        [model],
        prompt,
        partial(measure, model),
        partial(choose, table),
        each=len(GROUPS),
        reads_caption=True,
        limits=limits,
    )
