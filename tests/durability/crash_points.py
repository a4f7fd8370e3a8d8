"""Each write of a stage in turn: the process ends there, or the write fails, and the stage is run again.

A write is whatever a power cut or a full disk may come before: a file that is opened to be written, gets its name, is
forced to the disk or removed, a folder, and each transaction of SQLite. The count is made in the process that works, by
the interpreter's audit hooks and SQLite's statements, so that no code of the stages is asked where its writes are.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from rushes.lab.claims.evidence import read_evidence
from rushes.store.database import Store
from rushes.text_reader import checked_text

from ..forked import start_into
from ..projects import PROGRAM, SMALL, Result, new_project, read_contents, without_clock

How = Literal["kill", "ENOSPC", "EACCES", "EIO"]
HOWS: tuple[How, ...] = ("kill", "ENOSPC", "EACCES", "EIO")

COUNT = """
import errno, os, signal, sqlite3, sys

seen = 0
sqlite_of = {"ENOSPC": "SQLITE_FULL", "EACCES": "SQLITE_READONLY", "EIO": "SQLITE_IOERR"}

def comes(database=False):
    global seen
    seen += 1
    if seen != nth:
        return
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if database:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorname = sqlite_of[how]
        raise error
    raise OSError(getattr(errno, how), os.strerror(getattr(errno, how)))

def of_project(path):
    return isinstance(path, (str, bytes)) and place in os.path.abspath(os.fsdecode(path))

def hook(event, parameters):
    if event == "open":
        path, mode, flags = parameters
        writes = set(mode) & set("wax+") if mode else flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if writes and of_project(path):
            comes()
    elif event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink"):
        if of_project(os.fspath(parameters[0])):
            comes()

synced = os.fsync

def fsync(handle):
    comes()
    synced(handle)

class Counted(sqlite3.connect.keywords["factory"] if hasattr(sqlite3.connect, "keywords") else sqlite3.Connection):
    def _changes(self, statement):
        word = statement.lstrip().split(None, 1)[0].upper()
        alone = word in ("INSERT", "UPDATE", "DELETE", "REPLACE", "CREATE") and not self.in_transaction
        return word == "COMMIT" or alone

    def execute(self, statement, *values):
        changes = self._changes(statement)
        if changes:
            comes(database=True)
        rows = super().execute(statement, *values)
        if changes and how == "kill":
            comes()  # the transaction is there, and nobody was told
        return rows

    def executemany(self, statement, *values):
        if self._changes(statement):
            comes(database=True)
        return super().executemany(statement, *values)

opened = getattr(sqlite3.connect, "func", sqlite3.connect)

def connect(*arguments, **keys):
    return opened(*arguments, **{**keys, "factory": Counted})

os.fsync = fsync
sqlite3.connect = connect
sys.addaudithook(hook)

import multiprocessing.util, pathlib
pathlib.Path(counted).unlink(missing_ok=True)
def leave():
    with os.fdopen(os.open(counted, os.O_WRONLY | os.O_CREAT), "w") as file:
        file.write(str(seen))
multiprocessing.util.Finalize(None, leave, exitpriority=0)
"""


# What the labelling page does of a person's answers, without the browser: what is printed was acknowledged.
LABEL = """
exec(before)
from pathlib import Path
from rushes.project.labeling_page import open_labeling_session
from rushes.project.settings import read_settings
from rushes.web.labeling.label_rows import LabelSubmission

folder = Path(arguments[0])
with open_labeling_session(folder, read_settings(folder, ["label.by=human"])) as session:
    while item := session.next("ada"):
        marks = {name: (1,) * session.segments(item) for name in session.plan.dimensions}
        session.save("ada", item.id, LabelSubmission(f"event-{item.id}", item.event, marks))
        print(item.left, item.right, flush=True)
"""

# `reproduce` of one arm on one seed, whose workers are this process: another's writes are not counted.
ONE_ARM = """
from concurrent.futures import Future
from dataclasses import replace
from rushes.lab.claims import run
from rushes.lab.claims.hypotheses import CLAIMS

class Here:
    def __init__(self, jobs, begin, *values):
        begin(*values)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def submit(self, work, *values):
        future = Future()
        try:
            future.set_result(work(*values))
        except Exception as error:
            future.set_exception(error)
        return future

