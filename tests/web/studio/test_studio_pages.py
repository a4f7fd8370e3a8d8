"""The pages on runs, takes, systems and reports in a real browser, by keyboard and by mouse."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from rushes.text_reader import printable
from rushes.web.accounts import Accounts
from rushes.web.site import make_site
from rushes.web.studio import compare_page, report_page, runs_page, takes

from ..conftest import NewTab, serving
from .studying import make_project, only_folder, row, write_run, write_samples

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.flaky(reruns=2)]

MODULES = (runs_page, takes, compare_page, report_page)
PAGES = ("/runs", "/takes", "/compare", "/report")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_project(tmp_path_factory.mktemp("studio") / "project")
    script = "document.body.dataset.ran = 1; try { parent.document.title } catch { document.body.dataset.alone = 1 }"
    (folder / "reports" / "one.html").write_text(f"<title>r</title><h1>Hello</h1><script>{script}</script>")
    return folder


@pytest.fixture(scope="module")
def site(folder: Path) -> Iterator[tuple[str, str]]:
    """Address of the server, and the token of a person whom it knows."""
    with Accounts(folder.parent / "people.db") as people:
        token = people.key
        with serving(
            make_site(
                people,
                "my <i>project</i>",
                [each for module in MODULES for each in module.sections(only_folder(folder))],
            )
        ) as address:
            yield address, token


class OpenPage(Protocol):
    """Opens a page for that person."""

    def __call__(self, page: str, width_px: int = 1280) -> Page: ...


@pytest.fixture
def opened(tab_of: NewTab, site: tuple[str, str]) -> OpenPage:
    def make(page: str, width_px: int = 1280) -> Page:
        address, token = site
        tab = tab_of(address, width_px=width_px, expected="401")
        tab.evaluate("token => localStorage.setItem('rushes-token', token)", token)
        tab.goto(address + page)
        return tab

    return make


def count(tab: Page, text: str) -> None:
    tab.wait_for_function("text => document.querySelector('#count').textContent.includes(text)", arg=text)


LOADED = "place => [...document.querySelectorAll(`${place} video`)].every((video) => video.readyState > 1)"
BLIND = "() => [...document.querySelectorAll('#panes figcaption')].map((each) => each.textContent).join('') === 'AB'"
IN_STEP = """count => {
    const videos = [...document.querySelectorAll('video')];
    const times = videos.map((video) => video.currentTime).filter((time) => time > 0.3);
    return times.length === count && Math.max(...times) - Math.min(...times) < 0.07;
}"""


def playing(tab: Page, videos: int) -> None:
    """Wait until so many videos play, none half a frame from the others."""
    tab.wait_for_function(IN_STEP, arg=videos)


def test_a_run_that_trains_is_seen_to_move(opened: OpenPage, folder: Path) -> None:
    place = write_run(folder, "live", [row(step) for step in range(12)])
    write_samples(place, folder, (0, 10), clips=1)
    write_run(folder, "older", [row(step) for step in range(30)], finished=True)
    os.utime(folder / "runs" / "older" / "metrics.jsonl", (1, 1))
    tab = opened("/runs")
    cells = "#runs tbody tr:first-child td"
    tab.wait_for_selector("#first canvas")
    assert (
        tab.inner_text("#runs tbody tr:first-child th").strip() == "live"
        and tab.inner_text("#project") == "my <i>project</i>"
    )
    assert tab.inner_text(f"{cells} >> nth=1") == "11"
    assert "Loss at step 11" in str(tab.get_attribute("#first .uplot", "aria-label"))
    assert tab.locator("#first figcaption").all_inner_texts()[:3] == [
        "Loss",
        "Relative error (policy \u2212 reference)",
        "Implicit accuracy",
    ]
    with (place / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(row(12)) + "\n" + json.dumps(row(13))[:9])
        file.flush()
        tab.wait_for_function("() => document.querySelector('#runs tbody td:nth-of-type(2)').textContent === '12'")
        file.write(json.dumps(row(13))[9:] + "\n")
    tab.wait_for_function("() => document.querySelector('#first .uplot')?.ariaLabel.includes('step 13')")
    # the other run over it, by keyboard
    assert "second" not in tab.url and tab.locator("#first .u-legend").first.inner_text().count("clip") == 0
    tab.focus("input[data-run=older]")
    tab.keyboard.press("Space")
    tab.wait_for_function("() => document.querySelector('#first .u-legend')?.textContent.includes('older: ')")
    assert tab.evaluate("document.activeElement.dataset.run") == "older" and "runs=" in tab.url
    assert "live: " in tab.inner_text("#first .u-legend") and "older: finished" in tab.inner_text("#live")
    tab.click("input[data-run=older]")  # and away again, by mouse
    tab.wait_for_function("() => !document.querySelector('#first .u-legend')?.textContent.includes('older: ')")
    # its row goes on, though its curves are not asked for any more
    with (folder / "runs" / "older" / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(row(77)) + "\n")
    for _ in range(5):  # the list is asked for at every fifth look
        tab.evaluate("() => document.dispatchEvent(new Event('visibilitychange'))")
    tab.wait_for_function(
        "() => [...document.querySelectorAll('#runs tbody tr')].some((row) => /older.*77/s.test(row.textContent))"
    )
    # clips after so many steps, in step
    tab.locator("#samples").scroll_into_view_if_needed()
    tab.wait_for_function(
        "() => [...document.querySelectorAll('#strips video')].filter((v) => v.readyState > 1).length === 2"
    )
    assert tab.locator("#strips figcaption").all_inner_texts() == ["before training", "step 10"]
    tab.evaluate("document.activeElement.blur()")
    tab.keyboard.press("Space")
    playing(tab, 2)


def test_takes_are_filtered_and_play_beside_the_real_clip(opened: OpenPage) -> None:
    tab = opened("/takes")
    count(tab, "1 to 6 of 6 clips")
    tab.select_option("[name=metric]", "motion_speed")
    count(tab, "1 to 3 of 3 clips")
    tab.fill("[name=low]", "2.4")
    count(tab, "1 to 1 of 1 clip")
    tab.wait_for_selector("#wall .out")
    assert "the real clip" in tab.inner_text("#wall figure >> nth=0")
    assert "motion speed 2.5" in tab.inner_text("#wall figure >> nth=1")
    tab.click("button[type=reset]")
    count(tab, "of 6 clips")
    tab.wait_for_function("() => document.querySelectorAll('#wall video').length === 3")
    tab.focus("#groups button >> nth=0")
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("ArrowDown")
    tab.wait_for_function("() => document.querySelector('#groups [aria-current]')?.dataset.group === 'g1'")
    tab.keyboard.press("ArrowUp")
    tab.keyboard.press("ArrowUp")
    tab.wait_for_function("() => document.querySelectorAll('#wall video').length === 3")
    tab.wait_for_function(LOADED, arg="#wall")
    name = "#wall figcaption button >> nth=1"
    tab.click("#wall video >> nth=1")
    assert tab.get_attribute(name, "aria-expanded") == "true"
    tab.focus(name)
    tab.keyboard.press("Escape")
    assert tab.get_attribute(name, "aria-expanded") == "false"
    tab.keyboard.press("Enter")
    assert tab.get_attribute("#wall figure >> nth=1", "class") == "cell-video clickable large"
    tab.keyboard.press("Escape")
    tab.evaluate("document.activeElement.blur()")
    assert "vlm: won 1, tied 0, lost 0" in tab.inner_text("#wall figure >> nth=1")
    tab.keyboard.press("Space")
    playing(tab, 3)


def test_two_systems_are_compared_open_and_blind(opened: OpenPage) -> None:
    tab = opened("/compare")
    count(tab, "1 to 3 of 3 pairs")
    tab.wait_for_selector("#measured:visible")
    assert tab.locator("#panes figcaption").all_inner_texts() == ["base", "two"]
    assert "warping error" in tab.inner_text("#measured") and "rushes evaluate" in tab.inner_text("#missing")
    tab.wait_for_function(LOADED, arg="#panes")
    tab.keyboard.press("Space")
    playing(tab, 2)
    tab.check("[name=blind]")
    tab.wait_for_function(BLIND)
    assert tab.is_hidden("#measured")
    tab.keyboard.press("a")
    tab.wait_for_selector("#measured:visible")
    names = tab.locator("#panes figcaption").all_inner_texts()
    assert names in (["A: base", "B: two"], ["A: two", "B: base"])
    chosen = names[0].removeprefix("A: ")
    assert f"{chosen} 1" in tab.inner_text("#tally") and "Nothing is stored" in tab.inner_text("#tally")
    tab.keyboard.press("n")
    tab.wait_for_function(BLIND)
    assert tab.is_hidden("#measured") and "prompt 1" in tab.inner_text("#caption")
    tab.click("[data-vote='1']")  # by mouse: B of the second prompt, then another prompt, open
    tab.wait_for_function("() => document.querySelector('#tally').textContent.startsWith('You chose in 2 pairs')")
    tab.click("#pairs li:nth-child(3) button")
    tab.wait_for_function(BLIND)
    assert "prompt 2" in tab.inner_text("#caption")
    tab.click("#reveal")
    tab.wait_for_selector("#measured:visible")
    tab.wait_for_function(LOADED, arg="#panes")
    tab.click("[data-act=wipe]")
    assert tab.get_attribute("#panes", "data-view") == "wipe" and tab.is_visible("#line")
    tab.keyboard.press("Escape")
    tab.keyboard.press("z")
    assert tab.get_attribute("#panes", "data-view") == "side" and "zoomed" in str(tab.get_attribute("#panes", "class"))
    tab.keyboard.press("Shift+Z")
    tab.select_option("[name=first]", "two")
    tab.wait_for_function("() => document.querySelector('[name=second]').value !== 'two'")
    tab.wait_for_function("() => document.querySelector('#tally').textContent === ''")


def test_a_report_opens_in_the_frame_and_reaches_nothing(opened: OpenPage) -> None:
    tab = opened("/report")
    inner = tab.frame_locator("#report-frame")
    inner.locator("body[data-ran][data-alone]").wait_for()
    assert inner.locator("h1").inner_text() == "Hello"
    assert tab.get_attribute("#report-frame", "title") == "Report one.html"
    with tab.context.expect_page() as other:
        tab.click("#alone")
    other.value.wait_for_selector("body[data-ran]")


@pytest.mark.parametrize("page", PAGES)
def test_a_narrow_screen_is_not_wider_than_itself(opened: OpenPage, page: str) -> None:
    tab = opened(page, width_px=360)
    tab.wait_for_load_state("networkidle")
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360


def test_what_turns_text_or_steers_is_escaped(opened: OpenPage) -> None:
    tab = opened("/takes")
    texts = ["a\u202egnp.exe", "\x1b[31mred\x07", "\u2066b\u2029", "two\nlines", "שלום, naïve ☂ 🐈‍⬛"]
    for text in texts:
        assert tab.evaluate("text => import('/static/text.js').then((all) => all.shown(text))", text) == printable(text)
        assert tab.evaluate(
            "text => import('/static/wall.js').then((all) => all.make('p', text).textContent)", text
        ) == (printable(text))


def test_captions_of_every_page_are_placed_escaped() -> None:
    pages = sorted((Path(str(files("rushes"))) / "web" / "pages").glob("*.js"))
    placed = [line for page in pages for line in re.findall(r"textContent = .*", page.read_text(encoding="utf-8"))]
    captions = [line for line in placed if re.search(r"\w\.(caption|prompt|imported_caption)\b|= caption", line)]
    assert len(captions) >= 6 and [line for line in captions if "shown(" not in line] == []
