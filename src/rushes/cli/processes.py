"""`--gpus N`: the same command in N processes of this machine, one for each GPU, which share the work.

They are started by PyTorch's elastic agent, as torchrun starts them, and with Python's safe path. On a cluster torchrun
itself starts them, on every node: `torchrun --no-python rushes train PROJECT`.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from rushes.devices import cores
from rushes.files import hold
from rushes.project.settings import DETACHED
from rushes.ray_workers import EngineName
from rushes.records import now
from rushes.store.own_files import LOG, own_path
from rushes.worker_pool import end_with_parent

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

EngineOption = Annotated[
    EngineName, Parameter(help="local, or ray: workers of a Ray cluster (RAY_ADDRESS) share the work")
]
Gpus = Annotated[
    int, Parameter(name="--gpus", help="GPUs of this machine that share the work; on several machines use torchrun")
]


@dataclass(frozen=True)
class DetachedResult:
    """A run that goes on without the terminal."""

    log: Path  # what it says
    process: int  # number of the process; `kill` with it ends the run, and what was stored is safe


ON_PROCESSOR = "RUSHES_GPUS_ON_CPU"  # 1: processes on the CPU in place of GPUs, to try things out
LEFT_ALONE = 3  # exit code of a process whose partners are gone, and which has nothing to say itself
LOST = (
    "rushes: the processes lost connection to each other; run again with RUSHES_TRACEBACK=1 in the environment to "
    "see where"
)
RUN_ID = "rushes-"
PATIENCE_S = 2.0  # in which the first process says what is wrong, before a helper does


def led(folder: Path, gpus: int = 1, engine: EngineName = "local") -> bool:
    """Have a command done by several processes; True where nothing is left to do here, False where this one leads.

    Args:
        folder: of the project.
        gpus: how many processes are started, unless torchrun has done that.
        engine: "ray" = workers of a cluster share the work, and this process leads.

    Raises:
        ValueError: fewer than one, more than there are, or processes beside a cluster's workers.
    """
    if engine == "ray":
        if gpus != 1 or "RANK" in os.environ:
            raise ValueError("--engine ray: the cluster's workers share the work; leave out --gpus and torchrun")
        return False
    if "RANK" in os.environ:
        end_with_parent(_launcher())  # from here on: torch takes seconds to import, and the launcher may be killed then
        if os.environ["RANK"] == "0":
            return False
        _follow(folder)
        return True
    _check(gpus)
    if gpus == 1:
        return False
    code = _launch(gpus, sys.argv[1:])
    if code:
        sys.exit(code)
    return True


def _launcher() -> int:
    """The process of `--gpus` that started this one, by the name that it gave to their work; 0 = torchrun did."""
    name, mark, number = os.environ.get("TORCHELASTIC_RUN_ID", "").rpartition(RUN_ID)
    return int(number) if mark and not name and number.isdecimal() else 0


def detached(folder: Path) -> DetachedResult:
    """Start this command again in a session of its own, which goes on without the terminal.

    The log is locked as long as it works (`rushes status --follow` looks in).

    Raises:
        ValueError: another such command works on the project, or the log is a link.
    """
    log = own_path(folder, LOG)
    with log.open("a", encoding="utf-8") as file:
        try:
            hold(file.fileno(), wait=False)
        except BlockingIOError:
            raise ValueError(
                f"{log}: a detached run is already working; watch it with `rushes status {quote(str(folder))} --follow`"
            ) from None
        file.write(f"began at {now()}\n")  # the last line, where it is killed before it says anything
        file.flush()
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "rushes", *(text for text in sys.argv[1:] if text != "--detach")],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, DETACHED: "1"},
        )
    return DetachedResult(log, process.pid)


def lost_partners(error: BaseException) -> bool:
    """Whether an error says that another process of this work is gone: the one that failed says why."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1 or not isinstance(error, RuntimeError):
        return False
    return type(error).__module__.startswith(("torch.distributed", "torch._C._distributed")) or any(
        word in str(error) for word in ("gloo", "NCCL", "TCPStore", "Connection closed", "Connection reset")
    )


def say_lost() -> None:
    """What a process says whose partners are gone: nothing where `--gpus` started it, which says what happened."""
    if os.environ["RANK"] == "0" and not os.environ.get("TORCHELASTIC_RUN_ID", "").startswith(RUN_ID):
        print(LOST, file=sys.stderr)


def _follow(folder: Path) -> None:
    from rushes.project.processes import follow

    try:
        follow(folder)
    except Exception as error:
        if not lost_partners(error):
            time.sleep(PATIENCE_S)  # what concerns all the first process says, and this one is ended
        raise


def _check(gpus: int) -> None:
    if gpus < 1:
        raise ValueError(f"--gpus must be 1 or more, got {gpus}")
    if gpus == 1 or os.environ.get(ON_PROCESSOR) == "1":
        return
    import torch

    there = torch.cuda.device_count()
    if gpus > there:
        raise ValueError(
            f"--gpus {gpus}: torch sees {there or 'no'} GPU{'s' * (there > 1)} here; give at most {there or 1}"
        )


def _launch(processes: int, arguments: list[str]) -> int:
    """Run `rushes` with the same arguments in so many processes; the exit code.

    Where one of them dies the others are ended, and one sentence says which it was.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.disable()  # the agent tells of each failure and of each signal at length
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // processes)))
    with TemporaryDirectory(prefix="rushes-") as logs:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=processes,
            run_id=f"{RUN_ID}{os.getpid()}",
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=logs),
        )
        try:
            elastic_launch(config, sys.executable)("-P", "-m", "rushes", *arguments)
        except ChildFailedError as error:
            return _failed(error.failures, processes)
        except SignalException as stop:  # the processes got it too, and the first has said so
            return 128 + int(stop.sigval)
    return 0


def _failed(failures: Mapping[int, ProcessFailure], processes: int) -> int:
    """The exit code of processes of which some failed; says what they did not say themselves."""
    codes = {rank: failure.exitcode for rank, failure in failures.items()}
    for rank, code in codes.items():
        if code < 0 and code != -signal.SIGTERM:  # which is how the others are ended
            print(
                f"rushes: process {rank} of {processes} was ended by {signal.Signals(-code).name} (SIGKILL may mean "
                "that memory ran out), and the others were stopped: everything stored is safe, run the same command "
                "to continue",
                file=sys.stderr,
            )
            return 1
    spoke = [code for code in codes.values() if code > 0 and code != LEFT_ALONE]
    if not spoke:
        print(LOST, file=sys.stderr)
    return spoke[0] if spoke else 1
