"""Who writes a wrong caption: rules, the embedded world's verifier, or a vision-language model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pydantic import BaseModel

from rushes.judges.base import evenly
from rushes.judges.endpoint import ChatEndpoint
from rushes.judges.messages import QuestionPart
from rushes.metrics.base import Shot
from rushes.plugins import toml_table
from rushes.records import seed_of
from rushes.world.law_fit import CAP_PX
from rushes.world.mechanics import SIZE_PX
from rushes.world.scenes import SLOWLY, wrong_captions
from rushes.world.verify import verify


class Write(Protocol):
    """Real clip and take, both with the true caption (None for a writer that does not see), a seed, and faults that
    people found in the take -> the wrong caption, "" where it cannot."""

    def __call__(
        self, caption: str, real: Shot | None, take: Shot | None, seed: int, faults: Sequence[str] = ()
    ) -> str: ...


@dataclass(frozen=True)
class Writer:
    """One way to write wrong captions."""

    name: str  # what they are signed with
    sees: bool  # whether it looks at the real clip and at a take; else it is told the caption alone
    size_px: tuple[int, int] | None  # (height, width) that clips are read at; None = as they are
    write: Write


def by_rules() -> Writer:
    """One word replaced by another that it cannot also be; for use without a language model."""
    return Writer("rules", False, None, lambda caption, real, take, seed, faults=(): wrong_by_rule(caption, seed))


_WORDS = toml_table("caption", "words.toml")


def _verbs() -> list[tuple[str, ...]]:
    sides = ([side.split() for side in line.split("|")] for line in _WORDS["verbs"])
    return [pair for verb, other in sides for pair in zip(verb, other, strict=True)]


def _others() -> tuple[dict[str, tuple[str, ...]], ...]:
    """What each word may become, one table for each sort: how things move first, as that is what is to be taught."""
    sorts = ((*_WORDS["directions"], *_verbs()), _WORDS["counts"], _WORDS["colours"])
    tables = []
    for groups in sorts:
        table: dict[str, tuple[str, ...]] = {}
        for group in groups:
            for word in group:
                table.setdefault(word, tuple(other for other in group if other != word))
        tables.append(table)
    return tuple(tables)


_OTHERS = _others()


def wrong_by_rule(caption: str, seed: int) -> str:
    """The caption with one word or two of a kind replaced; "" where no rule knows a word of it. A rule sees no video.

    A direction or a verb of motion is replaced where there is one, else a count, else a colour.
    """
    for table in _OTHERS:
        words = sorted(table, key=len, reverse=True)
        matches = list(re.finditer(rf"\b({'|'.join(map(re.escape, words))})\b", caption, re.IGNORECASE))
        if matches:
            number = seed_of("rule", seed, caption)
            place = matches[number % len(matches)]
            others = table[place[0].lower()]
            new = others[number // len(matches) % len(others)]
            if place[0][0].isupper():
                new = new.capitalize()
            return caption[: place.start()] + new + caption[place.end() :]
    return ""


def by_world() -> Writer:
    """The caption that fits the take best by the verifier, among those that contradict the real clip in one respect."""

    def write(caption: str, real: Shot | None, take: Shot | None, seed: int, faults: Sequence[str] = ()) -> str:
        assert real is not None and take is not None
        slow = verify(real.frames_FHWC, caption).tempo < SLOWLY
        misfits = {other: _misfit(take, other) for other in wrong_captions(caption, slow)}
        least = min(misfits.values())
        among = [other for other, misfit in misfits.items() if misfit < least + 1e-6]
        return among[seed_of("world", seed, caption) % len(among)]

    return Writer("world", True, (SIZE_PX, SIZE_PX), write)


def _misfit(take: Shot, caption: str) -> float:
    """How far a take is from what a caption says, 0 = just that: words that it contradicts, and laws."""
    verdict = verify(take.frames_FHWC, caption)
    return verdict.caption_errors + verdict.law_error / CAP_PX


class WrongCaption(BaseModel):
    """What the model answers."""

    caption: str


def by_model(endpoint: ChatEndpoint, frames: int) -> Writer:
    """A vision-language model that sees `frames` frames of each clip and changes the caption only where they differ."""
    asked: Mapping[str, str] = _WORDS["model"]

    def write(caption: str, real: Shot | None, take: Shot | None, seed: int, faults: Sequence[str] = ()) -> str:
        assert real is not None and take is not None
        parts: list[QuestionPart] = ["Frames of the real video, in order:", *evenly(real.frames_FHWC, frames)]
        parts += ["Frames of the generated video, in order:", *evenly(take.frames_FHWC, frames)]
        ask = asked["ask"].format(caption=caption)
        ask += asked["faults"].format(faults=", ".join(faults)) if faults else ""
        answer = endpoint.ask([*parts, ask], WrongCaption, asked["system"])
        return " ".join(answer.parsed.caption.split()) if answer.parsed else ""

    return Writer(f"model {endpoint.settings.model}", True, None, write)
