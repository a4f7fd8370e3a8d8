"""The studio: one server for the pages of a project, and its first page in a real browser."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi.testclient import TestClient

from rushes.config.tables import LabelSettings, Settings
from rushes.project.project_status import ProjectStatus, RunStatus
from rushes.project.settings import write_settings
from rushes.project.studio import Studio, home_facts, open_studio
from rushes.records import Candidate, Clip
from rushes.store.database import Store
from rushes.training.checkpoint import only_one
from rushes.training.history import CURVES
from rushes.web import cached_poll
from rushes.web.accounts import Accounts
from rushes.web.site import NotThere, SiteSection, make_site
from rushes.web.studio import home

from ..projects import Rushes, WithoutTorch
from .conftest import NewTab, fill, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SETTINGS = Settings(label=LabelSettings(by="human", repeat_share=0.0, overlap_share=0.0))


@pytest.fixture(autouse=True)
def _looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home, "_LOOK_S", 0.0)
    monkeypatch.setattr(cached_poll, "_LOOK_SHARE", 0.0)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with settings, and no clip yet."""
    folder = tmp_path / "my project"
    Store.create(folder).close()
    write_settings(folder, SETTINGS)
    return folder


@pytest.fixture
def studio(project: Path) -> Studio:
    return Studio(project)


@pytest.fixture
def address(studio: Studio) -> Iterator[str]:
    with open_studio(studio) as site, serving(site) as served:
        yield served


@contextmanager
def client(address: str, name: str) -> Iterator[httpx.Client]:
    """Somebody who has the start key and says a name."""
    with httpx.Client(base_url=address, headers={"origin": address}, timeout=30, verify=False) as made:
        made.headers["authorization"] = f"Bearer {made.post('/api/join', json={'name': name}).json()['token']}"
        yield made


def test_a_section_opens_with_what_it_shows_and_follows_the_project(address: str, studio: Studio) -> None:
    with client(address, "ada") as ada:
        for path, command in (("/api/label/me", "rushes import"), ("/api/review/me", "rushes import")):
            answer = ada.get(path)
            assert answer.status_code == 424 and command in answer.json()["detail"]
        assert ada.get("/api/home/facts").json()["next"] == f"rushes import '{studio.folder}'"
        assert not list(studio.folder.glob("labelling*.npz"))
        with Store.open(studio.folder) as store:
            fill(store, 3, media=False)
        studio.labeling._look_at = studio.review._look_at = 0.0  # as if the seconds between looks were over
        assert ada.get("/api/label/me").json()["pairs"] == 3
        item = ada.post("/api/label/next", json={}).json()["item"]
        first = studio.labeling.ready()
        with Store.open(studio.folder) as store:
            common: dict[str, Any] = {"media": "0" * 64, "caption": "", "width_px": 32, "height_px": 32, "frames": 17}
            common |= {"fps": 8.0, "kind": "take", "group": "new", "clip_id": "", "system": "base", "made_by": "w"}
            store.add(Candidate(id=f"new-{k}", seed=k, **common) for k in range(2))
        assert studio.labeling.ready() is first, "not at every request"
        studio.labeling._look_at = 0.0
        body = {"item": item["id"], "event": "a" * 12, "labels": {"overall": [1] * item["segments"]}}
        assert ada.post("/api/label/save", json=body).json()["pairs"] == 4
        assert studio.labeling.ready() is not first and ada.get("/api/label/me").json()["done"] == 1


def test_a_page_without_a_template_of_its_own_is_the_frame_with_its_script(tmp_path: Path) -> None:
    section = SiteSection("captions", "Captions", {"/captions": "frame.html"}, lambda router, person: None)
    with Accounts(tmp_path / "people.db") as people:
        text = TestClient(make_site(people, "p", [section]), "http://127.0.0.1").get("/captions").text
    for part in ('src="/static/captions.js"', 'href="/static/studio.css"', "<h1>Captions</h1>", 'id="all"'):
        assert part in text


def test_commands_name_the_folder_as_a_shell_reads_it(address: str, studio: Studio) -> None:
    with client(address, "ada") as ada:
        for path in ("takes/choices", "runs/list", "compare/systems", "report/list", "home/facts"):
            answer = ada.get(f"/api/{path}").json()
            assert f" '{studio.folder}'" in answer.get("nothing", answer.get("next")), path
        for path in ("label/me", "review/me", "vote/me"):
            assert f" '{studio.folder}'" in ada.get(f"/api/{path}").json()["detail"], path


def test_invited_people_are_told_no_commands(address: str, studio: Studio) -> None:
    with open_studio(studio) as site, serving(site) as served:
        token = site.state.people.invite("bob")
        headers = {"authorization": f"Bearer {token}"}
        answer = httpx.get(f"{served}/api/label/me", headers=headers)
        assert answer.status_code == 424 and "rushes" not in answer.text
        assert httpx.get(f"{served}/api/home/facts", headers=headers).status_code == 403


