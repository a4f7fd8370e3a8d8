"""A second round: takes by a trained run, and training that starts from it."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from rushes.config.renamed import NAMES, with_first_names
from rushes.project import generation, labels, rounds, run_evaluation, training
from rushes.project.networks import load_run, load_start
from rushes.project.project import OpenProject, open_project, run_folder
from rushes.project.settings import SETTINGS_FILE, read_settings
from rushes.records import Run
from rushes.training.history import WEIGHTS

from ..projects import SmallProject, changed


@pytest.fixture
def opened(finished: Path, tmp_path: Path, small: SmallProject) -> OpenProject:
    """A copy of a project that has one finished run, `realdpo`, and two takes of each of six clips by the base."""
    return open_project(Path(shutil.copytree(finished, tmp_path / "project")), small.settings)


def run_of(project: OpenProject, name: str) -> Run:
    return {run.name: run for run in project.store.runs()}[name]


def second(project: OpenProject, **changes: Any) -> OpenProject:
    return changed(project, "train", **{"init_from": "realdpo", "name": "round-2", **changes})


def test_takes_and_weights_of_the_first_round_are_what_the_second_starts_from(opened: OpenProject) -> None:
    generated = generation.generate_takes(opened, system="realdpo")
    assert generated == generation.GenerateResult("realdpo", takes=12, new=12)
    first, project = run_of(opened, "realdpo"), second(opened)
    takes = project.store.candidates(split="train", system="realdpo")
    assert {take.made_by for take in takes} == {first.made_by} != {first.base}
    assert load_start(project).fingerprint == first.made_by
    assert all(p.requires_grad for p in load_start(project).network.parameters())

    result = training.train_run(project)
    assert result.takes == {"used": 12, "of other systems": 12}
    run = run_of(project, "round-2")
    assert run.base == first.base and len({run.base, first.made_by, run.made_by}) == 3
    assert load_run(project, "round-2").fingerprint == run.made_by
    # The reference is what training started from, not the base: at step 0 all margins are zero.
    start = json.loads((run_folder(project, "round-2") / "metrics.jsonl").read_text().splitlines()[0])
    assert start["held_out/clip/accuracy"] == 0.5 and start["held_out/clip/winner_relative_error"] == 0.0
    assert training.train_run(project).steps_now == 0
    assert run_evaluation.evaluate_run(project, "round-2").run == "round-2"


def test_generate_takes_what_training_starts_from(opened: OpenProject) -> None:
    assert generation.generate_takes(opened) == generation.GenerateResult("base", takes=12, new=0)
    assert generation.generate_takes(second(opened)) == generation.GenerateResult("realdpo", takes=12, new=12)


def test_labels_are_of_the_takes_that_training_starts_from(opened: OpenProject) -> None:
    project = second(opened)
    generation.generate_takes(project)
    assert labels.label_pairs(project).pairs == 6
    assert len(project.store.preferences()) == 12  # six of the first round


def test_without_takes_by_the_run_the_command_that_makes_them_is_named(opened: OpenProject) -> None:
    with pytest.raises(ValueError, match=r"0 takes \(made by `rushes generate --run realdpo`\)"):
        training.train_run(second(opened))


def test_takes_of_older_settings_are_counted_and_not_used(opened: OpenProject) -> None:
    again = changed(opened, "generate", steps=1)
    generation.generate_takes(again)
    result = training.train_run(changed(again, "train", name="again"))
    assert result.takes == {"used": 12, "of older settings": 12}


def with_former_names(project: OpenProject) -> None:
    """Write settings of the file and of all runs as a project has them that is older than today's names."""
    path = project.store.project / SETTINGS_FILE
    former = {new.rpartition(".")[2]: old.rpartition(".")[2] for old, new in NAMES.items()}
    lines = (
        re.sub(r"^(\w+) =", lambda m: f"{former.get(m[1], m[1])} =", line) for line in path.read_text().splitlines()
    )
    path.write_text("\n".join(lines).replace('"constant"', '"none"').replace('"sigmoid"', '"logistic"'))
    with sqlite3.connect(project.store.project / "rushes.db") as database:
        (guard,) = database.execute("SELECT sql FROM sqlite_master WHERE name = 'never_update'").fetchone()
        database.execute("DROP TRIGGER never_update")
        for id, body in database.execute("SELECT id, body FROM rows WHERE type = 'runs'").fetchall():
            run = json.loads(body)
            stored = json.dumps({**run, "settings": with_first_names(run["settings"])})
            database.execute("UPDATE rows SET body = ?, crc = NULL WHERE id = ?", (stored, id))  # as older rows are
        database.execute(guard)


def test_a_project_of_former_names_goes_on(opened: OpenProject) -> None:
    generation.generate_takes(opened, system="realdpo")
    weights = load_file(run_folder(opened, "realdpo") / WEIGHTS)
    with_former_names(opened)
    assert "lr" in run_of(opened, "realdpo").settings["train"]
    project = open_project(opened.store.project, read_settings(opened.store.project))
    assert project.settings == opened.settings
    assert generation.generate_takes(project).new == 0 and training.train_run(project).steps_now == 0
    after = load_file(run_folder(project, "realdpo") / WEIGHTS)
    assert after.keys() == weights.keys() and all(torch.equal(after[name], weights[name]) for name in weights)
    training.train_run(second(project))  # which reads what the first run trained
    assert run_of(project, "round-2").settings["train"]["init_from"] == "realdpo"


