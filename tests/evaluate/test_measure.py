"""One file's measurements, kept by content."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rushes.evaluate import measure as measured
from rushes.files import MediaError
from rushes.media.images import write_image
from rushes.media.read import Video, read_video
from rushes.metrics import catalogue, sets
from rushes.metrics.base import Shot

from .conftest import FPS, Maker, moving


def test_a_file_measures_what_its_frames_do(tmp_path: Path, make_system: Maker) -> None:
    video = make_system(tmp_path / "a", ["0"]) / "0.mp4"
    found = measured.measure_file(video, None, tmp_path / "kept")
    shape = found.width_px, found.height_px, found.frames, found.fps
    assert shape == (64, 48, 10, FPS)
    assert set(found.values) == set(catalogue.all_metrics())
    assert found.values["first_frame_fidelity"] is None and found.values["freeze_share"] == 0.0
    expected = catalogue.measure(Shot(moving(0), FPS))["motion_speed"].value
    assert found.values["motion_speed"] == pytest.approx(expected, rel=0.1)
    assert len(found.per_second["motion_speed"]) == 1
    assert np.abs(found.coarse_THWC() - sets.coarse(Shot(moving(0), FPS))).max() < 0.05


def test_a_file_is_measured_once_and_again_when_it_or_its_still_changes(
    tmp_path: Path, make_system: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    video, kept = make_system(tmp_path / "a", ["0", "1"]) / "0.mp4", tmp_path / "kept"
    first = measured.measure_file(video, None, kept)
    calls: list[Path] = []

    def read(path: Path) -> Video:
        calls.append(path)
        return read_video(path)

    monkeypatch.setattr(measured, "read_video", read)
    assert measured.measure_file(video, None, kept) == first and calls == []
    still = tmp_path / "still.png"
    write_image(still, moving(0)[0])
    faithful = measured.measure_file(video, still, kept)
    assert faithful.values["first_frame_fidelity"] and len(calls) == 1
    video.write_bytes((tmp_path / "a" / "1.mp4").read_bytes())
    assert measured.measure_file(video, None, kept).values != first.values and len(calls) == 2


def test_what_was_kept_and_is_torn_is_made_again(tmp_path: Path, make_system: Maker) -> None:
    video, kept = make_system(tmp_path / "a", ["0"]) / "0.mp4", tmp_path / "kept"
    first = measured.measure_file(video, None, kept)
    (path,) = kept.iterdir()
    for torn in ("{", json.dumps({"media": "x"})):
        path.write_text(torn)
        assert measured.measure_file(video, None, kept) == first


def test_unreadable_videos_are_refused(tmp_path: Path) -> None:
    (tmp_path / "0.mp4").write_bytes(b"no video")
    with pytest.raises(MediaError):
        measured.measure_file(tmp_path / "0.mp4", None, tmp_path / "kept")
