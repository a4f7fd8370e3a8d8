"""Captions made wrong by rule: one word is replaced by one that it cannot also be.

For use without a language model. A rule sees no video: it makes a caption wrong, not wrong where a take is.
"""

from __future__ import annotations

import re

from rushes.records import seed_of

# Words of a line exclude each other in the same sentence. Forms of a verb stand at the same place of both sides.
_VERBS = """
fall falls falling fell | rise rises rising rose
drop drops dropping dropped | lift lifts lifting lifted
sink sinks sinking sank | float floats floating floated
open opens opening opened | close closes closing closed
push pushes pushing pushed | pull pulls pulling pulled
enter enters entering entered | leave leaves leaving left
run runs running ran | stand stands standing stood
walk walks walking walked | sit sits sitting sat
jump jumps jumping jumped | lie lies lying lay
melt melts melting melted | freeze freezes freezing froze
fill fills filling filled | empty empties emptying emptied
expand expands expanding expanded | shrink shrinks shrinking shrank
throw throws throwing threw | catch catches catching caught
bounce bounces bouncing bounced | stick sticks sticking stuck
collide collides colliding collided | separate separates separating separated
swing swings swinging swung | hang hangs hanging hung
accelerate accelerates accelerating accelerated | slow slows slowing slowed
""".strip().splitlines()
_DIRECTIONS = (
    ("left", "right"),
    ("leftward", "rightward"),
    ("up", "down"),
    ("upward", "downward"),
    ("upwards", "downwards"),
    ("upstairs", "downstairs"),
    ("forward", "backward"),
    ("forwards", "backwards"),
    ("clockwise", "counterclockwise"),
    ("into", "out of"),
    ("onto", "off"),
    ("toward", "away from"),
    ("towards", "away from"),
    ("above", "below"),
    ("fast", "slowly"),
    ("quickly", "slowly"),
    ("together", "apart"),
)
_COUNTS = (("two", "three", "four", "five", "six"),)
_COLOURS = (("red", "green", "blue", "yellow", "black", "white", "pink", "purple", "brown", "grey", "cyan", "magenta"),)


def _verbs() -> list[tuple[str, ...]]:
    sides = ([side.split() for side in line.split("|")] for line in _VERBS)
    return [pair for verb, other in sides for pair in zip(verb, other, strict=True)]


def _others() -> tuple[dict[str, tuple[str, ...]], ...]:
    """What each word may become, one table for each sort: how things move first, as that is what is to be taught."""
    sorts = ((*_DIRECTIONS, *_verbs()), _COUNTS, _COLOURS)
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
