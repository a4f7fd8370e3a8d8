"""Programs in processes of their own, forked from one that has imported all of Rushes: for tests to which it does not
matter how a process starts, as a start of the interpreter's own costs seconds of imports."""

from __future__ import annotations

import multiprocessing
import os
import shlex
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

# torch._dynamo is what the first optimiser imports, the next two what an adapter and a pipeline of diffusers take, and
# pandas what pyarrow imports for a table of rows.
IMPORTED = [
    *("rushes.project.runs", "rushes.cli", "rushes.cli.project", "rushes.cli.labelling", "rushes.cli.evaluation"),
    *("torch._dynamo", "peft", "diffusers.pipelines.wan.pipeline_wan", "pandas"),
]

# Tests end processes and never the machine, and what the kernel has is there for all: nobody need wait for the disk at
# each write, which took some tests longer than all else. The tests' own process runs this too, see `conftest.py`;
# processes that are started otherwise do wait.
NO_WAIT = """
import functools, os, sqlite3

class NoWait(sqlite3.Connection):
    def execute(self, statement, *values):
        waits = statement.startswith("PRAGMA synchronous =")
        return super().execute("PRAGMA synchronous = OFF" if waits else statement, *values)

os.fsync = lambda handle: None
sqlite3.connect = functools.partial(sqlite3.connect, factory=NoWait)
"""

OUTPUT = """
import os
for number, path in ((1, out), (2, err)):
    os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
"""

SCRIPT = """
import os, runpy, sys
sys.argv = arguments
sys.path.insert(0, os.path.dirname(arguments[0]))
runpy.run_path(arguments[0], run_name="__main__")
"""

RANK = """
import os
told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
os.environ.update({name: str(value) for name, value in told.items()} if size > 1 else {})
"""

# Forks for every command that comes: with its arguments, in its folder, on its pipes; the exit code goes back.
SERVER = """
import json, os, signal, socket, sys, traceback
from rushes.cli import main

def answer(connection):
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, ends, _, _ = socket.recv_fds(connection, 1, 3)
    for number, end in enumerate(ends):
        os.dup2(end, number)
        os.close(end)
    with connection.makefile() as request:
        folder, *sys.argv = json.load(request)
    os.chdir(folder)
    code = 0
    try:
        main()
    except SystemExit as stop:
        code = stop.code or 0
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    connection.sendall(str(code).encode())

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
while True:
    connection, _ = listener.accept()
    if os.fork() == 0:
        answer(connection)
        os._exit(0)
    connection.close()
"""
CLIENT = """
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect(sys.argv[1])
    socket.send_fds(server, [b"."], [0, 1, 2])
    server.sendall(json.dumps([os.getcwd(), "rushes", *sys.argv[2:]]).encode())
    server.shutdown(socket.SHUT_WR)
    sys.exit(int(server.recv(9) or 1))
"""


def start(program: str, **names: Any) -> BaseProcess:
    """Run the text of a program that knows these names."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    process = context.Process(target=exec, args=(NO_WAIT + program, names))
    process.start()
    return process


def start_into(out: Path, err: Path, program: str, **names: Any) -> BaseProcess:
    """The same, with what it prints in files or named pipes."""
    return start(OUTPUT + program, out=str(out), err=str(err), **names)


def run_ranks(size: int, outputs: Path, program: str, **names: Any) -> list[str]:
    """Run so many processes that know of each other, as torchrun would tell them; what each printed.

    Their output goes into a folder. All must end well.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    files = [(outputs / f"out-{rank}", outputs / f"err-{rank}") for rank in range(size)]
    started = [
        start_into(*files[rank], RANK + program, rank=rank, size=size, port=port, **names) for rank in range(size)
    ]
    while alive := [process.sentinel for process in started if process.exitcode is None]:
        wait(alive)
        if any(process.exitcode for process in started):  # the others would wait for it for ever
            for process in started:
                process.kill()
    assert [process.exitcode for process in started] == [0] * size, [err.read_text()[-3000:] for _, err in files]
    return [out.read_text() for out, _ in files]


@contextmanager
def rushes_in_bash() -> Iterator[str]:
    """A line for a script of bash's, after which `rushes` is such a process."""
    with TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        address = os.path.join(folder, "rushes")
        listener.bind(address)
        listener.listen()
        server = start(SERVER, listener=listener)
        try:
            yield f'rushes() {{ {shlex.join([sys.executable, "-IS", "-c", CLIENT, address])} "$@"; }}\n'
        finally:
            server.kill()
            server.join()
            server.close()
