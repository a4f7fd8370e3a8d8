"""Several people on a project's pages: the blind vote, the campaign and what its owner settles, as they are served."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from rushes.config.tables import LabelSettings, Settings
from rushes.evaluate.votes import standing_of
from rushes.project.settings import write_settings
from rushes.project.studio import Studio, open_studio
from rushes.records import VOTE, Candidate, Clip, Preference
from rushes.store.annotators import SETTLED
from rushes.store.database import Store

from ..projects import Rushes
from .conftest import NewTab, encoded, fill, serving

if TYPE_CHECKING:
    from playwright.sync_api import Page

SETTINGS = Settings(label=LabelSettings(by="human", repeat_share=0.0, overlap_share=0.0, whole=True))
SIZE: dict[str, Any] = {"width_px": 32, "height_px": 32, "frames": 17, "fps": 8.0}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Three clips with two takes each to label, and two held-out prompts with a take of the base and of run one."""
    folder = tmp_path / "my project"
    with Store.create(folder) as store:
        fill(store, 3, lighter=8)
        for g in range(2):
            real = store.put_media_bytes(encoded(200 + g), ".mp4")
            store.add([Clip(f"held{g}", real, f"held {g}", **SIZE, source="s", split="eval")])
            for at, system in enumerate(("base", "one")):
                media = store.put_media_bytes(encoded(100 + 10 * g + at, 8 * at), ".mp4")
                store.add([Candidate(f"{system}{g}", media, f"held {g}", kind="take", group=f"h{g}", clip_id=f"held{g}",
                                     system=system, made_by="w", seed=0, split="eval", **SIZE)])  # fmt: skip
    write_settings(folder, SETTINGS)
    return folder


@dataclass
class Served:
    address: str
    studio: Studio
    site: Any

    def client(self, name: str = "") -> httpx.Client:
        """Requests of somebody who was invited, or of the owner."""
        people = self.site.state.people
        token = people.invite(name) if name else people.key
        headers = {"authorization": f"Bearer {token}", "origin": self.address}
        return httpx.Client(base_url=self.address, headers=headers)


@pytest.fixture
def served(project: Path) -> Iterator[Served]:
    studio = Studio(project)
    with open_studio(studio) as site, serving(site) as address:
        yield Served(address, studio, site)


def vote(client: httpx.Client, mark: int, event: str) -> str:
    """Vote on the next pair; which system was A."""
    item = client.post("/api/vote/next", json={"have": []}).json()["item"]
    assert item["segments"] == 1 and "real" not in item["clips"]
    body = {"item": item["id"], "event": event * 8, "labels": {VOTE: [mark]}}
    assert client.post("/api/vote/save", json=body).status_code == 200
    return str(item["id"])


def test_votes_are_blind_stored_and_apart_from_labels(project: Path, served: Served) -> None:
    with served.client("ada") as ada, served.client("bob") as bob:
        me = ada.get("/api/vote/me").json()
        assert me["dimensions"] == [VOTE] and me["segment_s"] is None and me["pairs"] == 2
        item = ada.post("/api/vote/next", json={"have": []}).json()["item"]
        assert "one" not in json.dumps(item) and "base" not in json.dumps(item)
        vote(ada, 1, "a1")
        vote(bob, -1, "b1")
        assert bob.post("/api/vote/next", json={"have": []}).json()["item"] is None  # one vote a pair is asked for
        assert ada.get("/api/campaign/facts").status_code == 403
    with Store.open(project) as store:
        rows = store.preferences(votes=True)
        assert {row.judge for row in rows} == {"human:ada", "human:bob"} and not store.preferences()
        assert {frozenset((row.left, row.right)) for row in rows} == {
            frozenset((f"base{g}", f"one{g}")) for g in (0, 1)
        }
        stands = standing_of(store, "one", 1)
    with served.client() as owner:
        facts = owner.get("/api/campaign/facts").json()
    assert facts["vote"]["complete"] == stands.complete == 2 and facts["labelled"] == 0
    assert facts["vote"]["words"] == stands.in_words() and "only more prompts can decide" in stands.in_words()


def test_commands_say_how_it_stands_and_what_is_missing(project: Path, rushes: Rushes) -> None:
    code, out, _ = rushes("vote", project, "--standing", "--json")
    assert code == 0 and json.loads(out)["run"] == "one" and json.loads(out)["rate"] is None
    code, _, err = rushes("vote", project, "--run", "two", "--standing")
    assert code == 2 and "there are those of one" in err and "--run two" in err
    code, out, _ = rushes("campaign", project, "--people", "ada, bob", "--pairs", "3", "--plan", "--json")
    plan = json.loads(out)
    assert (code, plan["people"], plan["pairs_each"], plan["seconds"]) == (0, ["ada", "bob"], 2, None)
    assert plan["hours"] == pytest.approx(2 * 2 * 20 / 3600)
    assert (plan["key"], plan["key_pairs"], plan["practice"]) == ("lead", 0, 5)
    code, out, _ = rushes("campaign", project, "--plan")  # people and pairs of before
    assert (
        code == 0
        and "2 people: 3 pairs with a label, 2 each" in out
        and "about 1 min each" in out
        and "an assumption" in out
        and "enter the name lead on the page and label about 15 pairs" in out
    )
    code, out, _ = rushes("status", project)
    assert "campaign: 0 of 3 pairs have a label, 3 more pairs to label" in out
    with Store.open(project) as store:
        store.add([Preference(f"key{g}", f"take{g}-0", f"take{g}-1", (1,), "human:ada") for g in range(3)])
    code, out, _ = rushes("campaign", project, "--plan", "--set", "label.gold_by=ada", "--set", "label.practice=3")
    assert code == 0 and "the key: 3 pairs by ada; the others first practise on 3 of them, explained" in out
    code, _, err = rushes("campaign", project, "--people", "ada", "--pairs", "9", "--plan")
    assert code == 2 and "there are only 3 pairs; 3 takes of each of 3 clips make 9: `rushes set " in err
    assert f"generate.takes=3`, then `rushes generate '{project}'`" in err
    code, out, _ = rushes("status", project)
    assert "campaign: 3 of 3 pairs have a label, enough to train" in out


