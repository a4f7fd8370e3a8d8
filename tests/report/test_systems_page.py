"""The report on folders of videos in a real browser: both widths, both themes, no error, no request."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from rushes.report import page
from rushes.report.model import Report

from .test_page import of_systems

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Request


pytestmark = pytest.mark.browser


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_sticks_out_and_nothing_is_asked_of_the_network(
    report: Report, tmp_path: Path, browser: Browser, width: int, scheme: Literal["light", "dark"]
) -> None:
    target = page.write(of_systems(report), tmp_path / "report.html")
    problems: list[str] = []
    tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    tab.on("console", lambda message: problems.append(f"{message.type}: {message.text}"))
    tab.on("pageerror", lambda error: problems.append(str(error)))

    def asked(request: Request) -> None:
        problems.append(request.url[:80])

    tab.on("request", lambda r: None if r.url.startswith(("data:", "blob:")) or r.url == target.as_uri() else asked(r))
    tab.goto(target.as_uri())
    for details in tab.locator("details").all():
        details.evaluate("element => { element.open = true; }")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    small = "() => [...document.querySelectorAll('svg text')].every(t => t.getBoundingClientRect().width > 0)"
    assert tab.evaluate(small)
    paper = tab.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert (sum(map(int, paper[4:-1].split(","))) < 200) == (scheme == "dark")
    tab.close()
    assert problems == []
