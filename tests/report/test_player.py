"""The page in a real browser: no error, no request, videos on the same frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rushes.report import page
from rushes.report.model import Report

from .conftest import FPS, FRAMES, GREY_STEP

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator


pytestmark = [pytest.mark.browser, pytest.mark.flaky(reruns=2)]

SHOWN = """root => [...root.querySelectorAll("video")].map(video => {
  const canvas = document.createElement("canvas"), pen = canvas.getContext("2d");
  canvas.width = canvas.height = 8;
  pen.drawImage(video, 0, 0, 8, 8);
  return pen.getImageData(4, 4, 1, 1).data[0];
})"""
PLAYING = 'root => [...root.querySelectorAll("video")].map(video => !video.paused)'
TIMES = 'root => [...root.querySelectorAll("video")].map(video => video.currentTime)'


@pytest.fixture
def opened(report: Report, tmp_path: Path, browser: Browser) -> Iterator[Locator]:
    """The first case of the opened page; errors and requests fail the test at its end."""
    target = page.write(report, tmp_path / "report.html")
    problems: list[str] = []
    tab = browser.new_page(viewport={"width": 390, "height": 844}, reduced_motion="reduce")
    tab.on("console", lambda message: problems.append(f"{message.type}: {message.text}"))
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.on("request", lambda request: problems.append(request.url[:80]) if _outside(request.url, target) else None)
    tab.goto(target.as_uri())
    case = tab.locator("[data-player]").first
    case.scroll_into_view_if_needed()
    tab.wait_for_function(
        "() => [...document.querySelector('[data-player]').querySelectorAll('video')]"
        ".every(video => video.readyState >= 2 && !video.seeking)"
    )
    yield case
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    tab.close()
    assert problems == []


def _outside(url: str, target: Path) -> bool:
    return not url.startswith(("data:", "blob:")) and url != target.as_uri()


def _frames(case: Locator) -> list[int]:
    """The frame that each video shows, read from its grey level."""
    case.page.wait_for_timeout(150)
    return [round((level - 16) / GREY_STEP) for level in case.evaluate(SHOWN)]


def test_buttons_keys_and_slider_move_all_videos_together(opened: Locator) -> None:
    assert _frames(opened) == [0, 0, 0]
    opened.get_by_label("One frame forward").click()
    opened.get_by_label("One frame forward").click()
    assert _frames(opened) == [2, 2, 2]
    opened.focus()
    opened.press("ArrowLeft")
    assert _frames(opened) == [1, 1, 1]
    opened.locator("input").fill("9")
    assert _frames(opened) == [9, 9, 9]
    opened.press("End")  # the real clip has one frame more; the others hold their last
    assert _frames(opened) == [FRAMES - 1, FRAMES - 1, FRAMES]
    assert opened.locator("output").inner_text() == "17 / 17"


def test_one_button_plays_and_pauses_all_in_step(opened: Locator) -> None:
    opened.get_by_label("Play all").click()
    opened.page.wait_for_function("root => root.querySelector('video').currentTime > 0.5", arg=opened.element_handle())
    assert opened.evaluate(PLAYING) == [True, True, True]
    for _ in range(5):
        times = opened.evaluate(TIMES)
        assert max(times) - min(times) <= 1 / FPS
        opened.page.wait_for_timeout(60)
    opened.get_by_label("Pause all").click()
    assert len(set(_frames(opened))) == 1
    still = opened.evaluate(TIMES)
    opened.page.wait_for_timeout(200)
    assert opened.evaluate(TIMES) == still and len(set(still)) == 1


def test_play_starts_again_at_the_end(opened: Locator) -> None:
    opened.locator("select").select_option("2")
    opened.focus()
    opened.press("End")
    opened.press("ArrowLeft")
    opened.press(" ")
    opened.page.wait_for_function(
        "root => { const now = root.querySelector('video').currentTime; return now > 0.1 && now < 1; }",
        arg=opened.element_handle(),
    )
    times = opened.evaluate(TIMES)
    assert max(times) - min(times) <= 2 / FPS and opened.evaluate(PLAYING) == [True, True, True]


def test_paper_gets_a_still_of_every_video_and_open_details(opened: Locator) -> None:
    opened.page.wait_for_function("() => [...document.querySelectorAll('video')].every(v => v.readyState >= 2)")
    count = "selector => document.querySelectorAll(selector).length"
    closed = opened.page.evaluate(count, "details:not([open])")
    opened.page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
    assert opened.page.evaluate(count, "video + canvas.still") == 18 and closed > 0
    assert opened.page.evaluate(count, "details:not([open])") == 0
    opened.page.evaluate("() => dispatchEvent(new Event('afterprint'))")
    assert opened.page.evaluate(count, "canvas") == 0
    assert opened.page.evaluate(count, "details:not([open])") == closed


def test_the_case_in_view_plays_by_itself_until_it_is_touched(report: Report, tmp_path: Path, browser: Browser) -> None:
    tab = browser.new_page(viewport={"width": 1280, "height": 900}, reduced_motion="no-preference")
    tab.goto(page.write(report, tmp_path / "report.html").as_uri())
    case = tab.locator("[data-player]").first
    case.scroll_into_view_if_needed()
    tab.wait_for_function("() => [...document.querySelectorAll('[data-player] video')].some(video => !video.paused)")
    playing = tab.locator("[data-player]").filter(has=tab.get_by_label("Pause all")).first
    playing.get_by_label("Pause all").click()
    tab.evaluate("scrollTo(0, 0)")
    tab.wait_for_timeout(200)
    case.scroll_into_view_if_needed()
    tab.wait_for_timeout(300)
    assert tab.evaluate("[...document.querySelectorAll('video')].every(video => video.paused)"), "it was touched"
    tab.close()


def test_a_case_opens_where_its_sides_differ_most_and_bad_seconds_are_marked(
    report: Report, tmp_path: Path, browser: Browser
) -> None:
    case = report.cases[0]
    marked = tuple(
        replace(video, faults=row) for video, row in zip(case.videos, ((0.0, 1.0), (0.5, 0.0), ()), strict=True)
    )
    at_5 = replace(report, cases=(replace(case, frame=5, videos=marked),), chosen={"train.steps": ("9", "200")})
    tab = browser.new_page(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    tab.goto(page.write(at_5, tmp_path / "report.html").as_uri())
    root = tab.locator("[data-player]")
    root.scroll_into_view_if_needed()
    tab.wait_for_function("() => [...document.querySelectorAll('video')].every(v => v.readyState >= 2 && !v.seeking)")
    assert set(_frames(root)[:2]) == {5}
    marks = root.locator(".faults")
    assert [row.get_attribute("aria-label") for row in marks.all()] == [
        "Base, lost dots by second: 0 %, 100 %", "Trained, lost dots by second: 50 %, 0 %",
    ]  # fmt: skip
    shown = marks.first.locator("i").evaluate_all("cells => cells.map(cell => getComputedStyle(cell).opacity)")
    assert shown == ["0", "1"]
    row = tab.locator("#settings tr", has_text="train.steps")
    assert row.inner_text().split() == ["train.steps", "9", "200"]
    tab.close()


def test_a_case_is_shown_large_and_small_again(opened: Locator) -> None:
    small = opened.bounding_box()
    opened.get_by_label("Large").click()
    large = opened.bounding_box()
    assert small and large and large["width"] == 390 and large["height"] == 844
    opened.focus()
    opened.press("Escape")
    again = opened.bounding_box()
    assert again and again["width"] == small["width"]


def test_units_stand_in_one_line(report: Report, tmp_path: Path, browser: Browser) -> None:
    unit = "log10 of squared grey levels"
    wide = replace(report, metrics=tuple(replace(row, unit=unit, better="lower") for row in report.metrics))
    target = page.write(wide, tmp_path / "report.html")
    for width_px in (1280, 390):
        tab = browser.new_page(viewport={"width": width_px, "height": 800})
        tab.goto(target.as_uri())
        words = tab.locator("table.metrics").get_by_text(f"Lower is better, in {unit}").all()
        assert len(words) == len(report.metrics)
        for each in words:
            box = each.bounding_box()
            assert box and box["height"] < 30, "of one line"
        assert tab.evaluate("document.documentElement.scrollWidth") <= width_px
        tab.close()
