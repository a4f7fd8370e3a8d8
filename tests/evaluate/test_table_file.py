"""The table of a comparison: what is written is read, by any version, and says the same in both orders."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from rushes.evaluate.compare import Gate, check_gate
from rushes.evaluate.result import metric_rows
from rushes.evaluate.table_file import find_table, load_table, table_json
from rushes.report.model import flipped
from rushes.stats import Measure, compare_systems

VALUES = [3.0, 5.0, 4.0, 6.0, 2.0, 3.5, 5.5, 4.5]


def keyed(values: list[float]) -> dict[tuple[str, int], float]:
    return {(f"p{at}", 0): value for at, value in enumerate(values)}


def measures(systems: str = "ABC") -> list[Measure]:
    sides = {name: keyed([value + at + value * at / 20 for value in VALUES]) for at, name in enumerate(systems)}
    return [Measure("error", "lower", sides, "px"), Measure("lost", "lower", {"A": keyed(VALUES)})]


def written(path: Path, systems: str = "ABC") -> dict[str, Any]:
    """What a comparison is written as; `path` has it too."""
    table = compare_systems([*systems], measures(systems))
    data = table_json(table, metric_rows(measures(systems), table))
    path.write_text(json.dumps(data, allow_nan=False))
    return data


def of_older_version(data: dict[str, Any], *without: str) -> dict[str, Any]:
    """The table as versions wrote it that knew no corrected p-values."""
    entries = {"difference", "low", "high", "win", "tie", "lose", "prompts"} - {*without}
    pairs = {
        pair: {name: {key: value for key, value in row.items() if key in entries} for name, row in rows.items()}
        for pair, rows in data["pairs"].items()
    }
    return {**data, "pairs": pairs}


def test_a_table_has_the_documented_form(tmp_path: Path) -> None:
    data = written(tmp_path / "table.json")
    assert list(data) == ["systems", "metrics", "pairs"] and list(data["pairs"]) == ["A|B", "A|C", "B|C"]
    row = data["pairs"]["A|C"]["error"]
    assert (row["better"], row["unit"], row["n"], row["prompts"]) == ("lower", "px", 8, 8)
    assert (row["win"], row["tie"], row["lose"]) == (0, 0, 8) and row["p"] <= row["p_adjusted"] < 0.05
    assert "lost" not in data["pairs"]["A|C"]
    assert data["metrics"]["lost"]["B"] == {"mean": None, "low": None, "high": None, "n": 0}


def test_what_is_read_is_what_was_compared_in_both_orders(tmp_path: Path) -> None:
    written(tmp_path / "table.json")
    table, better = load_table(tmp_path / "table.json")
    compared = compare_systems([*"ABC"], measures())
    rows = metric_rows(measures(), compared)
    assert [asdict(row) for row in (table.pair("A", "C") or {}).values()] == [asdict(row) for row in rows["A", "C"]]
    assert better["error"] == "lower" and better["warping_error"] == "lower"
    (worse,), (turned,) = rows["A", "C"], (table.pair("C", "A") or {}).values()
    assert (worse.outcome, turned.outcome) == ("worse", "better") and turned == flipped(worse)
    assert (turned.base, turned.trained, turned.difference) == (worse.trained, worse.base, -worse.difference)
    assert (turned.low, turned.high, turned.win, turned.lose) == (-worse.high, -worse.low, 8, 0)
    assert table.pair("A", "D") is None


def test_a_table_of_an_older_version_claims_no_success(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    path.write_text(json.dumps(of_older_version(written(path))))
    assert load_table(path)[0].pairs["A|C"]["error"].outcome == "undecided"  # whether lower is better is not said
    (tmp_path / "details.json").write_text(json.dumps({"directions": {"error": "lower"}}))
    table, better = load_table(path)
    row = table.pairs["A|C"]["error"]
    assert better["error"] == "lower" and (row.n, row.prompts, row.lose) == (8, 8, 8)
    assert row.trained - row.base == pytest.approx(row.difference)
    assert row.outcome == "suspect" and flipped(row).outcome == "undecided"
    *_, breach = check_gate(table, Gate("shown", {"error": 0.5}, {}), better)
    assert breach.system == "C" and "shown to be worse than allowed" in breach.words
    path.write_text(json.dumps(of_older_version(written(path), "win", "tie", "lose", "prompts")))
    assert load_table(path)[0].pairs["A|C"]["error"].prompts == 0


def test_tables_are_found(tmp_path: Path) -> None:
    assert find_table(tmp_path) is None
    written(tmp_path / "table.json")
    assert find_table(tmp_path) == find_table(tmp_path / "table.json") == tmp_path / "table.json"


@pytest.mark.parametrize("text", ["{torn", "[]", '{"systems": []}'])
def test_other_files_are_no_tables(tmp_path: Path, text: str) -> None:
    (tmp_path / "table.json").write_text(text)
    with pytest.raises(ValueError, match=r"table\.json: not (JSON|the table)"):
        load_table(tmp_path / "table.json")
