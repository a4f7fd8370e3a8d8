"""How a judge is asked so that its answer means something: both orders, fixed questions, answers read strictly.

- `duel`: any judge sees a pair twice, with the sides swapped; two answers that differ are a tie, and are counted.
- RealDPO's questionnaire: four dimensions of five questions, each answered from 0 to 10; a dimension scores twice its
  sum, 0 to 100. The published script never reads the answers on text alignment and takes the score of the dimension
  before, and it counts missing answers as 0. Here a score is made of the very answer that it belongs to, and an answer
  that lacks a number cannot be read, which is counted.
- `PROMPTS`, for a vision-language model. `artefacts`: which of two clips has fewer artefacts, by the criteria of
  DenseDPO's labelling (arXiv 2506.03517, app. B): the clips share layout and motion, the text plays no part, and only a
  clear difference decides. `physics`: which of two clips keeps the rules of everyday physics better. `realdpo`:
  RealDPO's twenty questions (arXiv 2510.14955), each clip alone. A changed word is a new judge: the digest is in its
  name. The words stand in `prompts.toml`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from rushes.judges.base import Judge, sampled
from rushes.judges.endpoint import ChatEndpoint
from rushes.metrics.base import Shot
from rushes.plugins import toml_table
from rushes.records import stable_hash

Say = Callable[[str, Shot], str]  # question and clip -> the model's words
AnswerNumbers = tuple[int, ...]
Ask = Callable[[str, Shot], AnswerNumbers | None]  # question and clip -> five numbers, or None = could not be read
Affirm = Callable[[str, Shot], bool | None]  # question and clip -> yes, no, or None = could not be read

ASKED = toml_table("judges", "prompts.toml")
QUESTIONS: Mapping[str, Sequence[str]] = ASKED["rate"]
_ANSWER = re.compile(r"^\W*answer\s*(?P<number>\d+)\s*[:=]\s*(?P<value>\d+)(?:\s*/\s*10)?\W*$", re.IGNORECASE)


@dataclass(frozen=True)
class Duel:
    """Outcome of a pair for the left side: +1 won, 0 tie, -1 lost. `agreed` says whether both orders gave the same.

    `first_slot` is how often, of the decided answers, the side shown first won.
    """

    outcome: int
    agreed: bool
    first_slot: int
    decided: int


def duel(judge: Judge, left: Shot, right: Shot) -> Duel | None:
    """Ask twice, sides swapped, unless the judge does so itself; None where it could not tell. Raises as it does."""
    judgement = judge.compare(left, right, None)
    answers = [judgement]
    slots = judgement.by_slot
    if len(slots) != 2:
        answers.append(judge.compare(right, left, None))
        slots = tuple(answer.labels[0] for answer in answers)
    if any(answer.unjudged for answer in answers):
        return None
    first, swapped = slots
    agreed = first == -swapped
    return Duel(first if agreed else 0, agreed, sum(slot == 1 for slot in slots), sum(slot != 0 for slot in slots))


def question(dimension: str, caption: str) -> str:
    """The text that asks for one dimension of a clip; the description goes with text alignment alone.

    Raises ValueError: no such dimension.
    """
    if dimension not in QUESTIONS:
        raise ValueError(f"there is no dimension {dimension!r}; choose one of {', '.join(QUESTIONS)}")
    described = f"The clip was made from this description: {caption}\n" if dimension == "text_alignment" else ""
    asked = "\n".join(f"Question {at}: {words}" for at, words in enumerate(QUESTIONS[dimension], start=1))
    scale = "Give each question a whole number from 0 (not at all) to 10 (fully)."
    return f"Watch the whole clip. {described}{scale}\n{asked}"


def in_words(say: Say) -> Ask:
    """Ask a model that answers in words: five lines "Answer 3: 7", read by `read_answers`."""
    form = "\nWrite five lines and nothing else, of the form:\nAnswer 1: N"
    return lambda text, shot: read_answers(say(text + form, shot))


def read_answers(text: str) -> AnswerNumbers | None:
    """The five numbers of an answer, or None when it cannot be read.

    Lines of the form "Answer 3: 7"; each of 1 to 5 exactly once, each from 0 to 10. Other lines are passed over.
    """
    numbers: dict[int, int] = {}
    for line in text.splitlines():
        match = _ANSWER.match(line.strip())
        if match:
            number, value = int(match["number"]), int(match["value"])
            if number in numbers or not 1 <= number <= 5 or value > 10:
                return None
            numbers[number] = value
    return tuple(numbers[number] for number in range(1, 6)) if len(numbers) == 5 else None


class FiveAnswers(BaseModel):
    """What an endpoint is asked to answer with."""

    answers: Annotated[list[Annotated[int, Field(ge=0, le=10)]], Field(min_length=5, max_length=5)]


class YesOrNo(BaseModel):
    """What an endpoint is asked to answer with."""

    yes: bool


def by_endpoint(endpoint: ChatEndpoint, frames_per_s: float) -> tuple[Ask, Affirm]:
    """Ask the model behind an endpoint, which sees `frames_per_s` frames of each second; it answers in JSON."""

    def ask(text: str, shot: Shot) -> AnswerNumbers | None:
        form = '\nAnswer with one JSON object: {"answers": [N, N, N, N, N]}'
        parsed = endpoint.ask([*sampled(shot.frames_FHWC, shot.fps, frames_per_s), text + form], FiveAnswers).parsed
        return tuple(parsed.answers) if parsed else None

    def affirm(text: str, shot: Shot) -> bool | None:
        form = '\nAnswer with one JSON object: {"yes": true} or {"yes": false}'
        parsed = endpoint.ask([*sampled(shot.frames_FHWC, shot.fps, frames_per_s), text + form], YesOrNo).parsed
        return parsed.yes if parsed else None

    return ask, affirm


def questionnaire(ask: Ask, shot: Shot) -> dict[str, float | None]:
    """Score of a clip in each dimension, 0 to 100, or None where the answer could not be read; higher is better."""
    answers = {dimension: ask(question(dimension, shot.caption), shot) for dimension in QUESTIONS}
    return {dimension: 2.0 * sum(points) if points is not None else None for dimension, points in answers.items()}


def adherence(affirm: Affirm, shot: Shot) -> dict[str, float | None]:
    """VideoPhy's two questions in our words: SA (follows its text) and PC (everyday physics), 1, 0 or None."""
    asked = {
        "sa": f"Does this clip show what its description says? Description: {shot.caption}",
        "pc": "Does this clip follow the physics of everyday life?",
    }
    answers = {name: affirm(text, shot) for name, text in asked.items()}
    return {name: float(yes) if yes is not None else None for name, yes in answers.items()}


class Choice(BaseModel):
    """Which of two clips is better."""

    model_config = ConfigDict(extra="forbid")
    reason: str
    choice: Literal["first", "second", "tie"]


@dataclass(frozen=True)
class Prompt:
    """A question. It asks to choose between two clips, or (`alone`) to rate one."""

    name: str
    version: int
    text: str  # CAPTION stands for the clip's caption
    alone: bool = False

    @property
    def signature(self) -> str:
        """Name, version and digest of everything that the model is told."""
        form = {} if self.alone else Choice.model_json_schema()
        return f"{self.name}.{self.version}@{stable_hash([self.text, form], 8)}"

    def asked(self, caption: str) -> str:
        """The question about clips of this caption."""
        return self.text.replace("CAPTION", caption)


_CHOICE = """
Answer with one JSON object and nothing else:
{"reason": one short sentence, "choice": "first", "second" or "tie"}"""

PROMPTS = {
    prompt.name: prompt
    for prompt in (
        *(Prompt(name, 1, text + _CHOICE) for name, text in ASKED["choose"].items()),
        Prompt("realdpo", 2, "\n".join(question(dimension, "CAPTION") for dimension in QUESTIONS), alone=True),
    )
}
