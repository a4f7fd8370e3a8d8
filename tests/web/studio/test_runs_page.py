"""The runs of a project over HTTP: only what is new, how they do, and clips; nothing outside of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from rushes.config.tables import Settings
from rushes.files import locked
from rushes.project.reports import health_of_run
from rushes.project.settings import create_project
from rushes.web.studio import run_state
from rushes.web.studio.runs_page import sections

from .studying import Caller, calling, make_project, row, write_run, write_samples


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_project(tmp_path / "project", groups=1)


@pytest.fixture
def caller(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Caller]:
    monkeypatch.setattr(run_state, "_ASK_S", 0.0)
    with calling(folder, sections) as found:
        yield found


def read(caller: Caller, *names: str, **has: Any) -> dict[str, Any]:
    answer = caller.post("read", runs=[{"name": name, **has} for name in names])
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_an_empty_project_says_what_begins_a_run(caller: Caller, folder: Path) -> None:
    answer = caller.get("list").json()
    assert answer["runs"] == [] and f"`rushes train {folder}`" in answer["nothing"]


def test_a_folder_without_a_database_opens_too(tmp_path: Path) -> None:
    with calling(tmp_path / "nothing", sections) as caller:
        assert caller.get("list").json()["runs"] == []
    write_run(tmp_path / "old", "sft", [row(0), row(1)])
    with calling(tmp_path / "old", sections) as caller:
        (run,) = caller.get("list").json()["runs"]
    assert (run["name"], run["state"], run["step"], run["steps"]) == ("sft", "stopped", 1, None)


def test_a_page_gets_what_it_lacks(caller: Caller, folder: Path) -> None:
    place = write_run(folder, "one", [row(step) for step in range(5)])
    first = read(caller, "one")["runs"][0]
    assert first["whole"] and first["series"]["loss"][0] == [1, 2, 3, 4] and first["through"] == 4
    has = {"generation": first["generation"], "since": 4}
    assert read(caller, "one", **has)["runs"][0]["series"] == {}
    write_run(folder, "one", [row(step) for step in range(7)])
    second = read(caller, "one", **has)["runs"][0]
    assert not second["whole"] and second["series"]["loss"] == [[5, 6], [pytest.approx(1 / 6), pytest.approx(1 / 7)]]
    (place / "metrics.jsonl").write_text((place / "metrics.jsonl").read_text().replace('"loss": 0.5', '"loss": 0.6'))
    third = read(caller, "one", generation=first["generation"], since=6)["runs"][0]
    assert third["whole"] and third["series"]["loss"][1][0] == 0.6


def test_panels_are_those_of_the_report_for_all_runs_that_are_shown(caller: Caller, folder: Path) -> None:
    write_run(folder, "one", [row(step) for step in range(3)])
    write_run(folder, "two", [row(step, **{"supervised/error": 0.1 * step}) for step in range(3)])
    panels = {panel["title"]: panel for panel in read(caller, "one", "two")["panels"]}
    assert list(panels)[:3] == ["Loss", "Relative error (policy \u2212 reference)", "Implicit accuracy"]
    assert panels["Weight on the gradient"]["series"] == [{"name": "clip", "key": "clip/gradient"}]
    assert panels["Supervised: error"]["first"] is False and panels["Loss"]["first"] is True
    assert panels["Supervised: error"]["meaning"].startswith("Error on the clips that the SFT term trains on.")
    assert not any("memory" in title.lower() or "seconds" in title.lower() for title in panels)


def test_a_run_trains_while_a_process_holds_it(caller: Caller, tmp_path: Path) -> None:
    folder = tmp_path / "made"
    create_project(folder, Settings.model_validate({"train": {"recipe": "realdpo", "steps": 50}}))
    place = write_run(folder, "realdpo", [row(step) for step in range(11)])
    with calling(folder, sections) as other, locked(place / ".lock"):
        run = read(other, "realdpo")["runs"][0]
        assert (run["state"], run["step"], run["steps"], run["left_s"]) == ("training", 10, 50, 80.0)
        assert (run["seconds"], run["memory_gib"]) == (2.0, 1.5)
    with calling(folder, sections) as other:
        assert read(other, "realdpo")["runs"][0]["state"] == "stopped"
    write_run(folder, "realdpo", [row(step) for step in range(51)], finished=True)
    with calling(folder, sections) as other:
        assert other.get("list").json()["runs"][0]["state"] == "finished"


def test_health_is_that_of_the_command(caller: Caller, folder: Path) -> None:
    healthy = [row(step) for step in range(40)]
    write_run(folder, "one", healthy)
    gone = row(40, **{"held_out/drift": 2.0, "held_out/reference_error": 0.5})
    write_run(folder, "two", [*healthy, gone])
    one, two = read(caller, "one", "two")["runs"]
    assert one["health"]["verdict"] == "nothing wrong" and one["health"]["diagnoses"] == []
    assert two["health"]["verdict"] == "severe" and two["health"]["diagnoses"][0]["name"] == "diverged"
    for name, run in (("one", one), ("two", two)):
        same = health_of_run(folder, Settings(), name)
        assert run["health"]["diagnoses"] == [asdict(each) for each in same.diagnoses]
    write_run(folder, "three", [{"step": 0}, {"step": 1, "loss": float("nan"), "diagnoses": [{"odd": 1}]}])
    three = read(caller, "three")["runs"][0]
    assert "diverged" in three["health"]["notes"][0]


def test_samples_are_listed_and_played(caller: Caller, folder: Path) -> None:
    place = write_run(folder, "one", [row(0), row(1)])
    assert read(caller, "one")["runs"][0]["samples"] == {}
    write_samples(place, folder, (0, 50))
    samples = read(caller, "one")["runs"][0]["samples"]
    assert (samples["steps"], samples["clips"], samples["frames"], samples["width_px"]) == ([0, 50], 2, 17, 32)
    answer = caller.get("media/one/step-00000050-1")
    assert answer.status_code == 200 and answer.headers["content-type"] == "video/mp4"
    for name in ("step-00000050-9", "metrics", "..%2Fmetrics", "step-00000050-1.mp4"):
        assert caller.get(f"media/one/{name}").status_code == 404


def test_links_and_names_lead_nowhere(caller: Caller, folder: Path, tmp_path: Path) -> None:
    place = write_run(folder, "one", [row(0), row(1)])
    write_samples(place, folder, (0,), clips=1)
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(b"secret")
    os.symlink(secret, place / "samples" / "step-00000009-0.mp4")
    assert caller.get("media/one/step-00000009-0").status_code == 404
    assert read(caller, "one")["runs"][0]["samples"]["steps"] == [0]
    write_run(tmp_path, "outside", [row(0)])
    os.symlink(tmp_path / "runs" / "outside", folder / "runs" / "linked")
    assert [run["name"] for run in caller.get("list").json()["runs"]] == ["one"]
    for name in ("linked", "..", "../../runs/outside", "", "none"):
        assert caller.post("read", runs=[{"name": name}]).status_code in (404, 422)
    assert caller.post("read", runs=[{"name": "one"}] * 13).status_code == 422


def test_a_name_that_no_file_has_is_no_run(caller: Caller) -> None:
    """It was an error of the file system, and said that nothing was saved."""
    assert caller.post("read", runs=[{"name": "\u00e9" * 150}]).status_code == 404
    assert caller.get(f"media/{'9' * 5000}/a.mp4").status_code == 404


def test_nobody_sees_anything_without_a_token(caller: Caller, folder: Path) -> None:
    write_run(folder, "one", [row(0)])
    caller.client.headers["authorization"] = "Bearer none"
    assert caller.get("list").status_code == 401
    assert (
        caller.post("read", runs=[]).status_code == 401 and caller.get("media/one/step-00000000-0").status_code == 401
    )


def test_nothing_is_written(folder: Path) -> None:
    write_run(folder, "one", [row(step) for step in range(3)], finished=True)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    with calling(folder, sections) as caller:
        caller.get("list")
        read(caller, "one")
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()} == before
