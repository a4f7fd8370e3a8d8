from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from rushes.curate import frames as reading
from rushes.curate.frames import read_moments, windows
from rushes.curate.motion import measures
from rushes.media.write import write_video
from rushes.metrics.base import Shot

FPS = 10.0


def wall(seed: int, height: int, width: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(height, width, 3)).astype(np.float32)
    soft = np.zeros_like(noise)
    for size in (1.0, 2.0, 4.0, 8.0):
        soft = soft + size * size * cv2.GaussianBlur(noise, (0, 0), size)
    frame: np.ndarray = np.clip(120 + 40 * soft / soft.std(), 0, 255).astype(np.uint8)
    return frame


def pan(step: int, count: int = 20, height: int = 96) -> np.ndarray:
    wide = wall(0, height, 128 + step * count)
    return np.stack([wide[:, step * at : step * at + 128] for at in range(count)])


def walk(count: int = 20) -> np.ndarray:
    """A thing of 24 px crosses a still wall at 3 px a frame."""
    clip = wall(1, 96, 128)[None].repeat(count, 0)
    for at in range(count):
        clip[at, 40:64, 5 + 3 * at : 29 + 3 * at] = wall(2, 24, 24)
    return clip


def of(clip: np.ndarray) -> dict[str, float]:
    return measures([Shot(clip, FPS)])


def test_a_pan_is_the_camera_s() -> None:
    found = of(pan(2))
    assert found["camera"] == pytest.approx(2 * FPS / 96, rel=0.1)
    assert found["speed"] == pytest.approx(2 * FPS / 96, rel=0.15)
    assert found["subject"] < 0.3 * found["camera"]


def test_a_walk_is_the_subject_s() -> None:
    found = of(walk())
    assert found["camera"] < 0.02
    assert found["subject"] == pytest.approx(3 * FPS / 96, rel=0.25)
    assert found["still"] == found["repeated"] == found["cuts"] == 0


def test_standing_still_and_slowing_down_are_told_apart() -> None:
    clip = walk()
    frozen, slowed = of(clip[:1].repeat(20, 0)), of(clip[:10].repeat(2, 0))
    assert frozen["still"] == 1 and frozen["repeated"] == 0 and frozen["speed"] == 0
    # Of ten repeats the first has nothing before it and the last nothing behind it.
    assert slowed["repeated"] == pytest.approx(8 / 19) and slowed["still"] == pytest.approx(2 / 19)


def test_windows_share_a_frame_and_lose_no_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a b.mp4"
    write_video(path, walk(26), FPS)
    whole = measures(windows(path, FPS, 128))
    monkeypatch.setattr(reading, "WINDOW_FRAMES", 6)
    parts = list(windows(path, FPS, 128))
    assert [len(part.frames_FHWC) for part in parts] == [6, 6, 6, 6, 6]
    found = measures(parts)
    assert found["seconds"] == whole["seconds"] == 2.6
    assert {name: found[name] for name in ("speed", "camera", "still", "repeated", "unexplained")} == pytest.approx(
        {name: whole[name] for name in ("speed", "camera", "still", "repeated", "unexplained")}
    )


def test_moments_are_taken_by_time_whatever_the_rate(tmp_path: Path) -> None:
    levels = np.repeat(np.arange(8, dtype=np.uint8) * 30, 4)
    clip = np.ones((32, 32, 32, 3), np.uint8) * levels[:, None, None, None]
    for name, taken, fps in (("full", clip, 16.0), ("half", clip[::2], 8.0)):
        write_video(tmp_path / f"{name}.mp4", taken, fps)
        moments = read_moments(tmp_path / f"{name}.mp4", 2.0, 8)
        assert [round(float(frame.mean()) / 30) for frame in moments] == list(range(8))
    assert len(read_moments(tmp_path / "half.mp4", 9.0, 5)) == 5  # a length that the file does not have


def test_frames_too_small_to_measure_are_said(tmp_path: Path) -> None:
    write_video(tmp_path / "tiny.mp4", np.zeros((4, 8, 8, 3), np.uint8), FPS)
    with pytest.raises(ValueError, match=r"tiny\.mp4: frames of 8 x 8 px are too small to measure"):
        list(windows(tmp_path / "tiny.mp4", FPS, 128))
