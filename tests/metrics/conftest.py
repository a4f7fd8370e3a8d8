"""Made-up footage: a textured figure that swings before a textured wall, and how to fool a metric with it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from rushes.arrays import Frames
from rushes.metrics.base import Shot

HEIGHT, WIDTH, FPS = 96, 128, 12.0


class Scene(Protocol):
    def __call__(
        self, frames: int = 30, fps: float = FPS, swing_px: float = 14.0, swing_hz: float = 0.55, seed: int = 0
    ) -> Frames: ...


def _texture(seed: int, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.float32]:
    """Blobs of every size, the larger the stronger, as in photographs."""
    noise = np.random.default_rng(seed).normal(size=(height, width, 3)).astype(np.float32)
    soft = np.zeros_like(noise)
    for size in (1.0, 2.0, 4.0, 8.0, 16.0):
        soft = soft + size * cv2.GaussianBlur(noise, (0, 0), size) * size
    texture: NDArray[np.float32] = np.clip(120 + 45 * (soft - soft.mean()) / soft.std(), 0, 255).astype(np.float32)
    return texture


def _scene(frames: int = 30, fps: float = FPS, swing_px: float = 14.0, swing_hz: float = 0.55, seed: int = 0) -> Frames:
    """A figure of 40 x 32 px swings `swing_px` to either side and drifts down, so that nothing comes back."""
    wall, figure = _texture(seed), _texture(seed + 100, 40, 32)
    taken = []
    for frame in range(frames):
        x = WIDTH / 2 - 16 + swing_px * math.sin(2 * math.pi * swing_hz * frame / fps)
        place = np.array([[1, 0, x], [0, 1, 15 + 10 * frame / fps]], np.float32)
        cover = cv2.warpAffine(np.ones((40, 32), np.float32), place, (WIDTH, HEIGHT))[..., None]
        moved = cv2.warpAffine(figure, place, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)
        taken.append(wall * (1 - cover) + moved * cover)
    return np.stack(taken).round().astype(np.uint8)


def _noisy(frames: Frames, sigma: float) -> Frames:
    noise = np.random.default_rng(1).normal(0, sigma, frames.shape)
    return np.clip(frames + noise, 0, 255).round().astype(np.uint8)


def _lit(frames: Frames, gain: NDArray[np.floating]) -> Frames:
    return np.clip(frames * gain[:, None, None, None], 0, 255).round().astype(np.uint8)


@pytest.fixture(scope="session")
def scene() -> Scene:
    return _scene


@pytest.fixture(scope="session")
def noisy() -> Callable[[Frames, float], Frames]:
    return _noisy


@pytest.fixture(scope="session")
def lit() -> Callable[[Frames, NDArray[np.floating]], Frames]:
    return _lit


@pytest.fixture(scope="session")
def ordinary() -> Shot:
    """Two and a half seconds of plain motion."""
    return Shot(_scene(), FPS, first_frame_HWC=_scene(1)[0])


@pytest.fixture(scope="session")
def tricks() -> dict[str, Shot]:
    """Clips that try to fool a metric; `pan` and `judder` move, the first four show no motion at all."""
    plain, length = _scene(), 30
    still, other = plain[:1].repeat(length, 0), _scene(1, seed=7).repeat(length, 0)
    alternation, ramp = 1 + 0.05 * (-1.0) ** np.arange(length), np.linspace(0.7, 1.0, length)
    mix = np.linspace(0, 1, length)[:, None, None, None]
    wide = _texture(3, HEIGHT, WIDTH + 64)
    pushes = (np.array([[1, 0, -1.5 * frame], [0, 1, 0]], np.float32) for frame in range(length))
    clips = {
        "frozen": still,
        "frozen_noise": _noisy(still, 4.0),
        "frozen_flicker": _lit(still, alternation),
        "cross_fade": (still * (1 - mix) + other * mix).round().astype(np.uint8),
        "noise": np.random.default_rng(2).integers(0, 256, plain.shape, dtype=np.uint8),
        "blurred": np.stack([cv2.GaussianBlur(frame, (0, 0), 2.0) for frame in plain]),
        "grainy": _noisy(plain, 8.0),
        "flicker": _lit(plain, alternation),
        "brightness_drift": _lit(plain, ramp),
        "loop": np.concatenate([plain[:15], plain[:15]]),
        "there_and_back": np.concatenate([plain[:15], plain[14::-1]]),
        "judder": plain[::2].repeat(2, 0),
        "pan": np.stack([cv2.warpAffine(wide, push, (WIDTH, HEIGHT)) for push in pushes]).astype(np.uint8),
        "cut": np.concatenate([plain[:18], _scene(30, seed=7)[18:]]),
        "slide_show": np.concatenate([still[:18], other[18:]]),
        "black": np.zeros_like(plain),
    }
    return {name: Shot(frames, FPS) for name, frames in clips.items()}


MOTIONLESS = ("frozen", "frozen_noise", "frozen_flicker", "cross_fade")


@pytest.fixture(params=MOTIONLESS)
def motionless(request: pytest.FixtureRequest, tricks: dict[str, Shot]) -> Shot:
    return tricks[request.param]
