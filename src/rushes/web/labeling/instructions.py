"""The project's own instructions for people: `instructions.md` in its folder, with pairs of its takes as examples.

A line `pair: ID ID` shows two clips or takes side by side. No other file is shown, and nothing of the text is run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

from rushes.files import is_file
from rushes.records import Candidate, Clip, stable_hash
from rushes.store.database import Store
from rushes.store.own_files import own_path
from rushes.text_reader import read_text

FILE, MAX_BYTES, MAX_PAIRS = "instructions.md", 64 * 1024, 12
_PAIR = re.compile(r"pair:\s+(\S+)\s+(\S+)")
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).disable("image")  # what could be fetched or run is text


@dataclass(frozen=True)
class Instructions:
    """The text as HTML, in which the element with `data-pair` N is the place of pair N."""

    html: str
    pairs: tuple[tuple[Clip | Candidate, Clip | Candidate], ...]
    version: str  # changes with the file

    def side(self, pair: str, side: str) -> Clip | Candidate:
        """A clip of an example, which is called by its number. Raises ValueError: there is none."""
        number = int(pair) if pair.isdecimal() and len(pair) < 4 else len(self.pairs)
        if number >= len(self.pairs) or side not in ("a", "b"):
            raise ValueError("there is no such example")
        return self.pairs[number]["ab".index(side)]


def read_instructions(store: Store) -> Instructions | None:
    """What a project's people are told; None where it has no such file.

    Raises:
        ValueError: the file is a link, too long, or names a clip that the project does not have.
    """
    path = own_path(store.project, FILE)
    if not is_file(path):
        return None
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path}: more than {MAX_BYTES // 1024} KiB; keep instructions short")
    text = read_text(path)
    tokens, pairs = _MARKDOWN.parse(text), list[tuple[Clip | Candidate, Clip | Candidate]]()
    for at, token in enumerate(tokens):
        match = _PAIR.fullmatch(token.content.strip()) if token.type == "inline" else None
        if match and tokens[at - 1].type == "paragraph_open":
            if len(pairs) == MAX_PAIRS:
                raise ValueError(f"{path}: more than {MAX_PAIRS} pairs; keep the examples that teach most")
            tokens[at - 1].attrSet("data-pair", str(len(pairs)))
            tokens[at].children, tokens[at].content = [], ""
            pairs.append((_clip(store, path, match[1]), _clip(store, path, match[2])))
    return Instructions(
        str(_MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {})), tuple(pairs), stable_hash(text, 12)
    )


def _clip(store: Store, path: Path, id: str) -> Clip | Candidate:
    row = store.find(id)
    if not isinstance(row, Clip | Candidate):
        raise ValueError(
            f"{path}: pair: {id!r:.80} is no clip or take of this project; `rushes labels clips` lists ids"
        )
    return row
