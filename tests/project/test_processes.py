"""Stages in several processes: what one process stores, whatever of them is killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
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
def test_two_processes_store_what_one_does(stages: dict[str, Stage], tmp_path: Path, contents: ReadContents) -> None:
    """Takes of three batches, labels, and takes of a finished run with what is measured of them; then latents."""
    for name in ("generate", "label", "evaluate"):
        two = shutil.copytree(stages[name].before, tmp_path / name)
        (line,) = by_two(tmp_path, name, two, "--json").splitlines()  # of the first process alone
        assert json.loads(line)
        assert contents(two) == contents(stages[name].after) != contents(stages[name].before)
    by_two(tmp_path, "label", tmp_path / "label")  # with nothing left to do
    assert contents(tmp_path / "label") == contents(stages["label"].after)
    two = shutil.copytree(stages["train"].before, tmp_path / "encode")
    (line,) = by_two(tmp_path, "encode", two, "--json").splitlines()
    latents = contents(two)["latents"]
    assert latents == contents(stages["train"].after)["latents"] and len(latents) == json.loads(line)["stored"]


@pytest.mark.slow
@pytest.mark.whole
def test_two_processes_measure_guided_takes_of_a_run(
    stages: dict[str, Stage], tmp_path: Path, contents: ReadContents, command: Command
) -> None:
    """`rushes tune eta`, whose takes a finished run makes: its weights reach the process that helps."""
    run = ("--set", "train.init_from=realdpo", "--clips", "1", "--json")
    one, two = (shutil.copytree(stages["train"].after, tmp_path / name) for name in ("one", "two"))
    alone, (line,) = command("tune", "eta", one, *run), by_two(tmp_path, "tune", "eta", two, *run).splitlines()
    assert line.replace(str(two), str(one)) == alone.out.strip(), alone.err
    assert contents(one) == contents(two) != contents(stages["train"].after)


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
    stages: dict[str, Stage], tmp_path: Path, command: Command, whole: Callable[[Path], None]
) -> None:
    """A helper is killed, then all get Ctrl-C; each time one sentence says so."""
    project, takes = tmp_path / "project", ("--set", "generate.takes=30", "--set", "generate.batch=1")
    shutil.copytree(stages["generate"].before, project)

    def struck(number: signal.Signals, rank: int | None) -> tuple[int, str]:
        process = started(tmp_path, "generate", project, *takes)
        assert process.stderr is not None
        assert any(line.startswith("generate: 1") for line in iter(process.stderr.readline, ""))
        ids = workers(process.pid)
        assert sorted(ids) == [0, 1]
        os.kill(process.pid if rank is None else ids[rank], number)
        _, err = process.communicate(timeout=60)
        assert not any(Path(f"/proc/{id}").exists() for id in ids.values())
        return process.returncode, err

    code, err = struck(signal.SIGKILL, 1)
    assert code == 1 and err.startswith("rushes: process 1 of 2 was ended by SIGKILL"), err
    assert len(err.splitlines()) == 1
    stopped = "rushes: stopped; what was stored is safe, run the same command to continue\n"
    assert struck(signal.SIGINT, None) == (130, stopped)
    whole(project)
    result = command("generate", project, *takes, "--json")
    assert json.loads(result.out)["takes"] == 180 >= json.loads(result.out)["new"], result.err


def test_more_gpus_than_there_are_are_refused(project: Path, rushes: Rushes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    code, _, err = rushes("train", project, "--gpus", 4)
    assert (code, err) == (2, "rushes: --gpus 4: torch sees 2 GPUs here; give at most 2\n")
    assert rushes("generate", project, "--gpus", 0)[2] == "rushes: --gpus must be 1 or more, got 0\n"


def test_parts_are_sent_where_no_result_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = list[object]()

    def send(ranks: Ranks, value: object) -> object:
        sent.append(value)
        return value

    monkeypatch.setattr(Ranks, "send", send)
    Ranks().in_rounds([], print)
    assert sent == [[]]


def test_what_a_part_raises_comes_after_the_results_of_its_round() -> None:
    def work(part: int) -> int:
        if part == 2:
            raise ValueError("clip 2 is torn")
        return 10 * part

    rounds = Ranks().in_rounds(range(4), work)
    assert [next(rounds), next(rounds)] == [(0, 0), (1, 10)]
    with pytest.raises(ValueError, match="clip 2 is torn"):
        next(rounds)
