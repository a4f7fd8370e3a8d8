"""Names in settings that only the rest of the program knows."""

from __future__ import annotations

from typing import Any

import pytest

from rushes.backbones.base import BackboneSpec
from rushes.config.settings_files import SettingsError
from rushes.config.tables import Settings
from rushes.noise.paths import Flow
from rushes.project.settings_checks import check_settings, spec_problems


def settings(**tables: dict[str, Any]) -> Settings:
    return Settings.model_validate(tables)


def test_defaults_and_what_is_right_pass() -> None:
    check_settings(Settings())
    check_settings(
        settings(
            footage={"scenes": ["drop", "swing"]},
            label={"by": "metric", "metric": "flicker", "segment_s": 1.0},
            train={"recipe": "densedpo", "options": {"mode": "vanilla"}},
        )
    )
    check_settings(settings(footage={"kind": "folder", "path": "clips"}, backbone={"fps": 24.0}))


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"train": {"name": "base"}}, "train.name: 'base' is the name of the model before training; choose another"),
        ({"backbone": {"name": "tinny"}}, "backbone.name: no backbone 'tinny'; did you mean tiny?"),
        (
            {"backbone": {"compile": True, "offload": "idle_expert"}},
            "backbone.compile: offloaded blocks cannot be compiled; set it or backbone.offload to false",
        ),
        ({"backbone": {"fps": 24.0}}, "backbone.fps: the embedded world is rendered at 8 fps, got 24; set it to 8"),
        ({"footage": {"scenes": ["drop", "swin"]}}, "footage.scenes: no scene 'swin'; did you mean swing?"),
        ({"label": {"by": "metric", "metric": "xyz"}}, "label.metric: no metric 'xyz'; choose one of dynamic_degree"),
        (
            {"label": {"by": "metric", "metric": "sharpness", "segment_s": 1.0}},
            "label.metric: metric 'sharpness' does not define whether higher or lower is better",
        ),
        (
            {"label": {"by": "metric", "metric": "jerk", "segment_s": 0.5}},
            "label.segment_s: metrics measure whole seconds; set it to 1.0 (got 0.5)",
        ),
        (
            {"label": {"by": "world"}, "footage": {"kind": "folder", "path": "clips"}},
            "label.by: the world's verifier knows only the embedded world",
        ),
        ({"train": {"recipe": "dense"}}, "train.recipe: no recipe 'dense'; did you mean densedpo?"),
        ({"train": {"recipe": "my.own.recipe"}}, "train.recipe: no recipe 'my.own.recipe'"),
        (
            {"train": {"recipe": "densedpo", "options": {"mod": "dense"}}},
            "train.options.mod: unknown setting (got 'dense'); did you mean: mode",
        ),
    ],
)
def test_each_wrong_name_is_told_with_its_path(tables: dict[str, dict[str, Any]], said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        check_settings(settings(**tables))
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_all_are_told_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        check_settings(
            settings(
                backbone={"name": "tinny"},
                footage={"scenes": ["a", "b"]},
                train={"options": {"beta": -1, "losses": 2}},
            )
        )
    paths = [line.split(":")[0] for line in str(caught.value).splitlines()]
    assert paths == ["backbone.name", "footage.scenes", "footage.scenes", "train.options.beta", "train.options.losses"]


def test_a_model_of_one_size_says_so_once() -> None:
    spec = BackboneSpec("cogvideox", ("text",), Flow(), 3, 4, 8, 8.0, 1.0, (), only_px=(480, 720))
    size = {"name": "cogvideox", "height_px": 480, "width_px": 720, "frames": 49, "first_frame": False}
    assert spec_problems(settings(backbone=size), spec) == []
    (problem,) = spec_problems(settings(backbone={**size, "sizes": "auto"}), spec)
    assert problem == "backbone.sizes: this cogvideox supports only 480 x 720 px; leave sizes out"
