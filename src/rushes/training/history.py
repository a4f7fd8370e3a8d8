"""metrics.jsonl, the one truth about a run's figures."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from rushes.files import append_text, with_checksum
from rushes.records import StepRow, parsed_row
from rushes.text_reader import checked_text, parse_json

SPEED_STEPS = 20
_TAIL_BYTES = 128 * 1024
CURVES, WEIGHTS, SHORTCUTS = "metrics.jsonl", "weights.safetensors", "shortcuts.json"  # in a run's folder
LOCK = ".lock"  # there, which a process holds as long as it trains the run
MEASURE_AGAIN = "delete it, then run `rushes check-shortcuts` again"
_FORMER_FILE = "leak.json"


class History:
    """One row a step, on the disk as soon as the step is done: whoever looks on sees a run move.

    A checkpoint is never ahead of the rows that lead to it: `flush(durable=True)` comes before it. Rows behind it, of a
    run that was stopped, are cut when the run goes on.
    """

    def __init__(self, path: Path, start: int, *, writes: bool = True) -> None:
        """Take up the rows of steps up to `start`; none where nothing has been done yet.

        `writes`: of several processes that train together, one writes.
        """
        self.path, self._writes = path, writes
        path.parent.mkdir(parents=True, exist_ok=True)
        self.rows, end = _rows_up_to(path, start) if start else ([], 0)
        self._written = len(self.rows)
        if writes and path.is_file() and path.stat().st_size != end:
            os.truncate(path, end)

    def add(self, row: Mapping[str, Any]) -> StepRow:
        """Add a row and return it as it will be read again: seven digits, as small figures matter and rounding not."""
        self.rows.append({key: float(f"{v:.7g}") if isinstance(v, float) else v for key, v in row.items()})
        return self.rows[-1]

    def flush(self, durable: bool = False) -> None:
        """Append the rows that were added since; `durable` waits for the disk, which a step need not."""
        if self._writes:
            new = "".join(with_checksum(json.dumps(row)) + "\n" for row in self.rows[self._written :])
            append_text(self.path, new, durable=durable)
        self._written = len(self.rows)


def read_history(path: Path, *, ended: bool = False) -> list[StepRow]:
    """The rows of a metrics.jsonl; none where there is no such file.

    A last line that is being written is not read; nothing writes to the file of a run that has `ended`.

    Raises:
        ValueError: a line that is not a row.
    """
    return [row for row, _ in _read(path, ended=ended)]


def last_rows(path: Path) -> list[StepRow]:
    """The rows in the last 128 KiB of a metrics.jsonl, without those before; none where there is no such file. Lines
    that are no rows are passed over: `read_history` names them.

    Raises OSError: a link, or a file that cannot be read.
    """
    if not path.is_file():
        return []
    with open(os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)), "rb") as file:
        start = max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES)
        file.seek(start)
        lines = file.read(_TAIL_BYTES).split(b"\n")[bool(start) : -1]  # a part of one, and one that is being written
    return [row for line in lines if (row := parsed_row(line)) is not None]


def _rows_up_to(path: Path, step: int) -> tuple[list[StepRow], int]:
    """Rows up to a step, and where the line of the last of them ends, a byte; what lies behind it need not be sound."""
    rows, end = list[StepRow](), 0
    for row, here in _read(path, step):
        if row["step"] <= step:
            rows.append(row)
            end = here
    return rows, end


def _read(path: Path, last: int | None = None, ended: bool = False) -> Iterator[tuple[StepRow, int]]:
    """Rows with the ends of their lines, up to that of step `last`, which a run that goes on must have."""
    *lines, torn = path.read_bytes().split(b"\n") if path.is_file() else [b""]
    end = 0
    for number, line in enumerate([*lines, torn] if torn and (ended or last is not None) else lines, 1):
        end += len(line) + 1
        row = parsed_row(line)
        if row is None:
            raise ValueError(
                f"{path}, line {number}: incomplete or altered, not a row of a run's figures; copy the file from a "
                "backup, or delete the line: then only the curves lack that step"
            )
        yield row, end
        if row["step"] == last:
            return


def step_in_words(row: Mapping[str, Any]) -> str:
    """What a step shows, briefly: loss, accuracy and seconds."""
    accuracy = next((value for key, value in row.items() if key.endswith("/accuracy")), None)
    figures = {"loss {:.4g}": row.get("loss"), "accuracy {:.2f}": accuracy, "{:.3g} s a step": row.get("seconds")}
    return ", ".join(text.format(value) for text, value in figures.items() if value is not None)


def speed(rows: Sequence[StepRow]) -> float | None:
    """Seconds that the last steps took, a median, so that one in which a machine was busy does not count; None where
    there is no step yet."""
    last = [row["seconds"] for row in rows[-SPEED_STEPS:] if isinstance(row.get("seconds"), int | float)]
    return median(last) if last else None


def with_shortcuts(rows: Sequence[StepRow], folder: Path) -> list[StepRow]:
    """Rows of a run, the first with the shares that `rushes check-shortcuts` wrote beside them, where it has none.

    Raises:
        ValueError: a shortcuts.json that is none.
    """
    path = shortcuts_file(folder)
    if not rows or "shortcut/all_low" in rows[0] or not path.is_file():
        return list(rows)
    stored = parse_json(checked_text(path, MEASURE_AGAIN), path)
    try:
        shares = {f"shortcut/{each['name']}": each["share"]["value"] for each in stored["features"]}
        # The first is of all together.
        lows = {f"shortcut/{each['name']}_low": each["share"]["low"] for each in stored["features"][:1]}
    except (LookupError, TypeError) as error:
        raise ValueError(f"{path}: not in the form that `rushes check-shortcuts` writes; {MEASURE_AGAIN}") from error
    return [{**rows[0], **shares, **lows}, *rows[1:]]


def shortcuts_file(folder: Path) -> Path:
    """Where a run's shortcuts are, or will be, under either name."""
    former = folder / _FORMER_FILE
    return former if former.is_file() else folder / SHORTCUTS
