"""Tables of pairs: which columns hold the two videos, what was preferred of them and the prompt, and their rows.

| what | columns |
|---|---|
| the better and the worse video | `chosen` and `rejected`, `winner` and `loser`, `video_w` and `video_l`, ... |
| two videos | `video_a` and `video_b`, `left_video` and `right_video`, `video1` and `video2`, ... |
| which of these was preferred | `preference`, `preferred`, `winner`, `vote_type`, ... |
| the same, by question X | `weighted_results1_X` and `weighted_results2_X`, the shares of people |
| the prompt | `prompt`, or one of `caption`, `text_prompt`, `prompt_text`, `video_prompt`, `text` |

A side is never guessed: where two columns could be one thing, or none is, the table is refused until they are named.

A video is a path, or its own bytes: a binary cell, or as `datasets` writes one, a struct of bytes and path.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rushes.formats.answers import SIDES, Meaning, MeaningTable, common, declared, own_words, swapped, tokens
from rushes.formats.contents import suffix_of
from rushes.formats.preferences import ForeignPair, ReadEntry, UnusableEntry, first_row, local_video, text_of

Sides = tuple[str, str]
ROLES = ("prompt", "chosen", "rejected", "left", "right", "answer")
_BETTER = (
    *(("chosen", "rejected"), ("preferred", "rejected"), ("preferred", "dispreferred"), ("better", "worse")),
    *(("winner", "loser"), ("win", "lose"), ("w", "l")),
)
_NEITHER = tuple(sides for sides in SIDES if sides not in _BETTER)
_OF_VIDEOS = frozenset(("video", "videos", "clip", "path", "file", "filename", "name", "url", "mp", "4"))  # mp4: two
_ANSWERS = (
    *("preference", "human_preference", "preferred", "preferred_video", "winner", "winning_video", "better", "chosen"),
    *("better_video", "best", "choice", "vote", "vote_type", "answer", "overall", "label"),
)
_PROMPTS = ("prompt", "caption", "text_prompt", "prompt_text", "video_prompt", "text")
_SHARE = re.compile(r"weighted_results([12])_(.+)")
_OVERALL = ("preference", "overall")


@dataclass(frozen=True)
class PairColumns:
    """Columns of a table of pairs."""

    prompt: str
    left: str
    right: str
    answer: str = ""  # "" = left is the better video, or shares say which is
    shares: Mapping[str, Sides] = field(default_factory=dict)  # question -> the share of people who chose each side
    models: Sides = ("", "")  # that made them; "" = no column says

    @property
    def in_order(self) -> bool:
        """Whether the columns themselves say which video is better: the left one."""
        return not self.answer and not self.shares


TRL = PairColumns("prompt", "chosen", "rejected")


def columns_of(path: Path, given: str = "") -> PairColumns:
    """The columns of a table; see `find_columns`."""
    return find_columns(path, first_row(path), given)


def find_columns(path: Path, names: Sequence[str], given: str = "") -> PairColumns:
    """The columns of a table by their names.

    Args:
        path: of the table, for messages.
        names: of all columns.
        given: what the user says, as "chosen=COLUMN,rejected=COLUMN,prompt=COLUMN"; the rest is looked for.

    Raises:
        ValueError: a column that is not there, or a role for which there is none or more than one.
    """
    typed = parse_columns(given)
    for column in typed.values():
        if column not in names:
            raise ValueError(f"--columns: {path} has no column {column!r}; it has {', '.join(names)}")

    def only(what: str, columns: Sequence[str]) -> str:
        if len(columns) != 1:
            which = f"several columns could be {what}: {', '.join(columns)}" if columns else f"no column is {what}"
            raise ValueError(
                f"{path}: {which}; it has {', '.join(names) or 'no columns'}: assign the columns with --columns "
                "chosen=COLUMN,rejected=COLUMN,prompt=COLUMN, or left=COLUMN,right=COLUMN,answer=COLUMN,prompt=COLUMN "
                "(in a project: footage.columns)"
            )
        return columns[0]

    def role(name: str, what: str, columns: Iterable[str]) -> str:
        return typed.get(name) or only(what, list(columns))

    exact = [name for name in names if name.casefold() == _PROMPTS[0]]
    prompt = role("prompt", "the prompt", exact or [name for name in names if name.casefold() in _PROMPTS])
    named = {role: typed[role] for role in ROLES[1:5] if role in typed}
    better = [] if named else _sides(names, _BETTER, least=1)
    if "chosen" in named or better:
        left = role("chosen", "the better video", [left for left, _ in better])
        right = role("rejected", "the worse video", [right for _, right in better])
        if swapped(left, right):
            raise ValueError(
                f"--columns: chosen={left} and rejected={right} contradict the columns' names; give "
                f"chosen={right},rejected={left}, or rename the columns"
            )
        return PairColumns(prompt, left, right)
    pairs = [] if named else _sides(names, _NEITHER, least=2)
    left = role("left", "the better or the left video", [left for left, _ in pairs])
    right = role("right", "the worse or the right video", [right for _, right in pairs])
    shares: dict[str, Sides] = {}
    answers = [name for name in names if name.casefold() in _ANSWERS and name not in (left, right, prompt)]
    if "answer" not in typed and not answers and own_words(left, right) == ("1", "2"):
        shares = _shares(names)
    answer = "" if shares else role("answer", "what was preferred", answers)
    models = [pair for pair in declared(names) if common(*pair) == ["model"]]
    own = [pair for pair in models if own_words(*pair) == own_words(left, right)]
    return PairColumns(prompt, left, right, answer=answer, shares=shares, models=own[0] if own else ("", ""))


def parse_columns(text: str) -> dict[str, str]:
    """What the user says of columns, by role.

    Raises:
        ValueError: no such role, one of them twice, or one side without the other.
    """
    given: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        role, _, column = (word.strip() for word in part.partition("="))
        if role not in ROLES or not column or role in given:
            raise ValueError(f"--columns {part!r}: write ROLE=COLUMN, each role once; the roles are {', '.join(ROLES)}")
        given[role] = column
    sides = {role for role in given if role not in ("prompt", "answer")}
    if sides not in (set(), {"chosen", "rejected"}, {"left", "right"}) or ("answer" in given and "chosen" in sides):
        raise ValueError(f"--columns {text!r}: name chosen and rejected, or left, right and answer")
    return given


def _sides(names: Iterable[str], words: Iterable[Sides], least: int) -> list[Sides]:
    """All columns of two sides that say so by these words and else speak of videos alone; those of less than `least`
    words, or whose own word is a letter, must do so."""
    return [
        (left, right)
        for left, right in declared(names, tuple(words))
        if _OF_VIDEOS.issuperset(common(left, right)) and (common(left, right) or (least == 1 and len(left) > 1))
    ]


def _shares(names: Iterable[str]) -> dict[str, Sides]:
    """Question -> the columns with the shares of people who chose the first and the second video."""
    columns: dict[str, dict[str, str]] = {}
    for name in names:
        if match := _SHARE.fullmatch(name):
            question = match[2].casefold()
            columns.setdefault("overall" if question in _OVERALL else question, {})[match[1]] = name
    return {question: (sides["1"], sides["2"]) for question, sides in columns.items() if len(sides) == 2}


@dataclass(frozen=True)
class VideoCells:
    """The videos that cells of a table name or hold."""

    folders: Sequence[Path]  # that names are relative to: the first where there is such a file
    unpacked: Path | None = None  # folder for videos that cells hold

    def file(self, place: str, row: Mapping[str, Any], column: str) -> Path:
        """The video of a cell. Raises UnusableEntry where there is none."""
        value = _message(row[column]) if column in row else None
        data = value.get("bytes") if isinstance(value, dict) else value
        name = value.get("path") if isinstance(value, dict) else value
        if isinstance(data, bytes) and data:
            return self._unpack(data, f"{place} {column}", name if isinstance(name, str) else "")
        text = text_of({**row, column: name} if column in row else row, column)
        for folder in self.folders[:-1]:
            with suppress(UnusableEntry):
                return local_video(folder, text)
        return local_video(self.folders[-1], text)

    def _unpack(self, data: bytes, label: str, name: str) -> Path:
        assert self.unpacked is not None, "the table contains the videos themselves, which need a folder"
        path = self.unpacked / f"{re.sub(r'[^a-zA-Z0-9_.]+', '-', label)[-150:]}{suffix_of(name, data[:12])}"
        path.write_bytes(data)
        return path


def table(columns: PairColumns, meanings: MeaningTable, cells: VideoCells, judge: str) -> ReadEntry:
    """Rows of a table with these columns, plain or conversational; `judge` is who is taken to have chosen."""

    def read(place: str, row: Mapping[str, Any]) -> Iterator[ForeignPair]:
        name = columns.prompt
        prompt = text_of({**row, name: _message(row[name])} if name in row else row, name)
        left, right = (cells.file(place, row, column) for column in (columns.left, columns.right))
        models = tuple(str(row.get(column) or "") if column else "" for column in columns.models)
        systems = (models[0] or "imported", models[1] or "imported")
        names = systems if all(models) and models[0] != models[1] else (columns.left, columns.right)
        if columns.in_order:
            _check_scores(row)
            answers: dict[str, Meaning] = {"overall": "left"}
        else:
            answers = _by_share(columns, row) if columns.shares else _by_answer(columns, row, place, names, meanings)
        yield ForeignPair(
            place, left, right, prompt=prompt, answers=answers, judge=judge, systems=systems, names=names,
            why=f"{columns.left} is left",
        )  # fmt: skip

    return read


def _by_answer(
    columns: PairColumns, row: Mapping[str, Any], place: str, names: tuple[str, str], meanings: MeaningTable
) -> dict[str, Meaning]:
    """What the column of answers says: a side by its own word, its column or its video, or words of the table."""
    value = row.get(columns.answer)
    text = "" if value is None or value != value else str(value).strip()
    if not text:
        raise UnusableEntry("no label", columns.answer)
    sides: list[Meaning] = []
    words = own_words(columns.left, columns.right)
    own: tuple[tuple[Meaning, str, str], ...] = (
        ("left", columns.left, words[0]),
        ("right", columns.right, words[1]),
    )
    for side, column, word in own:
        if row[column] == text:  # the video itself: each pair has another, and all of these mean one thing
            text = column
        if text.casefold() in (column.casefold(), word):
            sides.append(side)
    number = _number(text) is not None  # 1 may be the first of two, or the second of 0 and 1
    meaning = meanings.meaning(text, place, names, by_form=sides[0] if len(sides) == 1 else None, by_table=not number)
    return {"overall": meaning} if meaning else {}


def _by_share(columns: PairColumns, row: Mapping[str, Any]) -> dict[str, Meaning]:
    """The side that more people chose, by question."""
    answers: dict[str, Meaning] = {}
    for question, names in columns.shares.items():
        left, right = (_number(row.get(name)) for name in names)
        if left is not None and right is not None:
            answers[question] = "left" if left > right else "right" if right > left else "tie"
    if not answers:
        raise UnusableEntry("no label")
    return answers


def _message(value: object) -> object:
    """What the last message of a conversation says, or the value itself: a text, or the text or video of its parts."""
    if isinstance(value, list) and value and isinstance(value[-1], dict):
        content = value[-1].get("content", value[-1].get("value"))
        if not isinstance(content, list):
            return content
        texts = [part.get(part.get("type")) for part in content if isinstance(part, dict)]
        return texts[0] if len(texts) == 1 else content
    return value


def _check_scores(row: Mapping[str, Any]) -> None:
    """Refuse a row whose own scores, or margin, say that the rejected side is as good.

    They are called score_chosen, chosen_score, chosen-rating, rating_chosen, ... by the programs that write them.
    """
    scores = {
        frozenset(tokens(str(name))): (str(name), value) for name, value in row.items() if value not in (None, "")
    }
    for noun in ("score", "rating", "reward"):
        sides = [scores.get(frozenset({noun, side})) for side in ("chosen", "rejected")]
        if any(sides):
            (chosen, better), (rejected, worse) = (
                side or (f"{noun}_{name}", None) for side, name in zip(sides, ("chosen", "rejected"), strict=True)
            )
            numbers = _number(better), _number(worse)
            if numbers[0] is None or numbers[1] is None:
                raise UnusableEntry(f"{chosen} or {rejected} is not a number", f"{[better, worse]}")
            if numbers[0] <= numbers[1]:
                raise UnusableEntry(f"{chosen} is not above {rejected}", f"{numbers[0]:g} and {numbers[1]:g}")
    margin = _number(row.get("margin"))
    if margin is not None and margin < 0:
        raise UnusableEntry("its margin is negative", f"{margin:g}")


def _number(value: object) -> float | None:
    """A finite number, or one that is written as text, as all cells of a CSV file are; None = it is none."""
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and "_" not in str(value) else None
