"""A short settings file over what is held beside it: what `init` writes and `set` changes, and what holds."""

from __future__ import annotations

import json
import logging
import tomllib
from pathlib import Path

import pytest

from rushes.config import held_defaults
from rushes.config.held_defaults import HELD_FILE
from rushes.config.settings_files import SettingsError
from rushes.config.tables import Settings
from rushes.project import held_settings
from rushes.project.held_settings import all_settings, begin_project, changed_since, set_values
from rushes.project.model_presets import model_preset
from rushes.project.presets import preset
from rushes.project.project import open_project
from rushes.project.settings import create_project, overridden, read_settings
from rushes.recipes import realdpo
from rushes.training.recipe import recipe_names

from ..backbones.tiny_pipelines import write
from ..projects import Rushes


@pytest.fixture(scope="module")
def wan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write("wan_unipc", tmp_path_factory.mktemp("models") / "wan")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    begin_project(tmp_path / "p", preset("realdpo"))
    return tmp_path / "p"


def text_of(project: Path) -> str:
    return (project / "rushes.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("recipe", recipe_names())
def test_a_short_file_is_read_as_the_full_one(recipe: str, tmp_path: Path) -> None:
    begin_project(tmp_path / "short", preset(recipe))
    create_project(tmp_path / "full", preset(recipe))
    assert read_settings(tmp_path / "short") == read_settings(tmp_path / "full") == preset(recipe)
    lines = text_of(tmp_path / "short").splitlines()
    assert 15 <= len(lines) <= 25 and 'defaults = "0.1"' in lines[1] and lines[-1] == "# The end."
    assert all("# " in line for line in lines if not line.startswith("["))
    assert changed_since(tmp_path / "short", preset(recipe)) == {}


def test_a_models_file_says_where_each_setting_is_from(
    wan: Path, tmp_path: Path, rushes: Rushes, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "a.mp4").touch()
    arguments = ("init", tmp_path / "p", "--model", wan, "--footage", tmp_path / "clips", "--frames", "9")
    assert rushes(*arguments, "--set", "train.objective.dpop_weight=0.5")[0] == 0
    assert len(text_of(tmp_path / "p").splitlines()) <= 25
    table = model_preset(str(wan), "realdpo", tmp_path / "clips", None, 9)
    wanted = overridden(table.settings, ["train.objective.dpop_weight=0.5"])
    assert read_settings(tmp_path / "p") == wanted and changed_since(tmp_path / "p", wanted) == {}
    code, out, _ = rushes("settings", tmp_path / "p", "--json")
    rows = json.loads(out)["settings"]
    assert code == 0 and set(rows) == set(all_settings(None)) | {"train.options.beta"}
    for path, value, source in (
        ("backbone.frames", 9, "rushes.toml"),
        ("train.objective.dpop_weight", 0.5, "rushes.toml"),
        ("generate.guidance_scale", 6.0, "model: "),
        ("train.options.beta", 5000.0, "recipe: RealDPO"),
        ("report.cases", 4, "default"),
    ):
        row = rows[path]
        assert row["value"] == value and row["source"].startswith(source), (path, row)
    monkeypatch.setattr(held_settings, "model_of", lambda settings: None)  # its folder is elsewhere
    assert changed_since(tmp_path / "p", wanted) == {}
    assert "holds no wan, so its settings cannot be looked up" in rushes("set", tmp_path / "p", "--upgrade")[2]
    assert read_settings(tmp_path / "p") == wanted


def test_settings_of_a_file_that_leaves_out_without_holding(wan: Path, tmp_path: Path) -> None:
    """As files were written before: what is left out is the model's, or the default."""
    (tmp_path / "rushes.toml").write_text(f'[backbone]\nname = "wan"\npath = "{wan}"\n[train]\nsteps = 3\n')
    rows = all_settings(tmp_path)
    assert rows["train.steps"].source == rows["backbone.name"].source == "rushes.toml"
    assert rows["generate.guidance_scale"].value == 6.0 and rows["generate.guidance_scale"].source.startswith("model: ")
    assert set_values(tmp_path, ["train.steps=4"]).changed["train.steps"].value == 4
    assert text_of(tmp_path).endswith("steps = 4\n")


def test_a_short_file_that_was_cut_is_not_read(project: Path) -> None:
    (project / "rushes.toml").write_text(text_of(project)[:-40])
    with pytest.raises(ValueError, match="incomplete: its last line is missing"):
        read_settings(project)


def test_what_is_held_must_be_there_and_fit(project: Path) -> None:
    whole, held = text_of(project), (project / HELD_FILE).read_text()
    for text, beside, words in (
        (whole, held[: len(held) // 2], "defaults.json: was damaged; copy it from a backup, or use today's"),
        (whole, '{"version": "0.1", "settings": 3, "sources": {}}', "was damaged"),
        (whole.replace('"0.1"', '"0.0"'), held, "defaults is '0.0', but .* has '0.1'"),
        (whole.replace('"realdpo"', '"sft"'), held, "`rushes set .* train.recipe=sft` to use the defaults"),
    ):
        (project / "rushes.toml").write_text(text)
        (project / HELD_FILE).write_text(beside)
        with pytest.raises(SettingsError, match=words):
            read_settings(project)
    set_values(project, ["train.recipe=sft"])  # as it says
    assert read_settings(project) == preset("sft")
    (project / HELD_FILE).unlink()
    with pytest.raises(SettingsError, match=r"missing; it holds the defaults"):
        read_settings(project)
    set_values(project, [], upgrade=True)
    assert read_settings(project) == preset("sft")


def test_set_keeps_comments_and_says_what_changed(project: Path, rushes: Rushes) -> None:
    (project / "rushes.toml").write_text(text_of(project).replace("[label]", "# mine\n[label]  # too"))
    before = text_of(project)
    code, out, _ = rushes("set", project, "train.steps=7", "train.options.losers=2", "generate.takes=5", "--json")
    assert code == 0 and set(json.loads(out)["changed"]) == {"train.steps", "train.options.losers", "generate.takes"}
    settings, comments = read_settings(project), [line for line in before.splitlines() if "#" in line]
    assert (settings.train.steps, settings.generate.takes) == (7, 5)
    assert settings.train.options == {"beta": 2000.0, "losers": 2}
    after = text_of(project).splitlines()
    assert after[-1] == "# The end." and len(after) > len(before.splitlines())
    assert [line for line in comments if line not in after] == [next(line for line in comments if "steps = " in line)]
    assert next(line for line in after if line.startswith("steps")).startswith("steps = 7  # optimizer steps")
    assert rushes("set", project, "train.steps=7")[1].startswith("nothing changed\n")


def test_nothing_is_written_where_one_is_wrong(project: Path, rushes: Rushes) -> None:
    before = {name: (project / name).read_bytes() for name in ("rushes.toml", HELD_FILE)}
    for arguments, words in (
        (["train.steps=9", "train.batch=0"], "train.batch: Input should be greater"),
        (["train.steps=9", "train.recipe=realdop"], "no recipe 'realdop': there are"),
        (["train.steps=9", "train.options.bta=1"], "train.options.bta: unknown setting"),
        (["train.steps=9", "backbone.frames=18"], "backbone.frames: tiny needs 1 + 4 k frames, got 18; use 17 or 21"),
        (["train.steps=9", "backbone.name=wann"], "did you mean wan?"),
        (["steps=3"], "steps: unknown setting (got 3); did you mean: generate.steps, train.steps, evaluate.steps"),
        (
            ["generate.kind=guided"],
            "generate.kind: recipe 'realdpo' does not use takes of kind 'guided'; set it to take",
        ),
        (["train.steps"], "write KEY=VALUE"),
        ([], "name what to set"),
    ):
        code, out, err = rushes("set", project, *arguments)
        assert (code, out) == (2, "") and words in err, err
    assert {name: (project / name).read_bytes() for name in before} == before


def test_set_works_on_a_file_with_all_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_project(tmp_path, preset("realdpo"))
    before = text_of(tmp_path).splitlines()
    (tmp_path / "prompts").mkdir()
    monkeypatch.chdir(tmp_path)
    set_values(tmp_path, ["train.lr=1e-6", "footage.bench=prompts"])  # a former name, a folder of where it is typed
    settings, after = read_settings(tmp_path), text_of(tmp_path).splitlines()
    assert (settings.train.learning_rate, settings.footage.bench) == (1e-6, str(tmp_path / "prompts"))
    assert len(after) == len(before) and sum(a != b for a, b in zip(before, after, strict=True)) == 2
    with pytest.raises(ValueError, match="has all settings, so --upgrade changes nothing"):
        set_values(tmp_path, [], upgrade=True)


def test_another_recipe_brings_its_own_and_leaves_what_was_changed(project: Path) -> None:
    set_values(project, ["train.steps=7", "report.cases=1"])
    result = set_values(project, ["train.recipe=densedpo"])
    wanted = preset("densedpo").model_dump() | {"report": {**Settings().report.model_dump(), "cases": 1}}
    wanted["train"]["steps"] = 7
    assert read_settings(project) == Settings.model_validate(wanted)
    assert result.changed["generate.kind"].source.startswith("recipe: DenseDPO")


def test_an_old_default_holds_until_it_is_upgraded(
    project: Path, rushes: Rushes, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_values(project, ["train.batch=6"])
    newer = {**realdpo.TINY, "objective": {"sft_weight": 500.0}, "steps": 300, "batch": 32}
    monkeypatch.setattr(realdpo, "TINY", newer)
    monkeypatch.setattr(held_settings, "VERSION", "0.2")
    assert read_settings(project).train.objective.sft_weight == 20.0
    lines: list[str] = []
    open_project(project, read_settings(project), say=lines.append).store.close()
    (line,) = lines
    assert "train.objective.sft_weight 20.0 (now 500.0)" in line and "train.steps 96 (now 300)" in line
    assert "batch" not in line and f"`rushes set {project} --upgrade`" in line
    monkeypatch.setattr(held_defaults, "VERSION", "0.2")
    assert all(line in rushes(command, project)[2].splitlines() for command in ("status", "settings"))
    result = set_values(project, [], upgrade=True)
    assert set(result.changed) == {"train.objective.sft_weight", "train.steps"}
    train, file = read_settings(project).train, tomllib.loads(text_of(project))
    assert (train.objective.sft_weight, train.steps, train.batch) == (500.0, 300, 6)
    assert file["defaults"] == "0.2" and changed_since(project, read_settings(project)) == {}


def test_what_other_stages_will_not_see_is_said(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        read_settings(project, ["train.steps=3", "generate.steps=4", "train.init_from=a", "backbone.frames=33"])
    (line,) = caplog.messages
    assert line == (
        "train.steps is 3 here and 96 in rushes.toml, generate.steps is 4 here and 16 by default, "
        'train.init_from is a here and "base" by default, but other stages use the project\'s value; to store yours '
        f"run `rushes set {project} train.steps=3 generate.steps=4 train.init_from=a`"
    )
    caplog.clear()
    read_settings(project, ["train.name=other", "train.steps=3", "evaluate.prompts=2"])
    read_settings(project, ["footage.clips=12"], warn=False)
    assert not caplog.messages


def test_init_looks_at_what_it_is_given_before_it_writes(wan: Path, tmp_path: Path, rushes: Rushes) -> None:
    sets = {
        ("backbone.name=wann",): "no backbone 'wann'; did you mean wan?",
        ("backbone.name=wan",): "Rushes ships no weights for a wan",
        ("backbone.name=wan", f"backbone.path={tmp_path / 'Nope'}"): "Nope: no such folder",
        ("backbone.name=ltx", f"backbone.path={wan}"): "holds a wan; set backbone.name to wan",
        ("backbone.height_px=50", "backbone.width_px=50"): "got 50 x 50; the nearest is 48 x 48",
        ("backbone.name=wan", f"backbone.path={wan}", "backbone.frames=10"): "got 10; use 9 or 13",
        ("backbone.name=wan", f"backbone.path={wan}", "backbone.frames=9"): "start from a first frame; set it to false",
    }
    for given, words in sets.items():
        code, out, err = rushes("init", tmp_path / "p", *(word for each in given for word in ("--set", each)))
        assert (code, out) == (2, "") and words in err, err
        assert not (tmp_path / "p").exists()
    assert rushes("init", tmp_path / "p", "--full")[0] == 0
    assert not (tmp_path / "p" / HELD_FILE).exists() and "# All settings" in text_of(tmp_path / "p")