@pytest.mark.browser
def test_a_campaign_that_was_not_begun_says_how_it_begins(project: Path, served: Served, tab_of: NewTab) -> None:
    tab = tab_of(f"{served.address}/campaign#key={served.site.state.people.key}")
    tab.wait_for_selector("#headline:text-is('No campaign yet')")
    assert f"rushes campaign '{project}' --people" in tab.inner_text("#target")


@pytest.mark.browser
@pytest.mark.flaky(reruns=2)
def test_vote_and_settle_by_keyboard(project: Path, served: Served, tab_of: NewTab) -> None:
    with Store.open(project) as store:
        for who, mark in (("ada", 1), ("bob", -1)):
            store.add([Preference(who, "take0-0", "take0-1", (mark,), f"human:{who}")])
    tab = tab_of(f"{served.address}/vote")
    tab.wait_for_selector("#name:visible")
    assert "random for each pair" in tab.inner_text("#welcome")
    tab.keyboard.type("lead")
    tab.keyboard.press("Enter")
    tab.wait_for_selector("#work:visible")
    assert tab.locator("#panes video").count() == 2  # no real clip
    for n in (1, 2):
        tab.keyboard.press("a")
        tab.keyboard.press("Enter")
        tab.wait_for_function("n => document.querySelector('#count').textContent.startsWith(`${n} of 2`)", arg=n)
    tab.wait_for_selector("#done:visible")
    tab.goto(f"{served.address}/campaign")
    tab.wait_for_selector("#vote:visible")
    assert "only more prompts can decide" in tab.inner_text("#vote-words")
    tab.click("a[href='/disputes']")
    tab.wait_for_selector("#work:visible")
    assert tab.inner_text("#said tbody").split() == ["ada", "A", "bob", "B"]
    _settle(tab, "b")
    tab.wait_for_selector("#done:visible")
    tab.reload()  # a settled pair is there on a later visit
    tab.wait_for_selector("#done:visible")
    tab.select_option("#settled", index=1)
    _settle(tab, "a")
    tab.wait_for_selector("#done:visible")
    tab.keyboard.press("u")
    _settle(tab, "t")
    tab.wait_for_selector("#done:visible")
    with Store.open(project) as store:
        (row,) = [row for row in store.preferences() if row.judge.endswith(SETTLED)]
        assert row.labels == (0,) and row.judge == f"human:lead{SETTLED}" and len(store.preferences(votes=True)) == 2


@pytest.mark.browser
@pytest.mark.flaky(reruns=2)
def test_a_pair_is_looked_at_closely_and_settled_by_mouse(project: Path, served: Served, tab_of: NewTab) -> None:
    with Store.open(project) as store:
        for who, mark in (("ada", 1), ("bob", -1)):
            store.add([Preference(who, "take0-0", "take0-1", (mark,), f"human:{who}")])
    tab = tab_of(f"{served.address}/disputes#key={served.site.state.people.key}")
    tab.wait_for_function(
        "() => [...document.querySelectorAll('#panes video')].filter(v => v.readyState > 1).length === 2"
    )
    tab.click("[data-act=wipe]")
    box = tab.locator("#panes .a").bounding_box()
    assert box
    tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + 60)
    tab.mouse.down()
    tab.mouse.move(box["x"] + box["width"] / 4, box["y"] + 60, steps=3)
    tab.mouse.up()
    assert tab.get_attribute("#line", "aria-valuenow") == "25"
    tab.keyboard.press("Shift+ArrowRight")  # nothing is zoomed: it chooses a part
    tab.click("[data-act=blink]")
    assert tab.inner_text("#view-state") == "A is shown" and "blinked" in str(tab.get_attribute("#panes .b", "class"))
    tab.click("[data-act=difference]")
    grey = """() => {
      const canvas = document.querySelector("#difference");
      return canvas.getContext("2d").getImageData(canvas.width / 2, canvas.height / 2, 1, 1).data[0];
    }"""
    tab.wait_for_function(f"() => ({grey})() > 30")
    tab.click("[data-act=difference]")
    tab.mouse.move(box["x"] + 40, box["y"] + 40)
    tab.mouse.wheel(0, -400)
    tab.wait_for_function("() => document.querySelector('[data-act=zoom]').textContent.startsWith('2.7')")
    moved = "[...document.querySelectorAll('#panes video')].map(video => getComputedStyle(video).transform)"
    before = tab.evaluate(moved)
    assert len(set(before)) == 1 and "none" not in before, "both show the same region"
    tab.keyboard.press("Shift+ArrowRight")
    assert tab.evaluate(moved) != before
    tab.click("[data-act=full]")
    tab.wait_for_function("() => document.fullscreenElement")
    tab.keyboard.press("f")
    tab.wait_for_function("() => !document.fullscreenElement")
    tab.click("footer [data-mark='-1']")
    tab.click("[data-act=undo]")
    tab.click("footer [data-mark='1']")
    tab.click("#save")
    tab.wait_for_selector("#done:visible")
    with Store.open(project) as store:
        (row,) = [row for row in store.preferences() if row.judge.endswith(SETTLED)]
    assert (row.left, row.labels) == ("take0-0", (1,))


def _settle(tab: Page, key: str) -> None:
    tab.wait_for_selector("#work:visible")
    tab.keyboard.press(key)
    tab.keyboard.press("Enter")
