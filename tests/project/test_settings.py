"""Settings in a project's folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from rushes.config.settings_files import SettingsError
from rushes.config.tables import Settings, TrainSettings
from rushes.project.settings import adopt, read_settings, with_train, write_settings


def changed(**train: object) -> Settings:
    return Settings(train=TrainSettings.model_validate(train))


def test_settings_come_back_as_they_were_written(tmp_path: Path) -> None:
    settings = changed(recipe="sft", learning_rate=2e-4, name="first", options={"beta": 500.0})
    write_settings(tmp_path, settings)
    assert read_settings(tmp_path) == settings
    assert read_settings(tmp_path, ["train.steps=7"]).train.steps == 7


def test_folder_without_settings_is_no_project(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is not a project: it has no rushes\.toml; make one with `rushes init"):
        read_settings(tmp_path)


def test_project_adopts_settings_once_and_refuses_others(tmp_path: Path) -> None:
    project, source = tmp_path / "new", tmp_path / "source.toml"
    adopt(project, changed(learning_rate=2e-4), source)
    adopt(project, changed(learning_rate=2e-4), source)
    with pytest.raises(ValueError) as caught:
        adopt(project, changed(learning_rate=3e-4, options={"beta": 2.0}), source)
    told = str(caught.value)
    assert "train.learning_rate is 0.0002, not 0.0003" in told and "train.options.beta is None, not 2.0" in told
    assert f"`rushes run {project}`" in told and "--out" in told
    assert read_settings(project) == changed(learning_rate=2e-4)


def test_other_recipe_takes_the_whole_table(tmp_path: Path) -> None:
    project = tmp_path / "project"
    adopt(project, changed(learning_rate=2e-4, options={"beta": 2.0}), tmp_path)
    settings = with_train(
        project, TrainSettings(recipe="sft", learning_rate=5e-4), ["train.steps=3", "evaluate.steps=2"]
    )
    assert settings.train == TrainSettings(recipe="sft", learning_rate=5e-4, steps=3)
    assert settings.evaluate.steps == 2
    assert read_settings(project) == changed(learning_rate=2e-4, options={"beta": 2.0})  # the file stays
    with pytest.raises(SettingsError, match=r"train\.steps"):
        with_train(project, TrainSettings(), ["train.steps=0"])
