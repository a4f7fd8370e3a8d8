"""A second round: takes by a trained run, and training that starts from it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from rushes.project import labels, stages, training
from rushes.project.project import Project, load_run, load_start, open_project, run_folder
from rushes.records import Run

from ..projects import SmallProject


@pytest.fixture
def opened(finished: Path, tmp_path: Path, small: SmallProject) -> Project:
    """A copy of a project that has one finished run, `realdpo`, and two takes of each of six clips by the base."""
    return open_project(Path(shutil.copytree(finished, tmp_path / "project")), small.settings)


def changed(project: Project, table: str, **changes: Any) -> Project:
    settings = project.settings
    new = getattr(settings, table).model_copy(update=changes)
    return Project(project.store, settings.model_copy(update={table: new}))


def run_of(project: Project, name: str) -> Run:
    return {run.name: run for run in project.store.runs()}[name]


def second(project: Project, **changes: Any) -> Project:
    return changed(project, "train", **{"start": "realdpo", "name": "round-2", **changes})


def test_takes_and_weights_of_the_first_round_are_what_the_second_starts_from(opened: Project) -> None:
    made = stages.generate_takes(opened, system="realdpo")
    assert made == {"by": "realdpo", "takes": 12, "made_now": 12}
    first, project = run_of(opened, "realdpo"), second(opened)
    takes = project.store.candidates(split="train", system="realdpo")
    assert {take.made_by for take in takes} == {first.made_by} != {first.base}
    assert load_start(project).fingerprint == first.made_by
    assert all(p.requires_grad for p in load_start(project).network.parameters())

    facts = training.train_run(project)
    assert facts["takes"] == {"used": 12, "of other systems": 12}
    run = run_of(project, "round-2")
    assert run.base == first.base and len({run.base, first.made_by, run.made_by}) == 3
    assert load_run(project, "round-2").fingerprint == run.made_by
    # The reference is what training started from, not the base: at step 0 all margins are zero.
    start = json.loads((run_folder(project, "round-2") / "metrics.jsonl").read_text().splitlines()[0])
    assert start["held_out/clip/accuracy"] == 0.5 and start["held_out/clip/winner_relative_error"] == 0.0
    assert training.train_run(project)["steps_now"] == 0
    assert stages.evaluate_run(project, "round-2")["run"] == "round-2"


def test_generate_takes_what_training_starts_from(opened: Project) -> None:
    assert stages.generate_takes(opened) == {"by": "base", "takes": 12, "made_now": 0}
    assert stages.generate_takes(second(opened)) == {"by": "realdpo", "takes": 12, "made_now": 12}


def test_labels_are_of_the_takes_that_training_starts_from(opened: Project) -> None:
    project = second(opened)
    stages.generate_takes(project)
    assert labels.label_pairs(project)["pairs"] == 6
    assert len(project.store.preferences()) == 12  # six of the first round


def test_without_takes_by_the_run_the_command_that_makes_them_is_named(opened: Project) -> None:
    with pytest.raises(ValueError, match=r"0 takes \(made by `rushes generate --run realdpo`\)"):
        training.train_run(second(opened))


def test_takes_of_older_settings_are_counted_and_not_used(opened: Project) -> None:
    again = changed(opened, "generate", steps=1)
    stages.generate_takes(again)
    facts = training.train_run(changed(again, "train", name="again"))
    assert facts["takes"] == {"used": 12, "of older settings": 12}


@pytest.mark.slow
def test_an_adapter_goes_on_as_the_same_adapter(opened: Project) -> None:
    adapter = {"tune": "lora", "rank": 2, "alpha": 4.0}
    training.train_run(changed(opened, "train", name="adapter", **adapter))
    project = second(opened, start="adapter", **adapter)
    stages.generate_takes(project)
    start = load_start(project)
    assert start.fingerprint == run_of(opened, "adapter").made_by
    assert {n for n, p in start.network.named_parameters() if p.requires_grad} == {
        n for n, _ in start.network.named_parameters() if "lora" in n
    }
    training.train_run(project)
    assert load_run(project, "round-2").fingerprint == run_of(project, "round-2").made_by


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start": "nothing"}, "no run 'nothing' is finished"),
        ({"name": "realdpo"}, "run 'realdpo' cannot start from itself; set train.name"),
    ],
)
def test_a_start_that_cannot_be_is_refused(changes: dict[str, Any], message: str, opened: Project) -> None:
    with pytest.raises(ValueError, match=message):
        training.train_run(second(opened, **changes))


@pytest.mark.slow
def test_rounds_cannot_go_in_a_circle(opened: Project) -> None:
    stages.generate_takes(opened, system="realdpo")
    training.train_run(second(opened))
    shutil.rmtree(run_folder(opened, "realdpo"))
    with pytest.raises(ValueError, match="run 'realdpo' cannot start from itself"):
        training.train_run(changed(opened, "train", start="round-2"))


def test_an_objective_that_a_recipe_cannot_have_is_refused(opened: Project) -> None:
    objective = opened.settings.train.objective.model_copy(update={"safe_loser": True})
    with pytest.raises(ValueError, match=r"train\.objective: recipe 'sft' compares nothing"):
        training.train_run(changed(opened, "train", recipe="sft", options={}, name="sft", objective=objective))


@pytest.mark.slow
def test_an_objective_of_the_settings_reaches_the_run(opened: Project) -> None:
    objective = opened.settings.train.objective.model_copy(
        update={"link": "ipo", "sft_weight": 0.1, "winner_clamp": 5.0, "safe_loser": True}
    )
    training.train_run(changed(opened, "train", name="guarded", objective=objective))
    *_, last = map(json.loads, (run_folder(opened, "guarded") / "metrics.jsonl").read_text().splitlines())
    assert 0 < last["loser_scale"] <= 1 and last["supervised/error"] > 0 and last["above_reference/excess"] >= 0


@pytest.mark.slow
def test_winners_after_a_trip_through_the_codec(opened: Project) -> None:
    options = {"beta": 100.0, "winner": "codec"}
    assert training.train_run(changed(opened, "train", name="codec", options=options))["steps_now"] == 4
    keys = [key for key in opened.latents if key.endswith("|codec")]
    assert len(keys) == 6
