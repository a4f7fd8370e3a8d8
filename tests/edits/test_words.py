from __future__ import annotations

import numpy as np
import pytest

from rushes.edits import corrupt, rearrange
from rushes.edits.words import EDITS, apply, begins_anew, parse, words
from rushes.world.render import render
from rushes.world.scenes import draw_scenes

EXAMPLES = {  # of every edit
    "swap-ends": "swap-ends:2",
    "mirror": "mirror",
    "reverse": "reverse",
    "shuffle": "shuffle:7",
    "freeze": "freeze:7",
    "noise": "noise:20.0:7",
    "blur-box": "blur-box:7",
    "shuffle-box": "shuffle-box:7",
    "freeze-box": "freeze-box:7",
    "flow": "flow:other",
    "edges": "edges",
    "unscaled": "unscaled",
}


@pytest.fixture(scope="module")
def clips() -> dict[str, np.ndarray]:
    return dict(zip(("clip", "other"), map(render, draw_scenes(3, 2, frames=17)), strict=True))


def test_there_is_an_example_of_every_edit_but_depth() -> None:
    assert set(EXAMPLES) == set(EDITS) - {"depth"}  # which needs a model, see test_render


@pytest.mark.parametrize("edit", EXAMPLES.values())
def test_every_edit_changes_a_clip_and_does_it_again(edit: str, clips: dict[str, np.ndarray]) -> None:
    clip, before = clips["clip"], clips["clip"].copy()
    once, twice = (apply(clip, edit, clips.__getitem__) for _ in range(2))
    assert (once == twice).all() and (once != clip).any() and (clip == before).all()
    assert not begins_anew(edit) or (once[0] != clip[0]).any()


def test_arguments_reach_the_edit(clips: dict[str, np.ndarray]) -> None:
    clip = clips["clip"]
    assert (apply(clip, "swap-ends:3", clips.__getitem__) == rearrange.swap_ends(clip, 3)).all()
    assert (apply(clip, words("noise", 12.5, 9), clips.__getitem__) == corrupt.noise(clip, 12.5, 9)).all()


def test_the_other_clip_is_read_by_its_hash(clips: dict[str, np.ndarray]) -> None:
    asked: list[str] = []

    def read(media: str) -> np.ndarray:
        asked.append(media)
        return clips[media]

    apply(clips["clip"], "flow:other", read)
    assert asked == ["other"]


def test_edits_in_a_chain_go_from_left_to_right(clips: dict[str, np.ndarray]) -> None:
    clip = clips["clip"]
    chained = apply(clip, "shuffle:7+noise:20.0:7", clips.__getitem__)
    assert (chained == corrupt.noise(rearrange.shuffle(clip, 7), 20.0, 7)).all()
    assert begins_anew("shuffle:7+reverse") and not begins_anew("shuffle:7+freeze:7")


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        ("revers", "unknown edit 'revers': did you mean 'reverse'"),
        ("", "unknown edit ''"),
        ("swap-ends", "'swap-ends' is not of the form swap-ends:int"),
        ("swap-ends:two", "is not of the form swap-ends:int"),
        ("noise:20", "is not of the form noise:float:int"),
        ("reverse:1", "'reverse:1' is not of the form reverse"),
        ("reverse+", "unknown edit ''"),
    ],
)
def test_words_that_are_no_edit_are_refused(edit: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse(edit)
