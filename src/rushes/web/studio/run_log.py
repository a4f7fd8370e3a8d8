"""The figures of one run as they grow: metrics.jsonl, read on from where it was read to."""

from __future__ import annotations

import math
import os
import threading
from array import array
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rushes.records import LARGEST, StepRow, parsed_row
from rushes.report.curves import is_number
from rushes.training.history import SPEED_STEPS, last_rows, speed

POINTS = 2000  # of a curve that are sent at once; a screen has fewer pixels
HEALTH_ROWS = 6000  # plain rows, and rows with held-out figures, that diagnoses of a long run are made from
_TAIL = 2048  # bytes before the place that was read to, by which a file that was cut and went on is noticed
_CHUNK = 1 << 20  # bytes that are read at once
_RARE = ("held_out/", "samples/")  # begin keys of rows that are not plain


@dataclass
class Series:
    """One figure: steps, and its values there."""

    steps: array[float] = field(default_factory=lambda: array("d"))
    values: array[float] = field(default_factory=lambda: array("d"))
    low: float = math.inf
    high: float = -math.inf

    def add(self, step: int, value: float) -> None:
        """The next point."""
        self.steps.append(step)
        self.values.append(value)
        if value < self.low:
            self.low = value
        if value > self.high:
            self.high = value

    def after(self, step: float) -> tuple[list[float], list[float]]:
        """Steps above `step` and their values, at most about `POINTS`."""
        at = bisect_right(self.steps, step)
        return thinned(np.array(self.steps[at:]), np.array(self.values[at:]))


def thinned(steps: np.ndarray, values: np.ndarray, most: int = POINTS) -> tuple[list[float], list[float]]:
    """Points [N] of a curve in their order, at most `most` of them (at least 4): ends, and of each bucket the lowest
    and the highest, so that no spike is lost."""
    count = len(steps)
    if count <= most:
        return steps.tolist(), values.tolist()
    size = math.ceil(count / ((most - 2) // 2))
    buckets = np.pad(values, (0, -count % size), mode="edge").reshape(-1, size)
    first = np.arange(len(buckets)) * size
    chosen = np.concatenate([[0, count - 1], first + buckets.argmin(1), first + buckets.argmax(1)])
    places = np.unique(np.minimum(chosen, count - 1))
    return steps[places].tolist(), values[places].tolist()


class RunLog:
    """A run's metrics.jsonl. Only what was added is read; a file that was cut for a resume is read again.

    It is never locked and never written; a line that is half written waits for its end. Threads may share it.

    Attributes:
        generation: grows whenever all that was read before is void.
        rows: a part of the rows, even over the run, for diagnoses (`HEALTH_ROWS`).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = threading.RLock()
        self.generation = 0
        self._forget()

    def _forget(self) -> None:
        self.generation += 1
        self.series: dict[str, Series] = {}
        self.rows: list[StepRow] = []
        self.unread = self.count = 0
        self.not_finite: set[str] = set()
        self.last: Mapping[str, Any] = {}
        self._recent: list[StepRow] = []
        self._first: float | None = None  # step of the first row
        # By whether rows are rare: how many there were, how many are in `rows`, and of how many one is taken.
        self._met, self._held, self._stride = ({False: start, True: start} for start in (0, 0, 1))
        self._end, self._before, self._state = 0, b"", (0, 0, 0)

    @property
    def step(self) -> int:
        """That was done last."""
        return int(self.last.get("step", 0))

    @property
    def seconds(self) -> float | None:
        """That a step takes, see `speed`."""
        return speed(self._recent)

    def figures(self) -> list[str]:
        """Figures that are curves; what the first row alone holds was known before the first step."""
        first = self._first if self.count > 1 else None
        return [key for key, series in self.series.items() if len(series.steps) > 1 or series.steps[0] != first]

    def still(self) -> set[str]:
        """Figures that never changed."""
        return {key for key, series in self.series.items() if series.low == series.high}

    def catch_up(self) -> None:
        """Read what was added since. Raises OSError for a file that cannot be read; a missing one has no rows."""
        with self.lock:
            try:
                handle = os.open(self.path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
            except FileNotFoundError:
                if self.count:
                    self._forget()
                return
            with open(handle, "rb") as file:
                facts = os.fstat(handle)
                state = (facts.st_ino, facts.st_size, facts.st_mtime_ns)
                if state == self._state:
                    return
                file.seek(max(0, self._end - len(self._before)))
                if facts.st_size < self._end or file.read(len(self._before)) != self._before:
                    self._forget()
                    file.seek(0)
                self._state, torn = state, b""
                while chunk := file.read(_CHUNK):
                    *lines, torn = (torn + chunk).split(b"\n")
                    for line in lines:
                        self._take(line)
                    self._end += sum(map(len, lines)) + len(lines)
                    self._before = b"".join([self._before, *(line + b"\n" for line in lines)])[-_TAIL:]

    def _take(self, line: bytes) -> None:
        row = parsed_row(line)
        if row is None:
            self.unread += bool(line.strip())
            return
        step = row["step"]
        self._first = step if self._first is None else self._first
        for key, value in row.items():
            if key == "step" or not is_number(value):
                continue
            if not abs(value) < LARGEST:
                self.not_finite.add(key)
                continue
            series = self.series.get(key)
            if series is None:
                series = self.series[key] = Series()
            series.add(step, float(value))
        self._sample(row)
        self._recent.append(row)
        if len(self._recent) > 2 * SPEED_STEPS:
            del self._recent[:SPEED_STEPS]
        self.last, self.count = row, self.count + 1

    def _sample(self, row: StepRow) -> None:
        """Keep a row for diagnoses: the first ones, and of plain and of rare ones every first, second, fourth, ..."""
        rare = _is_rare(row)
        if self.count < 3 or self._met[rare] % self._stride[rare] == 0:
            self.rows.append(row)
            self._held[rare] += 1
        self._met[rare] += 1
        if self._held[rare] > HEALTH_ROWS:
            alike = [at for at, each in enumerate(self.rows) if at > 2 and _is_rare(each) == rare]
            dropped = set(alike[1::2])
            self.rows = [each for at, each in enumerate(self.rows) if at not in dropped]
            self._held[rare] -= len(dropped)
            self._stride[rare] *= 2

    def health_rows(self) -> Sequence[StepRow]:
        """Rows for diagnoses, the last one always among them."""
        with self.lock:
            recent = self._recent[-1:] if self.rows and self.rows[-1] is not self._recent[-1] else []
            return [*self.rows, *recent]


def last_row(path: Path) -> StepRow:
    """The last row of a metrics.jsonl, of which the end alone is read; empty where there is none."""
    with suppress(OSError, IndexError):
        return last_rows(path)[-1]
    return {}


def _is_rare(row: StepRow) -> bool:
    return "diagnoses" in row or any(key.startswith(_RARE) for key in row)
