"""What answers of other programs mean: one table of words.

Nothing is guessed: an answer that negates ("left is worse"), that names both sides or that the table lacks has no
meaning until the user gives it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from rushes.formats.sides import differing
from rushes.plugins import toml_table
from rushes.text_reader import counted

Meaning = Literal["left", "right", "tie", "unjudged"]
BetterRating = Literal["lower", "higher"]
_BETTER: tuple[BetterRating, ...] = ("lower", "higher")
LABELS: Mapping[Meaning, int] = {"left": 1, "right": -1, "tie": 0, "unjudged": 0}

_WORDS = toml_table("formats", "words.toml")["answers"]
# Letters, digits and what joins words: other signs (>, =, !) may turn an answer round.
_PLAIN = re.compile(r"[\w']+(?:[ \t/._-]+[\w']+)*\.?")


_TABLE: Mapping[str, Meaning] = {
    **{
        form.format(thing.format(word)): meaning
        for pair in _WORDS["sides"]
        for word, meaning in zip(pair, LABELS, strict=False)
        for thing in _WORDS["things"]
        for form in _WORDS["forms"]
    },
    **dict.fromkeys(_WORDS["tie"], "tie"),
    **dict.fromkeys(_WORDS["unjudged"], "unjudged"),
}


class MeaningTable:
    """The meaning of each answer of a file, and how often it was given."""

    def __init__(self, given: Sequence[str] = ()) -> None:
        """`given`: the user's own meanings, as "Left is worse=right"; they come before the table's.

        Raises:
            ValueError: a text without "=" or with another meaning than left, right, tie or unjudged, or two meanings of
                one answer.
        """
        self.counts: Counter[tuple[str, Meaning]] = Counter()
        self.unknown: dict[str, list[str]] = {}  # answer -> the places that have it
        self._given: dict[str, Meaning] = {}
        self._better: dict[str, BetterRating] = {}  # question -> which rating is better
        self._asked: set[str] = set()
        self._questions: set[str] = set()
        self._ways: dict[str, str] = {}  # whether a side is turned round -> the first answer of which it is so
        for text in given:
            answer, sign, word = text.rpartition("=")
            word = word.strip().lower()
            meaning = next((each for each in LABELS if each == word), None)
            better = next((each for each in _BETTER if each == word), None)
            if better and answer.strip():
                if self._better.setdefault(answer.strip().casefold(), better) != better:
                    raise ValueError(f"--answers {text!r}: the question has both lower and higher; keep one")
                continue
            if not sign or not answer.strip() or meaning is None:
                raise ValueError(
                    f'--answers {text!r}: write an answer and what it means, such as "Left is worse=right"; it may '
                    f"mean {', '.join(LABELS)}; a question's ratings are better when lower or higher"
                )
            if self._given.setdefault(answer.strip().casefold(), meaning) != meaning:
                raise ValueError(
                    f"--answers {text!r}: an earlier --answers gives this answer another meaning; keep one"
                )

    def meaning(
        self,
        answer: str,
        place: str,
        names: tuple[str, str] = ("", ""),
        by_form: Meaning | None = None,
        by_table: bool = True,
    ) -> Meaning:
        """What an answer means, which is counted; one of which nothing says it is noted for `check`, as unjudged.

        Args:
            answer: as the person or program gave it.
            place: where it stands.
            names: what the file calls the left and the right side; a side's own name means that side.
            by_form: what the form of the file says, which comes before the table.
            by_table: whether the table of words, and the names, may say it.
        """
        exact = answer.strip().casefold()
        self._asked.add(exact)
        own = by_form or (_meaning(exact, names) if by_table else None)
        meaning = self._given.get(exact, own)
        if own in ("left", "right"):
            turned = meaning in ("left", "right") and meaning != own
            if turned or exact not in self._given:
                self._ways.setdefault("turned" if turned else "as it says", exact)
        if meaning is None:
            self.unknown.setdefault(answer.strip(), []).append(place)
            return "unjudged"
        self.counts[answer.strip(), meaning] += 1
        return meaning

    def better(self, *names: str) -> BetterRating | None:
        """Which rating of a question, by what it is called, the user says is better; None = nothing."""
        self._questions.update(name.casefold() for name in names)
        return next((self._better[key] for name in names if (key := name.casefold()) in self._better), None)

    def check(self, path: object) -> None:
        """Raises ValueError with every answer that has no meaning, how often it stands there and what to do; and for a
        given meaning of an answer that stands nowhere, as another than was meant may then be read by the table."""
        if self.unknown:
            words = (f"{word!r:.60} ({len(places)}, first at {places[0]})" for word, places in self.unknown.items())
            example = next(iter(self.unknown)).replace('"', "")[:40]
            raise ValueError(
                f"{path}: {counted(sum(map(len, self.unknown.values())), 'answer')} without a known meaning: "
                f"{', '.join(words)}; give each its meaning with "
                f'--answers "{example}=right" (left, right, tie or unjudged), or in a project '
                f"with `rushes set PROJECT 'footage.answers=[\"{example}=right\", ...]'`"
            )
        if len(self._ways) > 1:
            turned, other = self._ways["turned"], self._ways["as it says"]
            raise ValueError(
                f"--answers {turned!r}: {path} also has {other!r}, so one side would be swapped and the other not; "
                f'give its meaning with --answers "{other}=..."'
            )
        for noun, given, asked in (
            ("answer", self._given, self._asked),
            ("question", self._better, self._questions),
        ):
            if unused := next((name for name in given if name not in asked), ""):
                there = ", ".join(f"{name!r:.40}" for name in sorted(asked)) or "none"
                raise ValueError(
                    f"--answers {unused!r}: {path} has no such {noun}; it has {there}; write one of these exactly"
                )

    def lines(self) -> Iterator[str]:
        """Each answer with its meaning and count."""
        for (answer, meaning), count in sorted(self.counts.items(), key=lambda item: -item[1]):
            yield f"{answer!r:.60} = {meaning} ({count})"


def _meaning(exact: str, names: tuple[str, str]) -> Meaning | None:
    by_table = _TABLE.get(_words(exact))
    by_name: Meaning | None = None
    if exact in (left := names[0].casefold(), right := names[1].casefold()) and left != right:
        by_name = "left" if exact == left else "right"
    own = differing(*names)
    crossed = {"left": 1, "right": 0}.get(by_table or "")
    if by_name and by_table and by_name != by_table:  # a video called "b" on the left
        return None
    if crossed is not None and any(pair[crossed] in _words(exact).split() for pair in own):  # "1" of video0 and video1
        return None
    return by_name or by_table


def _words(text: str) -> str:
    plain = text.replace("\u2019", "'")
    return " ".join(re.findall(r"[\w']+", plain.replace("_", " "))) if _PLAIN.fullmatch(plain) else ""
