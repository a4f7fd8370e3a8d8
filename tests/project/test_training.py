from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from rushes.config.tables import TrainSettings
from rushes.project import recipe_data
from rushes.project.project import open_project
from rushes.project.recipe_data import recipe_comparisons
from rushes.project.settings import read_settings
from rushes.project.training import TrainResult, _prepare, doubts
from rushes.training import comparison_checks as checks


def test_takes_are_measured_by_the_projects_own_codec_and_left_out_by_name(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = open_project(Path(shutil.copytree(finished, tmp_path / "project")), read_settings(finished, ()))
    train, said, figures = project.settings.train, list[str](), checks._figures
    project.say = said.append
    found = recipe_comparisons(project, train)
    assert found.left_out == {} and not said
    # Asked for more than any take reaches, all fail, and their first frames go through the codec again.
    seen: list[tuple[float, float]] = []

    def counted(latent: torch.Tensor, again: torch.Tensor) -> tuple[float, float]:
        seen.append(figures(latent, again))
        return seen[-1]

    monkeypatch.setattr(checks, "_figures", counted)
    monkeypatch.setattr(checks, "LEAST_CORRELATION", 1.01)
    monkeypatch.setattr(checks, "LOWEST", 1.01)
    with pytest.raises(ValueError, match=f"so in {len(found.comparisons)} of {len(found.comparisons)}"):
        recipe_comparisons(project, train)
    assert len(seen) > 2 and all(correlation > 0.99 for correlation, _ in seen)
    first = found.comparisons[0].id
    monkeypatch.setattr(recipe_data, "check_latents", lambda every, *more: (every[1:], {first: "the take x differs"}))
    fewer = recipe_comparisons(project, train)
    assert fewer.left_out == {first: "the take x differs"} and len(fewer.comparisons) == len(found.comparisons) - 1
    assert said == [
        f"1 comparisons, or a take in them, are left out because clips do not match: {first}: the take x differs"
    ]
    project.store.close()


def test_where_no_comparison_can_be_held_out_this_is_said(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, lines = Path(shutil.copytree(finished, tmp_path / "project")), list[str]()
    project = open_project(folder, read_settings(folder, ("train.held_out=1", "train.name=new")), say=lines.append)
    monkeypatch.setattr(recipe_data, "check_latents", lambda every, *more: (every[:3], {}))
    _prepare(project, "new")
    assert "more than a quarter of the 3 comparisons;" in lines[-1]
    project.store.close()


def test_bfloat16_weights_that_are_trained_are_doubted() -> None:
    network = nn.Linear(2, 2).bfloat16()
    (line,) = doubts(TrainSettings(trainable="full"), network, 1)
    assert "about 2 % of the weights move" in line and "set backbone.dtype to auto or mixed" in line
    network.requires_grad_(False)
    network.adapter = nn.Parameter(torch.zeros(1))
    assert doubts(TrainSettings(trainable="lora"), network, 1) == []


def test_processes_without_a_comparison_are_said() -> None:
    network = nn.Linear(2, 2)
    assert doubts(TrainSettings(batch=8), network, 8) == []
    (line,) = doubts(TrainSettings(batch=4), network, 8)
    assert "so 4 processes get no comparison; set it to a multiple of 8" in line


def test_a_result_is_told_in_words() -> None:
    lines = TrainResult("one", 4, 4, gradients="joint", gradients_why="8 views take 5 of 256 MiB").lines()
    assert lines[:2] == [
        "run one: 4 steps, 4 of them now, on 0 comparisons; 0 held out",
        "gradients: joint (8 views take 5 of 256 MiB)",
    ]
    assert not any("gradients_why" in line for line in lines)
