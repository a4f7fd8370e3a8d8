"""Dragging on the labelling page, by mouse and by finger: takes into order; spans, the line and the zoom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from ..conftest import NewSession, NewTab
from .test_page import MARKS, join, press, saved, served
from .test_page_controls import REASONS, shown_last

if TYPE_CHECKING:
    from playwright.sync_api import CDPSession, Page

pytestmark = [pytest.mark.browser, pytest.mark.flaky(reruns=2)]


@dataclass
class Pointer:
    """A mouse, or a finger where `touch` is given."""

    tab: Page
    touch: CDPSession | None = None

    def drag(self, start: str, end: str, share: float = 0.5, leave: bool = True) -> None:
        """From the middle of a part of the page to a point of another, so much of its width from its left."""
        x, y = self.at(start, 0.5)
        to_x, to_y = self.at(end, share)
        self.go("touchStart", x, y)
        for part in (0.1, 0.5, 1.0):
            self.go("touchMove", x + part * (to_x - x), y + part * (to_y - y))
        if leave:
            self.go("touchEnd", to_x, to_y)

    def at(self, place: str, share: float) -> tuple[float, float]:
        box = self.tab.locator(place).bounding_box()
        assert box, place
        return box["x"] + share * box["width"], box["y"] + box["height"] / 2

    def go(self, what: str, x: float, y: float) -> None:
        if self.touch:
            touches(self.touch, what, *([] if what == "touchEnd" else [(x, y)]))
            return
        self.tab.mouse.move(x, y)
        if what != "touchMove":
            (self.tab.mouse.down if what == "touchStart" else self.tab.mouse.up)()


def touches(session: CDPSession, what: str, *points: tuple[float, float]) -> None:
    """What fingers do on the screen."""
    places = [{"x": x, "y": y, "id": at} for at, (x, y) in enumerate(points)]
    session.send("Input.dispatchTouchEvent", {"type": what, "touchPoints": places})


def order(tab: Page) -> str:
    """What a screen reader says of the places."""
    return tab.inner_text("#chosen").replace("place ", "")


@pytest.mark.parametrize(
    ("width_px", "finger"), [(1280, False), (360, False), pytest.param(360, True, marks=pytest.mark.whole)]
)
def test_takes_are_dragged_into_order(width_px: int, finger: bool, make_session: NewSession, tab_of: NewTab) -> None:
    session = make_session(groups=1, takes=4, media=True, ranks=True, reasons=REASONS)
    with served(session) as address:
        tab = tab_of(address, width_px=width_px)
        join(tab, "ada")
        hand = Pointer(tab, tab.context.new_cdp_session(tab) if finger else None)
        tab.locator("#ranking").scroll_into_view_if_needed()
        assert tab.inner_text("#unplaced").split() == ["A", "B", "C", "D"]
        hand.drag("#panes .c video" if width_px > 500 else "#unplaced [data-rank=c]", "#places")
        assert order(tab) == "1: C" and tab.inner_text("#unplaced").split() == ["A", "B", "D"]
        hand.drag("#unplaced [data-rank=a]", "#places li:nth-child(1)", 0.9)  # behind it
        assert order(tab) == "1: C; 2: A"
        hand.drag("#unplaced [data-rank=b]", "#places li:nth-child(1)", 0.1)  # before it
        assert order(tab) == "1: B; 2: C; 3: A"
        hand.drag("#unplaced [data-rank=d]", "#places li:nth-child(2)")  # onto it: as good
        assert order(tab) == "1: B; 2: C, D; 3: A" and tab.inner_text("#unplaced") == ""
        hand.drag("#places [data-rank=a]", "#places li:nth-child(1)", 0.1)
        assert order(tab) == "1: A; 2: B; 3: C, D" and tab.inner_text("#reasons-of") == "what is wrong with A"
        press(tab, "u")
        assert order(tab) == "1: B; 2: C, D; 3: A"
        hand.drag("#places [data-rank=a]", "#prompt")  # let go elsewhere, it stays
        assert order(tab) == "1: B; 2: C, D; 3: A" and tab.is_hidden("#dragged")
        if not finger:
            hand.drag("#places [data-rank=a]", "#places li:nth-child(1)", 0.1, leave=False)
            assert tab.is_visible("#dragged") and tab.locator("#places .before").count() == 1
            press(tab, "Escape")
            tab.mouse.up()
            assert order(tab) == "1: B; 2: C, D; 3: A" and tab.locator("#places .before").count() == 0
        press(tab, "ArrowLeft")  # the take that was placed last before the undone drag, by keyboard
        assert order(tab) == "1: B; 2: D; 3: C; 4: A"
        press(tab, "ArrowLeft ArrowLeft")
        assert order(tab) == "1: D; 2: B; 3: C; 4: A"
        press(tab, "Enter")
        saved(tab, 6)
    (row,) = session.store.annotations()
    shown = shown_last(session)
    assert row.ranking == tuple((shown[side],) for side in "dbca")


@pytest.mark.whole
def test_a_span_the_line_and_the_zoom_by_finger(make_session: NewSession, tab_of: NewTab) -> None:
    session = make_session(groups=1, media=True, segment_s=0.5)
    with served(session) as address:
        tab = tab_of(address, width_px=360)
        join(tab, "ada")
        fingers = tab.context.new_cdp_session(tab)
        hand = Pointer(tab, fingers)
        tab.locator(".lane").scroll_into_view_if_needed()
        box = tab.locator(".lane").bounding_box()
        assert box
        y = box["y"] + box["height"] / 2
        for what, share in (("touchStart", 0.25), ("touchMove", 0.5), ("touchMove", 0.7)):
            hand.go(what, box["x"] + share * box["width"], y)
        touches(fingers, "touchEnd")
        tab.click("footer [data-mark='1']")
        assert tab.inner_text("#chosen").endswith("s: A") and tab.evaluate(MARKS) == ["0", "1", "1", "0"]
        tab.click("[data-act=wipe]")
        hand.drag("#line", "#panes .a", 0.2)
        assert tab.get_attribute("#line", "aria-valuenow") == "20"
        tab.click("[data-act=wipe]")
        x, y = hand.at("#panes .a", 0.5)
        for what, apart in (("touchStart", 20), ("touchMove", 40), ("touchMove", 60)):
            touches(fingers, what, (x - apart, y), (x + apart, y))
        touches(fingers, "touchEnd")
        assert tab.inner_text("[data-act=zoom]").startswith("3")
