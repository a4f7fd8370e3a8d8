from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rushes.config.tables import TrainSettings
from rushes.media.read import read_video
from rushes.records import Diagnosis
from rushes.training.monitor import NOBODY, RunMonitor, Sampler, write_samples


def clip(speed_px: int, at: int) -> np.ndarray:
    """A textured picture that moves sideways."""
    picture = np.random.default_rng(at).integers(0, 255, (8, 40, 3)).repeat(4, 0).repeat(4, 1)
    return np.stack([np.roll(picture, f * speed_px, 1)[:, :32] for f in range(9)]).astype(np.uint8)


def test_samples_are_stored_and_measured(tmp_path: Path) -> None:
    sampler = Sampler(lambda: [clip(2, 0), clip(0, 1)], tmp_path, 8.0, 4)
    row = write_samples(sampler, 50)
    stored = [tmp_path / "samples" / f"step-00000050-{at}.mp4" for at in (0, 1)]
    assert [read_video(path).frames_FHWC.shape for path in stored] == [(9, 128, 128, 3)] * 2
    each = row["samples/each"]
    assert each["motion_speed"][0] > 0.2 and each["motion_speed"][1] == pytest.approx(0.0, abs=0.02)
    assert row["samples/motion_speed"] == pytest.approx(sum(each["motion_speed"]) / 2)
    assert all(f"samples/{name}" in row for name in ("saturation", "brightness", "dynamic_degree"))
    before = [path.read_bytes() for path in stored]
    assert write_samples(sampler, 50) == row and [path.read_bytes() for path in stored] == before


def test_samples_at_the_start_now_and_then_and_at_the_end(tmp_path: Path) -> None:
    watch = RunMonitor(Sampler(lambda: [clip(1, 0)], tmp_path, 8.0))
    settings = TrainSettings(steps=7, sample_every=3)
    assert [step for step in range(8) if watch.samples(step, settings)] == [0, 3, 6, 7]
    assert not watch.samples(0, TrainSettings()) and not NOBODY.samples(0, settings)


def test_a_diagnosis_is_written_each_time_and_told_once() -> None:
    told: list[Diagnosis] = []
    watch = RunMonitor(tell=told.append)
    rows: list[dict[str, Any]] = [
        {"step": step, "held_out/drift": 9.0, "held_out/reference_error": 1.0} for step in range(20)
    ]
    watch.judge(rows[:10], 20)
    watch.judge(rows, 20)
    assert [each.name for each in told] == ["diverged"] and told[0].step == 9
    assert [row["step"] for row in rows if "diagnoses" in row] == [9, 19]
    assert rows[19]["diagnoses"][0]["name"] == "diverged" and rows[19]["diagnoses"][0]["step"] == 19
    told.clear()
    watch.judge(rows[10:], 19)
    assert not told and rows[19]["diagnoses"], "what the last step shows comes with the result"
