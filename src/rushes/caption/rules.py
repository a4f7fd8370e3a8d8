"""Captions made wrong by rule: one word is replaced by one that it cannot also be.

For use without a language model. A rule sees no video: it makes a caption wrong, not wrong where a take is.
"""

from __future__ import annotations

import re
import tomllib
from importlib import resources

from rushes.records import seed_of

_WORDS = tomllib.loads(resources.files("rushes.caption").joinpath("words.toml").read_text("utf-8"))


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
    """The caption with one word or two of a kind replaced; "" where no rule knows a word of it.

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
