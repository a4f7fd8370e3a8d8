"""Which of two names says left or better: keys, folders, and the columns of a table of pairs.

| what | columns |
|---|---|
| the better and the worse video | `chosen` and `rejected`, `winner` and `loser`, `video_w` and `video_l`, ... |
| two videos | `video_a` and `video_b`, `left_video` and `right_video`, `video1` and `video2`, ... |
| which of these was preferred | `preference`, `preferred`, `winner`, `vote_type`, ... |
| the same, by question X | `weighted_results1_X` and `weighted_results2_X`, the shares of people |
| the prompt | `prompt`, or one of `caption`, `text_prompt`, `prompt_text`, `video_prompt`, `text` |

A side is never guessed: two names say theirs by words of one pair (left and right, a and b) alone. Where two columns
could be one thing, or none is, the table is refused until they are named.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path

from rushes.plugins import toml_table

Sides = tuple[str, str]
_WORDS = toml_table("formats", "words.toml")
SIDES: tuple[Sides, ...] = tuple(map(tuple, _WORDS["names"]["sides"]))
_SAYS_BETTER, _SAYS_WORSE = frozenset(_WORDS["names"]["says_better"]), frozenset(_WORDS["names"]["says_worse"])
_BETTER: tuple[Sides, ...] = tuple(map(tuple, _WORDS["columns"]["better"]))
_NEITHER = tuple(sides for sides in SIDES if sides not in _BETTER)
_OF_VIDEOS = frozenset(_WORDS["columns"]["of_videos"])
_ANSWERS: Sequence[str] = _WORDS["columns"]["answers"]
_PROMPTS: Sequence[str] = _WORDS["columns"]["prompts"]
ROLES = ("prompt", "chosen", "rejected", "left", "right", "answer")
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


def tokens(name: str) -> tuple[str, ...]:
    """The words and numbers of a name: video_a, videoA and "Video A" are all video and a."""
    split = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    return tuple(re.findall(r"[^\W\d_]+|\d+", split))


def differing(left: str, right: str) -> list[tuple[str, str]]:
    """The words in which two names differ, place by place."""
    return [pair for pair in zip(tokens(left), tokens(right), strict=False) if pair[0] != pair[1]]


def common(left: str, right: str) -> list[str]:
    """The words that two names share, place by place."""
    return [word for word, other in zip(tokens(left), tokens(right), strict=False) if word == other]


def own_words(left: str, right: str) -> tuple[str, str]:
    """The word of each name in which the two differ, such as a and b; "" where it is not one each."""
    words = differing(left, right)
    return words[0] if len(words) == 1 else ("", "")


def swapped(better: str, worse: str) -> bool:
    """Whether names of the better and the worse side say the opposite, and said the right if they were exchanged."""
    leaning = []
    for name in (better, worse):
        words = set(tokens(name))
        leaning.append(bool(words & _SAYS_BETTER) - bool(words & _SAYS_WORSE))
    return leaning[0] < leaning[1]


def declared(names: Iterable[str], sides: Sequence[tuple[str, str]] = SIDES) -> list[tuple[str, str]]:
    """All (left, right) of `names` that say so: equal but for one word, which is that of a pair of `sides`."""
    return [
        (left, right)
        for left, right in permutations(names, 2)
        if len(tokens(left)) == len(tokens(right)) and own_words(left, right) in sides
    ]


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

    def role(name: str, what: str, columns: Sequence[str]) -> str:
        if name in typed:
            return typed[name]
        if len(columns) != 1:
            which = f"several columns could be {what}: {', '.join(columns)}" if columns else f"no column is {what}"
            raise ValueError(
                f"{path}: {which}; it has {', '.join(names) or 'no columns'}: assign the columns with --columns "
                "chosen=COLUMN,rejected=COLUMN,prompt=COLUMN, or left=COLUMN,right=COLUMN,answer=COLUMN,prompt=COLUMN "
                "(in a project: footage.columns)"
            )
        return columns[0]

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
