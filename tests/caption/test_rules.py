from __future__ import annotations

import pytest

from rushes.caption.writers import wrong_by_rule
from rushes.world.scenes import CAPTIONS


def outcomes(caption: str) -> set[str]:
    return {wrong_by_rule(caption, seed) for seed in range(60)}


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("a car turns left", {"a car turns right"}),
        ("Up the hill", {"Down the hill"}),
        ("A glass falling off", {"A glass rising off", "A glass falling onto"}),
        ("the man walks away from the sea", {"the man sits away from the sea", "the man walks toward the sea"}),
        ("smoke rose", {"smoke fell"}),
        ("five dogs", {"two dogs", "three dogs", "four dogs", "six dogs"}),
        ("a forest at night", {""}),
        ("", {""}),
        ("", {""}),
    ],
)
def test_one_thing_becomes_what_it_cannot_also_be(caption: str, expected: set[str]) -> None:
    found = outcomes(caption)
    assert found <= expected | {caption.replace("away from", "towards")} and caption not in found - {""}
    assert expected == {""} or len(found) == len(expected)


def test_motion_before_count_before_colour() -> None:
    assert outcomes("two red balls fall") == {"two red balls rise"}
    assert all(text.endswith("red balls") and not text.startswith("two") for text in outcomes("two red balls"))
    assert all(text.endswith(" ball") and "red" not in text for text in outcomes("a red ball"))


def test_words_are_whole_words() -> None:
    assert outcomes("the fallen reddish upstart") == {""}


def test_no_other_word_changes_and_a_seed_gives_one_text() -> None:
    for caption in CAPTIONS:
        wrong = wrong_by_rule(caption, 3)
        assert wrong == wrong_by_rule(caption, 3) and wrong not in ("", caption)
        differ = [(a, b) for a, b in zip(caption.split(), wrong.split(), strict=True) if a != b]
        assert len(differ) == 1
