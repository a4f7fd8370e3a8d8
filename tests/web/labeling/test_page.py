"""The page in a real browser, by keyboard alone: labels, undo, coming back, two people, and clips that keep in step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from rushes.web.labeling.labeling_session import LabelingSession

from ..conftest import FPS, FRAMES, GREY_STEP, ColorScheme, NewSession, NewTab, WithKey, make_app, running, serving

if TYPE_CHECKING:
    from playwright.sync_api import Page


pytestmark = [pytest.mark.browser, pytest.mark.flaky(reruns=2)]

MARKS = "() => [...document.querySelectorAll('.cell')].map(cell => cell.dataset.mark ?? '')"
PAINTED = """() => [...document.querySelectorAll('#panes figure:not([hidden]) video')].map(video => {
  const canvas = document.createElement("canvas"), pen = canvas.getContext("2d");
  canvas.width = canvas.height = 8;
  pen.drawImage(video, 0, 0, 8, 8);
  return pen.getImageData(5, 5, 1, 1).data[0];
})"""
# While all play, times of the frames that were put on the screen, as the browser tells them.
DRIFT = """async (seconds) => {
  const videos = [...document.querySelectorAll('#panes figure:not([hidden]) video')];
  const shown = videos.map(() => null), gaps = [];
  videos.forEach((video, at) => {
    const tell = (_, frame) => { shown[at] = frame.mediaTime; video.requestVideoFrameCallback(tell); };
    video.requestVideoFrameCallback(tell);
  });
  const end = performance.now() + 1000 * seconds;
  while (performance.now() < end) {
    await new Promise(requestAnimationFrame);
    const runs = videos.every((video) => !video.paused && !video.seeking) && !shown.includes(null);
    if (runs) gaps.push(Math.max(...shown) - Math.min(...shown));
  }
  return gaps;
}"""


def join(tab: Page, name: str) -> None:
    tab.wait_for_selector("#name:visible")
    tab.keyboard.type(name)
    tab.keyboard.press("Enter")
    ready(tab)


def ready(tab: Page) -> None:
    tab.wait_for_selector("#work:visible")
    tab.wait_for_function("() => [...document.querySelectorAll('#panes video')].every(v => v.readyState >= 2)")


def press(tab: Page, keys: str) -> None:
    for key in keys.split():
        tab.keyboard.press(key)


def saved(tab: Page, count: int) -> None:
    tab.wait_for_function("text => document.querySelector('#count').textContent.startsWith(text)", arg=f"{count} of ")
    tab.wait_for_selector("#work:not([aria-busy=true])", state="attached")


@contextmanager
def served(session: LabelingSession) -> Iterator[str]:
    with running(session, "my <i>project</i>") as address:
        yield address


def test_parts_are_labelled_undone_and_corrected_by_keyboard(make_session: NewSession, tab_of: NewTab) -> None:
    session = make_session(groups=4, media=True, segment_s=0.5)
    with served(session) as address:
        tab = tab_of(address)
        join(tab, "ada")
        assert tab.inner_text("#project") == "my <i>project</i>"
        assert tab.inner_text("#prompt").startswith("prompt ") and "<b>&</b>" in tab.inner_text("#prompt")
        assert tab.evaluate(MARKS) == ["", "", "", ""]
        press(tab, "a t x")
        assert tab.evaluate(MARKS) == ["1", "0", "null", ""]
        press(tab, "Enter")
        assert "1 part has no label yet" in tab.inner_text("#note") and not session.store.preferences()
        press(tab, "u u b b b")
        assert tab.evaluate(MARKS) == ["1", "-1", "-1", "-1"]
        press(tab, "ArrowLeft ArrowLeft t Enter")
        saved(tab, 1)
        (row,) = session.store.preferences()
        assert row.by_slot == (1, 0, -1, -1) and row.judge == "human:ada" and row.segment_s == 0.5
        ready(tab)
        press(tab, "Shift+A Enter")
        saved(tab, 2)
        ready(tab)
        press(tab, "a u u")  # the mark, then back to the pair before
        tab.wait_for_function(f"() => JSON.stringify(({MARKS})()) === JSON.stringify(['1', '1', '1', '1'])")
        press(tab, "ArrowRight x Enter")
        tab.wait_for_function(f"() => JSON.stringify(({MARKS})()) === JSON.stringify(['', '', '', ''])")
        rows = session.store.preferences()
        assert len(rows) == 2 and rows[-1].by_slot == (1, 0, 1, 1) and rows[-1].unjudged == (1,)
        assert len(session.store.preferences(current=False)) == 3
        for count in (3, 4):
            ready(tab)
            press(tab, "Shift+T Enter")
            saved(tab, count)
        tab.wait_for_selector("#done:visible")
        press(tab, "u")
        ready(tab)
        assert tab.evaluate(MARKS) == ["0", "0", "0", "0"]


def test_quick_fingers_need_not_wait_for_the_clips(make_session: NewSession, tab_of: NewTab) -> None:
    session = make_session(groups=8, media=True)
    with served(session) as address:
        tab = tab_of(address)
        join(tab, "ada")
        for count in range(8):
            tab.wait_for_function(f"() => ({MARKS})().join('') === ''")
            press(tab, "a b Enter")
            saved(tab, count + 1)
        tab.wait_for_selector("#done:visible")
    assert [row.by_slot for row in session.store.preferences()] == [(1, -1)] * 8


def test_whole_clips_questions_and_scores(make_session: NewSession, tab_of: NewTab) -> None:
    session = make_session(groups=2, media=True, segment_s=None, dimensions=("overall", "visual_quality"), scores=True)
    with served(session) as address:
        tab = tab_of(address)
        join(tab, "ada")
        assert tab.locator(".name").all_inner_texts() == ["overall", "visual quality"]
        press(tab, "a b Enter")
        assert "score from 0 to 10" in tab.inner_text("#note")
        press(tab, "ArrowRight ArrowRight s ArrowLeft s Enter")
        saved(tab, 1)
    rows = {row.dimension: row for row in session.store.preferences()}
    assert rows["overall"].by_slot == (1,) and rows["visual_quality"].by_slot == (-1,)
    assert sorted(score.value for score in session.store.scores(metric="human")) == [4.5, 6.0]


def test_one_comes_back_to_where_one_stopped_and_two_do_not_meet(make_session: NewSession, tab_of: NewTab) -> None:
    session = make_session(groups=6, media=True)
    with served(session) as address:
        ada = tab_of(address)
        join(ada, "ada")
        press(ada, "a")
        prompt = ada.inner_text("#prompt")
        ada.reload()
        ready(ada)
        assert ada.inner_text("#prompt") == prompt and ada.evaluate(MARKS) == ["1", ""]
        bob = tab_of(address, "dark")
        join(bob, "bob")
        assert bob.inner_text("#prompt") != prompt
        for tab in (ada, bob):
            press(tab, "Shift+B Enter")
            saved(tab, 1)
            ready(tab)
        assert ada.inner_text("#prompt") != bob.inner_text("#prompt")
        ada.goto(f"{address}/progress")
        ada.wait_for_function("() => document.querySelectorAll('#people tbody tr').length === 2")
        assert ada.inner_text("#headline") == "2 of 6 pairs have a label"
    assert {row.judge for row in session.store.preferences()} == {"human:ada", "human:bob"}


def test_labels_outlive_a_server_that_is_away(make_session: NewSession, tab_of: NewTab) -> None:
    session = make_session(groups=3, media=True)
    with served(session) as address:
        tab = tab_of(address, expected="net::ERR_FAILED")
        join(tab, "ada")
        tab.context.route("**/api/label/save", lambda route: route.abort())
        press(tab, "Shift+A Enter")
        tab.wait_for_function("() => document.querySelector('#note').textContent.includes('does not answer')")
        assert not session.store.preferences()
        tab.reload()  # and the person even closes the page
        tab.wait_for_function("() => document.querySelector('#note').textContent.includes('does not answer')")
        tab.context.unroute("**/api/label/save")
        saved(tab, 1)
        ready(tab)
    assert [row.by_slot for row in session.store.preferences(current=False)] == [(1, 1)]


def test_an_answer_of_an_earlier_visit_that_is_refused_does_not_keep_a_person_out(
    make_session: NewSession, tab_of: NewTab
) -> None:
    session = make_session(groups=2, media=True)
    with served(session) as address:
        tab = tab_of(address, expected="409")
        join(tab, "ada")
        body = '{item: "0123456789", event: "0123456789", revises: "", labels: {overall: [1, 1]}, scores: {}}'
        kept = f"rushes {session.assignments.place} ada outbox"
        tab.evaluate(f"() => localStorage.setItem('{kept}', JSON.stringify([{body}]))")
        tab.reload()
        ready(tab)
        assert "do not have this pair open" in tab.inner_text("#note") and not session.store.preferences()
        press(tab, "Shift+A Enter")
        saved(tab, 1)


def test_answers_wait_for_their_project_and_person(make_session: NewSession, tab_of: NewTab) -> None:
    """Another project at the same address, or another person in the same browser, neither sends nor loses them."""
    sessions = [make_session(groups=4, media=True, folder=name) for name in ("one", "other")]
    apps = [WithKey(make_app(session, name)) for session, name in zip(sessions, ("one", "other"), strict=True)]
    served_now = apps[:1]

    async def at_this_address(scope: Any, receive: Any, send: Any) -> None:
        await served_now[0](scope, receive, send)

    with serving(at_this_address) as address:
        tab = tab_of(address, expected="40")
        join(tab, "ada")
        tab.context.route("**/api/label/save", lambda route: route.fulfill(status=401, json={"detail": "gone"}))
        press(tab, "Shift+A Enter")
        tab.wait_for_selector("#name:visible")
        tab.context.unroute("**/api/label/save")
        for app, name in ((apps[1], "ada"), (apps[0], "bob")):
            served_now[0] = app
            tab.evaluate("() => localStorage.removeItem('rushes-token')")
            tab.reload()
            join(tab, name)
            assert not tab.inner_text("#note")
        assert not any(session.store.preferences() for session in sessions)
        tab.evaluate("() => localStorage.removeItem('rushes-token')")
        tab.reload()
        tab.wait_for_selector("#name:visible")
        tab.keyboard.type("ada")
        tab.keyboard.press("Enter")
        tab.wait_for_function("() => document.querySelector('#welcome-note').textContent.includes('Are you ada?')")
        tab.keyboard.press("Enter")
        saved(tab, 1)
    assert [row.judge for row in sessions[0].store.preferences()] == ["human:ada"] and not sessions[
        1
    ].store.preferences()


def test_an_invitation_opens_the_page_and_leaves_no_trace(make_session: NewSession, tab_of: NewTab) -> None:
    session = make_session(groups=2, media=True)
    with running(session, "away", local=False) as address:
        tab = tab_of(address)
        tab.wait_for_selector("#welcome-note:visible")
        assert "Open the invitation" in tab.inner_text("#welcome-note") and not tab.is_visible("#join")
        tab.goto(f"{address}/#invite={session.assignments.invite('ada')}")
        ready(tab)
        assert tab.url == f"{address}/" and tab.inner_text("#who") == "ada"


def test_clips_keep_in_step(make_session: NewSession, tab_of: NewTab) -> None:
    session = make_session(groups=1, media=True)
    with served(session) as address:
        tab = tab_of(address)
        join(tab, "ada")
        gaps = tab.evaluate(DRIFT, 2)
        assert len(gaps) > 12
        assert sorted(gaps)[int(0.98 * len(gaps))] < 1 / FPS + 1e-3, "the frames on the screen differ by more than one"
        press(tab, "Space")
        tab.wait_for_timeout(300)
        frames = [round((level - 16) / GREY_STEP) for level in tab.evaluate(PAINTED)]
        assert len(frames) == 3 and len(set(frames)) == 1
        press(tab, "," if frames[0] else ".")
        tab.wait_for_timeout(300)
        stepped = [round((level - 16) / GREY_STEP) for level in tab.evaluate(PAINTED)]
        assert stepped == [frames[0] - 1 if frames[0] else 1] * 3
        assert tab.inner_text("#frame") == f"frame {stepped[0] + 1} / {FRAMES}"


def test_a_clip_that_falls_out_of_step_is_brought_back(make_session: NewSession, tab_of: NewTab) -> None:
    session = make_session(groups=1, media=True)
    with served(session) as address:
        tab = tab_of(address)
        join(tab, "ada")
        press(tab, "- -")  # a quarter of the speed: the loop does not end while the test looks
        tab.wait_for_timeout(300)
        tab.evaluate("document.querySelectorAll('#panes video')[1].currentTime += 0.6")
        tab.wait_for_timeout(400)
        gaps = tab.evaluate(DRIFT, 1.5)
        assert len(gaps) > 6 and sorted(gaps)[int(0.9 * len(gaps))] < 1 / FPS + 1e-3


def test_a_chosen_part_loops_alone(make_session: NewSession, tab_of: NewTab) -> None:
    session = make_session(groups=1, media=True)
    with served(session) as address:
        tab = tab_of(address)
        join(tab, "ada")
        press(tab, "ArrowRight l +")
        assert tab.inner_text("#speed") == "1.5\u00d7"
        tab.wait_for_timeout(400)
        times = []
        for _ in range(8):
            times.append(tab.evaluate("document.querySelector('#panes video').currentTime"))
            tab.wait_for_timeout(120)
        assert min(times) >= 1 - 0.5 / FPS and max(times) > min(times)


@pytest.mark.parametrize(("scheme", "width_px"), [("light", 1280), ("dark", 1280), ("light", 390)])
def test_all_fits_small_screens(scheme: ColorScheme, width_px: int, make_session: NewSession, tab_of: NewTab) -> None:
    questions = ("visual_quality", "motion", "text", "physics")
    session = make_session(groups=1, media=True, dimensions=questions, scores=True)
    with served(session) as address:
        tab = tab_of(address, scheme, width_px=width_px)
        wide = width_px > 500
        size = "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
        tab.wait_for_selector("#name:visible")
        assert tab.evaluate(size) == [width_px, 720]
        join(tab, "ada")
        width, height = tab.evaluate(size)
        assert width == width_px and (height == 720 or not wide)
        box = tab.locator("#save").bounding_box()
        assert box
        assert box["y"] + box["height"] <= (720 if wide else height)
        for pane in ("a", "b", "real"):
            box = tab.locator(f"#panes .{pane}").bounding_box()
            assert box
            assert box["height"] > 130 and box["width"] > 60 and box["x"] + box["width"] <= width_px, pane
        press(tab, "?")
        assert tab.locator("#help").is_visible()
        press(tab, "Escape a")
        assert tab.evaluate(MARKS)[0] == "1"
