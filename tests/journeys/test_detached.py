"""A detached run outlives its terminal. If it is killed itself, its project says so and goes on from a checkpoint."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rushes.project.settings import write_settings

from ..projects import SMALL

pytestmark = [pytest.mark.slow, pytest.mark.whole, pytest.mark.timeout(1800)]
RUSHES = [sys.executable, "-P", "-m", "rushes"]
STEPS = 90


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of the embedded world whose run takes long enough to be killed."""
    folder = tmp_path / "my project"
    folder.mkdir()
    train = SMALL.train.model_copy(update={"steps": STEPS})
    write_settings(folder, SMALL.model_copy(update={"train": train}))
    return folder


def rows(project: Path) -> list[str]:
    """What training has written so far, a whole line for each step."""
    file = project / "runs" / "realdpo" / "metrics.jsonl"
    return file.read_text().splitlines(keepends=True) if file.is_file() else []


def wait_for(project: Path, held: Callable[[], bool]) -> None:
    began = time.monotonic()
    while not held():
        assert time.monotonic() - began < 600, (project / "run.log").read_text()[-2000:]
        time.sleep(0.1)


def begun(project: Path) -> int:
    """Begin a detached run; its process."""
    done = subprocess.run([*RUSHES, "run", project, "--detach", "--json"], capture_output=True, text=True, check=True)
    return int(json.loads(done.stdout)["process"])


def test_a_run_that_is_killed_is_named_and_goes_on_from_its_checkpoint(project: Path) -> None:
    process = begun(project)
    wait_for(project, lambda: len(rows(project)) > 6)
    pipe = subprocess.PIPE
    following = subprocess.Popen([*RUSHES, "status", project, "--follow"], stdout=pipe, stderr=pipe, text=True)
    assert following.stdout is not None
    assert any(line.startswith("a detached run is working") for line in following.stdout)
    os.kill(process, signal.SIGKILL)
    err = following.communicate(timeout=120)[1]
    before = rows(project)
    assert following.returncode == 1 and len(before) < STEPS, err
    assert err.splitlines()[-2].startswith("the detached run failed: it was killed")
    assert err.splitlines()[-1] == f"next: rushes run '{project}' --detach"
    shown = subprocess.run([*RUSHES, "status", project], capture_output=True, text=True, check=True).stdout
    assert "run realdpo: stopped" in shown and shown.splitlines()[-1] == err.splitlines()[-1]
    late = subprocess.run([*RUSHES, "status", project, "--follow"], capture_output=True, text=True, check=False)
    assert late.returncode == 1 and late.stdout == shown
    begun(project)
    subprocess.run([*RUSHES, "status", project, "--follow"], capture_output=True, check=True)
    end = subprocess.run([*RUSHES, "status", project], capture_output=True, text=True, check=True).stdout
    assert f"finished, {STEPS} of {STEPS} steps" in end and "\nevaluated" in end and "\nreport: " in end
    whole = rows(project)
    assert [json.loads(line)["step"] for line in whole] == [*range(STEPS + 1)]
    assert whole[:5] == before[:5], "steps before the checkpoint are not done again"


def test_a_run_outlives_its_terminal(project: Path) -> None:
    process, leader = pty.fork()
    if process == 0:  # a shell with this terminal
        words = " ".join(f"'{word}'" for word in (*RUSHES, "run", str(project), "--detach"))
        os.execv("/bin/sh", ["sh", "-c", f"{words}; sleep 600"])
    wait_for(project, lambda: bool(rows(project)))
    os.kill(process, signal.SIGKILL)
    os.close(leader)  # the system hangs up on whoever has this terminal
    os.waitpid(process, 0)
    wait_for(project, lambda: (project / "reports" / "realdpo.html").is_file())
    shown = subprocess.run([*RUSHES, "status", project, "--follow"], capture_output=True, text=True, check=True)
    assert f"finished, {STEPS} of {STEPS} steps" in shown.stdout and "failed" not in shown.stdout
