"""The labelling page in a real browser: ways to look at two clips, remarks, spans, rankings, own labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rushes.records import Annotation
from rushes.web.labeling.labeling_session import LabelingSession

from ..conftest import FPS, NewSession, NewTab
from .test_page import MARKS, join, press, ready, saved, served

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.flaky(reruns=2)]

REASONS = ("hand", "vanishes", "flicker")
BEGUN_ANEW = """() => {
  const [before, now] = [window.frameBefore ?? 0, parseInt(document.querySelector("#frame").textContent.slice(6))];
  window.frameBefore = now;
  return now < before;
}"""
LIGHTER = 10  # levels from one take to the next


def seen(tab: Page, x: float, y: float, pane: str = ".a") -> int:
    """Grey level at a point of the screen, in shares of a pane."""
    box = tab.locator(f"#panes {pane}").bounding_box()
    assert box
    left, top = box["x"] + x * box["width"], box["y"] + y * box["height"]
    url = tab.screenshot(clip={"x": left, "y": top, "width": 2, "height": 2}).hex()
    read = """async (hex) => {
      const bytes = new Uint8Array(hex.match(/../g).map((pair) => parseInt(pair, 16)));
      const image = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
      const pen = new OffscreenCanvas(2, 2).getContext("2d");
      pen.drawImage(image, 0, 0);
      return pen.getImageData(0, 0, 1, 1).data[0];
    }"""
    return int(tab.evaluate(read, url))


def test_two_clips_are_looked_at_in_one_place_close_up_and_to_their_end(
    make_session: NewSession, tab_of: NewTab
) -> None:
    session = make_session(groups=1, media=True, lighter=LIGHTER, play_first=True)
    with served(session) as address:
        tab = tab_of(address)
        join(tab, "ada")
        press(tab, "Shift+A Enter")
        assert "play to their end" in tab.inner_text("#note") and not session.store.preferences()
        press(tab, "Space , , , , , , , , , , , , , , , , , .")
        tab.wait_for_timeout(200)
        assert tab.inner_text("#frame").startswith("frame 2 ")
        a, b = seen(tab, 0.5, 0.5), seen(tab, 0.5, 0.5, ".b")
        assert 5 < abs(a - b) < 20
        press(tab, "w")
        assert abs(seen(tab, 0.4, 0.5) - a) < 3 and abs(seen(tab, 0.6, 0.5) - b) < 3
        press(tab, "ArrowLeft " * 10)
        assert tab.get_attribute("#line", "aria-valuenow") == "30" and abs(seen(tab, 0.4, 0.5) - b) < 3
        box = tab.locator("#panes .a").bounding_box()
        assert box
        tab.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 30)
        tab.mouse.down()
        tab.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 30, steps=3)
        tab.mouse.up()
        assert tab.get_attribute("#line", "aria-valuenow") == "70" and abs(seen(tab, 0.6, 0.5) - a) < 3
        for level, side in ((a, "A"), (b, "B"), (a, "A")):
            press(tab, "k")
            assert tab.inner_text("#view-state") == f"{side} is shown" and abs(seen(tab, 0.5, 0.5) - level) < 3
        press(tab, "d")
        assert 40 < seen(tab, 0.5, 0.5, "#difference") < 120, "8 times 10 levels"
        press(tab, ".")
        tab.wait_for_timeout(200)
        assert 40 < seen(tab, 0.5, 0.5, "#difference") < 120, "the difference is of one frame"
        press(tab, "Shift+D")
        assert seen(tab, 0.5, 0.5, "#difference") > 90 and "16 times" in tab.inner_text("#view-state")
        press(tab, "Escape z")
        matrix = "[...document.querySelectorAll('#panes video')].map(video => getComputedStyle(video).transform)"
        box = tab.locator("#panes .b").bounding_box()
        assert box and len({name.split(",")[0] for name in tab.evaluate(matrix)}) == 1
        tab.mouse.move(box["x"] + box["width"] - 3, box["y"] + box["height"] - 3)
        tab.mouse.wheel(0, -400)  # e times closer, and the corner stays
        tab.wait_for_function("() => document.querySelector('[data-act=zoom]').textContent.startsWith('5.4')")
        before = tab.evaluate(matrix)
        press(tab, "Shift+ArrowLeft")
        assert tab.evaluate(matrix) != before
        press(tab, "Shift+Z Shift+Z Shift+Z + + Space")
        assert tab.evaluate(matrix) == ["none"] * 3
        for _ in range(2):  # from the middle, then all of it
            tab.wait_for_function(BEGUN_ANEW)
        press(tab, "Enter")
        tab.wait_for_selector("#done:visible")
    (said,) = session.store.annotations()
    assert said.plays is not None and said.plays >= 1


def test_what_is_said_beside_the_labels_by_keyboard_and_mouse(make_session: NewSession, tab_of: NewTab) -> None:
    session = make_session(groups=3, media=True, segment_s=0.5, reasons=REASONS)
    with served(session) as address:
        tab = tab_of(address)
        join(tab, "ada")
        press(tab, "a 1 3 1 1 b t x n p")
        tab.keyboard.type("a hand with six fingers")
        press(tab, "Enter Enter")
        saved(tab, 1)
        (said,) = session.store.annotations()
        (row,) = session.store.preferences()
        assert (
            said.subject == row.id and said.reasons == (("hand", "flicker"), (), (), ()) and said.strength == "slightly"
        )
        assert said.note == "a hand with six fingers" and said.judge == "human:ada"
        assert said.seconds is not None and 0 < said.seconds < 60 and said.plays is not None
        ready(tab)
        tab.click("footer [data-mark='-1']")
        tab.click("[data-reason=vanishes]")
        tab.click("[data-strength=much]")
        tab.click("#whole")
        tab.click("footer [data-mark='0']")
        press(tab, "u")
        assert tab.evaluate(MARKS) == ["-1", "", "", ""]
        lane = tab.locator(".lane").bounding_box()
        assert lane
        tab.mouse.move(lane["x"] + 0.36 * lane["width"], lane["y"] + 9)
        tab.mouse.down()
        tab.mouse.move(lane["x"] + 0.52 * lane["width"], lane["y"] + 9, steps=3)
        tab.mouse.up()
        press(tab, "a 3")
        # 0.75 to 1.125 s: half of the second part, a quarter of the third, which ends with what is left of the clip.
        assert tab.evaluate(MARKS) == ["-1", "1", "1", "0"]
        assert tab.inner_text("#chosen") == "span 0.75\u20131.13 s: A; flicker"
        tab.click("#save")
        saved(tab, 2)
        said = session.store.annotations()[-1]
        sign = 1 if session.store.preferences()[-1].labels == (-1, 1, 1, 0) else -1
        assert (said.span_starts_s, said.span_ends_s, said.span_labels) == ((0.75,), (1.125,), (sign,))
        assert said.from_spans == (1, 2, 3), "the first part was marked by itself"
        assert said.span_reasons == (("flicker",),) and said.strength == "much" and said.reasons[0] == ("vanishes",)
        ready(tab)
        press(tab, "Space , , , i . . o t ArrowDown x q q Enter")  # B is broken: the rest needs no label
        saved(tab, 3)
        said = session.store.annotations()[-1]
        assert said.span_ends_s[0] - said.span_starts_s[0] == pytest.approx(3 / FPS) and said.span_labels == (0,)
        assert session.store.preferences()[-1].unjudged == (0,) and len(said.broken) == 1
        old_labels_are_corrected(tab)
        assert session.store.preferences()[-1].by_slot == (1, 1, 1, 0)
        said = session.store.annotations()[-1]
        assert said.reasons[0] == ("hand", "flicker") and said.note.endswith("fingers") and said.strength == "slightly"
        assert len(session.store.annotations()) == 3 and session.store.count(Annotation) == 5


def old_labels_are_corrected(tab: Page) -> None:
    tab.wait_for_selector("#done:visible")
    press(tab, "y")
    tab.wait_for_function("() => document.querySelectorAll('#mine-list li').length === 3")
    tab.fill("#mine-text", "SIX fingers")
    tab.wait_for_function("() => document.querySelectorAll('#mine-list li').length === 1")
    assert "differs by part \u00b7 slightly \u00b7 hand, flicker" in tab.inner_text("#mine-list")
    tab.locator("#mine-list button").press("Enter")
    ready(tab)
    assert tab.evaluate(MARKS) == ["1", "-1", "0", "null"]
    press(tab, "ArrowRight a")
    press(tab, "ArrowRight t Enter")
    tab.wait_for_selector("#done:visible")
    tab.click("[data-act=mine]")  # the same by mouse: the third part is no tie
    tab.click("#mine-list li button:has-text('SIX fingers')")
    ready(tab)
    tab.click(".cell >> nth=2")
    tab.click("footer [data-mark='1']")
    tab.click(".cell >> nth=2")
    press(tab, "Enter")  # is a key of the page still, not of the part that was clicked
    tab.wait_for_selector("#done:visible")


def shown_last(session: LabelingSession) -> dict[str, str]:
    """Ids of the takes that were saved last, by their letters."""
    (item,) = session.assignments.saved("ada", 1e12, 1)
    return {str(side): id for side, id in item.shown.items()}


def test_four_takes_are_ranked_by_keys_and_by_mouse(make_session: NewSession, tab_of: NewTab) -> None:
    session = make_session(groups=2, takes=4, media=True, ranks=True, reasons=REASONS)
    with served(session) as address:
        tab = tab_of(address)
        join(tab, "ada")
        assert tab.locator("#panes figure").count() == 5
        press(tab, "c a 2 Shift+B Enter")
        assert "D has no place yet" in tab.inner_text("#note")
        assert tab.inner_text("#chosen") == "place 1: C; place 2: A, B"
        press(tab, "d Enter")
        saved(tab, 6)
        (said,) = session.store.annotations()
        shown = shown_last(session)
        assert said.ranking == tuple(tuple(shown[side] for side in place) for place in ("c", "ab", "d"))
        assert said.reasons == ((), ("vanishes",), (), ())
        wins = {frozenset((row.left, row.right)): (row.left, row.labels[0]) for row in session.store.preferences()}
        assert len(wins) == 6
        for better, worse, label in (("c", "a", 1), ("a", "b", 0), ("b", "d", 1)):
            left, stored = wins[frozenset((shown[better], shown[worse]))]
            assert stored == (label if left == shown[better] else -label)
        ready(tab)
        for side in "dc":
            tab.click(f"#panes .{side} video")
        tab.click("[data-act=tie]")
        tab.click("#panes [data-rank=a]")
        tab.click("#places [data-rank=d]")  # takes it out again
        tab.click("[data-act=rest]")
        saved(tab, 12)
        shown = shown_last(session)
        assert session.store.annotations()[-1].ranking == ((shown["c"], shown["a"]),)
        unjudged = [row for row in session.store.preferences() if row.unjudged]
        assert len(unjudged) == 5
        press(tab, "u")
        ready(tab)
        assert tab.inner_text("#places").split() == ["1.", "C", "A"]
