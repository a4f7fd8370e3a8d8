"""Scores from 0 to 10 and votes that people gave to clips, from a file."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rushes.files import content_hash, is_file
from rushes.records import HUMAN, Candidate, Clip, Score, stable_hash
from rushes.store.database import Store
from rushes.text_reader import csv_rows, parse_json, raw_lines, read_rows, read_text


@dataclass(frozen=True)
class _Line:
    place: str  # where it stands, for messages
    video: object
    score: object
    rater: str
    problem: str = ""  # why the line cannot be used


@dataclass(frozen=True)
class ScoresImported:
    """Scores of people out of a file."""

    lines: int  # lines of the file
    scored: int  # clips and takes
    new: int  # rows
    refused: int | None = None  # lines that could not be used


@dataclass(frozen=True)
class StudyResult:
    """Where a human study stands."""

    decision: str  # what may be said already
    rate: float  # win rate, 0 to 1
    low: float  # end of an interval that holds at all times
    high: float  # its other end
    n: int  # prompts or votes
    after: int  # votes at which the study could first have stopped; 0 = not yet


def import_scores(
    store: Store, path: Path, *, skip: bool = False, say: Callable[[str], None] = lambda line: None
) -> ScoresImported:
    """Take the scores of a file; when one cannot be used all others, or none.

    The file is a JSON list of {"video", "score"} as HuViDPO's form saves it, the same one a line (.jsonl), or a table
    with these columns (.csv); "rater" may say who scored, where several people did. A video is the id of
    a clip or candidate, the name of its file in media/, or the path of a file with its content, relative to the file's
    folder. A score that differs from the rater's last one of the clip replaces it; both are kept.

    Args:
        store: of the project.
        path: the file.
        skip: leave out what cannot be used instead of taking nothing.
        say: takes what is left out, a line each.

    Returns:
        How many lines there are, how many clips and candidates they score, and how many rows are new.

    Raises:
        ValueError: a line for each score that cannot be used: not a number from 0 to 10, of an unknown video, or given
            twice; with `skip` only where none is left.
    """
    lines = list(_lines(path))
    given, problems = _given(lines, _Subjects(store, path.parent))
    words = [f"{line.place}: {problems[line.place]}" for line in lines if line.place in problems]
    if not lines:
        words = [f"{path}: holds no scores"]
    if words and not (skip and given):
        way_out = ["correct them, or skip them with footage.on_refused = skip"] if given else []
        raise ValueError("\n".join(["no score was imported:", *words, *way_out]))
    for line in words:
        say(f"left out: {line}")
    new = [row for (id, rater), value in given.items() for row in _row(store, id, rater, value)]
    return ScoresImported(len(lines), len({id for id, _ in given}), store.add(new), len(problems) or None)


def _given(lines: Iterable[_Line], subjects: _Subjects) -> tuple[dict[tuple[str, str], float], dict[str, str]]:
    """Scores by subject and rater, and what is wrong with the lines that cannot be used, by their places.

    Two lines of one video and rater that differ are both of no use, as nobody knows which is right.
    """
    given: dict[tuple[str, str], tuple[str, float]] = {}
    problems: dict[str, str] = {}
    for line in lines:
        value, ids = _number(line.score), subjects.find(line.video)
        if line.problem:
            problems[line.place] = line.problem
        elif value is None:
            problems[line.place] = f"the score of {line.video!r} is {line.score!r}, not a number from 0 to 10"
        elif not ids:
            problems[line.place] = (
                f"{line.video!r} is not a clip or take of this project; give its id, its file in media/, or a file "
                "with the same content"
            )
        else:
            for id in ids:
                place, before = given.setdefault((id, line.rater), (line.place, value))
                if place != line.place:
                    problems[line.place] = f"{line.video!r} already has a score at {place}; keep one"
                    if before != value:
                        problems.setdefault(place, f"its video has another score at {line.place}; keep one")
    return {key: value for key, (place, value) in given.items() if place not in problems}, problems


def _row(store: Store, subject: str, rater: str, value: float) -> Iterator[Score]:
    """The score's row, unless the rater's last one says the same."""
    before = [s for s in store.scores(metric=HUMAN, subject=subject) if s.measured_by == rater]
    if not before or before[-1].value != value:
        id = stable_hash([HUMAN, subject, rater, len(before)])
        yield Score(id, subject, HUMAN, value, measured_by=rater)


def _number(score: object) -> float | None:
    """A number from 0 to 10; forms may send it as text, and as text "10" would be less than "9"."""
    if isinstance(score, bool) or not isinstance(score, int | float | str):
        return None
    try:
        value = float(score)
    except ValueError:
        return None
    return value if math.isfinite(value) and 0 <= value <= 10 else None


class _Subjects:
    """Ids of clips and candidates by what a file may call them."""

    def __init__(self, store: Store, folder: Path) -> None:
        rows: tuple[Clip | Candidate, ...] = (*store.clips(dropped=True), *store.candidates(dropped=True))
        self.folder, self.ids = folder, {row.id for row in rows}
        self.by_media: dict[str, list[str]] = {}
        for row in rows:
            self.by_media.setdefault(row.media, []).append(row.id)

    def find(self, video: object) -> list[str]:
        """The subjects that a name means; several where clips have one content, none where it is unknown."""
        if not isinstance(video, str) or not video:
            return []
        if video in self.ids:
            return [video]
        if ids := self.by_media.get(Path(video).stem):
            return ids
        path = self.folder / video
        return self.by_media.get(content_hash(path), []) if is_file(path) else []


def _lines(path: Path) -> Iterator[_Line]:
    if not path.is_file():
        raise ValueError(f"{path}: no such file; name a .json, .jsonl or .csv file of scores")
    if path.suffix.lower() not in (".json", ".jsonl", ".csv"):
        raise ValueError(f"{path}: not a .json, .jsonl or .csv file; save the scores as one of them")
    for place, cells, problem in _entries(path):
        row = {str(name).lower(): cell for name, cell in cells.items()}  # Rater is rater
        missing = [name for name in ("video", "score") if name not in row]
        if missing and not problem:
            problem = f"has no {' and no '.join(missing)}; each entry needs video and score"
        yield _Line(place, row.get("video"), row.get("score"), str(row.get("rater") or HUMAN), problem)


def _entries(path: Path) -> Iterator[tuple[str, Mapping[Any, Any], str]]:
    """Place and content of each entry, and why it cannot be used, "" where it can."""
    if path.suffix.lower() != ".json":
        for row in read_rows(path):
            yield f"{path}, line {row.line}", row.cells, row.problem
        return
    entries = parse_json(read_text(path), f"{path}: not JSON, save it as a list of objects with video and score")
    if not isinstance(entries, list):
        raise ValueError(f"{path}: not a list of objects with video and score")
    for number, entry in enumerate(entries, start=1):
        usable = isinstance(entry, dict)
        yield f"{path}, entry {number}", entry if usable else {}, "" if usable else "not an object with video and score"


_WORTH = {"win": 1.0, "tie": 0.5, "loss": 0.0, "lose": 0.0}


def read_votes(path: Path) -> list[float]:
    """Outcomes from 0 to 1: one vote a line (win, tie, loss), or CSV with the header `prompt,vote`.

    With prompts, the votes of a prompt are averaged, in the order in which the prompts were begun: give only prompts
    whose votes are complete, as a vote that comes later would change the past.

    Raises:
        ValueError: no such file, no votes, or a line that is none; the line is named.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file of votes; name a file with win, tie or loss on each line")
    votes_by_prompt: dict[str, list[float]] = {}
    for line, prompt, vote in _votes(path):
        if (word := vote.strip().lower()) not in _WORTH:
            raise ValueError(f"{path}: line {line}: {vote!r:.60} is not a valid vote; write win, tie or loss")
        votes_by_prompt.setdefault(prompt, []).append(_WORTH[word])
    if not votes_by_prompt:
        raise ValueError(f"{path}: the file has no votes; write win, tie or loss on each line")
    return [sum(votes) / len(votes) for votes in votes_by_prompt.values()]


