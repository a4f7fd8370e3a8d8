"""The machine-readable summary."""

from __future__ import annotations

import json
import math
import re
import shutil
from pathlib import Path

import pytest

import rushes
from rushes.config.held_defaults import GIVEN, VERSION, HeldDefaults, write_held
from rushes.config.tables import Settings, TrainSettings, run_name
from rushes.evaluate.result import EvaluateResult, read_evaluation
from rushes.project.reports import summary_path, write_report, write_summary
from rushes.records import plain
from rushes.report.model import MetricRow
from rushes.store.database import Store

from ..projects import SmallProject


def test_run_is_named_by_the_settings_or_after_its_recipe() -> None:
    assert run_name(TrainSettings(name="mine")) == "mine"
    assert run_name(TrainSettings(recipe="densedpo")) == "densedpo"
    assert run_name(TrainSettings(recipe="my.own.recipe")) == "recipe"


def test_summary_holds_finite_numbers_only(tmp_path: Path) -> None:
    ends = (-math.inf, math.inf)
    rows = {
        "x": MetricRow("x", "lower", 1.0, 1.5, 0.5, *ends, 1),
        "y": MetricRow("y", "neutral", math.nan, math.nan, math.nan, *ends, 0),
    }
    with Store.create(tmp_path / "project") as store:
        summary = write_summary(store, EvaluateResult("first", "x", rows), {"train": 1.23456}, seed=7)
        path = summary_path(store, "first")
        written = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert (
        len(written.pop("crc")) == 8 and written == plain(summary) and read_evaluation(path).metrics["x"] == rows["x"]
    )
    first, second = written["metrics"]["x"], written["metrics"]["y"]
    assert (first["difference"], first["low"], first["high"]) == (0.5, None, None) and second["base"] is None
    assert (summary.seconds, summary.seed, summary.version) == ({"train": 1.23}, 7, rushes.__version__)


def test_report_needs_a_summary_that_can_be_read(tmp_path: Path) -> None:
    with Store.create(tmp_path / "project") as store:
        with pytest.raises(ValueError, match=r"no run 'realdpo' is finished in .* run `rushes train .*` to its end"):
            write_report(store, Settings())
        summary_path(store, "realdpo").write_text("{torn")
        with pytest.raises(ValueError, match="not JSON; run `rushes evaluate`, which writes it again"):
            write_report(store, Settings())


def test_a_run_that_was_not_evaluated_has_a_report_without_a_verdict(finished: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(finished, tmp_path / "project"))
    (folder / "reports" / "realdpo.json").unlink()
    with Store.open(folder) as store:
        page = write_report(store, Settings(), "realdpo", out=tmp_path / "out").report.read_text()
    text = re.sub(r"<style>.*?</style>|<script>.*?</script>", "", page, flags=re.S)
    assert text.count("Not evaluated: this report has the curves") == 1 and 'id="results"' not in text
    assert (
        "Good is a rise from 0.5" in text and "Settings that differ" in text and "4 steps" in text.replace("\xa0", " ")
    )
    assert not re.search(r"got worse|No other metric|Too few|\bnan\b|No change shown", text)


def test_the_page_lists_what_its_user_chose(finished: Path, tmp_path: Path, small: SmallProject) -> None:
    folder = Path(shutil.copytree(finished, tmp_path / "project"))
    held = HeldDefaults(
        VERSION, {"train": {"steps": 4, "batch": 7}, "generate": {"takes": 2}}, {"generate.takes": GIVEN}
    )
    write_held(folder, held)
    with Store.open(folder) as store:
        write_report(store, small.settings, out=tmp_path / "out")
    page = (tmp_path / "out" / "realdpo.html").read_text()
    table = page[page.index("Settings that differ from the defaults") :]
    rows = dict(re.findall(r'<th scope="row">([\w.]+)</th><td>([^<]*</td><td>[^<]*)</td>', table))
    assert rows["train.batch"] == "2</td><td>7" and "train.steps" not in rows  # as it is held
    assert rows["generate.takes"] == "2</td><td>3"  # `init` was told it, so Rushes' own stands beside it
