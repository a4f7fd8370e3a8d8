"""What leaves a project: its rows, and the model of a run."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from rushes.config.tables import Settings
from rushes.export.weights import export_weights
from rushes.formats.exchange import ExchangeFormat, export_project, import_project
from rushes.media.read import read_video
from rushes.project import intake, run_evaluation, training
from rushes.project.project import OpenProject, open_project
from rushes.records import Candidate, Clip, Preference, Score
from rushes.store.database import Store

from ..projects import Command, SmallProject


@pytest.fixture
def opened(finished: Path, tmp_path: Path, small: SmallProject) -> OpenProject:
    """A copy of the finished project."""
    return open_project(Path(shutil.copytree(finished, tmp_path / "project")), small.settings)


def with_train(project: OpenProject, **changes: object) -> OpenProject:
    settings: Settings = project.settings
    train = settings.train.model_copy(update=changes)
    return OpenProject(project.store, settings.model_copy(update={"train": train}))


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_rows_come_back_as_they_went(form: ExchangeFormat, finished: Path, tmp_path: Path) -> None:
    with Store.open(finished) as store, Store.create(tmp_path / "other") as other:
        counts = export_project(store, tmp_path / "rows", form)
        assert import_project(other, tmp_path / "rows") == sum(counts.values()) > 0
        for kind in (Clip, Candidate, Preference, Score):
            assert list(other.stream(kind)) == list(store.stream(kind)) != []


def test_import_command_takes_exported_rows(
    finished: Path, tmp_path: Path, command: Command, small: SmallProject
) -> None:
    assert command("export", finished, "--out", tmp_path / "rows", "--form", "jsonl").code == 0
    other = small.new_project(tmp_path / "other", small.settings)
    first, again = (command("import", other, "--rows", tmp_path / "rows", "--json") for _ in range(2))
    with Store.open(finished) as store, Store.open(other) as copy:
        assert copy.clips() == store.clips()
    assert first.out != again.out == '{"new_rows": 0}\n'
    assert "none of clips, candidates" in command("import", other, "--rows", tmp_path).err


@pytest.mark.parametrize("tune", ["full", "lora"])
def test_exported_model_makes_the_same_samples_elsewhere(
    tune: str, opened: OpenProject, tmp_path: Path, small: SmallProject
) -> None:
    project = with_train(opened, trainable=tune, name=tune, learning_rate=1e-3, lora_rank=4)
    training.train_run(project)
    run_evaluation.evaluate_run(project)
    path = export_weights(project, tune, tmp_path).path
    size = small.settings.backbone.model_copy(update={"path": str(path)})
    elsewhere = open_project(
        small.new_project(tmp_path / "elsewhere", small.settings),
        small.settings.model_copy(update={"backbone": size}),
    )
    intake.import_footage(elsewhere)
    training.train_run(with_train(elsewhere, recipe="sft", options={}, steps=1))
    run_evaluation.evaluate_run(elsewhere, "sft")
    samples = [
        {c.group: c for c in each.store.candidates(split="eval", system=system)}
        for each, system in ((project, tune), (elsewhere, "base"), (project, "base"))
    ]
    trained, same, untrained = samples
    assert trained.keys() == same.keys() == untrained.keys() != set()
    for group in trained:
        made, again = frames(project, trained[group]), frames(elsewhere, same[group])
        assert np.abs(made - again).mean() < 0.1  # an adapter that is merged rounds in another way
        assert tune == "lora" or np.array_equal(made, again)
        assert np.abs(made - frames(project, untrained[group])).mean() > 0.5


def frames(project: OpenProject, candidate: Candidate) -> NDArray[np.float64]:
    return read_video(project.store.media_path(candidate.media)).frames_FHWC.astype(np.float64)


def test_model_that_did_not_change_is_refused(opened: OpenProject, tmp_path: Path) -> None:
    project = with_train(opened, trainable="lora", name="still", steps=1, learning_rate=1e-30)
    training.train_run(project)
    with pytest.raises(ValueError, match="run 'still' changed no weight, so its export would equal the base"):
        export_weights(project, "still", tmp_path)
    assert list(tmp_path.glob("*.safetensors")) == []


def test_run_of_another_base_is_refused(opened: OpenProject, tmp_path: Path) -> None:
    path = export_weights(opened, "realdpo", tmp_path).path
    size = opened.settings.backbone.model_copy(update={"path": str(path)})
    other = OpenProject(opened.store, opened.settings.model_copy(update={"backbone": size}))
    with pytest.raises(ValueError, match=r"restore the old backbone\.name and backbone\.path"):
        export_weights(other, "realdpo", tmp_path)
