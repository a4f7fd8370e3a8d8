"""Folders of small videos of two systems: a moving figure, as it is, frozen, blurred or noisy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from types import SimpleNamespace
from typing import Protocol

import cv2
import numpy as np
import pytest

from rushes.media.write import write_video
from rushes.metrics import catalogue, quality
from rushes.metrics.base import Measurement, Shot

HEIGHT, WIDTH, FPS = 48, 64, 8.0
BLUENESS = """
[quality.blueness]
better = "higher"
unit = "share of white"
high = 1.0
cost_ms = 0.1
doc = "Mean strength of blue."
fooled_by = "The sky."
"""


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


@pytest.fixture
def add_metric(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], str]]:
    """Add a metric, a function and its entry in the table, and give its name."""

    def blueness(shot: Shot) -> Measurement:
        return Measurement(float(shot.frames_FHWC[..., 2].mean()) / 255, (0.0,) * shot.seconds)

    def add() -> str:
        table = resources.files("rushes.metrics").joinpath("metrics.toml").read_text("utf-8")
        (tmp_path / "metrics.toml").write_text(table + BLUENESS, encoding="utf-8")
        monkeypatch.setattr(quality, "blueness", blueness, raising=False)
        monkeypatch.setattr(catalogue, "resources", SimpleNamespace(files=lambda room: tmp_path))
        catalogue.all_metrics.cache_clear()
        return "blueness"

    yield add
    catalogue.all_metrics.cache_clear()
