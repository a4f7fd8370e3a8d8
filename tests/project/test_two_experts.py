"""A model of two experts through the command line: guidance of each, and training by one process and by two."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rushes.training.history import read_history

from ..projects import Command
from .test_jobs import by_forking
from .test_times import experts  # noqa: F401

TRAINING = (
    "train.steps=6", "train.batch=1", "train.warmup_steps=0", "train.lr_scheduler=constant",
    "train.learning_rate=1e-3", "train.shift=12", "train.held_out=1",
)  # fmt: skip


def given(*settings: str) -> list[str]:
    return [part for text in settings for part in ("--set", text)]


@pytest.mark.slow
def test_each_expert_has_its_guidance(experts: Path, tmp_path: Path, command: Command) -> None:  # noqa: F811
    """The low-noise expert's own scale changes takes; the same number for both is one scale."""
    takes = {}
    for scale in ("0", "3", "6"):
        project = tmp_path / scale
        shutil.copytree(experts, project)
        result = command(
            "generate",
            project,
            *given("generate.takes=1", "generate.guidance_scale=6", f"generate.guidance_scale_2={scale}"),
        )
        assert result.code == 0, result.err
        takes[scale] = {path.name for path in (project / "media").rglob("*.mp4")}
    assert takes["0"] == takes["6"] and takes["3"] != takes["6"]


@pytest.mark.slow
@pytest.mark.whole
@pytest.mark.parametrize("parallel", ["replicate", "shard"])
def test_two_processes_train_both_experts_as_one_does(
    parallel: str,
    experts: Path,  # noqa: F811
    tmp_path: Path,
    command: Command,
) -> None:
    """One comparison a step: in each step one expert is asked, and the other, which no process asked, stays."""
    project = tmp_path / "project"
    shutil.copytree(experts, project)
    for run in ("one", "two"):
        settings = given(*TRAINING, f"train.name={run}", f"train.parallel={parallel}")
        if run == "one":
            result = command("train", project, *settings)
            assert result.code == 0, result.err
        else:
            by_forking(tmp_path, "train", str(project), *settings)
    one, two = (project / "runs" / run for run in ("one", "two"))
    rows = read_history(one / "metrics.jsonl")
    asked = [sorted(key.split("/")[1] for key in row if key.endswith("/comparisons")) for row in rows[1:]]
    assert {"high_noise"} <= {name for step in asked for name in step} and any(len(step) == 1 for step in asked)
    assert json.loads((two / "metrics.jsonl").read_text().splitlines()[0])["processes"] == 2
    ours, theirs = (load_file(run / "weights.safetensors") for run in (one, two))
    assert ours.keys() == theirs.keys()
    for name, weight in ours.items():  # to a fiftieth of what AdamW moves a weight by in a step
        torch.testing.assert_close(theirs[name], weight, rtol=0, atol=2e-5, msg=name)