def _votes(path: Path) -> Iterator[tuple[int, str, str]]:
    """Line, prompt and vote of each row of a table with a column vote, or of each line that is not blank."""
    lines = [(number, line) for number, line in enumerate(raw_lines(path), start=1) if line.strip()]
    columns = re.findall("[a-z]+", lines[0][1].lower()) if lines else []
    if "vote" not in columns:
        yield from ((number, str(number), line) for number, line in lines)
        return
    if columns != ["vote"] and "prompt" not in columns:
        raise ValueError(
            f"{path}: its columns are {', '.join(columns)}; a table of votes needs the columns prompt and vote"
        )
    for row in csv_rows(path):
        cells = {str(name).lower(): cell for name, cell in row.cells.items()}
        prompt = str(row.line) if columns == ["vote"] else cells.get("prompt", "")
        if problem := row.problem or ("" if prompt else "its prompt is empty; fill it in"):
            raise ValueError(f"{path}: line {row.line}: {problem}")
        yield row.line, prompt, cells["vote"]


@dataclass(frozen=True)
class ClipsListed:
    """A list of clips for a program that scores them."""

    clips: int
    file: Path  # JSONL: content hash, file and caption of each


def media_needed(store: Store) -> Iterator[dict[str, str]]:
    """Content hash, file and caption of every clip and candidate: what a program that scores them has to know."""
    seen: set[str] = set()
    rows: tuple[Clip | Candidate, ...] = (*store.clips(), *store.candidates())
    for row in rows:
        if row.media not in seen:
            seen.add(row.media)
            yield {"media": row.media, "file": str(store.media.locate(row.media)), "caption": row.caption}
