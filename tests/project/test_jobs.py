"""The reference cache and many processes, from the command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from rushes.backbones.loading import load_backbone
from rushes.generate import negative_prompt
from rushes.noise.draws import TimeDraw
from rushes.objectives.terms import Term
from rushes.project import jobs
from rushes.project.jobs import TrainingJob, read_texts
from rushes.store.database import Store
from rushes.training.activations import MainMemoryActivations
from rushes.training.batches import NoiseSampler, make_batch
from rushes.training.comparison import Comparison, View
from rushes.training.continuation import RunIdentity
from rushes.training.gradients import measured_strategy
from rushes.training.memory import GradientStrategy
from rushes.training.parallel import ALONE
from rushes.training.unconditional import asked_under

from ..backbones.test_pipelines import frames_of
from ..backbones.test_pipelines_train import stored
from ..backbones.tiny_pipelines import BACKBONE, write
from ..forked import run_ranks
from ..projects import Command, Rushes, SmallProject

CACHED = ("--set", "train.reference_cache=2", "--set", "train.name=banked")


def test_the_cache_is_filled_by_its_command_and_looked_up_by_the_run(
    finished: Path, tmp_path: Path, command: Command
) -> None:
    project = tmp_path / "project"
    shutil.copytree(finished, project)
    facts = json.loads(command("cache", "reference", project, *CACHED, "--json").out)
    files = {path: path.stat().st_mtime_ns for path in (project / "bank").iterdir()}
    assert facts["draws"] == 2 and facts["entries"] == facts["comparisons"] > 0 and files
    result = command("train", project, *CACHED, "--json")
    assert "train: reference cache:" not in result.err  # nothing was missing
    assert json.loads(result.out)["reference_cache"] == 2
    assert {path: path.stat().st_mtime_ns for path in (project / "bank").iterdir()} == files
    first = json.loads((project / "runs" / "banked" / "metrics.jsonl").read_text().splitlines()[0])
    assert (first["reference_cache"], first["gradients"], first["processes"]) == (2, "joint", 1)
    # another seed has other draws
    again = command("train", project, *CACHED, "--set", "project.seed=5", "--set", "train.name=other", "--json")
    assert again.code == 0, again.err
    assert set((project / "bank").iterdir()) > set(files)


def test_memory_is_looked_at_for_the_cache_as_for_the_run(
    finished: Path, tmp_path: Path, rushes: Rushes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a small card a pass whose activations do not wait in main memory does not fit, before the cache either."""
    project = tmp_path / "project"
    shutil.copytree(finished, project)
    waiting = MainMemoryActivations.waiting
    within: list[str] = []
    seen: list[list[str]] = []

    @contextmanager
    def noted(self: MainMemoryActivations) -> Iterator[None]:
        within.append("offload")
        with waiting(self):
            yield
        within.pop()

    def looked(*how: Any) -> GradientStrategy:
        seen.append([*within])
        return measured_strategy(*how)

    monkeypatch.setattr(MainMemoryActivations, "waiting", noted)
    monkeypatch.setattr(jobs, "measured_strategy", looked)
    rushes("cache", "reference", project, *CACHED, "--set", "train.activations=offload")
    assert seen == [["offload"]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["cache reference"],
            "train.reference_cache is 0, so there are no reference errors to compute; set it to the number of draws",
        ),
        (
            ["train", "--set", "train.reference_cache=2", "--set", "train.reference=ema"],
            "train.reference_cache: train.reference is 'ema', and a reference that changes has no fixed errors",
        ),
        (
            ["train", "--set", "train.parallel=shard", "--set", "train.objective.safe_dpo=true"],
            "train.objective.safe_dpo: it needs the whole gradient in one process",
        ),
        (
            ["train", "--set", "train.parallel=shard", "--set", "train.sample_every=5"],
            "train.sample_every: clips are made by one process",
        ),
    ],
)
def test_what_does_not_go_together(arguments: list[str], message: str, finished: Path, command: Command) -> None:
    result = command(*arguments[0].split(), finished, *arguments[1:])
    assert result.code == 2 and message in result.err


@pytest.mark.parametrize(("name", "scale"), [("wan", 3.0), ("wan", 1.0), ("hunyuan_i2v_channels", 3.0)])
def test_the_negative_prompt_is_read_before_there_is_a_network_where_guidance_uses_it(
    name: str, scale: float, tmp_path: Path, small: SmallProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    with torch.random.fork_rng():
        model: Any = load_backbone(BACKBONE[name], str(write(name, tmp_path / "model")))
    latents, given = stored(model, tmp_path / "latents"), "" if name == "wan" else "real"
    labels = (1,) * model.spec.latent_frames(frames_of(model))
    views = tuple(View(media, "a ball", given) for media in ("real", "take"))
    held_out = Comparison("c", "g", views, (Term("clip", (1.0, -1.0), labels, beta=20.0),))
    ask = small.settings.generate.model_copy(update={"guidance_scale": scale, "negative_prompt": "blurry"})
    settings = small.settings.model_copy(update={"generate": ask})
    job = TrainingJob(settings, "run", "b", origin="b", latents="x", identity=RunIdentity(""), dtype="float32",
                      times=TimeDraw("uniform"), comparisons=(), held_out=(held_out,))  # fmt: skip
    read_texts(job, tmp_path, model, ALONE)
    monkeypatch.setattr(model, "reader", lambda: pytest.fail("encoders are loaded beside the network"))
    rows = asked_under(negative_prompt(ask, model.spec), [held_out])
    assert len(rows) == (scale != 1.0)
    for comparison in rows[0] if rows else [held_out]:
        make_batch([(comparison, 0)], latents, model, NoiseSampler(0, TimeDraw("uniform")))
    if name == "wan":  # and nothing needless
        for caption in ("",) if rows else ("", "blurry"):
            with pytest.raises(pytest.fail.Exception):
                model.condition([caption])


def by_torchrun(folder: Path, *arguments: str) -> str:
    program = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "rushes", *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    result = subprocess.run(program, capture_output=True, text=True, check=False, env=environment, cwd=folder)
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


def by_forking(folder: Path, *arguments: str) -> str:
    """The same, without torchrun's own process and without seconds of imports."""
    program = "import sys; from rushes.__main__ import run; sys.argv = arguments; run()"
    return "".join(run_ranks(2, folder, program, arguments=["rushes", *arguments]))


@pytest.mark.slow
@pytest.mark.parametrize(("parallel", "start"), [("replicate", by_torchrun), ("shard", by_forking)])
def test_two_processes_train_one_run(
    parallel: str, start: Callable[..., str], finished: Path, tmp_path: Path, command: Command
) -> None:
    project, name = tmp_path / "project", f"two-{parallel}"
    shutil.copytree(finished, project)
    few = ["train.batch=1"] if parallel == "shard" else []  # one process then has no comparison
    settings = [
        f"train.name={name}",
        f"train.parallel={parallel}",
        "train.reference_cache=2",
        "train.trainable=lora",
        *few,
    ]
    given = [text for each in settings for text in ("--set", each)]
    (line,) = start(tmp_path, "train", str(project), *given, "--json").splitlines()  # of the first process alone
    assert json.loads(line)["run"] == name
    if few:
        assert "so 1 processes get no comparison" in (tmp_path / "err-0").read_text()
    with Store.open(project) as store:
        (run,) = [run for run in store.runs() if run.name == name]
    # what was written is what the run ended with
    evaluated = command("evaluate", project, "--run", name, "--json")
    assert evaluated.code == 0, evaluated.err
    assert run.made_by != run.base
