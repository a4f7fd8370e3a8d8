"""Settings that `rushes init` writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from rushes.config.settings_files import validate_table
from rushes.lab.claims.arms import DENSEDPO
from rushes.lab.claims.run import BUDGETS
from rushes.project.labels import label_takes
from rushes.project.presets import TINY_ETA, preset
from rushes.project.project import OpenProject
from rushes.project.recipe_table import recipe_table
from rushes.project.settings_checks import check_settings
from rushes.store.database import Store
from rushes.training.recipe import load_recipe, recipe_names

from ..projects import Rushes


@pytest.mark.parametrize("name", recipe_names())
@pytest.mark.parametrize("real", [False, True], ids=["world", "footage"])
def test_every_recipe_gets_settings_that_make_what_it_needs(name: str, real: bool, tmp_path: Path) -> None:
    settings = preset(name, tmp_path if real else None)
    check_settings(settings)
    needs = load_recipe(name).NEEDS
    assert settings.train.recipe == name
    assert ("guided" in needs) == (settings.generate.kind == "guided")
    assert bool({"labels", "scores"} & set(needs)) == (settings.label.by != "none")
    assert ("scores" in needs) == (settings.label.form == "scores")
    assert ("wrong captions" in needs) == (settings.caption.by != "none")
    if real:
        assert settings.footage.path == str(tmp_path) and settings.footage.eval_fraction > 0
        assert settings.label.by in ("none", "human") and not settings.label.metric
    validate_table(load_recipe(name).Options, settings.train.options, "train.options")


@pytest.mark.parametrize(("recipe", "what"), [("densedpo", "label pairs"), ("huvidpo", "give scores")])
def test_a_run_on_footage_stops_where_people_label(recipe: str, what: str, tmp_path: Path) -> None:
    with Store.create(tmp_path) as store, pytest.raises(ValueError, match=f"run `rushes label {tmp_path}`.* {what}"):
        label_takes(OpenProject(store, preset(recipe, tmp_path)))


@pytest.mark.parametrize(
    ("videos", "words"),
    [
        (30, "6 of 30 videos held out: too few for a verdict, which takes 8; add footage"),
        (
            60,
            "12 of 60 videos held out: enough for large changes only (from 0.89 standard deviations, or",
        ),
        (300, "60 of 300 videos held out: enough for medium and large changes (from 0.37 standard deviations"),
        (500, "64 of 500 videos held out: "),
    ],
)
def test_init_says_what_the_held_out_videos_can_show(videos: int, words: str, tmp_path: Path, rushes: Rushes) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    for number in range(videos):
        (clips / f"{number}.mp4").write_bytes(b"")
    shown = rushes("init", tmp_path / "p", "--footage", clips)[1]
    assert f"note: {words}" in shown
    cut = rushes("init", tmp_path / "q", "--footage", clips, "--set", "footage.cut=scenes")[1]
    assert "held out" not in cut and "toy model" in cut, "how many clips they are cut into is not known yet"


def test_init_refuses_footage_without_videos_and_a_project_among_them(tmp_path: Path, rushes: Rushes) -> None:
    clips, empty = tmp_path / "clips", tmp_path / "empty"
    for folder in (clips, empty):
        folder.mkdir()
    (clips / "a.mp4").write_bytes(b"")
    (empty / "notes.txt").write_text("none")
    for footage, words in (
        (empty, f"--footage: {empty} holds no videos"),
        (clips / "a.mp4", f"--footage: {clips / 'a.mp4'} is one video; name the folder"),
    ):
        code, _, err = rushes("init", tmp_path / "p", "--footage", footage)
        assert code == 2 and words in err and not (tmp_path / "p").exists()
    code, _, err = rushes("init", clips)
    assert code == 2 and f"run `rushes init NAME --footage {clips}`" in err and len(list(clips.iterdir())) == 1
    assert rushes("init", tmp_path / "p", "--footage", clips)[0] == 0


def test_densedpo_on_the_tiny_backbone_is_the_arm_of_the_evidence() -> None:
    settings, arm = preset("densedpo"), {each.name: each for each in DENSEDPO}["densedpo"]
    assert settings.train.options["beta"] == arm.train["options"]["beta"]
    assert (settings.train.times, settings.train.shift) == (arm.train["times"], arm.train["shift"])
    assert settings.train.learning_rate == arm.train["learning_rate"] and not settings.train.objective.sft_weight
    assert (settings.train.steps, settings.train.batch) == (BUDGETS["small"].steps, BUDGETS["small"].batch)
    assert settings.generate.eta == TINY_ETA


def test_table_names_every_recipe() -> None:
    rows = {row.name: row for row in recipe_table()}
    assert list(rows) == recipe_names()
    assert rows["densedpo"].needs == ("guided", "labels")
    assert "inflated_sd" in rows["huvidpo"].backbones
    assert all("tiny" in row.backbones and row.paper for row in rows.values())
