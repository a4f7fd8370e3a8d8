"""How work that goes on is shown: a bar on a terminal, and in a log a line a minute."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from rushes.progress import Tick, duration, no_tick

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
