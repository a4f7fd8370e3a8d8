"""Which judge the settings name, and what they say where they name none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rushes.config.model_endpoint import EndpointSettings
from rushes.config.tables import LabelSettings, Settings
from rushes.judges.build import ANSWERS, judge_of
from rushes.judges.build import metric_judge as make
from rushes.metrics.base import Shot
from rushes.metrics.catalogue import all_metrics
from rushes.world.mechanics import FPS
from rushes.world.render import render
from rushes.world.scenes import draw_scenes


def settings(**label: object) -> Settings:
    return Settings(label=LabelSettings.model_validate(label), endpoint=EndpointSettings(model="m"))


@pytest.mark.parametrize(
    ("label", "name"),
    [({"by": "world"}, "world"), ({"by": "metric", "metric": "flicker"}, "metric:flicker"), ({"by": "vlm"}, "vlm:m:")],
)
def test_each_word_names_its_judge(label: dict[str, object], name: str, tmp_path: Path) -> None:
    with judge_of(settings(**label), tmp_path) as judge:
        assert judge.name.startswith(name)
    assert (tmp_path / ANSWERS).exists() == (label["by"] == "vlm")


@pytest.mark.parametrize(("by", "cause"), [("none", "so nobody labels"), ("human", "people label on a web page")])
def test_nobody_and_people_are_no_judge(by: str, cause: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=cause), judge_of(settings(by=by), tmp_path):
        pass


DIRECTED = [name for name, metric in all_metrics().items() if metric.better != "neutral"]


def shots() -> tuple[Shot, Shot]:
    """A true clip of two seconds, and the same with jumps of its brightness in the second one."""
    (scene,) = draw_scenes(5, 1, ["swing"], frames=17)
    frames = render(scene)
    flickering = frames.copy()
    flickering[9:14:2] //= 2
    return Shot(frames, FPS, scene.caption), Shot(flickering, FPS, scene.caption)


def held(shot: Shot) -> Shot:
    """The same, standing still from the second second on."""
    frames = shot.frames_FHWC.copy()
    frames[8:] = frames[8]
    return Shot(frames, shot.fps, shot.caption)


def test_lower_is_better_for_flicker() -> None:
    steady, flickering = shots()
    judge = make("flicker", margin=1.0)
    assert judge.name == "metric:flicker" and judge.size_px is None
    judged = judge.compare(steady, flickering, 1.0)
    assert judged.labels == (0, 1) and judged.strength is not None and judged.strength > 0
    assert judge.compare(steady, flickering, None).labels == (1,)


def test_higher_is_better_for_motion() -> None:
    moving, _ = shots()
    judged = make("motion_speed", margin=1e-3).compare(moving, held(moving), 1.0)
    assert judged.labels == (0, 1) and judged.strength is not None and judged.strength > 0


@pytest.mark.parametrize("name", DIRECTED)
def test_exchanging_the_sides_flips_the_labels_and_identical_clips_tie(name: str) -> None:
    steady, flickering = shots()
    judge = make(name, margin=1e-6)
    for other in (flickering, held(steady)):
        for segment_s in (None, 1.0):
            one, swapped = judge.compare(steady, other, segment_s), judge.compare(other, steady, segment_s)
            assert one.strength is not None and swapped.strength == -one.strength
            assert swapped.labels == tuple(-label for label in one.labels)
            assert len(one.labels) == (2 if segment_s else 1)
    assert not any(judge.compare(steady, steady, 1.0).labels)


def test_a_wide_margin_ties_all() -> None:
    steady, flickering = shots()
    assert make("flicker", margin=1e6).compare(steady, flickering, 1.0).labels == (0, 0)


def test_segments_that_metrics_do_not_have_are_refused() -> None:
    steady, flickering = shots()
    with pytest.raises(ValueError, match=r"metric judges label whole seconds; set label\.segment_s to 1\.0"):
        make("flicker", margin=1.0).compare(steady, flickering, 0.5)


def test_unknown_and_undirected_metrics_are_refused() -> None:
    with pytest.raises(ValueError, match=r"no metric 'flikker'; choose one of .*flicker"):
        make("flikker", margin=0.0)
    with pytest.raises(ValueError, match="metric 'brightness' does not define whether higher or lower is better"):
        make("brightness", margin=0.0)


@pytest.mark.parametrize("name", DIRECTED)
def test_scores_out_of_ten_go_with_the_metric(name: str) -> None:
    metric, judge = all_metrics()[name], make(name, margin=0.0)
    values = [(metric.measure(shot).value, judge.rate(shot)) for shot in shots()]
    if name == "first_frame_fidelity":  # there is none, so nothing to be true to
        assert np.isnan(values).all()
        return
    assert all(0 <= score <= 10 for _, score in values)
    (one, first), (other, second) = values
    assert np.sign(first - second) == np.sign(one - other) * (1 if metric.better == "higher" else -1)
