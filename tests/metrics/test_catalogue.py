"""The contract that every metric keeps."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rushes.media.read import read_video
from rushes.metrics.base import Measurement, Metric, Shot
from rushes.metrics.catalogue import all_metrics, measure


@pytest.fixture(params=all_metrics().values(), ids=lambda metric: metric.name)
def metric(request: pytest.FixtureRequest) -> Metric:
    metric: Metric = request.param
    return metric


def values(measured: Measurement) -> np.ndarray:
    return np.array([measured.value, *measured.per_second])


def test_a_metric_says_what_it_is(metric: Metric) -> None:
    assert re.fullmatch(r"[a-z][a-z_]+", metric.name)
    assert metric.better in ("lower", "higher", "neutral")
    assert metric.low < metric.high
    assert 0 < metric.cost_ms < 10
    for sentence in (metric.doc, metric.fooled_by):
        assert sentence[0].isupper() and sentence.endswith(".")
    assert metric.unit


def test_the_documentation_says_when_not_to_believe_it(metric: Metric) -> None:
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert f"| `{metric.name}` | {metric.fooled_by} |" in page
    assert f"{metric.unit} | {metric.cost_ms:g} | {metric.doc} |" in page


def test_ordinary_clips_are_measured(metric: Metric, ordinary: Shot) -> None:
    measured = metric.measure(ordinary)
    assert math.isfinite(measured.value)
    assert len(measured.per_second) == 2
    assert all(map(math.isfinite, measured.per_second[:1]))


def test_every_trick_stays_in_range(metric: Metric, tricks: dict[str, Shot]) -> None:
    for name, shot in tricks.items():
        found = values(metric.measure(shot))
        known = found[~np.isnan(found)]
        assert ((known >= metric.low - 1e-9) & (known <= metric.high + 1e-9)).all(), name


@pytest.fixture(scope="module")
def again(ordinary: Shot) -> Shot:
    return Shot(ordinary.frames_FHWC.copy(), ordinary.fps, first_frame_HWC=ordinary.first_frame_HWC)


@pytest.fixture(scope="module")
def mirrored(ordinary: Shot) -> Shot:
    assert ordinary.first_frame_HWC is not None
    return Shot(ordinary.frames_FHWC[:, :, ::-1].copy(), 12.0, first_frame_HWC=ordinary.first_frame_HWC[:, ::-1])


def test_the_same_clip_gives_the_same_number(metric: Metric, ordinary: Shot, again: Shot) -> None:
    assert metric.measure(again) == metric.measure(ordinary)


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_short_clips_give_a_value_or_none(metric: Metric, ordinary: Shot, frames: int) -> None:
    measured = metric.measure(Shot(ordinary.frames_FHWC[:frames], 12.0, first_frame_HWC=ordinary.first_frame_HWC))
    assert len(measured.per_second) == 1
    assert values(measured) == pytest.approx(measured.value, nan_ok=True)
    still_works = {"sharpness", "saturation", "contrast", "brightness", "first_frame_fidelity"}
    if frames == 1:
        assert math.isnan(measured.value) != (metric.name in still_works)


def test_a_frozen_clip_never_wins(metric: Metric, ordinary: Shot, motionless: Shot) -> None:
    frozen, moving = metric.measure(motionless).value, metric.measure(ordinary).value
    assert not (metric.better == "lower" and frozen < moving)
    assert not (metric.better == "higher" and frozen > moving)


def test_the_mirror_image_measures_alike(metric: Metric, ordinary: Shot, mirrored: Shot) -> None:
    assert metric.measure(mirrored).value == pytest.approx(metric.measure(ordinary).value, rel=0.15, abs=1e-3)


def test_measure_takes_names_and_computes_the_flow_once(ordinary: Shot, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    flow: Callable[[Shot], object] = Shot.__dict__["flow"].func

    def counted(shot: Shot) -> object:
        calls.append(1)
        return flow(shot)

    monkeypatch.setattr(Shot.__dict__["flow"], "func", counted)
    shot = Shot(ordinary.frames_FHWC[:8], 8.0)
    assert list(measure(shot)) == list(all_metrics())
    assert len(calls) == 1
    assert list(measure(shot, ["jerk", "cuts"])) == ["jerk", "cuts"]
    assert list(measure(Shot(ordinary.frames_FHWC[:8], 8.0), ["contrast"])) == ["contrast"]
    assert len(calls) == 1  # contrast needs none
    with pytest.raises(ValueError, match="unknown metric 'jrek': did you mean 'jerk'"):
        measure(shot, ["jrek"])


def test_real_clips(real_data: Path) -> None:
    bench = real_data / "realaction" / "bench"
    if not bench.is_dir():
        pytest.skip("real clips not found: set RUSHES_DATA")
    for system in ("pretrain", "realdpo"):
        video = read_video(bench / system / "5.mp4", frames=25, size_px=(128, 192))
        measured = measure(Shot(video.frames_FHWC, video.fps, first_frame_HWC=video.frames_FHWC[0]))
        assert all(math.isfinite(number) for m in measured.values() for number in m.per_second[:1])
        assert all(math.isfinite(m.value) for m in measured.values())
        assert measured["freeze_share"].value == measured["cuts"].value == measured["loop_share"].value == 0.0
        assert 0.03 < measured["motion_speed"].value < 0.3
    frozen = measure(Shot(video.frames_FHWC[:1].repeat(8, 0), video.fps))
    assert frozen["freeze_share"].value == 1.0
    assert math.isnan(frozen["warping_error"].value)
