from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations

import cv2
import numpy as np
import pytest

from rushes.arrays import Frames
from rushes.metrics.base import Shot
from rushes.metrics.motion_agreement import motion_agreement

FPS, FRAMES, HEIGHT, WIDTH = 8.0, 13, 72, 96


def walk(steps_px: np.ndarray, seed: int = 0) -> Shot:
    """A textured figure goes over a textured wall, by `steps_px` [frames - 1, 2] (x, y) from frame to frame."""
    rng = np.random.default_rng(seed)
    wall, figure = (
        np.clip(120 + 60 * cv2.GaussianBlur(rng.normal(size=(*size, 3)), (0, 0), 1.5) * 3, 0, 255)
        for size in ((HEIGHT, WIDTH), (28, 28))
    )
    at, frames = np.array([WIDTH / 2 - 14, HEIGHT / 2 - 14]), []
    for step in (np.zeros(2), *steps_px):
        at = at + step
        place = np.array([[1, 0, at[0]], [0, 1, at[1]]], np.float32)
        cover = cv2.warpAffine(np.ones((28, 28), np.float32), place, (WIDTH, HEIGHT))[..., None]
        frames.append(wall * (1 - cover) + cv2.warpAffine(figure, place, (WIDTH, HEIGHT)) * cover)
    return Shot(np.stack(frames).round().astype(np.uint8), FPS)


def straight(x: float, y: float = 0.0) -> np.ndarray:
    return np.tile([x, y], (FRAMES - 1, 1))


def random_walk(seed: int) -> np.ndarray:
    """A way of its own: a new direction every half second."""
    turns = np.random.default_rng(seed).uniform(0, 2 * math.pi, (FRAMES - 1) // 4)
    return np.repeat(1.5 * np.stack([np.cos(turns), np.sin(turns)], 1), 4, axis=0)


@pytest.fixture(scope="module")
def right() -> Shot:
    return walk(straight(1.5))


def test_a_clip_agrees_with_itself(right: Shot) -> None:
    assert motion_agreement(right, right) == pytest.approx(1.0)


def test_noise_hardly_lowers_it(right: Shot, noisy: Callable[[Frames, float], Frames]) -> None:
    assert motion_agreement(right, Shot(noisy(right.frames_FHWC, 3.0), FPS)) > 0.97


def test_opposite_motions_disagree(right: Shot) -> None:
    assert motion_agreement(right, walk(straight(-1.5))) < -0.3


def test_half_the_speed_is_not_full_agreement() -> None:
    """2 * 0.5 / (1 + 0.25) = 0.8 where both are in the same cells, which they are for a slow pan."""
    wide = np.random.default_rng(0).normal(size=(HEIGHT, WIDTH + 40, 3))
    wide = np.clip(120 + 180 * cv2.GaussianBlur(wide, (0, 0), 1.5), 0, 255).astype(np.float32)

    def pan(speed_px: float) -> Shot:
        places = (np.array([[1, 0, -speed_px * k], [0, 1, 0]], np.float32) for k in range(FRAMES))
        return Shot(np.stack([cv2.warpAffine(wide, p, (WIDTH, HEIGHT)) for p in places]).astype(np.uint8), FPS)

    assert motion_agreement(pan(2.0), pan(1.0)) == pytest.approx(0.8, abs=0.03)


def test_the_same_motion_later_agrees_less_the_later_it_is() -> None:
    steps = random_walk(3)
    first, *others = (walk(np.roll(steps, by, axis=0)) for by in (0, 1, 4))
    by_one, by_four = (motion_agreement(first, other) for other in others)
    assert 0.95 > by_one > by_four and by_four < 0.5


def test_unrelated_motions_agree_by_nothing() -> None:
    clips = [walk(random_walk(k)) for k in range(5)]
    found = [motion_agreement(*pair) for pair in combinations(clips, 2)]
    assert abs(np.mean(found)) < 0.15 and max(found) < 0.8


def test_one_that_stands_still_agrees_with_nothing_that_moves(right: Shot) -> None:
    still = walk(straight(0.0))
    assert motion_agreement(right, still) == pytest.approx(0.0, abs=0.01)
    assert math.isnan(motion_agreement(still, still))


def test_a_single_frame_has_no_motion(right: Shot) -> None:
    assert math.isnan(motion_agreement(*[Shot(right.frames_FHWC[:1], FPS)] * 2))


def test_unequal_clips_are_refused(right: Shot) -> None:
    for other in (Shot(right.frames_FHWC[:9], FPS), Shot(right.frames_FHWC, 2 * FPS)):
        with pytest.raises(ValueError, match="give both the same shape"):
            motion_agreement(right, other)
