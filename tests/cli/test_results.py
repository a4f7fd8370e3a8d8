"""What commands print with `--json` has a type, which docs/json.md shows."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import math
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclopts import App

from rushes.cli.command_groups import app
from rushes.records import INLINE, plain

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / "docs" / "json.md"
_TABLE = runpy.run_path(str(REPOSITORY / "scripts" / "json_results.py"))
RESULTS: dict[str, tuple[str, ...]] = _TABLE["RESULTS"]
LISTS: set[str] = _TABLE["LISTS"]


def commands(group: App, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Commands that take --json, with the groups that they are in."""
    for name in group:
        if not name.startswith("-"):
            command = group[name]
            yield from commands(command, (*path, name))
            if command.default_command and "as_json" in inspect.signature(command.default_command).parameters:
                yield " ".join((*path, name))


def test_every_command_with_json_has_a_type_on_the_page() -> None:
    assert set(commands(app)) == set(RESULTS)
    page = PAGE.read_text(encoding="utf-8")
    assert all(f"## rushes {command}\n" in page for command in RESULTS)
    assert {name for names in RESULTS.values() for name in names} >= LISTS


@pytest.mark.parametrize("name", sorted({name for names in RESULTS.values() for name in names}))
def test_types_are_frozen_dataclasses_whose_entries_are_on_the_page(name: str) -> None:
    module, _, kind = name.partition(":")
    result = getattr(importlib.import_module(f"rushes.{module}"), kind)
    assert dataclasses.is_dataclass(result) and getattr(result, "__dataclass_params__").frozen  # noqa: B009
    page = PAGE.read_text(encoding="utf-8")
    for field in dataclasses.fields(result):
        assert field.metadata.get("inline") or f"| `{field.name.rstrip('_')}` |" in page, field.name


@dataclasses.dataclass(frozen=True)
class Inner:
    low: float
    path: Path


@dataclasses.dataclass(frozen=True)
class Outer:
    import_: tuple[Inner, ...]
    missing: int | None
    counts: dict[str, int] = dataclasses.field(metadata=INLINE)
    more: Inner = dataclasses.field(metadata=INLINE)


def test_results_are_plain_values() -> None:
    outer = Outer((Inner(math.inf, Path("a/b")),), None, {"left out, no label": 2}, Inner(0.5, Path("c")))
    assert plain(outer) == {
        "import": [{"low": None, "path": "a/b"}],
        "missing": None,
        "left out, no label": 2,
        "low": 0.5,
        "path": "c",
    }
