"""The machine-readable summary."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

import rushes
from rushes.config.tables import Settings, TrainSettings
from rushes.project.reports import run_name, summary_path, write_report, write_summary
from rushes.store.database import Store


def test_run_is_named_by_the_settings_or_after_its_recipe() -> None:
    assert run_name(TrainSettings(name="mine")) == "mine"
    assert run_name(TrainSettings(recipe="densedpo")) == "densedpo"
    assert run_name(TrainSettings(recipe="my.own.recipe")) == "recipe"


def test_summary_holds_finite_numbers_only(tmp_path: Path) -> None:
    row = {"difference": 0.5, "low": -math.inf, "high": math.inf, "n": 1, "better": "lower"}
    facts = {"run": "first", "metrics": {"x": row, "y": {"base": math.nan}}, "list": (1.0, math.inf)}
    with Store.create(tmp_path / "project") as store:
        summary = write_summary(store, facts, {"train": 1.23456}, seed=7)
        written = json.loads(summary_path(store, "first").read_text(), parse_constant=pytest.fail)
    assert written == summary
    assert summary["metrics"] == {"x": row | {"low": None, "high": None}, "y": {"base": None}}
    assert summary["list"] == [1.0, None]
    assert (summary["seconds"], summary["seed"], summary["version"]) == ({"train": 1.23}, 7, rushes.__version__)


def test_report_needs_a_summary_that_can_be_read(tmp_path: Path) -> None:
    with Store.create(tmp_path / "project") as store:
        with pytest.raises(ValueError, match="run 'realdpo' has no results to report; run `rushes evaluate` first"):
            write_report(store, Settings())
        summary_path(store, "realdpo").write_text("{torn")
        with pytest.raises(ValueError, match=r"not JSON .*; run `rushes evaluate`, which writes it again"):
            write_report(store, Settings())
