"""A small project, commands in processes that can be killed, and what of a project must not depend on that."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import pytest
from safetensors.torch import load_file

from rushes.cli import main
from rushes.config.tables import (
    BackboneSettings,
    EvaluateSettings,
    FootageSettings,
    GenerateSettings,
    LabelSettings,
    ReportSettings,
    Settings,
    TrainSettings,
)
from rushes.files import content_hash
from rushes.project.project import OpenProject
from rushes.project.settings import write_settings
from rushes.records import Candidate, Clip, Preference, Run, Score
from rushes.store.database import Store
from rushes.store.latents import LatentStore
from rushes.text_reader import checked_text
from rushes.training.history import read_history

from .forked import start_into

STAGES = ("import", "generate", "label", "train", "evaluate", "report")
KINDS = (Clip, Candidate, Preference, Score, Run)
_SMALL = Settings(
    backbone=BackboneSettings(frames=17),
    footage=FootageSettings(clips=6, eval_prompts=3),
    generate=GenerateSettings(takes=2, steps=2, batch=4),
    label=LabelSettings(by="world"),
    train=TrainSettings(
        recipe="realdpo", steps=4, batch=2, learning_rate=1e-4, checkpoint_every=2, held_out=1, options={"beta": 100.0}
    ),
    evaluate=EvaluateSettings(prompts=3, steps=2),
    report=ReportSettings(cases=1),
)
# With every setting given, as in a file that was written: none is left to the model's own.
SMALL = Settings.model_validate(_SMALL.model_dump())

# Of a row of curves or a result, what differs between equal runs; the checksum is of the clocks too.
CLOCKS = ("seconds", "memory_gib", "crc")

# Runs in the process of the command: what is patched there is the moment of the blow, and nothing else.
PROGRAM = """
import os, signal, sys
exec(before)
from rushes.cli import main
main(arguments)
"""

# What root may do beside what the modes of files say goes.
AS_A_USER = """
import ctypes
assert ctypes.CDLL(None).capset((ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()) == 0
"""

# The command line of a machine that has no torch; sys.argv holds the arguments.
WITHOUT_TORCH = """
import subprocess
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ImportError("torch is blocked")

sys.meta_path.insert(0, Blocked())
from rushes.cli import main
main()
"""

# before the nth file of which the path has `part` gets its name or more text, or after the nth commit of rows of a kind
STOP = """
seen = 0

def strike(name):
    global seen
    seen += part in name
    if seen == nth and part in name:
        seen += 1  # once
        os.kill(os.getpid(), stop)

def hook(event, parameters):
    if event == "os.rename":
        strike(str(parameters[1]))
    if event == "open" and parameters[1] == "a":
        strike(str(parameters[0]))

from rushes.store.database import Store
add = Store.add

def struck(self, rows):
    rows = list(rows)
    count = add(self, rows)
    strike("commit " + type(rows[0]).__name__ if rows else "")
    return count

sys.addaudithook(hook)
Store.add = struck
"""


@dataclass(frozen=True)
class Result:
    """How a command ended: negative codes are signals."""

    code: int
    out: str
    err: str


class Command(Protocol):
    """Run the command line with these arguments, after the text of a program `before`."""

    def __call__(self, *arguments: object, before: str = "") -> Result: ...


@pytest.fixture(scope="session")
def command(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """Run the command line in a process of its own, forked from one that has imported all of it."""
    folder = tmp_path_factory.mktemp("output")

    def run(*arguments: object, before: str = "") -> Result:
        out, err = folder / "out", folder / "err"
        process = start_into(out, err, PROGRAM, arguments=[str(text) for text in arguments], before=before)
        process.join(120)
        assert process.exitcode is not None, "the command hangs"
        return Result(process.exitcode, out.read_text(), err.read_text())

    return run


class Rushes(Protocol):
    """Run a command in this process: exit code, standard output, standard error."""

    def __call__(self, *arguments: object) -> tuple[int, str, str]: ...


@pytest.fixture
def rushes(capsys: pytest.CaptureFixture[str]) -> Rushes:
    def run(*arguments: object) -> tuple[int, str, str]:
        code = 0
        try:
            main([str(text) for text in arguments])
        except SystemExit as end:
            code = int(end.code or 0)
        output = capsys.readouterr()
        return code, output.out, output.err

    return run


class WithoutTorch(Protocol):
    """Run a command in a process of its own that cannot import torch."""

    def __call__(self, *arguments: object) -> subprocess.CompletedProcess[str]: ...


def changed(project: OpenProject, table: str, **changes: object) -> OpenProject:
    """The project in a later start, with other settings in a table."""
    settings = project.settings
    new = getattr(settings, table).model_copy(update=changes)
    return OpenProject(project.store, settings.model_copy(update={table: new}))


class Stop(Protocol):
    """Program text that stops the command at the nth time that a file or a commit of this name is there."""

    def __call__(self, part: str, nth: int = 1, by: signal.Signals = signal.SIGKILL) -> str: ...


@pytest.fixture(scope="session")
def stop() -> Stop:
    def make(part: str, nth: int = 1, by: signal.Signals = signal.SIGKILL) -> str:
        return f"part, nth, stop = {part!r}, {nth}, {int(by)}\n{STOP}"

    return make


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project that has settings and nothing else."""
    return new_project(tmp_path / "project", SMALL)


def new_project(folder: Path, settings: Settings) -> Path:
    Store.create(folder).close()
    write_settings(folder, settings)
    return folder


class SmallProject:
    """Settings that make a project of seconds, and a project folder with any settings."""

    settings = SMALL
    new_project = staticmethod(new_project)


@pytest.fixture(scope="session")
def small() -> SmallProject:
    return SmallProject()


def of_all_workers(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that is made once, by the worker of the suite that asks first; the others wait for it."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            make(folder)
            (folder / "complete").touch()
    return folder


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, command: Command) -> Path:
    """A project that went through all stages without a stop. Do not write to it."""

    def make(folder: Path) -> None:
        result = command("run", new_project(folder / "project", SMALL), "--json")
        assert result.code == 0, result.err

    return of_all_workers(tmp_path_factory, "finished", make) / "project"


@dataclass(frozen=True)
class Stage:
    """A project before one stage and after it; read only."""

    before: Path
    after: Path


@pytest.fixture(scope="session")
def stages(tmp_path_factory: pytest.TempPathFactory, command: Command) -> dict[str, Stage]:
    """Every stage of a project that went through them by one command each, without a stop."""

    def make(folder: Path) -> None:
        at = new_project(folder / "new", SMALL)
        for name in STAGES:
            at = Path(shutil.copytree(at, folder / name))
            result = command(name, at)
            assert result.code == 0, result.err

    folder = of_all_workers(tmp_path_factory, "stages", make)
    return {name: Stage(folder / before, folder / name) for before, name in pairwise(("new", *STAGES))}


ReadContents = Callable[[Path], dict[str, Any]]  # of each kind of rows and of each file, in any form that has an ==


@pytest.fixture(scope="session")
def contents() -> ReadContents:
    """Everything in a project that must be the same however often its stages were stopped."""
    return read_contents


def read_contents(project: Path) -> dict[str, Any]:
    check_whole(project)
    with Store.open(project) as store:
        found: dict[str, Any] = {kind.__name__: [undated(row) for row in store.stream(kind)] for kind in KINDS}
    found["media"] = sorted(path.name for path in (project / "media").rglob("*.mp4"))
    for path in (project / "runs").rglob("*"):
        if path.suffix == ".safetensors":
            # not the bytes: safetensors writes its metadata in any order
            found[path.name] = {name: tensor.numpy().tobytes() for name, tensor in load_file(path).items()}
        elif path.suffix == ".jsonl":
            found[path.name] = [without_clock(row) for row in read_history(path, ended=True)]
    for path in (project / "reports").glob("*.json"):
        found[path.name] = without_clock(json.loads(checked_text(path, "")))
    found["latents"] = {key: latent.numpy().tobytes() for store in latent_stores(project) for key, latent in store}
    return found


def undated(row: Any) -> Any:
    if isinstance(row, Run):
        return replace(row, created_at="", seconds=0.0)
    return replace(row, created_at="") if isinstance(row, Preference) else row


def without_clock(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in (*CLOCKS, "made_at")}


def latent_stores(project: Path) -> Iterator[list[tuple[str, Any]]]:
    for name in sorted({path.name.split("-")[0] for path in (project / "latents").glob("*.safetensors")}):
        store = LatentStore(project / "latents", name)
        assert store.verify() == ()
        yield [(key, store.get(key)) for key in store]


def check_whole(project: Path) -> None:
    """Whatever happened: the database is sound, and every file that has a name is whole."""
    with sqlite3.connect(project / "rushes.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    database.close()
    for path in (project / "media").rglob("*.mp4"):
        assert path.name.startswith(".") or content_hash(path) == path.stem
    for path in (*(project / "reports").glob("*.json"), *project.glob("*.json")):
        json.loads(checked_text(path, ""))
    for _ in latent_stores(project):
        pass


@pytest.fixture(scope="session")
def whole() -> Callable[[Path], None]:
    return check_whole