@pytest.mark.slow
def test_an_adapter_goes_on_as_the_same_adapter(opened: OpenProject) -> None:
    adapter = {"trainable": "lora", "lora_rank": 2, "lora_alpha": 4.0}
    training.train_run(changed(opened, "train", name="adapter", **adapter))
    project = second(opened, init_from="adapter", **adapter)
    generation.generate_takes(project)
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
        ({"init_from": "nothing"}, "no run 'nothing' is finished"),
        ({"name": "realdpo"}, "run 'realdpo' cannot start from itself; set train.name"),
    ],
)
def test_a_start_that_cannot_be_is_refused(changes: dict[str, Any], message: str, opened: OpenProject) -> None:
    with pytest.raises(ValueError, match=message):
        training.train_run(second(opened, **changes))


@pytest.mark.slow
def test_rounds_cannot_go_in_a_circle(opened: OpenProject) -> None:
    generation.generate_takes(opened, system="realdpo")
    training.train_run(second(opened))
    shutil.rmtree(run_folder(opened, "realdpo"))
    with pytest.raises(ValueError, match="run 'realdpo' cannot start from itself"):
        training.train_run(changed(opened, "train", init_from="round-2"))


def test_an_objective_that_a_recipe_cannot_have_is_refused(opened: OpenProject) -> None:
    objective = opened.settings.train.objective.model_copy(update={"safe_dpo": True})
    with pytest.raises(ValueError, match=r"train\.objective: recipe 'sft' compares nothing"):
        training.train_run(changed(opened, "train", recipe="sft", options={}, name="sft", objective=objective))


@pytest.mark.slow
def test_an_objective_of_the_settings_reaches_the_run(opened: OpenProject) -> None:
    objective = opened.settings.train.objective.model_copy(
        update={"loss": "ipo", "sft_weight": 0.1, "dpop_weight": 5.0, "safe_dpo": True}
    )
    training.train_run(changed(opened, "train", name="guarded", objective=objective))
    *_, last = map(json.loads, (run_folder(opened, "guarded") / "metrics.jsonl").read_text().splitlines())
    assert 0 < last["loser_scale"] <= 1 and last["supervised/error"] > 0 and last["above_reference/excess"] >= 0


@pytest.mark.slow
def test_winners_after_a_trip_through_the_codec(opened: OpenProject) -> None:
    options = {"beta": 100.0, "winner": "codec"}
    assert training.train_run(changed(opened, "train", name="codec", options=options)).steps_now == 4
    keys = [key for key in opened.latents if key.endswith("|codec")]
    assert len(keys) == 6


# all rounds by one command


def test_each_round_starts_from_the_one_before(opened: OpenProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "_why_stop", lambda last: "")
    done = rounds.run_rounds(opened, 2, old_takes=True)
    assert [(each.run, each.takes_by) for each in done.rounds] == [("realdpo", "base"), ("realdpo-2", "realdpo")]
    first, second = run_of(opened, "realdpo"), run_of(opened, "realdpo-2")
    assert second.base == first.base and second.made_by not in (first.made_by, first.base)
    takes = opened.store.candidates(split="train", system="realdpo")
    assert len(takes) == 12 and {take.made_by for take in takes} == {first.made_by}

    steps = opened.settings.train.steps
    control = run_of(opened, f"realdpo-old-takes-{2 * steps}")
    assert control.settings["train"]["steps"] == 2 * steps and control.settings["train"]["init_from"] == "base"
    stored = json.loads((opened.store.project / "reports" / "realdpo-2.json").read_text())
    points = stored["rounds"]["lost_dots"]
    metrics = {
        name: row["lost_dots"] for name, row in (("realdpo", stored["arms"]["realdpo"]), ("2", stored["metrics"]))
    }
    assert points["new takes each round"] == [
        [0.0, stored["metrics"]["lost_dots"]["base"]],
        [steps, metrics["realdpo"]["trained"]],
        [2 * steps, metrics["2"]["trained"]],
    ]
    assert points["takes of the first round"][-1] == [2 * steps, stored["arms"][control.name]["lost_dots"]["trained"]]
    page = done.report.read_text(encoding="utf-8")
    assert "lost dots after each round" in page and "after every round; each starts from the run before" in page
    assert rounds.run_rounds(opened, 2, old_takes=True) == done  # nothing is made again


def test_rounds_stop_where_nothing_is_gained(opened: OpenProject) -> None:
    done = rounds.run_rounds(opened, 3)
    assert [each.run for each in done.rounds] == ["realdpo"] and done.best == "base"
    assert done.stopped == "realdpo is not shown to be better than base: its verdict reports no change"


@pytest.mark.parametrize(
    ("better", "worse", "diagnoses", "why"),
    [
        (("lost_dots",), (), (), ""),
        ((), (), (), "b is not shown to be better than a: its verdict reports no change"),
        (("jerk",), ("motion",), (), "b is worse than a on motion"),
        (("jerk",), (), ("memorised",), "b classifies its training pairs but not the held-out ones"),
    ],
)
def test_why_a_round_is_the_last(
    better: tuple[str, ...], worse: tuple[str, ...], diagnoses: tuple[str, ...], why: str
) -> None:
    reason = rounds._why_stop(rounds.Round("b", "a", better, worse, diagnoses))
    assert reason.startswith(why) and bool(reason) == bool(why)


def test_rounds_that_could_have_nothing_new_are_refused(opened: OpenProject) -> None:
    with pytest.raises(ValueError, match="recipe 'sft' does not use takes of the model"):
        rounds.run_rounds(changed(opened, "train", recipe="sft", options={}), 2)
    human = changed(changed(opened, "train", recipe="densedpo", options={}), "label", by="human")
    with pytest.raises(ValueError, match=r"label\.by is 'human'"):
        rounds.run_rounds(human, 2)
    with pytest.raises(ValueError, match="--rounds must be 1 or more"):
        rounds.run_rounds(opened, 0)
