from __future__ import annotations

import pytest

from rushes.judges.label_agreement import agreement, first_slot, ratings_of
from rushes.records import Preference


def row(judge: str, *labels: int, left: str = "a", right: str = "b", **more: object) -> Preference:
    return Preference(f"{judge}{left}{right}", left, right, labels, judge, 1.0, **more)  # type: ignore[arg-type]


def test_sides_are_brought_to_one_order_and_unjudged_is_no_label() -> None:
    found = ratings_of([row("x", 1, 0, unjudged=(1,)), row("y", -1, 1, left="b", right="a")])["overall"]
    assert found == {("a", "b", 1.0, 0): {"x": 1, "y": 1}, ("a", "b", 1.0, 1): {"y": -1}}


def test_raw_and_alpha_over_what_is_shared() -> None:
    rows = [row("x", 1, 1, 0, -1), row("y", 1, -1, 0, -1), row("z", 1, 1, 1, 1, left="c", right="d")]
    found = agreement(ratings_of(rows)["overall"])
    assert (found.units, found.raw) == (4, 0.75)
    # worked out by hand: coincidences off the diagonal 2 of 8; expected 2 (3 * 2 + 3 * 3 + 2 * 3) / 7 of 8
    assert found.alpha == pytest.approx(1 - 2 / (2 * (3 * 2 + 3 * 3 + 2 * 3) / 7))
    assert agreement(ratings_of(rows)["overall"], "z").units == 0


def test_of_one_judge_counts_pairs_with_that_judge_alone() -> None:
    rows = [row("x", 1, 1), row("y", 1, 1), row("z", -1, -1)]
    ratings = ratings_of(rows)["overall"]
    assert agreement(ratings, "x").raw == 0.5 and agreement(ratings, "z").raw == 0.0


def test_one_label_ever_given_is_no_evidence_of_agreement() -> None:
    found = agreement(ratings_of([row("x", 1, 1), row("y", 1, 1)])["overall"])
    assert found.raw == 1.0 and found.alpha is None


def test_first_slot_counts_decided_answers() -> None:
    assert first_slot([row("x", 0, 1, by_slot=(0, 1)), row("y", 1, 1, by_slot=(-1, 1)), row("z", 1)]) == (2, 3)
