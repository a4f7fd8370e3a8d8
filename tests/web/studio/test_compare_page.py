"""Two systems on the held-out prompts, and the figures that commands have written, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rushes.config.tables import Settings
from rushes.evaluate.compare import compare_runs
from rushes.evaluate.suites import general_suite
from rushes.files import write_json
from rushes.records import Score
from rushes.store.database import Store
from rushes.web.studio import compare_page
from rushes.web.studio.compare_page import sections

from .studying import Caller, calling, make_project


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_project(tmp_path / "project", groups=9)


@pytest.fixture
def caller(folder: Path) -> Iterator[Caller]:
    with calling(folder, sections) as found:
        yield found


def pairs(caller: Caller, first: str = "base", second: str = "one", **more: Any) -> dict[str, Any]:
    answer = caller.post("pairs", first=first, second=second, **more)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_systems_are_those_with_held_out_clips(caller: Caller, tmp_path: Path) -> None:
    assert caller.get("systems").json()["systems"] == ["base", "one", "two"]
    Store.create(tmp_path / "empty").close()
    for folder in (tmp_path / "empty", tmp_path / "none"):
        with calling(folder, sections) as other:
            assert f"`rushes evaluate {folder}`" in other.get("systems").json()["nothing"]


def test_pairs_share_prompt_and_seed(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = pairs(caller)
    assert answer["total"] == 9 and answer["metrics"] == ["warping_error"]
    assert [(pair["first"], pair["second"]) for pair in answer["pairs"]] == [
        (f"base-{g}", f"one-{g}") for g in range(9)
    ]
    assert pairs(caller, "base", "nobody")["total"] == 0
    monkeypatch.setattr(compare_page, "PAGE", 4)
    assert [pair["first"] for pair in pairs(caller, page=2)["pairs"]] == ["base-8"]


def test_a_metric_orders_pairs_by_what_is_better(caller: Caller) -> None:
    gained = pairs(caller, metric="warping_error", order="gains")["pairs"]
    assert gained[0]["gain"] == pytest.approx(0.1)  # lower is better
    lost = pairs(caller, "base", "two", metric="warping_error", order="losses")["pairs"]
    assert [pair["gain"] for pair in lost] == sorted(pair["gain"] for pair in lost) and lost[0]["gain"] < 0


def test_a_pair_has_what_was_measured_of_it(caller: Caller) -> None:
    answer = caller.post("pair", first="base-3", second="two-3").json()
    assert (answer["first"]["id"], answer["second"]["system"], answer["seed"]) == ("base-3", "two", 7)
    (row,) = answer["measured"]
    assert (row["metric"], row["better"]) == ("warping error", "lower")
    assert (row["first"], row["second"]) == (pytest.approx(0.3), pytest.approx(0.4))
    assert caller.post("pair", first="base-3", second="clip0").status_code == 404


def test_figures_are_what_commands_wrote(caller: Caller, folder: Path) -> None:
    missing = caller.post("figures", first="base", second="one").json()
    assert missing["rows"] == [] and missing["missing"].startswith(f"`rushes evaluate {folder} --run one`")
    missing = caller.post("figures", first="one", second="two").json()
    assert missing["missing"].startswith(f"`rushes compare {folder} one two`")
    with Store.open(folder) as store:
        settings = Settings.model_validate({"footage": {"kind": "folder", "path": str(folder)}})
        result = compare_runs(store, settings, ("one", "two"))
    assert result.table.name == "compare.json"
    (row,) = caller.post("figures", first="one", second="two").json()["rows"]
    assert (row["metric"], row["pairs"], row["wins"], row["better"]) == ("warping error", 9, [0, 0, 9], "lower")
    assert row["difference"].startswith("+0.2") and row["words"] == "got worse"
    (other,) = caller.post("figures", first="two", second="one").json()["rows"]
    assert other["wins"] == [9, 0, 0] and other["difference"] == row["difference"].replace("+", "\u2212")
    assert (other["first"], other["second"]) == (row["second"], row["first"]) and other["words"] == "got better"


def test_the_page_claims_what_the_report_claims_in_both_directions(tmp_path: Path) -> None:
    """The interval of the warping error excludes zero; the correction for six metrics does not."""
    folder = make_project(tmp_path / "project", groups=10)
    suite, rng = general_suite(), np.random.default_rng(0)
    others = [name for name, better in suite.better.items() if better != "neutral" and name != "warping_error"][:5]
    settings = Settings.model_validate({"footage": {"kind": "folder", "path": str(folder)}})
    with Store.open(folder) as store:
        for g in range(10):
            values = {(name, system): float(rng.normal()) for name in others for system in ("base", "one", "two")}
            values["warping_error", "two"] = g / 10 + 0.15 + 0.3 * (-1) ** g
            store.add(
                Score(f"{name} of {system} {g}", f"{system}-{g}", name, value, measured_by=suite.name)
                for (name, system), value in values.items()
            )
        for runs in (("one", "two"), ("two", "one")):
            verdicts = compare_runs(store, settings, runs).verdicts
            assert verdicts is not None
            verdict = verdicts["|".join(runs)]
            assert verdict.startswith("No change shown: no metric distinguishes")
            assert ("Warping error may have got worse" in verdict) == (runs[1] == "two")
            assert _said_of_warping(folder, "one", "two") == ("may have got worse", "grey levels of 255")
            assert _said_of_warping(folder, "two", "one") == ("no change shown", "grey levels of 255")


def _said_of_warping(folder: Path, first: str, second: str) -> tuple[str, str]:
    with calling(folder, sections) as caller:
        rows = {row["metric"]: row for row in caller.post("figures", first=first, second=second).json()["rows"]}
    return rows["warping error"]["words"], rows["warping error"]["unit"]


def test_a_run_against_the_base_has_the_evaluations_figures(caller: Caller, folder: Path) -> None:
    (folder / "reports").mkdir(exist_ok=True)
    facts = {"better": "lower", "base": 0.4, "trained": 0.3, "difference": -0.1, "low": -0.12, "high": -0.08, "n": 9}
    facts |= {"p": 0.001, "p_adjusted": 0.001, "prompts": 9, "spread": 0.01}
    result = {"run": "one", "headline": "warping_error", "metrics": {"warping_error": facts}}
    write_json(folder / "reports" / "one.json", {**result, "diagnoses": ["severe: diverged: It did."]})
    answer = caller.post("figures", first="base", second="one").json()
    assert answer["source"] == "reports/one.json" and answer["rows"][0]["words"] == "got better"
    assert "severe: diverged: It did." in answer["words"] and "warping error" in answer["words"][0]
    (folder / "reports" / "one.json").write_text("{")
    assert "`rushes evaluate`" in caller.post("figures", first="base", second="one").json()["missing"]
    assert caller.post("figures", first="base", second="../../x").json()["rows"] == []