def test_a_second_server_gives_out_no_pair_as_long_as_the_first_does(
    address: str, studio: Studio, rushes: Rushes
) -> None:
    with Store.open(studio.folder) as store:
        fill(store, 3, media=False)
    studio.serves_at("http://127.0.0.1:1234")
    second = Studio(studio.folder)
    with open_studio(second), client(address, "ada") as ada:
        assert ada.get("/api/label/me").json()["pairs"] == 3
        with pytest.raises(NotThere, match="already open at http://127"):
            second.labeling.ready()
        code, _, err = rushes("label", studio.folder, "--by", "human", "--port", "1")
        assert code == 2 and "already open at http://127.0.0.1:1234/label" in err
        assert ada.get("/api/label/me").json()["pairs"] == 3, "the first goes on"
        studio.labeling.close()
        second.labeling._look_at = 0.0
        assert second.labeling.ready()
    assert not list(studio.folder.glob(".*.address"))


def test_settings_are_read_as_they_are_now(address: str, studio: Studio) -> None:
    with client(address, "ada") as ada:
        assert ada.get("/api/home/facts").json()["about"] == "realdpo on tiny"
        write_settings(
            studio.folder, SETTINGS.model_copy(update={"train": SETTINGS.train.model_copy(update={"recipe": "sft"})})
        )
        assert studio.settings().train.recipe == "sft"
        (studio.folder / "rushes.toml").write_text("[train]\nsteps = many\n")
        answer = ada.get("/api/home/facts")
        assert answer.status_code == 424 and "rushes.toml" in answer.json()["detail"]


def test_twenty_thousand_takes_open_soon_and_nothing_is_read_before_it_is_asked_for(project: Path) -> None:
    common: dict[str, Any] = {"media": "0" * 64, "caption": "a cat", "width_px": 832, "height_px": 480, "frames": 81}
    common |= {"fps": 16.0}
    with Store.open(project) as store:
        store.add(Clip(id=f"c{k}", source=f"{k}.mp4", **common) for k in range(10_000))
        made: dict[str, Any] = {"kind": "take", "system": "base", "made_by": "w"}
        store.add(
            Candidate(id=f"t{k}-{n}", group=f"g{k}", clip_id=f"c{k}", seed=n, **made, **common)
            for k in range(10_000)
            for n in range(2)
        )
    began = time.monotonic()
    studio = Studio(project)
    with open_studio(studio) as site, serving(site) as address:
        assert not studio.labeling._opened and not studio.review._opened
        with client(address, "ada") as ada:
            assert ada.get("/api/home/facts").json()["steps"][1]["text"].startswith("20,000 of ")
            assert not studio.labeling._opened and not studio.review._opened
            assert ada.get("/api/label/me").json()["pairs"] == 10_000
    assert time.monotonic() - began < 20, "a tenth of it where nobody else computes"


def test_the_command_serves_without_torch_and_says_where(project: Path, without_torch: WithoutTorch) -> None:
    """It cannot bind the port, which it tries once all is imported and opened."""
    result = without_torch("studio", project, "--host", "203.0.113.1", "--port", "1")
    assert result.returncode == 2 and "choose another port" in result.stderr, result.stderr


def test_links_end_by_command(project: Path, rushes: Rushes) -> None:
    with open_studio(Studio(project)) as site:
        token = site.state.people.invite("bob")
        assert site.state.people.who(token) == "bob"
        for command in ("studio", "label"):
            assert rushes(command, project, "--forget", "bob")[:2] == (
                0,
                "bob: their link has ended; their labels stay, and --annotators invites again\n",
            )
        assert site.state.people.who(token) is None
    assert "nobody has this name (bob)" in rushes("studio", project, "--forget", "eve")[2]
    for by in ("world", "vlm"):  # whoever labels by now, and without leave to use a model
        status, out, err = rushes("label", project, "--set", f"label.by={by}", "--forget", "bob")
        assert (status, out[:4]) == (0, "bob:"), err


STATUS = ProjectStatus(
    Path("p"), "tiny", "densedpo", clips=1, held_out=2, takes=4, takes_wanted=8, labels=0,
    run=RunStatus("densedpo", 0, 1200, ended=False, training=False), detached=False, evaluated=False, report=None,
    next="rushes generate p",
)  # fmt: skip


def states(status: ProjectStatus) -> list[str]:
    return [step.state for step in home_facts(status, SETTINGS).steps]


