"""What all commands share: common options, how work that goes on is shown, and how results are told."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from rushes.config.tables import Settings
from rushes.files import is_locked
from rushes.progress import Tick, duration, no_tick, waiting
from rushes.project.settings import DETACHED, SETTINGS_FILE
from rushes.ray_workers import EngineName
from rushes.records import lines_of, plain
from rushes.store.own_files import LOG
from rushes.text_reader import printable

if TYPE_CHECKING:
    from rushes.evaluate.result import EvaluateResult
    from rushes.project.project import OpenProject

ProjectFolder = Annotated[Path, Parameter(help="the project's folder")]
Overrides = Annotated[
    tuple[str, ...], Parameter(name="--set", negative=(), help="override a setting, as table.name=value; repeatable")
]
AsJson = Annotated[bool, Parameter(name="--json", help="print the result as one JSON object on standard output")]
Anonymous = Annotated[
    bool, Parameter(help="replace people's names by pseudonyms, the same in all exports of the project")
]
Strip = Annotated[bool, Parameter(help="remove metadata on place, device and person from the videos")]
RunOption = Annotated[str, Parameter(name="--run", help="name of the run; default: train.name of the settings")]

EITHER = Parameter(negative_bool="no-")  # an option that has a form for off, too

screen = Console(stderr=True)


def within(low: float, high: float = math.inf) -> Parameter:
    """A number from `low` to `high`, or several, and finite; no command reads another."""

    span = f"from {low:g} to {high:g}" if math.isfinite(high) else f"of {low:g} or more"

    def check(_: object, value: float | tuple[float, ...] | None) -> None:
        numbers = value if isinstance(value, tuple) else () if value is None else (value,)
        if not all(low <= number <= high and math.isfinite(number) for number in numbers):
            raise ValueError(f"give a number {span}")

    return Parameter(validator=check)


GE_0 = within(0)


def with_options(overrides: Sequence[str], **given: tuple[str, object]) -> tuple[str, ...]:
    """Overrides, and after them the settings that options of a command stand for.

    Args:
        overrides: as the user wrote them.
        given: by setting, with __ in place of its dot, the option and its value; None and "" where it was left out.

    Raises:
        ValueError: `--set` gives such a setting too.
    """
    values = {path.replace("__", "."): (option, value) for path, (option, value) in given.items()
              if value is not None and value != ""}  # fmt: skip
    for text in overrides:
        path, _, value = (part.strip() for part in text.partition("="))
        if path in values and value.strip("'\"") != str(values[path][1]):
            option, own = values[path]
            raise ValueError(f"{option} {own} and --set {path}={value} set the same thing; leave one of them out")
    return (*overrides, *(f"{path}={value}" for path, (_, value) in values.items()))


def refuse_unused(options: Mapping[str, object], kind: str) -> None:
    """Raise ValueError where an option is given that does nothing, as it is only for `kind`."""
    if given := [option for option, value in options.items() if value]:
        raise ValueError(f"{', '.join(given)}: only for {kind}; leave it out")


def bar(name: str, total: int) -> AbstractContextManager[Tick]:
    """See `shown`, on standard error."""
    return shown(name, total, screen)


def tell(result: Any, as_json: bool, lines: Sequence[str] | None = None, *, fails: object = False) -> None:
    """A result as JSON; or as lines, which name its entries unless given. `docs/json.md` has the types.

    Where it `fails`, the process ends with exit code 1.
    """
    if as_json:
        print(json.dumps(plain(result), allow_nan=False))
    else:
        for line in lines_of(result) if lines is None else lines:
            print(" ".join(printable(line).split("\n")))  # a line end in a row's text would begin a line of its own
    if fails:
        sys.exit(1)


def tell_stage(
    result: Any, as_json: bool, project: Path, settings: Settings, lines: Sequence[str] | None = None, *, run: str = ""
) -> None:
    """What a stage of a project did, in its lines or those given, and the command that comes next."""
    if as_json:
        return tell(result, as_json)
    in_words = getattr(result, "lines", None)  # of some results a count of a file's lines
    own = lines if lines is not None else in_words() if callable(in_words) else lines_of(result)
    tell(result, as_json, [*own, next_line(project, settings, run)])


def next_line(project: Path, settings: Settings, run: str = "") -> str:
    """Names the command that comes next in a project; `run`: in place of the one that the settings name."""
    from rushes.project.status import status_of

    return f"next: {status_of(project, settings, run).next}"


def say(line: str) -> None:
    """A line of progress, on standard error."""
    print(printable(line), file=sys.stderr, flush=True)


def say_changed(project: Path, settings: Settings) -> None:
    """Name the defaults that changed since the project was made. Where none can have, no table is loaded."""
    from rushes.config import held_defaults
    from rushes.text_reader import read_toml

    newest = held_defaults.VERSION
    if read_toml(project / SETTINGS_FILE).get(held_defaults.KEY, newest) == newest:
        return
    from rushes.project.held_settings import changed_in_words, changed_since

    if changes := changed_since(project, settings):
        say(changed_in_words(project, changes))


@contextmanager
def opened(folder: Path, settings: Settings, engine: EngineName = "local") -> Iterator[OpenProject]:
    """The project in a folder, closed at the end, and the processes that share its work, or a cluster's workers.

    Raises:
        ValueError: as `open_project` does, or a detached run works on the project.
    """
    if DETACHED not in os.environ and is_locked(folder / LOG):
        raise ValueError(
            f"{folder / LOG}: a detached run is working on this project; watch it with "
            f"`rushes status {quote(str(folder))} --follow`, and run this command when it has ended"
        )
    with waiting("loading PyTorch", say):
        from rushes.project.project import open_project
        from rushes.training.parallel import joined

    with joined() as ranks:
        if engine == "ray":
            from rushes.project.cluster import Cluster

            ranks = Cluster(device=ranks.device, folder=folder)
        project = open_project(folder, settings, bar, say, ranks)
        with closing(project.store):
            yield project
        ranks.send(None)  # the others have no more to do


def in_words(result: EvaluateResult) -> list[str]:
    """The verdict of an evaluation, and a line for each metric."""
    from rushes.evaluate.result import warned_verdict

    def end(value: float) -> str:
        return f"{value:+.4f}" if math.isfinite(value) else "unknown"

    better = {"lower": "lower is better", "higher": "higher is better", "neutral": "neither direction is better"}
    return warned_verdict(result) + [
        f"{name}: {row.base:.4f} -> {row.trained:.4f} ({row.difference:+.4f}, 95 % interval "
        f"{end(row.low)} to {end(row.high)}, n {row.n}, {better[row.better]})"
        for name, row in result.metrics.items()
    ]


EVERY_S = 60.0  # between two lines of a log
WINDOW_S = 900.0  # of the speed from which the time left follows: a step may take half a minute
BESIDE = 95  # characters of what stands beside a bar, at most


@contextmanager
def shown(name: str, total: int, screen: Console) -> Iterator[Tick]:
    """A bar of `total` parts on a terminal, else lines; nothing where nothing is to be done."""
    if not total:
        yield no_tick
    elif screen.is_terminal:
        with _on_terminal(name, total, screen) as tick:
            yield tick
    else:
        log = LogLines(name, total)
        yield log.tick
        log.end()


@contextmanager
def _on_terminal(name: str, total: int, screen: Console) -> Iterator[Tick]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(max(8, min(40, screen.width - BESIDE))),
        MofNCompleteColumn(),
        TextColumn("{task.fields[facts]}"),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    with Progress(*columns, console=screen, speed_estimate_period=WINDOW_S) as progress:
        task = progress.add_task(name, total=total, facts="")

        def tick(count: float, facts: str = "", /) -> None:
            progress.advance(task, count)
            if facts:
                progress.update(task, facts=facts)

        yield tick


class LogLines:
    """Lines on standard error: one at the start, one a minute while parts are done, and one at the end of a minute."""

    def __init__(self, name: str, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin; `clock` gives seconds."""
        self.name, self.total, self._clock = name, total, clock
        self.done, self._written = 0.0, clock()
        self._begun: tuple[float, float] | None = None  # time and parts at the first tick: what came before is no speed
        self._opened = self._written
        self._write(f"{name}: {total}")

    def tick(self, count: float, facts: str = "", /) -> None:
        """So many more parts are done."""
        self.done += count
        now = self._clock()
        begun = self._begun = self._begun or (now, self.done)
        if now - self._written < EVERY_S or self.done >= self.total:
            return
        self._written = now
        done = self.done - begun[1]
        left = [f"{duration((now - begun[0]) / done * (self.total - self.done))} left"] if done > 0 else []
        self._write(", ".join([f"{self.name}: {int(self.done)} of {self.total}", *([facts] if facts else []), *left]))

    def end(self) -> None:
        """What took more than a minute ends with a line."""
        took = self._clock() - self._opened
        if took >= EVERY_S:
            self._write(f"{self.name}: {int(self.done)} of {self.total}, after {duration(took)}")

    def _write(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)
