"""The review page in a real browser, by keyboard alone: answers, captions, undo, queues, two people, and bad luck."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import av
import pytest

from rushes.records import Clip, Decision
from rushes.store.database import Store
from rushes.web.review.review_session import ReviewSession

from ..conftest import FPS, FRAMES, ColorScheme, NewTab, grey_clip, make_review_app, serving
from .reviewing import open_at, say

if TYPE_CHECKING:
    from playwright.sync_api import Page


pytestmark = [pytest.mark.browser, pytest.mark.flaky(reruns=2)]  # several keys at machine speed


@pytest.fixture
def review(tmp_path: Path) -> Iterator[ReviewSession]:
    made = open_at(tmp_path / "project")
    yield made
    made.close()


@pytest.fixture
def address(review: ReviewSession) -> Iterator[str]:
    with serving(make_review_app(review, "my <i>project</i>")) as found:
        yield found


def join(tab: Page, name: str) -> None:
    tab.wait_for_selector("#name:visible")
    tab.keyboard.type(name)
    tab.keyboard.press("Enter")
    tab.wait_for_selector("#work:visible")


def press(tab: Page, *keys: str) -> None:
    for key in keys:
        tab.keyboard.press(key)


def shows(tab: Page, clip: int) -> None:
    """Wait until the page shows this clip."""
    tab.wait_for_function(
        "name => document.querySelector('#source').textContent === name", arg=f"footage/file {clip}.mp4"
    )


def captioned(tab: Page, text: str) -> None:
    """Wait until the page shows this caption."""
    for _ in range(100):
        if tab.inner_text("#caption") == text:
            return
        tab.wait_for_timeout(50)
    raise AssertionError(f"the caption is {tab.inner_text('#caption')!r}")


def count(tab: Page, text: str) -> None:
    """Wait until the page counts so."""
    tab.wait_for_function("text => document.querySelector('#count').textContent.includes(text)", arg=text)


def noted(tab: Page, text: str) -> None:
    tab.wait_for_function("text => document.querySelector('#note').textContent.includes(text)", arg=text)


def standing(review: ReviewSession) -> dict[str, tuple[bool, str, str]]:
    """What people decided: clip -> kept, reason, caption."""
    return {id: (d.keep, d.reason, d.caption) for id, d in review.store.decisions().items() if d.person}


def test_clips_are_kept_dropped_and_captioned_by_keyboard(review: ReviewSession, address: str, tab_of: NewTab) -> None:
    tab = tab_of(address)
    join(tab, "ada")
    shows(tab, 0)
    assert tab.inner_text("#project") == "my <i>project</i>" and tab.inner_text("#caption") == "caption 0 <b>&</b>"
    assert "In the set. Curation kept it." in tab.inner_text("#verdict")
    assert tab.inner_text("#scenario") == "hug: 2 of 2 wanted in the set, 0 by people"
    assert tab.locator("#values tr").all_inner_texts() == ["technical: blur\t0.1\tto 0.7"]
    tab.wait_for_function(
        "() => { const v = document.querySelector('#pane video'); return !v.paused && v.currentTime > 0.3 }"
    )
    press(tab, "k")
    shows(tab, 1)
    press(tab, "d", "1")
    shows(tab, 3)
    press(tab, "d")
    tab.keyboard.type("too 1 dark")
    press(tab, "Enter")
    shows(tab, 4)
    tab.wait_for_timeout(200)  # keys are not heard before a clip is on the screen: nobody answers one unseen
    press(tab, "e")
    tab.keyboard.press("Control+A")
    tab.keyboard.type("a kite d <i>flies</i>")
    press(tab, "Enter")
    captioned(tab, "a kite d <i>flies</i>")
    assert tab.is_visible("#edited")
    press(tab, "k")
    shows(tab, 5)
    press(tab, "d", "Escape", "e", "Escape", "d", "Enter")
    shows(tab, 7)
    press(tab, "k")
    tab.wait_for_selector("#done:visible")
    count(tab, "6 decided by you, 0 undecided, 3 in the set")
    assert standing(review) == {
        "c0": (True, "", ""),
        "c1": (False, "a cut inside", ""),
        "c3": (False, "too 1 dark", ""),
        "c4": (True, "", "a kite d <i>flies</i>"),
        "c5": (False, "", ""),
        "c7": (True, "", ""),
    }


def test_undo_goes_back_step_by_step_and_survives_a_reload(review: ReviewSession, address: str, tab_of: NewTab) -> None:
    tab = tab_of(address)
    join(tab, "ada")
    for clip, key in ((0, "k"), (1, "k"), (3, "k")):
        shows(tab, clip)
        press(tab, key)
    shows(tab, 4)
    count(tab, "3 decided")
    press(tab, "u")
    shows(tab, 3)
    count(tab, "2 decided")
    assert "c3" not in standing(review)
    press(tab, "d", "2")  # answered anew, and on to where one was
    shows(tab, 4)
    tab.reload()
    tab.wait_for_selector("#work:visible")
    count(tab, "3 decided")
    for clip in (3, 1):
        press(tab, "u")
        shows(tab, clip)
    count(tab, "1 decided")
    press(tab, "u")
    shows(tab, 0)
    count(tab, "0 decided")
    press(tab, "u")
    noted(tab, "nothing to take back")
    assert standing(review) == {} and len([r for r in review.store.stream(Decision) if r.person]) == 8


def test_a_changed_answer_is_undone_to_what_it_was(review: ReviewSession, address: str, tab_of: NewTab) -> None:
    say(review, "ada", "c0", False, reason="before", caption="mine")
    tab = tab_of(address)
    join(tab, "ada")
    press(tab, "5")
    shows(tab, 0)
    assert tab.inner_text("#caption") == "mine" and "before" in tab.inner_text("#people")
    press(tab, "k")
    tab.wait_for_selector("#done:visible")
    press(tab, "u")
    tab.wait_for_selector("#work:visible")
    assert tab.inner_text("#verdict").startswith("Dropped.") and tab.inner_text("#caption") == "mine"
    assert standing(review) == {"c0": (False, "before", "mine")}


def test_queues_scenarios_and_rescue(review: ReviewSession, address: str, tab_of: NewTab) -> None:
    tab = tab_of(address, "dark")
    join(tab, "ada")
    press(tab, "3")
    shows(tab, 2)
    assert "blur 0.71, at most 0.7" in tab.inner_text("#verdict") and "✗ to 0.7" in tab.inner_text("#values")
    press(tab, "k")
    shows(tab, 6)
    count(tab, "7 in the set")
    press(tab, "f", "ArrowDown", "ArrowDown", "ArrowDown", "Enter")  # all clips
    shows(tab, 0)
    press(tab, "s")
    tab.wait_for_function("() => document.querySelector('#queue').textContent === 'All clips: hug'")
    shows(tab, 0)
    press(tab, "ArrowRight")
    shows(tab, 3)
    press(tab, "ArrowRight")
    shows(tab, 6)
    press(tab, "ArrowLeft", "ArrowLeft")
    shows(tab, 0)
    press(tab, "n")
    shows(tab, 3)
    press(tab, "n", "n")
    tab.wait_for_selector("#done:visible")
    press(tab, "Home")
    shows(tab, 0)
    press(tab, "f")
    rows = [row.split() for row in tab.locator("#scenarios tbody tr").all_inner_texts()]
    assert rows[1] == ["hug", "2", "3", "2", "0", "full"] and rows[2][2:5] == ["3", "3", "0"]
    assert tab.locator("#queues button").all_inner_texts()[0].split("\n")[-1] == "6"
    assert standing(review)["c2"][0]


def test_two_people_do_not_meet_and_one_is_told_of_the_other(
    review: ReviewSession, address: str, tab_of: NewTab
) -> None:
    ada = tab_of(address, expected="409")
    join(ada, "ada")
    shows(ada, 0)
    bob = tab_of(address)
    join(bob, "bob")
    assert bob.inner_text("#source") not in ("footage/file 0.mp4", ada.inner_text("#source"))
    say(review, "bob", "c0", False, reason="bob says so")  # as from a page whose lease had ended
    press(ada, "k")
    noted(ada, "bob dropped this clip meanwhile")
    shows(ada, 0)
    assert standing(review)["c0"] == (False, "bob says so", "") and "bob dropped it" in ada.inner_text("#people")
    press(ada, "k")
    count(ada, "1 decided by you")
    assert standing(review)["c0"][0]


def test_answers_outlive_a_server_that_is_away(review: ReviewSession, address: str, tab_of: NewTab) -> None:
    tab = tab_of(address, expected="net::ERR_FAILED")
    join(tab, "ada")
    shows(tab, 0)
    tab.context.route("**/api/review/save", lambda route: route.abort())
    press(tab, "k")
    shows(tab, 1)
    press(tab, "d", "4")
    noted(tab, "does not answer")
    assert standing(review) == {}
    tab.reload()  # and the person even closes the page
    noted(tab, "does not answer")
    tab.context.unroute("**/api/review/save")
    count(tab, "2 decided by you")
    assert standing(review) == {"c0": (True, "", ""), "c1": (False, "hardly any motion", "")}


def test_a_draft_caption_is_still_there_after_a_reload(address: str, tab_of: NewTab) -> None:
    tab = tab_of(address)
    join(tab, "ada")
    shows(tab, 0)
    press(tab, "e")
    tab.keyboard.type("Now: ")
    press(tab, "Enter")
    written = tab.inner_text("#caption")
    tab.reload()
    shows(tab, 0)
    assert tab.inner_text("#caption") == written and tab.is_visible("#edited")
    press(tab, "o")
    assert tab.inner_text("#caption") == "caption 0 <b>&</b>" and not tab.is_visible("#edited")


def test_frames_are_stepped_and_scrubbed_by_key(address: str, tab_of: NewTab) -> None:
    tab = tab_of(address)
    join(tab, "ada")
    tab.wait_for_function("() => document.querySelector('#pane video').currentTime > 0.2")
    press(tab, " ")
    frame = int(tab.inner_text("#frame").split()[1])
    assert tab.inner_text("#frame").endswith(f"/ {FRAMES}")
    press(tab, *["," for _ in range(frame)])
    tab.wait_for_function("() => document.querySelector('#frame').textContent.startsWith('frame 1 ')")
    press(tab, ".", ".", "Shift+.")
    tab.wait_for_function("() => document.querySelector('#frame').textContent.startsWith('frame 5 ')")
    tab.wait_for_function(f"() => Math.abs(document.querySelector('#pane video').currentTime - 4.5 / {FPS}) < 0.01")
    press(tab, "-", "-", "-")
    assert tab.inner_text("#speed").startswith("0.25")


def test_what_the_browser_does_not_play_is_shown_as_a_copy_and_the_rest_is_said(tmp_path: Path, tab_of: NewTab) -> None:
    project = tmp_path / "project"
    mpeg4 = tmp_path / "old.avi"
    with av.open(str(mpeg4), "w") as container:
        stream = container.add_stream("mpeg4", rate=8)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for frame in grey_clip(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    with Store.create(project) as store:
        for k, digest in enumerate((store.put_media(mpeg4), store.put_media_bytes(b"no video", ".mp4"))):
            store.add([Clip(f"c{k}", digest, "", 32, 32, FRAMES, FPS, f"footage/file {k}.mp4")])
    review = open_at(project)
    with serving(make_review_app(review, "odd")) as address:
        tab = tab_of(address, expected="404")
        join(tab, "ada")
        tab.wait_for_function("() => document.querySelector('#pane video').videoWidth === 32")
        assert tab.inner_text("#caption") == "No caption"
        press(tab, "n")
        tab.wait_for_selector("#pane .broken:visible")
        press(tab, "d", "3")
        tab.wait_for_selector("#done:visible")
        press(tab, "u")
        shows(tab, 1)
        tab.context.close()
    review.close()


@pytest.mark.parametrize(("scheme", "width_px"), [("light", 1280), ("dark", 390)])
def test_all_is_in_reach_on_small_screens(scheme: ColorScheme, width_px: int, address: str, tab_of: NewTab) -> None:
    tab = tab_of(address, scheme, width_px=width_px)
    join(tab, "ada")
    width, height = tab.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
    assert width == width_px and (height == 720 or width_px < 500)
    for act in ("keep", "drop", "edit", "undo", "previous", "next"):
        box = tab.locator(f"footer [data-act={act}]").bounding_box()
        assert box
        assert box["x"] >= 0 and box["x"] + box["width"] <= width_px and box["y"] + box["height"] <= 720
    for key, dialog in (("?", "help"), ("f", "pick"), ("d", "why")):
        press(tab, key)
        box = tab.locator(f"#{dialog}").bounding_box()
        assert box
        assert box["x"] >= 0 and box["x"] + box["width"] <= width_px
        press(tab, "Escape")