def test_the_way_is_shown_step_by_step(tmp_path: Path) -> None:
    assert states(STATUS) == ["done", "next", "later", "later", "later"]
    assert home_facts(STATUS, SETTINGS).steps[1].text == "4 of 8 takes" and not home_facts(STATUS, SETTINGS).running
    labelling = replace(STATUS, takes=8, next="rushes label p")
    there = home_facts(labelling, SETTINGS)
    assert states(labelling)[2] == "next" and (there.here, there.next) == ("/label", "")
    scores = replace(labelling, next="rushes label p --by human --set label.scores=true")
    assert home_facts(scores, SETTINGS).next == scores.next
    by_program = SETTINGS.model_copy(update={"label": LabelSettings(by="world")})
    assert home_facts(labelling, by_program).here == "" and home_facts(labelling, by_program).next
    run = RunStatus("densedpo", 1000, 1200, ended=False, training=True, left_s=600.0)
    facts = home_facts(replace(labelling, labels=3, labels_decided=3, run=run), SETTINGS)
    assert [step.state for step in facts.steps] == ["done", "done", "done", "running", "later"]
    assert facts.running and (facts.running.done, facts.running.total, facts.running.left_s) == (1000, 1200, 600.0)
    assert facts.steps[3].text == "densedpo, training: 1,000 of 1,200 steps"
    some = replace(STATUS, takes=8, labels=1, labels_wanted=12, labels_decided=0)
    assert states(some)[2] == "next" and home_facts(some, SETTINGS).steps[2].text == "1 of 12 pairs labelled, 0 decided"
    ended = replace(labelling, labels=8, labels_decided=8, run=replace(run, ended=True, training=False))
    undecided = replace(ended, evaluated=True, report=tmp_path, verdict="No change shown: a to b.")
    steps = home_facts(undecided, SETTINGS).steps
    assert (steps[4].state, steps[4].text) == ("measured", "No change shown: a to b."), "nothing is green by itself"
    assert states(replace(undecided, better=True))[4] == "done"
    none = replace(STATUS, takes=None, takes_wanted=None, labels=None)
    assert states(none) == ["done", "not needed", "not needed", "next", "later"]
    (tmp_path / "run.log").write_text("importing\ngenerate: 3 of 8\n\n")
    busy = home_facts(replace(STATUS, project=tmp_path, detached=True), SETTINGS)
    assert busy.running and busy.running.text == "rushes run: generate: 3 of 8" and busy.steps[1].state == "running"


# ---- in a browser --------------------------------------------------------------------------------------------------


def text(tab: Page, selector: str, part: str) -> None:
    """Wait until an element holds this text."""
    tab.wait_for_function(
        "([selector, part]) => document.querySelector(selector)?.textContent.includes(part)", arg=[selector, part]
    )


LOOK = "() => document.dispatchEvent(new Event('visibilitychange'))"  # as when one comes back to the tab


@pytest.mark.browser
@pytest.mark.flaky(reruns=2)
def test_home_fills_follows_a_run_and_its_command_is_copied(project: Path, tab_of: NewTab) -> None:
    studio = Studio(project)
    with open_studio(studio) as site, serving(site, keyed=False) as address:
        tab = tab_of(f"{address}/#key={site.state.people.key}", expected="status of 401", width_px=360)
        text(tab, "#command", f"rushes import '{project}'")
        assert tab.url == f"{address}/" and tab.inner_text("#who") == "owner"
        assert (
            tab.locator("#path li").count() == 5
            and tab.locator("#path li[aria-current=step] b").inner_text() == "Footage"
        )
        assert tab.evaluate("document.documentElement.scrollWidth") == 360
        assert {"Home", "Footage", "Label"} <= {link.inner_text() for link in tab.locator("nav a:visible").all()}
        assert tab.locator("nav a[aria-current=page]").inner_text() == "Home"
        tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
        tab.keyboard.press("Tab")
        tab.focus("#copy")
        tab.keyboard.press("Enter")
        text(tab, "#copied", "Copied")
        assert tab.evaluate("navigator.clipboard.readText()") == f"rushes import '{project}'"
        tab.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('none')); }")
        tab.click("#copy")
        text(tab, "#copied", "Selected")
        assert tab.evaluate("String(getSelection())") == f"rushes import '{project}'"
        run = project / "runs" / "realdpo"
        run.mkdir()
        with Store.open(project) as store:
            fill(store, 1, media=False)
        (run / CURVES).write_text("".join(json.dumps({"step": k, "seconds": 2.0}) + "\n" for k in range(1, 51)))
        with only_one(run):
            tab.evaluate(LOOK)
            text(tab, "#running-text", "Training realdpo: step 50 of 200, about 5 min left")
        tab.evaluate(LOOK)
        tab.wait_for_selector("#running", state="hidden")
        assert tab.inner_text("#title") == "my project"
        site.state.people.key = "of a server that was started anew"
        tab.evaluate(LOOK)
        text(tab, "#note", "open your invitation again, or the address that the command printed")


