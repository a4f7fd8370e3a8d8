"""Stages in several processes: what one process stores, whatever of them is killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from rushes.cli.processes import ON_PROCESSOR
from rushes.training.parallel import Ranks

from ..forked import run_ranks
from ..projects import Command, ReadContents, Rushes, Stage

RUN = "import sys; from rushes.__main__ import run; sys.argv = arguments; run()"


def by_two(folder: Path, *arguments: object) -> str:
    """What the command printed in two processes."""
    return "".join(run_ranks(2, folder, RUN, arguments=["rushes", *map(str, arguments)]))


@pytest.mark.slow
def test_two_processes_store_what_one_does(
    stages: dict[str, Stage], tmp_path: Path, command: Command, contents: ReadContents
) -> None:
    """Guided takes of several batches, labels, latents, and takes of a finished run with what is measured of them."""
    guided = ("--set", "generate.kind=guided", "--set", "generate.batch=1")
    steps = [("generate", stages["generate"].before, guided), ("label", stages["label"].before, ())]
    steps += [("encode", stages["train"].before, ()), ("evaluate", stages["evaluate"].before, ())]
    for name, before, settings in steps:
        alone, two = tmp_path / f"{name}-1", tmp_path / f"{name}-2"
        for folder in (alone, two):
            shutil.copytree(before, folder)
        first = command(name, alone, *settings, "--json")
        assert first.code == 0, first.err
        (line,) = by_two(tmp_path, name, two, *settings, "--json").splitlines()
        ours, its = (
            {key: value for key, value in json.loads(text).items() if key != "seconds"} for text in (first.out, line)
        )
        assert {k: v for k, v in its.items() if k != "made_at"} == {k: v for k, v in ours.items() if k != "made_at"}
        assert contents(two) == contents(alone) != contents(before)


def started(folder: Path, *arguments: object) -> subprocess.Popen[str]:
    """A command with `--gpus 2`, on the processor."""
    program = [sys.executable, "-P", "-m", "rushes", *map(str, arguments), "--gpus", "2"]
    environment = {**os.environ, ON_PROCESSOR: "1", "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.Popen(
        program, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def workers(parent: int) -> dict[int, int]:
    """Process ids of the processes that a command started, by their rank."""
    ids = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = dict(each.split("=", 1) for each in (path / "environ").read_text().split("\0") if "=" in each)
            if int((path / "stat").read_text().rpartition(")")[2].split()[1]) == parent and "RANK" in words:
                ids[int(words["RANK"])] = int(path.name)
        except OSError:
            continue
    return ids


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").is_file(), reason="processes are found under /proc")
def test_processes_end_together_and_the_command_goes_on(
    stages: dict[str, Stage], tmp_path: Path, command: Command, contents: ReadContents
) -> None:
    """A helper is killed, then all get Ctrl-C, then the command that started them is killed; then it is let be."""
    project, takes = tmp_path / "project", ("--set", "generate.takes=40", "--set", "generate.batch=1")
    shutil.copytree(stages["generate"].before, project)

    def struck(number: signal.Signals, rank: int | None) -> tuple[int, str, list[int]]:
        process = started(tmp_path, "generate", project, *takes)
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        assert any(line.startswith("generate: 2") or line.startswith("generate: 1") for line in lines)
        ids = workers(process.pid)
        assert sorted(ids) == [0, 1]
        os.kill(process.pid if rank is None else ids[rank], number)
        _, err = process.communicate(timeout=60)
        until = time.monotonic() + 20
        while any(Path(f"/proc/{id}").exists() for id in ids.values()) and time.monotonic() < until:
            time.sleep(0.1)
        return process.returncode, err, [id for id in ids.values() if Path(f"/proc/{id}").exists()]

    code, err, alive = struck(signal.SIGKILL, 1)
    assert (code, alive) == (1, []) and err.startswith("rushes: process 1 of 2 was ended by SIGKILL"), err
    assert len(err.splitlines()) == 1
    code, err, alive = struck(signal.SIGINT, None)
    assert (code, alive) == (130, []), err
    assert err == "rushes: stopped; what was stored is safe, run the same command to continue\n"
    code, _, alive = struck(signal.SIGKILL, None)
    assert (code, alive) == (-signal.SIGKILL, [])
    shutil.copytree(project, tmp_path / "alone")
    assert command("generate", tmp_path / "alone", *takes).code == 0
    out, err = started(tmp_path, "generate", project, *takes, "--json").communicate(timeout=120)
    assert json.loads(out)["takes"] == 240, err
    assert contents(project) == contents(tmp_path / "alone")


def test_more_gpus_than_there_are_are_refused(project: Path, rushes: Rushes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    code, _, err = rushes("train", project, "--gpus", 4)
    assert (code, err) == (2, "rushes: --gpus 4: torch sees 2 GPUs here; give at most 2\n")
    assert rushes("generate", project, "--gpus", 0)[2] == "rushes: --gpus is 1 or more, got 0\n"


def test_what_a_part_raises_comes_after_the_results_of_its_round() -> None:
    def work(part: int) -> int:
        if part == 2:
            raise ValueError("clip 2 is torn")
        return 10 * part

    rounds = Ranks().in_rounds(range(4), work)
    assert [next(rounds), next(rounds)] == [(0, 0), (1, 10)]
    with pytest.raises(ValueError, match="clip 2 is torn"):
        next(rounds)
