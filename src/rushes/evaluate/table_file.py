"""The table of a comparison: table.json of folders of videos, reports/compare.json of a project's runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import Field

from rushes.evaluate.result import Metrics, SystemPair, read_metrics
from rushes.evaluate.suites import directions
from rushes.records import plain
from rushes.report.model import MetricRow, flipped, typed
from rushes.stats import Better, ComparisonTable
from rushes.text_reader import checked_text, parse_json

TABLE, DETAILS = "table.json", "details.json"
_Finite = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(frozen=True)
class StoredMean:
    """The mean of a system in table.json, with its interval; null = nothing was measured."""

    mean: _Finite | None
    low: float | None = None
    high: float | None = None
    n: int = 0


@dataclass(frozen=True)
class StoredTable:
    """What table.json holds: `metrics[metric][system]`, `pairs["FIRST|SECOND"][metric]`."""

    systems: Annotated[tuple[str, ...], Field(min_length=2)]
    metrics: Annotated[Mapping[str, Mapping[str, StoredMean]], Field(min_length=1)]
    pairs: Mapping[str, Metrics]

    def pair(self, first: str, second: str) -> Metrics | None:
        """Two systems, in whichever order they stand there; None where they are not compared."""
        if (rows := self.pairs.get(f"{first}|{second}")) is not None:
            return rows
        rows = self.pairs.get(f"{second}|{first}")
        return None if rows is None else {name: flipped(row) for name, row in rows.items()}


def table_json(table: ComparisonTable, rows: Mapping[SystemPair, Sequence[MetricRow]]) -> dict[str, Any]:
    """What table.json holds of a comparison and its `metric_rows`; numbers that are not finite are null."""
    means = {
        name: {system: StoredMean(m.value, m.low, m.high, m.n) for system, m in of.items()}
        for name, of in table.means.items()
    }
    pairs = {"|".join(pair): {row.name: row for row in of} for pair, of in rows.items()}
    stored: dict[str, Any] = plain(StoredTable(table.systems, means, pairs))
    return stored


def find_table(target: Path) -> Path | None:
    """The table.json that `target` is or holds; None where it is neither."""
    if target.is_file() and target.suffix.lower() == ".json":
        return target
    return target / TABLE if (target / TABLE).is_file() else None


def load_table(path: Path) -> tuple[StoredTable, dict[str, Better]]:
    """A table that any version wrote, and which direction of each metric is better.

    For a table of an older version the directions are those of details.json beside it, or of the metrics by name.

    Raises:
        ValueError: not JSON, or no such table.
    """
    again = "compare the systems again"
    data = parse_json(checked_text(path, again), f"{path}: not JSON; run `rushes evaluate --systems` again")
    better = {**directions(), **_detailed(path.parent / DETAILS, again)}
    with suppress(LookupError, TypeError, ValueError, AttributeError):
        table = _table(data, better)
        return table, better | {row.name: row.better for rows in table.pairs.values() for row in rows.values()}
    raise ValueError(f"{path}: not the table of a comparison; name a table.json that `rushes evaluate --systems` wrote")


def _detailed(path: Path, again: str) -> dict[str, Better]:
    """The directions in details.json; none without the file."""
    if not path.is_file():
        return {}
    data = parse_json(checked_text(path, again), f"{path}: not JSON; delete it or evaluate again")
    better = data.get("directions", {}) if isinstance(data, dict) else None
    if not isinstance(better, dict) or not all(direction in get_args(Better) for direction in better.values()):
        raise ValueError(
            f"{path}: does not record whether higher or lower is better for each metric; delete it or evaluate again"
        )
    return better


def _table(data: dict[str, Any], better: Mapping[str, Better]) -> StoredTable:
    table = typed(StoredTable, {**data, "pairs": {}})
    if not all(system in row for row in table.metrics.values() for system in table.systems):
        raise ValueError("a metric has no mean of a system")
    pairs = {
        pair: read_metrics({name: _entry(table.metrics[name], pair, entry, better.get(name, "neutral"))
                            for name, entry in row.items()})
        for pair, row in data["pairs"].items()
    }  # fmt: skip
    if not all(isfinite(row.difference) for rows in pairs.values() for row in rows.values()):
        raise ValueError("a difference is unknown")
    return replace(table, pairs=pairs)


def _entry(means: Mapping[str, StoredMean], pair: str, entry: Mapping[str, Any], better: Better) -> dict[str, Any]:
    """An entry of a pair, completed where an older version wrote it.

    That version left `p_adjusted` out: such a row claims no success, and suspects what its own interval shows as harm.
    """
    first, second = pair.split("|")
    older = {
        "better": better,
        "base": means[first].mean,
        "trained": means[second].mean,
        "n": sum(entry.get(name, 0) for name in ("win", "tie", "lose")),
        "p_adjusted": 1.0,
    }
    return {**older, **entry, "prompts": entry.get("prompts") or 0}
