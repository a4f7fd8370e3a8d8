"""The rows that travel between stages."""

from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rushes.records import Preference, seed_of, stable_hash


def preference(**changes: Any) -> Preference:
    return replace(Preference("p", "a", "b", labels=(1,), judge="me"), **changes)


def test_stable_hash_is_the_same_on_every_machine() -> None:
    # Written down once: a change of these would orphan every stored row.
    assert stable_hash({"b": [1, 2.5, None], "a": "é"}) == "d764fee2563da33e3d573347"
    assert stable_hash("x", length=8) == "ba2df490"


@given(st.dictionaries(st.text(), st.integers()))
def test_stable_hash_ignores_the_order_of_keys(value: dict[str, int]) -> None:
    assert stable_hash(value) == stable_hash(dict(reversed(value.items())))


def test_stable_hash_tells_text_from_number_and_joins_nothing() -> None:
    assert len({stable_hash(value) for value in (1, "1", [1], ["1"], ["a", "b"], ["ab"], None, "None")}) == 8


def test_rows_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        preference().judge = "you"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"labels": ()}, "labels must be one or more of -1, 0, \\+1"),
        ({"labels": (2,)}, "labels must be"),
        ({"labels": (1, 0)}, "2 labels need segment_s"),
        ({"segment_s": 0.0}, "segment_s must be positive"),
        ({"segment_s": -1.0}, "segment_s must be positive"),
    ],
)
def test_bad_preferences_are_refused(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        preference(**changes)


def test_dense_labels_go_with_a_segment_length() -> None:
    assert preference(labels=(1, 0, -1), segment_s=1.0).labels == (1, 0, -1)


def test_a_seed_is_the_same_on_every_machine() -> None:
    assert seed_of("take", 0, "a", 1) == int(stable_hash(["take", 0, "a", 1])[:8], 16) == 2811196653
    assert seed_of("take", 0, "a", 1) != seed_of("take", 0, "a1")
