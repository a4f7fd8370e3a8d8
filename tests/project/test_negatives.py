"""Recipes that contrast edited clips, gap takes and wrong captions, from an empty project on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from rushes.config.tables import CaptionSettings, Settings
from rushes.project import generation, intake, negatives, recipe_data, training
from rushes.project.presets import tiny_train
from rushes.project.project import OpenProject, open_project
from rushes.store.database import Store
from rushes.training.recipe import load_recipe

from ..fake_endpoint import Does, FakeEndpoint, serve, texts
from ..projects import Command, Rushes, SmallProject


def settings_of(small: SmallProject, recipe: str, **tables: Any) -> Settings:
    train = tiny_train(recipe, load_recipe(recipe))
    train = train.model_copy(update={"steps": 2, "batch": 2, "checkpoint_every": 2, "held_out": 1})
    changed = {"train": train, "label": small.settings.label.model_copy(update={"by": "none"}), **tables}
    made: Settings = small.settings.model_copy(update=changed)
    return made


@pytest.mark.parametrize("recipe", ["physhpo", "dfdpo"])
def test_one_command_makes_all_that_the_recipe_needs(
    recipe: str, small: SmallProject, command: Command, tmp_path: Path
) -> None:
    folder = small.new_project(tmp_path / "p", settings_of(small, recipe, caption=CaptionSettings(by="world")))
    first, second = (command("run", folder, "--json") for _ in range(2))
    assert (first.code, second.code) == (0, 0), first.err + second.err
    facts = json.loads(first.out)
    if recipe == "physhpo":
        assert (facts["generate"]["new"], facts["gaps"]["new"], facts["caption"]["written"]) == (12, 6, 6)
        assert facts["train"]["terms"].keys() >= {"instance", "motion", "semantic"}
        again = json.loads(second.out)
        assert (again["gaps"]["new"], again["caption"]["written"], again["caption"]["there"]) == (0, 0, 6)
        assert "6 gap takes" in Path(facts["report"]).read_text().replace("\u202f", " ")
    else:
        assert facts["generate"] is None and facts["caption"] is None
        assert sum(facts["train"]["terms"].values()) >= 6
    assert json.loads(second.out)["train"]["steps_now"] == 0


@pytest.fixture
def project(small: SmallProject, tmp_path: Path) -> Iterator[OpenProject]:
    """A project with clips and takes, and nobody to write captions."""
    opened = open_project(tmp_path / "p", settings_of(small, "physhpo"))
    with closing(opened.store):
        intake.import_footage(opened)
        generation.generate_takes(opened)
        yield opened


def with_captions(project: OpenProject, **changes: Any) -> OpenProject:
    update = {"caption": CaptionSettings(**changes)}
    return OpenProject(project.store, project.settings.model_copy(update=update))


def test_each_thing_that_is_lacking_is_named_with_its_command(project: OpenProject) -> None:
    with pytest.raises(ValueError) as refused:
        training.train_run(project)
    text = str(refused.value)
    assert "12 takes" in text and "0 gaps (made by `rushes generate --set generate.kind=gap`)" in text
    assert "12 likeness" in text and "0 wrong captions (made by `rushes wrong-captions`)" in text
    generation.generate_takes(project, project.settings.generate.model_copy(update={"kind": "gap", "takes": 1}))
    with pytest.raises(ValueError, match="run `rushes wrong-captions`"):
        training.train_run(project)


def test_nobody_and_nothing_to_write_about_are_named(project: OpenProject, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"caption\.by is 'none', so nobody writes captions"):
        negatives.wrong_captions(project)
    bare = open_project(tmp_path / "bare", project.settings.model_copy(update={"caption": CaptionSettings(by="world")}))
    with closing(bare.store):
        with pytest.raises(ValueError, match="no clips to write captions for; run `rushes import`"):
            negatives.wrong_captions(bare)
        intake.import_footage(bare)
        with pytest.raises(ValueError, match="no takes to write wrong captions for; run `rushes generate`"):
            negatives.wrong_captions(bare)
        bare.settings = bare.settings.model_copy(update={"caption": CaptionSettings(by="rules")})
        assert negatives.wrong_captions(bare).written == 6


def test_a_run_that_lacks_wrong_captions_says_so_before_it_makes_takes(
    small: SmallProject, tmp_path: Path, rushes: Rushes, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = small.new_project(tmp_path / "p", settings_of(small, "physhpo"))
    code, _, err = rushes("run", folder)
    assert code == 2 and f"run `rushes set {folder} caption.by=rules`" in err and "generate" not in err
    monkeypatch.setattr("rushes.caption.writers.wrong_by_rule", lambda caption, seed: "")
    rules = ("--set", "caption.by=rules")
    code, out, err = rushes("run", folder, *rules)
    assert code == 2 and "rules found nothing to change in 6 captions" in err and "generate" not in err
    code, out, _ = rushes("wrong-captions", folder, *rules)
    assert code == 1 and "0 captions written by rules" in out and "train.options.semantic_weight to 0" in out


def test_dpo_on_footage_of_yours_makes_takes_and_stops_where_people_label(
    small: SmallProject, tmp_path: Path, rushes: Rushes
) -> None:
    label = small.settings.label.model_copy(update={"by": "human", "metric": ""})
    folder = small.new_project(tmp_path / "p", settings_of(small, "dpo", label=label))
    code, _, err = rushes("run", folder)
    assert code == 2 and f"run `rushes label {folder}`" in err, err
    with Store.open(folder) as store:
        assert len(store.candidates(split="train", kind="take")) == 12


def test_captions_are_about_the_take_that_is_most_alike_or_about_all(project: OpenProject) -> None:
    result = negatives.wrong_captions(with_captions(project, by="world"))
    assert result == negatives.CaptionResult("world", written=6, there=0, unchanged=0)
    alike = {score.subject: score.value for score in project.store.scores(metric="likeness")}
    takes = project.store.candidates(split="train", kind="take")
    assert set(alike) == {take.id for take in takes}
    for row in project.store.captions("wrong"):
        own = [take.id for take in takes if take.clip_id == row.subject]
        assert len(own) == 2 and row.about == max(own, key=lambda id: alike[id])
    result = negatives.wrong_captions(with_captions(project, by="world", about="all"))
    assert (result.written, result.there) == (6, 6)


def test_a_model_behind_an_endpoint_writes(project: OpenProject) -> None:
    def answer(request: dict[str, Any]) -> Does:
        true = texts(request).split("is:\n")[1].split("\n")[0]
        return Does(json.dumps({"caption": true if "rope" in true else f"{true} backwards"}))

    with serve(FakeEndpoint(answer)) as fake:
        work = with_captions(project, by="model", frames=2)
        endpoint = work.settings.endpoint.model_copy(update={"url": fake.url, "model": "m"})
        work.settings = work.settings.model_copy(update={"endpoint": endpoint})
        first, second = (negatives.wrong_captions(work) for _ in range(2))
    assert first == negatives.CaptionResult("model m", written=5, there=0, unchanged=1)
    assert second == negatives.CaptionResult("model m", written=0, there=5, unchanged=1)
    assert len(fake.requests) == 6  # what was answered is kept, also an answer that was of no use
    assert all(row.text.endswith("backwards") and row.made_by == "model m" for row in project.store.captions())


def test_clips_that_edits_do_not_change_are_counted_and_left_out(
    project: OpenProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Levels by themselves: a still clip's ends can be swapped and its flow drawn, and nothing is different."""
    options = {"beta": 100.0, "instance_weight": 0.0, "motion_weight": 0.0, "semantic_weight": 0.0}
    settings = project.settings.train.model_copy(update={"recipe": "physhpo", "options": options})
    kept, dropped, *_ = recipe_data.recipe_comparisons(project, settings)
    assert len(kept) == 6 - dropped["state"]
    clip = project.store.clips("train")[0]
    latent = project.latents.get(clip.media)
    assert latent is not None
    key = next(v.key for c in kept for v in c.views if v.edit and v.media == clip.media)
    get = project.latents.get
    monkeypatch.setattr(project.latents, "get", lambda k: latent if k == key else get(k))
    fewer, more, *_ = recipe_data.recipe_comparisons(project, settings)
    assert len(fewer) == len(kept) - 1 and more["state"] == dropped["state"] + 1
    assert clip.id not in {c.id for c in fewer}
