from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage.measure import blur_effect

from rushes.arrays import Frames
from rushes.curate.technical import bars, blur, lettering, light
from rushes.metrics.base import luma
from rushes.metrics.quality import blockiness


def scene(seed: int = 0, height: int = 240, width: int = 320) -> Frames:
    """Noise of all scales: edges everywhere, no grid, no letters."""
    noise = np.random.default_rng(seed).normal(size=(height, width, 3)).astype(np.float32)
    soft = np.zeros_like(noise)
    for size in (1.0, 2.0, 4.0, 8.0):
        soft = soft + size * size * cv2.GaussianBlur(noise, (0, 0), size)
    frame: Frames = np.clip(120 + 40 * soft / soft.std(), 0, 255).astype(np.uint8)
    return frame


def softened(frame: Frames, sigma: float) -> Frames:
    return np.asarray(cv2.GaussianBlur(frame, (0, 0), sigma), np.uint8)


@pytest.mark.parametrize("sigma", [0, 1, 3])
def test_blur_is_crete_s_as_scikit_image_has_it(sigma: float) -> None:
    frame = softened(scene(), sigma) if sigma else scene()
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    assert blur(frame) == pytest.approx(blur_effect(grey), abs=0.01)


def test_blur_grows_with_blur_and_is_unknown_without_an_edge() -> None:
    found = [blur(softened(scene(), sigma)) for sigma in (0.5, 1, 2, 4)]
    assert found == sorted(found) and found[-1] > 0.7
    assert np.isnan(blur(np.full((64, 64, 3), 90, np.uint8)))


def blockiness_of(frame_HWC: Frames) -> float:
    return blockiness(luma(frame_HWC))


@pytest.mark.parametrize("shift", [0, 3])
def test_blocks_of_eight_pixels_stand_out_wherever_their_grid_begins(shift: int) -> None:
    blocks = np.random.default_rng(0).integers(60, 200, (30, 40, 3)).repeat(8, 0).repeat(8, 1)
    mixed = (0.7 * scene() + 0.3 * blocks).astype(np.uint8)[shift:, shift:]
    assert blockiness_of(scene()) < 1.1
    assert blockiness_of(mixed) > 1.6


def test_pixels_repeated_four_times_are_no_coding_blocks() -> None:
    assert blockiness_of(scene(0, 60, 80).repeat(4, 0).repeat(4, 1)) < 1.3


@pytest.mark.parametrize(("top", "left"), [(0, 0), (30, 0), (0, 40), (24, 32)])
@pytest.mark.parametrize("level", [0, 255])
def test_bars_are_measured_exactly(top: int, left: int, level: int) -> None:
    frames = []
    for seed in range(4):
        frame = scene(seed)
        frame[:top] = frame[240 - top :] = level
        frame[:, :left] = frame[:, 320 - left :] = level
        frames.append(frame)
    assert bars(frames) == pytest.approx(1 - (240 - 2 * top) * (320 - 2 * left) / (240 * 320))


def test_a_dark_sky_is_no_bar() -> None:
    sky = np.linspace(0, 90, 240)[:, None, None].repeat(320, 1).repeat(3, 2).astype(np.uint8)
    assert bars([sky, sky]) == 0
    assert bars([np.zeros_like(sky)]) == 1


def test_light_of_known_pictures() -> None:
    half = np.zeros((100, 100, 3), np.uint8)
    half[:50] = 255
    assert light(half) == pytest.approx((0.5, 0.5, 0.5), abs=0.01)


def titled(frame: Frames, x: int = 20) -> Frames:
    copy = frame.copy()
    for thick, colour in ((6, (0, 0, 0)), (2, (255, 255, 255))):
        cv2.putText(copy, "what a fine day it is", (x, 440), cv2.FONT_HERSHEY_DUPLEX, 1.1, colour, thick, cv2.LINE_AA)
    return copy


def test_lettering_holds_still_over_a_scene_that_moves() -> None:
    plain = [softened(scene(seed, 480, 640), 2) for seed in range(8)]
    assert lettering(plain) == 0
    assert lettering([titled(frame) for frame in plain]) > 0.005
    assert lettering([titled(frame, 20 + 9 * at) for at, frame in enumerate(plain)]) == 0
    assert lettering([titled(plain[0]), *plain[1:]]) == 0  # for one moment alone