@pytest.mark.browser
@pytest.mark.flaky(reruns=2)
def test_clips_timeline_and_answers_are_seen_together_on_a_phone(project: Path, browser: Browser) -> None:
    with Store.open(project) as store:
        fill(store, 1)
    studio = Studio(project)
    with open_studio(studio) as site, serving(site, keyed=False) as address:
        context = browser.new_context(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
        tab = context.new_page()
        tab.goto(f"{address}/label#key={site.state.people.key}")
        tab.fill("#name", "ada")
        tab.keyboard.press("Enter")
        tab.wait_for_selector("#grid .cell")
        tab.evaluate("document.querySelector('#prompt').textContent = 'a cat walks over a wall. '.repeat(20)")
        for height in (740, 844):
            tab.set_viewport_size({"width": 360 if height == 740 else 390, "height": height})
            clips, grid, answers = (tab.locator(part).bounding_box() for part in ("#panes", "#grid", "#work footer"))
            assert clips and grid and answers and answers["y"] + answers["height"] <= height + 1
            assert clips["y"] + clips["height"] <= grid["y"] and grid["y"] + grid["height"] <= answers["y"]
        shown = dict.fromkeys(("a", "b", "real"), False)
        for side in ("a", "b", "real"):  # one clip at a time, as wide as the screen
            tab.click(f"#sides [data-side={side}]") if side != "a" else None
            box = tab.locator(f"#panes figure.{side}").bounding_box()
            assert box and box["width"] > 360 and box["height"] > 230
            assert {each: tab.locator(f"#panes figure.{each}").is_visible() for each in shown} == {**shown, side: True}
        for control in tab.locator("#controls button:visible, #remarks button:visible, #note-text").all():
            control.focus()
            covered = "(it) => { const { x, y, width, height } = it.getBoundingClientRect();"
            covered += " return !it.contains(document.elementFromPoint(x + width / 2, y + height / 2)); }"
            assert not control.evaluate(covered), control.inner_text()
            switch = tab.locator("#sides").bounding_box()
            assert switch and switch["y"] >= 0, "the clips stay in sight"
        tab.reload()
        tab.wait_for_selector("#grid .cell")
        for at in range(tab.locator("#grid .cell").count()):
            tab.locator("#grid .cell").nth(at).click()
            tab.click("footer [data-mark='1']")
        tab.click("#save")
        text(tab, "#note", "Look at B first: press B above the clip.")
        tab.click("#sides [data-side=b]")
        tab.click("#save")
        text(tab, "#count", "1 of 1 pairs labelled by you, 0 by nobody yet")
        context.close()


@pytest.mark.browser
@pytest.mark.flaky(reruns=2)
def test_who_one_is_changes_by_ones_own_will_alone(project: Path, tab_of: NewTab) -> None:
    with open_studio(Studio(project)) as site, serving(site, keyed=False) as address:
        people = site.state.people
        tab = tab_of(f"{address}/home", expected="status of 4")
        tab.wait_for_selector("#stranger:visible")
        tab.goto(f"{address}/label#key=guessed")
        text(tab, "#note", "This link has ended")
        tab.goto(f"{address}/label#invite={people.invite('bob')}")
        tab.wait_for_selector("#missing:visible")
        assert [a.inner_text() for a in tab.locator("nav a:visible").all()] == ["Footage", "Label", "Vote"]
        evil = people.invite("eve")
        for button, name in (("Stay bob", "bob"), ("Continue as eve", "eve")):
            tab.goto(f"{address}/progress")
            tab.goto(f"{address}/label#invite={evil}")  # as a page elsewhere leads a browser
            tab.wait_for_selector("#change[open]")
            assert "This link is for eve" in tab.inner_text("#change")
            assert tab.evaluate("document.activeElement.textContent") == "Stay bob"
            tab.click(f"text={button}")
            text(tab, "#who", name)
        tab.goto(f"{address}/home")  # which is the owner's: back to what eve may open
        tab.wait_for_url(f"{address}/review")
        tab.goto(f"{address}/#key={people.key}")
        tab.wait_for_selector("#change[open]")
        tab.keyboard.press("Tab")
        tab.keyboard.press("Enter")
        text(tab, "#who", "owner")
        tab.goto(f"{address}/label")
        tab.fill("#name", "bob")
        tab.keyboard.press("Enter")
        text(tab, "#welcome-note", "bob has a link of their own")
        tab.fill("#name", "ada")
        tab.keyboard.press("Enter")
        tab.wait_for_selector("#missing:visible")
        text(tab, "#missing-text", "rushes import")
