"""Going on with a run: public reports, one test each, through the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rushes.project.settings import overridden, write_settings

from ..projects import SMALL, Rushes

CONSTANT = ("train.lr_scheduler=constant", "train.checkpoint_every=3", "train.weights_ema=0.9", "train.auto_beta=0.2")


def project_of(finished: Path, folder: Path, *overrides: str) -> Path:
    """A copy of a finished project without its run, with other settings."""
    shutil.copytree(finished, folder)
    shutil.rmtree(folder / "runs")
    write_settings(folder, overridden(SMALL, overrides))
    return folder


def weights(project: Path) -> dict[str, torch.Tensor]:
    return load_file(project / "runs" / "realdpo" / "weights.safetensors")


def test_more_steps_end_as_one_run_of_as_many(finished: Path, tmp_path: Path, rushes: Rushes) -> None:
    """A finished run of 2 steps, trained on to 3, equals a run of 3 to the last bit. Was refused."""
    parts, whole = (project_of(finished, tmp_path / name, *CONSTANT) for name in ("parts", "whole"))
    code, _, err = rushes("train", parts, "--steps", 2)
    assert code == 0, err
    code, out, err = rushes("train", parts, "--steps", 3, "--json")
    assert code == 0, err
    assert (json.loads(out)["steps_now"], json.loads(out)["steps"]) == (1, 3)
    code, _, err = rushes("train", whole, "--steps", 3)
    assert code == 0, err
    ends = weights(parts), weights(whole)
    assert ends[0].keys() == ends[1].keys() and all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    code, out, err = rushes("evaluate", parts, "--json")
    assert code == 0, err
    code, _, err = rushes("train", parts, "--steps", 2)
    assert code == 2 and "already has 3 steps, but train.steps is 2; set it to 3 or more" in err
    code, _, err = rushes("train", parts, "--steps", 0)
    assert code == 2 and "train.steps" in err


def test_more_steps_where_the_learning_rate_fell(finished: Path, tmp_path: Path, rushes: Rushes) -> None:
    """A run whose learning rate fell to zero cannot become a longer one: it says why, and what to do."""
    project = project_of(finished, tmp_path / "project", "train.warmup_steps=0", "train.steps=2")
    assert rushes("train", project)[0] == 0
    code, _, err = rushes("train", project, "--steps", 3)
    assert code == 2
    assert 'cannot continue from 2 to 3 steps: train.lr_scheduler is "linear", so step 2 would have had' in err
    assert "train.init_from = realdpo" in err


@pytest.mark.parametrize("stage", ["train", "run"])
def test_other_settings_are_named(finished: Path, tmp_path: Path, rushes: Rushes, stage: str) -> None:
    """What differs is named, old and new, before takes are made or encoded.

    Was: "holds a run with other settings or data", after new clips, eight takes and sixteen encodings.
    """
    project = shutil.copytree(finished, tmp_path / "project")
    before = sorted(path for path in project.rglob("*.mp4"))
    changes = ("--set", "train.learning_rate=0.002", "--set", "train.options.beta=7.0", "--set", "backbone.frames=9")
    code, _, err = rushes(stage, project, *changes)
    assert code == 2 and "holds a run with other settings or data: " in err
    assert "train.learning_rate was 0.0001 and is 0.002; " in err
    assert "train.options.beta was 100.0 and is 7.0; " in err
    assert f"backbone.frames was 17 and is 9; `rushes set {project} " in err
    assert "train.learning_rate=0.0001" in err and " backbone.frames=17` restores them; or " in err
    assert "train.batch" not in err and "latents" not in err
    assert before == sorted(path for path in project.rglob("*.mp4"))


def test_other_data_are_named(finished: Path, tmp_path: Path, rushes: Rushes) -> None:
    """A run whose comparisons have changed says how many there were."""
    project = shutil.copytree(finished, tmp_path / "project")
    assert rushes("generate", project, "--set", "generate.takes=3")[0] == 0
    code, _, err = rushes("train", project, "--set", "generate.takes=3")
    assert code == 2 and "data: comparisons was 6 (hash " in err and "and is 6 (hash " in err
