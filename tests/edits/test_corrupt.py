from __future__ import annotations

import numpy as np
import pytest

from rushes.edits.corrupt import blur_box, freeze_box, noise, place_box, shuffle_box, unscaled
from rushes.world.render import render
from rushes.world.scenes import draw_scenes

BOXES = (blur_box, shuffle_box, freeze_box)


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    return render(draw_scenes(3, 1, frames=17)[0])


def test_unscaled_is_what_a_codec_of_minus_one_to_one_makes_of_nought_to_one() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, -1)
    given = pixels / 255  # in place of 2 x - 1
    assert np.abs(unscaled(pixels) - (given + 1) * 127.5).max() <= 1


def test_noise_has_the_level_it_says_and_differs_from_frame_to_frame() -> None:
    grey = np.full((6, 64, 64, 3), 128, np.uint8)
    grain = noise(grey, 20.0, 1).astype(float) - 128
    assert abs(grain.std() - 20) < 0.5 and abs(grain.mean()) < 0.5
    assert abs(np.corrcoef(grain[0].ravel(), grain[1].ravel())[0, 1]) < 0.05
    assert noise(np.full_like(grey, 250), 20.0, 1).min() > 150  # clipped, not wrapped round


@pytest.mark.parametrize("edit", BOXES)
@pytest.mark.parametrize("seed", range(5))
def test_a_fault_lies_in_its_box_alone(edit: object, seed: int, clip: np.ndarray) -> None:
    edited = edit(clip, seed)  # type: ignore[operator]
    box = place_box(clip, seed)
    changed = (edited != clip).any(-1)
    assert changed[box].any() and changed.sum() == changed[box].sum()
    assert (edited[0] == clip[0]).all()
    share = [(s.stop - s.start) / side for s, side in zip(box, clip.shape, strict=False)]
    assert 0.45 <= share[0] <= 0.95 and all(0.3 <= each <= 0.7 for each in share[1:])
    assert (edited == edit(clip, seed)).all()  # type: ignore[operator]


def test_the_box_lies_where_something_happens(clip: np.ndarray) -> None:
    """A ball is a small part of the picture; drawn without looking, most boxes would miss most of it."""
    change = np.abs(np.diff(clip.astype(int), axis=0, prepend=clip[:1].astype(int))).sum(-1)
    held = [change[place_box(clip, seed)].sum() / change.sum() for seed in range(20)]
    rng = np.random.default_rng(0)
    blind = []
    for _ in range(200):
        t, h, w = (
            slice(a, a + n) for a, n in ((rng.integers(1, 5), 12), (rng.integers(17), 16), (rng.integers(17), 16))
        )
        blind.append(change[t, h, w].sum() / change.sum())
    assert np.mean(held) > 1.5 * np.mean(blind)


def test_what_is_frozen_or_shuffled_in_a_box_was_there_before(clip: np.ndarray) -> None:
    box = place_box(clip, 2)
    assert (freeze_box(clip, 2)[box] == clip[box][:1]).all()
    before, after = (sorted(frame.tobytes() for frame in frames[box]) for frames in (clip, shuffle_box(clip, 2)))
    assert before == after


def test_a_clip_without_room_is_refused(clip: np.ndarray) -> None:
    for edit in BOXES:
        with pytest.raises(ValueError, match="clip of 2 frames is too short"):
            edit(clip[:2], 0)