whole = CLAIMS["dfdpo"]
hypotheses = tuple(each for each in whole.hypotheses if {each.arm, each.against} == {"base", "dfdpo"})
CLAIMS["dfdpo"] = replace(whole, arms=(whole.arm("dfdpo"),), hypotheses=hypotheses)
run.BUDGETS["small"] = run.Budget(1, ("dfdpo",), clips=2, prompts=1, steps=1, batch=1)
run.worker_pool = Here
"""
COMMANDS = ("import", "generate", "label", "train", "evaluate")  # of which a stage has some behind it


@dataclass(frozen=True)
class Work:
    """A stage, how many of `COMMANDS` come before it, and what it is run with beside the project's folder."""

    name: str
    behind: int
    arguments: Callable[[Path], Sequence[object]]
    program: str = PROGRAM


@dataclass(frozen=True)
class Difference:
    """A point after which something was not as it should be."""

    work: str
    how: How
    point: int
    what: str


def _plain(command: str, folder: Path) -> list[object]:
    return [command, folder]


WORKS = (
    *(Work(name, behind, partial(_plain, name)) for behind, name in enumerate((*COMMANDS, "report"))),
    Work("export", 4, lambda folder: ["export", folder, "--out", folder / "out", "--run", "realdpo"]),
    Work("cache reference", 2, lambda folder: ["cache", "reference", folder, "--set=train.reference_cache=2"]),
    # Its workers write nothing, and take seconds to start: tests/test_worker_pool.py has how they end.
    Work("curate", 1, lambda folder: ["curate", folder, '--set=curate.stages=["technical"]', "--jobs", 1]),
    Work("backup", 3, lambda folder: ["backup", folder, folder.with_name("copy")]),
    Work("label page", 2, lambda folder: [folder], LABEL),
    Work("reproduce", 0, lambda folder: ["reproduce", "--out", folder / "reproduce"], ONE_ARM + PROGRAM),
)
TINY = SMALL.model_copy(
    update={
        "footage": SMALL.footage.model_copy(update={"clips": 2, "eval_prompts": 1}),
        "train": SMALL.train.model_copy(update={"steps": 2, "batch": 1, "checkpoint_every": 1, "held_out": 0}),
        "evaluate": SMALL.evaluate.model_copy(update={"prompts": 1}),
    }
)


