"""Processes that work for another one end with it, also when it is killed."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from .forked import start

RANK = """
import os, time
from rushes.worker_pool import end_with_parent

if os.fork() == 0:
    end_with_parent()
    id.write_text(str(os.getpid()))
    time.sleep(60)
    os._exit(0)
while not id.is_file():
    time.sleep(0.01)
os._exit(0)
"""
LATE = """
import os, time
from pathlib import Path
from rushes.cli.processes import RUN_ID, led

parent = os.getpid()
if os.fork() == 0:
    os.environ |= {"RANK": "0", "TORCHELASTIC_RUN_ID": f"{RUN_ID}{parent}"}
    while os.getppid() == parent:
        time.sleep(0.01)
    id.write_text(str(os.getpid()))
    led(Path("project"))
    time.sleep(60)
    os._exit(0)
os._exit(0)
"""
POOL = """
import os, signal
from rushes.worker_pool import worker_pool

pool = worker_pool(1, os.getpid)
id.write_text(str(pool.submit(os.getpid).result()))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("program", [RANK, LATE, POOL], ids=["rank", "orphan", "pool"])
def test_a_process_ends_with_the_process_that_started_it(program: str, tmp_path: Path) -> None:
    process = start(program, id=(file := tmp_path / "id"))
    process.join(60)
    until = time.monotonic() + 20
    while not (file.is_file() and file.read_text()) and time.monotonic() < until:
        time.sleep(0.01)
    worker = int(file.read_text())
    while alive(worker) and time.monotonic() < until:
        time.sleep(0.05)
    assert not alive(worker)


def alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True
