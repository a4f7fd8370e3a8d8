"""metrics.jsonl, the one truth about a run's figures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rushes.files import write_text
from rushes.text_reader import parse_json, read_text

Row = dict[str, Any]
CURVES, LEAK = "metrics.jsonl", "leak.json"  # in a run's folder


class History:
    """One row a step, written with the checkpoint that covers it, so neither is ahead of the other."""

    def __init__(self, path: Path, start: int) -> None:
        """Take up the rows of steps up to `start`; none where nothing has been done yet."""
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.rows: list[Row] = [row for row in read_history(path) if row["step"] <= start] if start else []

    def add(self, row: Mapping[str, Any]) -> Row:
        """Add a row and return it as it will be read again: seven digits, as small figures matter and rounding not."""
        self.rows.append({key: float(f"{v:.7g}") if isinstance(v, float) else v for key, v in row.items()})
        return self.rows[-1]

    def flush(self) -> None:
        """Write all rows; the file is there whole or as it was."""
        write_text(self.path, "".join(json.dumps(row) + "\n" for row in self.rows))


def read_history(path: Path) -> list[Row]:
    """The rows of a metrics.jsonl; none where there is no such file.

    Raises:
        ValueError: a line that is no row.
    """
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    rows = [parsed_row(line) for line in lines]
    for number, row in enumerate(rows, 1):
        if row is None:
            raise ValueError(
                f"{path}, line {number}: was cut or altered, and is no row of a run's figures; copy the file back from "
                "a backup, or delete the line: the curves then lack that step, and weights and checkpoints are whole"
            )
    return [row for row in rows if row is not None]


def with_leak(rows: Sequence[Row], folder: Path) -> list[Row]:
    """Rows of a run, the first with the shares that `rushes leak` wrote into the run's folder, where it has none.

    Raises:
        ValueError: a leak.json that is none.
    """
    path = folder / LEAK
    if not rows or "leak/all_low" in rows[0] or not path.is_file():
        return list(rows)
    stored = parse_json(read_text(path), path)
    try:
        shares = {f"leak/{each['name']}": each["share"]["value"] for each in stored["features"]}
        lows = {f"leak/{each['name']}_low": each["share"]["low"] for each in stored["features"][:1]}  # of all together
    except (LookupError, TypeError) as error:
        raise ValueError(f"{path}: not what `rushes leak` writes; delete it, then run it again") from error
    return [{**rows[0], **shares, **lows}, *rows[1:]]


def parsed_row(line: str) -> Row | None:
    """The row of a line; None where it is none, as it lacks a number for its step."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    step = row.get("step") if isinstance(row, dict) else None
    return row if isinstance(step, int) and not isinstance(step, bool) else None
