"""Judges in both orders, and questionnaires read strictly."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest

from rushes.judges.base import Judgement, PointwiseJudge
from rushes.judges.protocols import QUESTIONS, Duel, adherence, duel, in_words, question, questionnaire, read_answers
from rushes.metrics.base import Shot


def shot(level: int, caption: str = "a dog runs") -> Shot:
    return Shot(np.full((4, 16, 16, 3), level, np.uint8), 4.0, caption)


@dataclass(frozen=True)
class Scripted:
    """Says the first answer when the darker clip is shown first, else the second; counts how often it is asked."""

    answers: tuple[int, int]
    unjudged: tuple[int, ...] = ()
    swaps: bool = False
    name: str = "scripted"
    size_px: None = None

    def compare(self, left: Shot, right: Shot, segment_s: float | None) -> Judgement:
        assert segment_s is None
        there, back = self.answers
        if self.swaps:
            return Judgement((there if there == -back else 0,), None, self.unjudged, (there, back))
        dark_first = left.frames_FHWC.mean() < right.frames_FHWC.mean()
        return Judgement((there if dark_first else back,), None, self.unjudged)


@pytest.mark.parametrize("swaps", [False, True])
@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ((1, -1), Duel(1, True, 1, 2)),  # both orders name the darker clip
        ((-1, 1), Duel(-1, True, 1, 2)),
        ((1, 1), Duel(0, False, 2, 2)),  # always the first one shown: a tie, and it is counted
        ((1, 0), Duel(0, False, 1, 1)),
        ((0, 0), Duel(0, True, 0, 0)),
    ],
)
def test_both_orders_must_agree(answers: tuple[int, int], expected: Duel, swaps: bool) -> None:
    assert duel(Scripted(answers, swaps=swaps), shot(10), shot(200)) == expected


def test_a_pointwise_judge_never_disagrees_with_itself() -> None:
    judge = PointwiseJudge("bright", lambda s, _: (float(s.frames_FHWC.mean()),), 0.5)
    assert duel(judge, shot(200), shot(10)) == Duel(1, True, 1, 2)
    assert duel(judge, shot(10), shot(200)) == Duel(-1, True, 1, 2)


def test_what_cannot_be_read_is_no_answer() -> None:
    assert duel(Scripted((1, -1), unjudged=(0,)), shot(10), shot(200)) is None


def test_the_questions_are_four_times_five_and_text_goes_with_text_alone() -> None:
    assert {name: len(asked) for name, asked in QUESTIONS.items()} == dict.fromkeys(
        ("visual_alignment", "text_alignment", "motion_quality", "human_quality"), 5
    )
    assert len({words for asked in QUESTIONS.values() for words in asked}) == 20
    assert [name for name in QUESTIONS if "a dog runs" in question(name, "a dog runs")] == ["text_alignment"]
    with pytest.raises(ValueError, match="no dimension 'taste'"):
        question("taste", "")


def lines(*values: object) -> str:
    return "\n".join(f"Answer {at}: {value}" for at, value in enumerate(values, start=1))


@pytest.mark.parametrize(
    ("text", "answers"),
    [
        (lines(7, 8, 9, 10, 0), (7, 8, 9, 10, 0)),
        ("Well.\n**answer 1: 7/10**\n- Answer 2 = 8\nAnswer 3:9\nAnswer 4: 10.\nAnswer 5: 0\nThanks", (7, 8, 9, 10, 0)),
        ("\n".join(reversed(lines(1, 2, 3, 4, 5).splitlines())), (1, 2, 3, 4, 5)),
        (lines(7, 8, 9, 10), None),  # one is missing: not a zero
        (lines(7, 8, 9, 10, 11), None),
        (lines(7, 8, 9, 10, "n/a"), None),
        (lines(7, 8, 9, 10, 8.5), None),
        (lines(1, 2, 3, 4, 5) + "\nAnswer 5: 6", None),
        (lines(1, 2, 3, 4, 5, 6), None),
        ("", None),
    ],
)
def test_answers_are_read_strictly(text: str, answers: tuple[int, ...] | None) -> None:
    assert read_answers(text) == answers


def test_a_dimension_scores_twice_the_sum_of_its_own_answers() -> None:
    """The published script gave text alignment the score of the dimension that was asked before it."""
    said = {"visual_alignment": lines(9, 9, 9, 9, 9), "text_alignment": lines(1, 2, 1, 2, 1)}

    def say(text: str, clip: Shot) -> str:
        dimension = next(name for name in QUESTIONS if QUESTIONS[name][0] in text)
        return said.get(dimension, lines(10, 10, 10, 10, 10))

    assert questionnaire(in_words(say), shot(0)) == {
        "visual_alignment": 90.0,
        "text_alignment": 14.0,
        "motion_quality": 100.0,
        "human_quality": 100.0,
    }
    said["text_alignment"] = "I cannot tell."
    assert questionnaire(in_words(say), shot(0))["text_alignment"] is None  # never what stood there before


def test_adherence_asks_two_questions_and_guesses_none() -> None:
    asked: list[str] = []

    def affirm(text: str, clip: Shot) -> bool | None:
        asked.append(text)
        return None if "physics" in text else True

    assert adherence(affirm, shot(0)) == {"sa": 1.0, "pc": None}
    assert "a dog runs" in asked[0] and "a dog runs" not in asked[1]


def test_twice_the_sum_fits_the_published_mean() -> None:
    sums = 825  # over 18 clips: 91.67, as published for motion quality
    assert math.isclose(2.0 * sums / 18, 91.67, abs_tol=0.005)
