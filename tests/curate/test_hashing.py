"""Hashed embeddings: what they see, what they do not, that they are the same everywhere."""

from __future__ import annotations

import numpy as np
import pytest

from rushes.curate.hashing import embed


def similar(one: str, other: str, size: int = 512) -> float:
    rows = embed([one, other], size)
    return float(rows[0] @ rows[1])


LONG = (
    "Two young friends in black caps walk towards each other in front of a dark green tiled wall. They hug and smile. "
    "The light is soft and comes from the left, and the camera stays where it is."
)


def test_rows_have_length_one_and_depend_on_their_text_alone() -> None:
    rows = embed([LONG, "a ball", "", "!!"], 512)
    assert np.linalg.norm(rows, axis=1) == pytest.approx([1, 1, 0, 0], abs=1e-6)
    assert (embed(["a ball"], 512)[0] == rows[1]).all() and rows.dtype == np.float32


def test_the_same_on_every_machine() -> None:
    row = embed(["A red ball falls"], 64)[0]
    found = [(int(at), round(float(row[at]), 3)) for at in np.argsort(-np.abs(row), kind="stable")[:3]]
    assert found == [(55, 0.513), (24, -0.495), (13, 0.391)]


def test_small_edits_are_close_and_other_scenes_are_not() -> None:
    edited = LONG.replace("young ", "").replace("dark green", "green")
    assert similar(LONG, LONG.upper()) == pytest.approx(1, abs=1e-6)
    assert similar(LONG, edited) > 0.9
    assert similar(LONG, LONG.replace("hug and smile", "shout and fight")) > 0.8
    assert similar(LONG, "A kite surfer rides the waves far from the beach under a cloudy sky.") < 0.3


def test_spelling_is_seen_and_meaning_is_not() -> None:
    assert similar("skateboarding", "skateboarder") > 0.2 > 0.1 > similar("skateboarding", "cooking")
    assert similar("a dog runs", "a puppy sprints") < 0.3  # which is why it is said to be weaker
    assert similar("the cat and the dog", "a bird on a tree") < 0.2  # common words weigh little


@pytest.mark.parametrize("size", [128, 512, 2048])
def test_collisions_cancel_on_average(size: int) -> None:
    """Texts without a common word: similarities scatter around 0 by 1 / sqrt(size)."""
    rng = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    texts = [" ".join("".join(rng.choice(letters, 9)) for _ in range(20)) for _ in range(60)]
    rows = embed(texts, size)
    off = (rows @ rows.T)[np.triu_indices(60, 1)]
    assert abs(off.mean()) < 0.02 and off.std() < 1.5 / np.sqrt(size)