class Bench:
    """A folder in which projects are made, stopped and run again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, program: str, arguments: Sequence[object], nth: int = 0, how: How = "kill") -> Result:
        """Run a command in a process that ends, or cannot write, at its nth write (0 = at none)."""
        out, err, counted = (self.folder / name for name in ("out", "err", "counted"))
        place = str(self.folder / "work")
        before = f"nth, how, place, counted = {nth}, {how!r}, {place!r}, {str(counted)!r}\n{COUNT}"
        process = start_into(out, err, program, arguments=[str(text) for text in arguments], before=before)
        process.join(300)
        if process.exitcode is None:
            process.kill()
            raise AssertionError(f"{arguments}: hangs")
        return Result(process.exitcode, out.read_text(), err.read_text())

    def points(self) -> int:
        """How many writes the command that ran last has made."""
        return int((self.folder / "counted").read_text())

    def before(self, behind: int) -> Path:
        """A project in which so many commands have run."""
        folder = self.folder / f"after-{behind}"
        if not folder.exists():
            if behind == 0:
                return new_project(folder, TINY)
            at = self.folder / "work" / "project"
            self.fresh(self.before(behind - 1))
            result = self.run(PROGRAM, [COMMANDS[behind - 1], at])
            assert result.code == 0, result.err
            shutil.copytree(at, folder)
        return folder

    def fresh(self, before: Path) -> Path:
        """A copy of a project to work on."""
        shutil.rmtree(self.folder / "work", ignore_errors=True)
        return Path(shutil.copytree(before, self.folder / "work" / "project"))


def state(folder: Path) -> dict[str, object]:
    """What must be equal: rows, curves, weights, latents, media; and the bytes of what is given away."""
    whole: dict[str, object] = dict(read_contents(folder))
    for place in ("out", "bank"):
        for path in sorted((folder / place).rglob("*")) if (folder / place).is_dir() else ():
            if path.is_file():
                whole[f"{place}/{path.relative_to(folder / place)}"] = hashlib.sha256(path.read_bytes()).hexdigest()
    for part in (folder.with_name("copy"), *sorted((folder / "reproduce").glob("seed-*"))):
        if part.is_dir():
            whole |= {f"{part.name}: {name}": value for name, value in read_contents(part).items()}
    results = (path for part in ("*", "results/*/*") for path in (folder / "reproduce").glob(part) if path.is_file())
    return whole | {str(path.relative_to(folder)): _result(path) for path in results}


def _result(path: Path) -> object:
    """What must be equal in a file that `reproduce` writes beside its projects."""
    if path.suffix == ".json":
        return without_clock(json.loads(checked_text(path, "")))
    if path.suffix == ".parquet":
        evidence = read_evidence(path)
        return {arm: {at: replace(each, seconds=0.0) for at, each in of.items()} for arm, of in evidence.items()}
    return hashlib.sha256(path.read_bytes()).hexdigest()


def leftovers(folder: Path) -> list[str]:
    """Files that only a stopped write has."""
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.name.endswith(".part") or path.name.startswith(".tmp")
    )


def differences(
    bench: Bench, work: Work, hows: Sequence[How] = HOWS, most: int = 0, tick: Callable[[], None] = lambda: None
) -> tuple[int, list[Difference]]:
    """Try the points of a stage: how many were tried, and what was not as it should be.

    Args:
        bench: where.
        work: the stage.
        hows: what comes at a point.
        most: points that are tried of each of these, evenly spread; 0 = all.
        tick: called after each.
    """
    before = bench.before(work.behind)
    folder = bench.fresh(before)
    result = bench.run(work.program, work.arguments(folder))
    assert result.code == 0, result.err
    count, wanted = bench.points(), state(folder)
    bad, tried = list[Difference](), 0
    for at, how in enumerate(hows):
        stride = max(1, count // most) if most else 1
        for nth in range(1 + (at + stride // 2) % stride, count + 1, stride):
            folder = bench.fresh(before)
            bad += [Difference(work.name, how, nth, what) for what in _tried(bench, work, folder, nth, how, wanted)]
            tried += 1
            tick()
    return tried, bad


def _tried(bench: Bench, work: Work, folder: Path, nth: int, how: How, wanted: Mapping[str, object]) -> Iterator[str]:
    """What is not as it should be after one point."""
    stopped = bench.run(work.program, work.arguments(folder), nth, how)
    # A slow run may have a few writes more than a quick one: what was compared with its hash a while after it was
    # written is remembered.
    if how == "kill" and stopped.code != -signal.SIGKILL and (stopped.code or bench.points() >= nth):
        yield f"exit {stopped.code}, not killed: {stopped.err[-300:]}"
    if work.program != LABEL and "Traceback" in stopped.err:
        yield f"a traceback: {stopped.err[-500:]}"
    if work.program != LABEL and how != "kill" and stopped.code not in (0, 1, 2):
        yield f"exit {stopped.code}: {stopped.err[-300:]}"
    if work.program == LABEL and (lost := _unlabelled(folder, stopped.out)):
        yield f"acknowledged and lost: {lost}"
    again = bench.run(work.program, work.arguments(folder))
    if again.code:
        yield f"does not go on, exit {again.code}: {again.err[-500:]}"
        return
    ended: Mapping[str, object]
    try:
        ended = state(folder)
    except Exception as error:  # a file that is not whole
        yield f"{type(error).__name__}: {error}"
        return
    if work.program == LABEL:  # items have ids by chance, so pairs are compared and not rows
        wanted, ended = ({"pairs": _pairs(rows)} for rows in (wanted, ended))
    for name in sorted(wanted.keys() | ended.keys()):
        if wanted.get(name) != ended.get(name):
            yield f"{name} differs"
    if left := leftovers(folder.parent):
        yield f"left over: {', '.join(left)}"


def _pairs(contents: Mapping[str, object]) -> list[tuple[str, ...]]:
    rows = contents["Preference"]
    assert isinstance(rows, list)
    return sorted((*sorted((row.left, row.right)), row.judge) for row in rows)


def _unlabelled(folder: Path, acknowledged: str) -> list[str]:
    with Store.open(folder) as store:
        stored = {frozenset((row.left, row.right)) for row in store.preferences() if row.judge == "human:ada"}
    return [line for line in acknowledged.splitlines() if frozenset(line.split()) not in stored]
