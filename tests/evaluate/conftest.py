"""Folders of small videos of two systems: a moving figure, as it is, frozen, blurred or noisy."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import pytest

from rushes.media.write import write_video

HEIGHT, WIDTH, FPS = 48, 64, 8.0


class Maker(Protocol):
    """Write NAME.mp4 for each name into a folder."""

    def __call__(self, folder: Path, names: list[str], way: str = "plain", offset: int = 0) -> Path: ...


def moving(seed: int, frames: int = 10, way: str = "plain") -> np.ndarray:
    """[F,H,W,3]: a textured square crosses a textured wall."""
    rng = np.random.default_rng(seed)
    wall, square = (
        cv2.GaussianBlur(rng.integers(0, 255, size, dtype=np.uint8), (0, 0), 1.5)
        for size in ((HEIGHT, WIDTH, 3), (20, 20, 3))
    )
    clip = np.repeat(wall[None] // 2 + 60, frames, 0)
    for frame in range(frames):
        x = 4 + 3 * frame
        clip[frame, 14:34, x : x + 20] = square
    if way == "frozen":
        clip[:] = clip[0]
    if way == "blurred":
        clip = np.stack([cv2.GaussianBlur(frame, (0, 0), 2.0) for frame in clip])
    if way == "noisy":
        clip = np.clip(clip + rng.normal(0, 12, clip.shape), 0, 255).astype(np.uint8)
    return clip


@pytest.fixture(scope="session")
def make_system() -> Maker:
    """Write NAME.mp4 for each name into a folder."""

    def make(folder: Path, names: list[str], way: str = "plain", offset: int = 0) -> Path:
        for at, name in enumerate(names):
            path = folder / f"{name}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_video(path, moving(at + offset, way=way), FPS)
        return folder

    return make
