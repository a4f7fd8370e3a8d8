"""Votes of a human study from a file, in the order in which they arrived."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from rushes.formats.captions import read_text


@dataclass(frozen=True)
class StudyResult:
    """Where a human study stands."""

    decision: str  # what may be said already
    rate: float  # win rate, 0 to 1
    low: float  # end of an interval that holds at all times
    high: float  # its other end
    n: int  # prompts or votes
    after: int  # votes at which the study could first have stopped; 0 = not yet


_WORTH = {"win": 1.0, "tie": 0.5, "loss": 0.0, "lose": 0.0}


def read_votes(path: Path) -> list[float]:
    """Outcomes from 0 to 1: one vote a line (win, tie, loss), or CSV with the header `prompt,vote`.

    With prompts, the votes of a prompt are averaged, in the order in which the prompts were begun: give only prompts
    whose votes are complete, as a vote that comes later would change the past.

    Raises:
        ValueError: no such file, no votes, or a line that is none; the line is named.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file of votes; write win, tie or loss a line")
    rows = [(number, row) for number, row in enumerate(csv.reader(io.StringIO(read_text(path))), start=1) if row]
    header = [name.strip().lower() for name in rows[0][1]] if rows else []
    at, by = (header.index("vote"), header.index("prompt")) if {"prompt", "vote"} <= set(header) else (0, None)
    votes_by_prompt: dict[str, list[float]] = {}
    for number, row in rows if by is None else rows[1:]:
        word = row[at].strip().lower() if at < len(row) else ""
        if word not in _WORTH:
            raise ValueError(f"{path}: line {number}: {word!r} is no vote; write win, tie or loss")
        votes_by_prompt.setdefault(row[by] if by is not None else str(number), []).append(_WORTH[word])
    if not votes_by_prompt:
        raise ValueError(f"{path}: no votes in it; write win, tie or loss a line")
    return [sum(votes) / len(votes) for votes in votes_by_prompt.values()]
