"""Stages that are stopped at any time: nothing stored is lost or torn, and the end is that of a run without a stop."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ..forked import start_into
from ..projects import Command, ReadContents, Stage, Stop

NOWHERE = Path(os.devnull)
# in the order in which a run meets them: before a file gets its name or is added to, or after a commit
STOPS = [
    ("media", 3),  # import
    ("commit Clip", 1),
    ("latents", 1),  # generate: first frames
    ("media", 2),
    ("commit Candidate", 1),
    ("commit Preference", 2),  # label
    ("latents", 1),  # train: whole clips
    ("metrics.jsonl", 1),
    ("step-00000002", 1),
    ("metrics.jsonl", 2),  # a row behind the checkpoint is there
    ("step-00000004", 1),
    ("weights.safetensors", 1),
    ("commit Run", 1),
    ("media", 1),  # evaluate
    ("commit Candidate", 1),
    ("commit Score", 2),
    ("realdpo.json", 1),  # report
    ("realdpo.html", 1),
]


@pytest.mark.parametrize(  # each write is killed in tests/durability
    "by", [pytest.param(signal.SIGKILL, marks=pytest.mark.whole, id="killed"), pytest.param(signal.SIGINT, id="ctrl-c")]
)
def test_run_that_is_stopped_at_every_stage_ends_as_one_that_is_not(
    by: signal.Signals,
    project: Path,
    finished: Path,
    command: Command,
    stop: Stop,
    whole: Callable[[Path], None],
    contents: ReadContents,
) -> None:
    for part, nth in STOPS:
        result = command("run", project, "--json", before=stop(part, nth, by))
        assert result.out == ""
        whole(project)
        if by == signal.SIGKILL:
            assert result.code == -signal.SIGKILL, f"{part} {nth}: {result.err}"
        else:
            assert result.code == 130, f"{part} {nth}: {result.err}"
            assert result.err.splitlines()[-1].startswith("rushes: stopped; what was stored is safe")
            assert list(project.rglob("*.part")) == []
    result = command("run", project, "--json")
    assert result.code == 0, result.err
    assert contents(project) == contents(finished)
    assert list((project / "runs").rglob("*.part")) == []  # torn checkpoints would fill the disk


def test_run_of_a_finished_project_makes_nothing(finished: Path, command: Command, contents: ReadContents) -> None:
    before = contents(finished)
    times = {path: path.stat().st_mtime_ns for path in (finished / "media").rglob("*.mp4")}
    facts = json.loads(command("run", finished, "--json").out)
    assert (facts["generate"]["new"], facts["train"]["steps_now"]) == (0, 0)
    assert contents(finished) == before
    assert {path: path.stat().st_mtime_ns for path in (finished / "media").rglob("*.mp4")} == times


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.whole) for seed in (0, 2))])
def test_run_that_is_killed_at_any_moment_ends_as_one_that_is_not(
    seed: int,
    project: Path,
    finished: Path,
    command: Command,
    whole: Callable[[Path], None],
    contents: ReadContents,
) -> None:
    draw, arguments = random.Random(seed), ["run", str(project)]
    for _ in range(2):
        process = start_into(NOWHERE, NOWHERE, "from rushes.cli import main; main(arguments)", arguments=arguments)
        time.sleep(draw.uniform(0.5, 5))
        process.kill()
        process.join()
        whole(project)
    result = command("run", project, "--json")
    assert result.code == 0, result.err
    assert contents(project) == contents(finished)


def test_stages_one_by_one_are_a_run(stages: dict[str, Stage], finished: Path, contents: ReadContents) -> None:
    assert contents(stages["report"].after) == contents(finished)
