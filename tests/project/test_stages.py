"""The stages on one small project, in this process."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from rushes.project import generation, labels, run_evaluation, runs, training
from rushes.project.networks import load_run
from rushes.project.project import OpenProject, open_project, run_folder
from rushes.records import Clip, Run

from ..projects import SmallProject, changed


@pytest.fixture
def opened(finished: Path, tmp_path: Path, small: SmallProject) -> OpenProject:
    """A copy of the finished project."""
    return open_project(Path(shutil.copytree(finished, tmp_path / "project")), small.settings)


def test_settings_that_changed_and_changed_back_give_the_first_result(opened: OpenProject) -> None:
    """Candidates of other settings stay in the store; none of them may slip into a comparison."""
    first = run_evaluation.evaluate_run(opened).metrics
    other = run_evaluation.evaluate_run(changed(opened, "evaluate", steps=1)).metrics
    assert other != first
    assert run_evaluation.evaluate_run(opened).metrics == first
    fewer = run_evaluation.evaluate_run(changed(opened, "evaluate", prompts=2)).metrics
    assert fewer["lost_dots"].n == 2 and first["lost_dots"].n == 3


def test_pairs_to_label_are_of_the_same_settings(opened: OpenProject) -> None:
    again = changed(opened, "generate", steps=1)
    generation.generate_takes(again)
    assert len(opened.store.candidates(split="train")) == 24
    assert labels.label_pairs(again).pairs == 12  # one for each clip and settings, not 6 for each clip


def test_run_says_what_made_it(opened: OpenProject) -> None:
    (run,) = opened.store.runs()
    assert (run.name, run.recipe, run.backbone, run.steps, run.seed) == ("realdpo", "realdpo", "tiny", 4, 0)
    assert run.base == opened.base.fingerprint
    assert run.made_by == load_run(opened, "realdpo").fingerprint != run.base
    rows = [json.loads(line) for line in (run_folder(opened, "realdpo") / "metrics.jsonl").read_text().splitlines()]
    assert run.seconds == pytest.approx(sum(row.get("seconds", 0) for row in rows), abs=0.01) and run.seconds > 0


def test_other_data_under_the_same_name_are_refused(opened: OpenProject) -> None:
    assert training.train_run(opened).steps_now == 0
    more = changed(opened, "generate", takes=3)
    generation.generate_takes(more)
    with pytest.raises(
        ValueError, match=r"holds a run with other settings or data: comparisons was .*--set train\.name=NEW"
    ):
        training.train_run(more)


def test_run_that_was_trained_again_is_the_one_that_counts(opened: OpenProject) -> None:
    shutil.rmtree(run_folder(opened, "realdpo"))
    training.train_run(changed(opened, "train", learning_rate=1e-3))
    old, new = opened.store.runs()
    assert old.made_by != new.made_by == load_run(opened, "realdpo").fingerprint


def test_weights_of_another_run_are_not_taken_for_its_own(opened: OpenProject) -> None:
    path = run_folder(opened, "realdpo") / "weights.safetensors"
    weights = load_file(path)
    name = next(iter(weights))
    save_file({**weights, name: weights[name] + 1}, path)
    with pytest.raises(ValueError, match="not the final weights of run 'realdpo'"):
        run_evaluation.evaluate_run(opened)
    save_file({name: weights[name]}, path)
    with pytest.raises(ValueError, match="not the final weights of run 'realdpo'"):
        load_run(opened, "realdpo")


def test_run_stops_before_long_stages_when_a_late_one_would_lack_something(tmp_path: Path, small: SmallProject) -> None:
    settings = small.settings
    nothing_held_out = settings.model_copy(update={"footage": settings.footage.model_copy(update={"eval_prompts": 0})})
    with pytest.raises(ValueError, match=r"no held-out clips; set footage\.eval_prompts above 0"):
        runs.run_all(open_project(tmp_path / "a", nothing_held_out))
    one_film = settings.footage.model_copy(update={"kind": "folder", "eval_fraction": 0.2, "path": str(tmp_path)})
    by_people = settings.label.model_copy(update={"by": "human"})
    lonely = open_project(tmp_path / "c", settings.model_copy(update={"footage": one_film, "label": by_people}))
    with pytest.raises(ValueError, match=r"the project has no clips; run `rushes import .*c`"):
        run_evaluation.held_out_clips(lonely)
    lonely.store.add(
        [Clip("clip", "0.mp4", "a", width_px=8, height_px=8, frames=1, fps=8.0, source="a", split="train")]
    )
    with pytest.raises(ValueError, match="no held-out clips; clips of one film stay on one side"):
        run_evaluation.held_out_clips(lonely)
    train = settings.train.model_copy(update={"recipe": "densedpo"})
    guided = settings.generate.model_copy(update={"kind": "guided"})
    nobody = settings.label.model_copy(update={"by": "none"})
    unlabelled = settings.model_copy(update={"train": train, "generate": guided, "label": nobody})
    project = open_project(tmp_path / "b", unlabelled)
    with pytest.raises(ValueError, match=r"label\.by: recipe 'densedpo' needs labels; .*label\.by=human"):
        runs.run_all(project)
    assert project.store.candidates() == ()


def test_densedpo_trains_from_what_the_stages_made(tmp_path: Path, small: SmallProject) -> None:
    settings = small.settings
    project = open_project(
        tmp_path / "dense",
        settings.model_copy(
            update={
                "generate": settings.generate.model_copy(update={"kind": "guided"}),
                "label": settings.label.model_copy(update={"margin": 0.0}),
                "train": settings.train.model_copy(update={"recipe": "densedpo"}),
            }
        ),
    )
    result = runs.run_all(project)
    assert result.label is not None and result.label.pairs == 6
    assert result.train.comparisons >= 1
    assert [run.recipe for run in project.store.runs() if isinstance(run, Run)] == ["densedpo"]


def test_seconds_are_those_of_the_project_and_not_of_the_last_command(opened: OpenProject, small: SmallProject) -> None:
    before = dict(opened.seconds)
    assert {"import", "generate", "label", "train", "evaluate"} <= set(before) and before["train"] > 0
    again = open_project(opened.store.project, small.settings)
    training.train_run(again)
    assert again.seconds["train"] >= before["train"]
    assert open_project(opened.store.project, small.settings).seconds == again.seconds
