"""What a vision-language model is asked about clips. A changed word is a new judge: the digest is in its name.

- `artefacts`: which of two clips has fewer artefacts, by the criteria of DenseDPO's labelling (arXiv 2506.03517, app.
  B): the clips share layout and motion, the text plays no part, and only a clear difference decides.
- `physics`: which of two clips keeps the rules of everyday physics better.
- `realdpo`: RealDPO's twenty questions (arXiv 2510.14955; see `rushes.judges.protocols`), each clip alone.

The words stand in `prompts.toml`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

from rushes.judges.protocols import ASKED, QUESTIONS, question
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

PROMPTS = {
    prompt.name: prompt
    for prompt in (
        *(Prompt(name, 1, text + _CHOICE) for name, text in ASKED["choose"].items()),
        Prompt("realdpo", 2, "\n".join(question(dimension, "CAPTION") for dimension in QUESTIONS), alone=True),
    )
}
