"""Takes by page, search and filter, over HTTP."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rushes.records import Preference
from rushes.store.database import Store
from rushes.web.studio import takes
from rushes.web.studio.takes import sections

from .studying import Caller, calling, make_project


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_project(tmp_path / "project")


@pytest.fixture
def caller(folder: Path) -> Iterator[Caller]:
    with calling(folder, sections) as found:
        yield found


def groups(caller: Caller, **filter: Any) -> list[str]:
    answer = caller.post("list", **filter)
    assert answer.status_code == 200, answer.text
    assert answer.json()["total"] == len(answer.json()["groups"])
    return [each["group"] for each in answer.json()["groups"]]


def test_choices_are_what_is_there(caller: Caller) -> None:
    choices = caller.get("choices").json()
    assert choices["systems"] == ["base", "one", "two"] and choices["judges"] == ["vlm"]
    assert choices["metrics"] == ["motion_speed", "warping_error"] and choices["nothing"] == ""


def test_names_of_a_strangers_project_fill_no_page(
    folder: Path, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.open(folder) as store:
        store.add([Preference("long", "take0-0", "take0-1", (1,), judge="z" * 90_000)])
    assert caller.get("choices").json()["judges"] == ["vlm", "z" * 255 + "..."]
    monkeypatch.setattr("rushes.store.row_queries._NAMES", 2)
    assert caller.get("choices").json()["systems"] == ["base", "one"]


def test_a_project_without_takes_says_what_makes_them(tmp_path: Path) -> None:
    Store.create(tmp_path / "empty").close()
    for folder in (tmp_path / "empty", tmp_path / "none"):
        with calling(folder, sections) as caller:
            assert f"`rushes generate {folder}`" in caller.get("choices").json()["nothing"]
            assert groups(caller) == [] and caller.post("group", group="g").status_code == 404


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        ({"split": "train"}, ["g0", "g1", "g2"]),
        ({"system": "two"}, ["held0", "held1", "held2"]),
        ({"kind": "guided"}, []),
        ({"search": "PROMPT 2", "split": "train"}, ["g2"]),
        ({"search": "100%", "system": "one"}, ["held0", "held1", "held2"]),
        ({"search": "1_0"}, []),
        ({"metric": "motion_speed"}, ["g0", "g1", "g2"]),
        ({"metric": "motion_speed", "low": 1.4}, ["g1", "g2"]),
        ({"metric": "motion_speed", "low": 1.4, "high": 1.6}, ["g1"]),
        ({"metric": "motion_speed", "high": -1.0}, []),
        ({"judge": "vlm"}, ["g0", "g1"]),
        ({"judge": "vlm", "outcome": "won"}, ["g0"]),
        ({"judge": "vlm", "outcome": "lost"}, ["g0"]),
        ({"judge": "vlm", "outcome": "tied"}, ["g1"]),
        ({"judge": "nobody"}, []),
        ({"judge": "vlm", "metric": "motion_speed", "low": 0.4, "outcome": "won"}, []),
    ],
)
def test_every_filter_narrows_the_choice(caller: Caller, filter: dict[str, Any], expected: list[str]) -> None:
    assert groups(caller, **filter) == expected


def test_a_request_has_its_takes_beside_the_real_clip(caller: Caller) -> None:
    answer = caller.post("group", group="g0", judge="vlm", outcome="won").json()
    assert answer["real"]["id"] == "clip0" and answer["real"]["scores"] == {}
    assert [(take["id"], take["inside"]) for take in answer["takes"]] == [("take0-0", True), ("take0-1", False)]
    assert answer["takes"][0]["votes"] == {"vlm": [1, 0, 0]} and answer["takes"][1]["votes"] == {"vlm": [0, 0, 1]}
    assert answer["takes"][1]["scores"] == {"motion_speed": 0.5} and answer["takes"][1]["seed"] == 1
    plain = caller.post("group", group="g0", metric="motion_speed", low=0.2).json()
    assert [(take["id"], take["inside"]) for take in plain["takes"]] == [("take0-1", True), ("take0-0", False)]
    # a label that a later one superseded counts no more
    assert caller.post("group", group="g1").json()["takes"][0]["votes"] == {"vlm": [0, 1, 0]}


def test_pages_follow_each_other(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(takes, "PAGE", 2)
    pages = [caller.post("list", split="train", page=page).json() for page in range(3)]
    assert [[each["group"] for each in page["groups"]] for page in pages] == [["g0", "g1"], ["g2"], []]
    assert pages[0]["total"] == pages[1]["total"] == 3 and pages[0]["groups"][0]["takes"] == 2
    assert caller.post("list", metric="motion_speed").json()["range"] == [0.0, 2.5]


def test_what_is_added_while_the_page_is_open_is_there(caller: Caller, folder: Path) -> None:
    with Store.open(folder) as store:
        store.add([Preference("new", "take2-0", "take2-1", (-1,), judge="human:ada")])
        store.add([Preference("again", "take2-0", "take2-1", (1,), judge="human:ada#again")])
        assert caller.get("choices").json()["judges"] == ["human:ada", "vlm"]
        assert caller.post("group", group="g2").json()["takes"][0]["votes"] == {"human:ada": [0, 0, 1]}
        assert groups(caller, judge="human:ada", outcome="lost") == ["g2"]


def test_videos_are_those_of_rows(caller: Caller, folder: Path) -> None:
    answer = caller.get("media/take0-0/file")
    assert answer.status_code == 200 and answer.headers["content-type"] == "video/mp4"
    copy = caller.get("media/clip0/copy")
    assert copy.status_code == 200 and copy.content[4:8] == b"ftyp"
    for name in ("none", "label", "..%2F..%2Frushes.db"):
        assert caller.get(f"media/{name}/file").status_code == 404
        assert caller.get(f"media/{name}/copy").status_code == 404


def test_what_is_no_filter_is_refused(caller: Caller) -> None:
    for body in ({"kind": "odd"}, {"page": -1}, {"low": "1"}, {"search": "a" * 201}, {"odd": 1}):
        assert caller.post("list", **body).status_code == 422
    caller.client.headers["authorization"] = ""
    assert caller.post("list").status_code == caller.get("media/take0-0/file").status_code == 401


def test_a_caption_of_megabytes_is_cut_on_the_page_and_refused_by_stages(folder: Path, caller: Caller) -> None:
    """It went to the browser as it was, for the request and for each of its takes."""
    with sqlite3.connect(folder / "rushes.db") as database:
        database.execute("DROP TRIGGER never_update")
        longer = "json_set(body, '$.caption', hex(zeroblob(1000000)) || char(7, 8238))"
        database.execute(f"UPDATE rows SET crc = NULL, body = {longer} WHERE type IN ('candidates', 'clips')")
    database.close()
    listed = caller.post("list")
    group = caller.post("group", group=listed.json()["groups"][0]["group"])
    rows = len(listed.json()["groups"]) + 2 + len(group.json()["takes"])
    assert group.json()["takes"] and len(listed.content) + len(group.content) < 11_000 * rows
    with Store.open(folder) as store, pytest.raises(ValueError, match="caption: 2,000,002 characters; 100,000 are the"):
        store.clips()
