"""axe-core finds nothing on any page of the studio, in light and in dark, nor in what opens and is marked on them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from axe_playwright_python.base import AxeResults
from axe_playwright_python.sync_playwright import Axe

from rushes.config.tables import LabelSettings, Settings
from rushes.project.settings import write_settings
from rushes.project.studio import Studio, open_studio

from .conftest import NewTab, serving
from .studio.studying import make_project, row, write_run, write_samples

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.flaky(reruns=2)]

AXE = Axe()
CONTRAST = {"runOnly": ["color-contrast"], "resultTypes": ["violations"]}  # all that a dark page can have of its own
FILLED = {
    "/": "#command:has-text('rushes')",
    "/review": "#join:visible",
    "/sheet": "#sheet img",
    "/takes": "#wall video",
    "/label": "#join:visible",
    "/progress": "#people td",
    "/runs": "#first canvas",
    "/compare": "#metrics:visible, #missing:visible",
    "/report": "#alone:visible",
}


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Address of a project that has something for every page, and the owner's key."""
    folder = make_project(tmp_path / "project")
    write_settings(folder, Settings(label=LabelSettings(by="human", scores=True)))
    write_samples(write_run(folder, "one", [row(step) for step in range(12)], finished=True), folder, (0, 10))
    write_run(folder, "two", [row(step) for step in range(12)])
    (folder / "reports" / "one.html").write_text('<!doctype html><html lang="en"><title>r</title><h1>Hello</h1></html>')
    with open_studio(Studio(folder)) as site, serving(site) as address:
        yield address, site.state.people.key


def look(tab: Page) -> None:
    """Fail with what axe finds, in both colour schemes, and where the page is wider than its window."""
    for width_px in (360, 768, 1920, 1280):
        tab.set_viewport_size({"width": width_px, "height": 720})
        assert tab.evaluate("document.documentElement.scrollWidth") <= width_px, f"{tab.url} at {width_px} px"
    tab.emulate_media(color_scheme="light")
    results = [AXE.run(tab)]
    tab.emulate_media(color_scheme="dark")
    results.append(AxeResults(tab.evaluate("options => axe.run(document, options)", CONTRAST)))
    for result in results:
        assert not result.violations_count, f"{tab.url}: {result.generate_report()}"


def test_nobody_is_kept_out_of_a_page(studio: tuple[str, str], tab_of: NewTab) -> None:
    address, key = studio
    tab = tab_of(f"{address}/#key={key}", expected="status of 4")
    tab.wait_for_selector("#command:has-text('rushes')")
    links = [str(link.get_attribute("href")) for link in tab.locator("header nav a").all()]
    assert len(links) >= 7
    for page in ("/progress", "/sheet", *links):
        tab.goto(address + page)
        tab.wait_for_selector(FILLED.get(page, "main:visible"))
        look(tab)
        if page == "/label":
            label(tab)


def label(tab: Page) -> None:
    """The labelling page with a pair on it, marked and not; what opens over it."""
    tab.fill("#name", "ada")
    tab.keyboard.press("Enter")
    tab.wait_for_selector("#work:visible")
    look(tab)
    for keys in ("a", "1", "t", "i", "o", "b", "2", "x", "m", "q", "Shift+B"):
        tab.keyboard.press(keys)
    look(tab)
    for keys, close in (("y", "#mine"), ("?", "#help")):
        tab.keyboard.press(keys)
        tab.wait_for_selector(f"{close}[open]")
        look(tab)
        tab.keyboard.press("Escape")


def test_takes_outside_of_the_filter_and_a_blind_pair_can_be_read(studio: tuple[str, str], tab_of: NewTab) -> None:
    address, key = studio
    tab = tab_of(f"{address}/takes#key={key}", expected="status of 4")
    tab.select_option("[name=metric]", "motion_speed")
    tab.fill("[name=low]", "2.4")
    tab.wait_for_selector("#wall .out")
    look(tab)
    tab.goto(f"{address}/compare")
    tab.check("[name=blind]")
    tab.wait_for_selector("#votes:visible")
    look(tab)
