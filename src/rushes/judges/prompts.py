"""What a vision-language model is asked about clips. A changed word is a new judge: the digest is in its name.

- `artefacts`: which of two clips has fewer artefacts, by the criteria of DenseDPO's labelling (arXiv 2506.03517, app.
  B): the clips share layout and motion, the text plays no part, and only a clear difference decides.
- `physics`: which of two clips keeps the rules of everyday physics better.
- `realdpo`: RealDPO's twenty questions (arXiv 2510.14955; see `rushes.judges.protocols`), each clip alone.

The wording is our own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

from rushes.judges.protocols import QUESTIONS, question
from rushes.records import stable_hash


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

_ARTEFACTS = """You compare two short clips, given as frames in order. One video model made both; they share their
layout and their motion, so look at details only. Which of them has fewer artefacts?

Artefacts are: objects that are smeared or out of shape (blur from fast motion is none, a destroyed shape is one);
fingers, hands or legs too many or too few; limbs that bend where they cannot; faces or bodies that melt into something
else; things that appear or vanish at once; rigid things that bend, flow or grow. How beautiful a clip is does not
matter, nor how much moves in it: a clip that stands still is not better for standing still.

Be careful. Say tie when the clips are about as good, and choose one only when it is clearly better.
"""

_PHYSICS = """You compare two short clips, given as frames in order, that answer this text: "CAPTION"
Which of them keeps better to how things move and behave in the real world?

Look at: gravity, and bodies that fall, fly and land as they should; contact, with nothing passing through anything;
bodies that keep their shape, number and matter; causes before effects; liquids, smoke and cloth that move as such;
light and shadow that follow their objects. How beautiful a clip is does not matter. A clip in which nothing happens
that the text asks for breaks no rule, but shows none kept either: call that a tie unless the other clip breaks one.

Be careful. Say tie when you see no clear difference.
"""

PROMPTS = {
    prompt.name: prompt
    for prompt in (
        Prompt("artefacts", 1, _ARTEFACTS + _CHOICE),
        Prompt("physics", 1, _PHYSICS + _CHOICE),
        Prompt("realdpo", 2, "\n".join(question(dimension, "CAPTION") for dimension in QUESTIONS), alone=True),
    )
}
