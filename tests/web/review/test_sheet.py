"""The contact sheet: what it says of each clip, the frame and the crop that it draws, and its pages in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient

from rushes.config.clip_shapes import ClipShape
from rushes.config.tables import BackboneSettings, FootageSettings, Settings
from rushes.media.images import write_image
from rushes.project.review_page import open_review
from rushes.records import Clip
from rushes.store.database import Store
from rushes.web.review.review_section import SHEET
from rushes.web.review.review_session import ReviewSession

from ..conftest import FPS, FRAMES, GREY_STEP, NewTab, make_review_app, serving
from .reviewing import open_at, say

WIDE = ClipShape(24, 32, FRAMES)  # of the square clips it keeps three quarters of the height


@pytest.fixture
def review(tmp_path: Path) -> Iterator[ReviewSession]:
    session = open_at(tmp_path / "project", cropped_to=lambda clip: WIDE)
    yield session
    session.close()


@pytest.fixture
def owner(review: ReviewSession) -> TestClient:
    """Somebody who has the key, and has said no name."""
    address = "http://127.0.0.1:8765"
    headers = {"authorization": f"Bearer {review.people.key}", "origin": address}
    return TestClient(make_review_app(review, "test"), address, headers=headers)


@pytest.fixture
def address(review: ReviewSession) -> Iterator[str]:
    with serving(make_review_app(review, "test")) as served:
        yield served


def test_each_clip_has_its_caption_crop_and_decision(review: ReviewSession, owner: TestClient) -> None:
    say(review, "ada", "c0", True, caption="mine")
    say(review, "bob", "c1", False, reason="off topic")
    answer = owner.post("/api/review/sheet", json={"queue": "all"}).json()
    assert owner.get("/api/review/me").status_code == 401
    assert answer["cropped"] and answer["queues"]["all"] == len(answer["clips"]) == 8
    rows = {row["id"]: row for row in answer["clips"]}
    assert [(row["decided"], row["by"], row["reason"]) for row in (rows["c0"], rows["c1"], rows["c2"], rows["c3"])] == [
        ("kept", "ada", ""), ("dropped", "bob", "off topic"),
        ("dropped", "", "technical: blur 0.71, at most 0.7"), ("", "", ""),
    ]  # fmt: skip
    assert rows["c0"]["caption"] == "mine" and rows["c3"]["caption"] == "caption 3 <b>&</b>"
    assert {(row["across"], row["down"], row["moves"]) for row in rows.values()} == {(1.0, 0.75, True)}


def test_the_poster_is_the_frame_in_the_middle(review: ReviewSession, owner: TestClient, tmp_path: Path) -> None:
    still = np.full((20, 40, 3), (200, 10, 10), np.uint8)
    write_image(tmp_path / "still.png", still)
    review.store.add([Clip("s", review.store.put_media(tmp_path / "still.png"), "a still", 40, 20, 1, FPS, "s.png")])
    review.queue.place["s"] = 0
    files = [owner.get(f"/api/review/media/{id}/poster") for id in ("c0", "s")]
    frames = [np.asarray(cv2.imdecode(np.frombuffer(file.content, np.uint8), cv2.IMREAD_COLOR)) for file in files]
    middle = 16 + GREY_STEP * (FRAMES // 2)
    assert frames[0].shape == (32, 32, 3) and abs(float(frames[0].mean()) - middle) < 4
    assert frames[1].shape == (20, 40, 3) and frames[1][10, 20].tolist() == pytest.approx([10, 10, 200], abs=6)


@pytest.mark.parametrize(
    ("fit", "sizes", "crop"), [("crop", (), (1.0, 0.75)), ("crop", "auto", (1.0, 1.0)), ("pad", (), (1.0, 1.0))]
)
def test_the_settings_say_what_is_cropped(tmp_path: Path, fit: str, sizes: object, crop: tuple[float, float]) -> None:
    """A square clip; among sizes of one area there is a square one."""
    open_at(tmp_path / "project", 1, media=False).close()
    size = BackboneSettings.model_validate({"height_px": 24, "width_px": 32, "sizes": sizes})
    settings = Settings(backbone=size, footage=FootageSettings.model_validate({"fit": fit}))
    with open_review(tmp_path / "project", settings) as review, Store.open(tmp_path / "project") as store:
        (clip,) = store.clips()
        assert review.crop(clip) == crop


@pytest.mark.browser
@pytest.mark.flaky(reruns=2)
def test_the_crop_is_drawn_and_a_click_opens_the_clip(review: ReviewSession, address: str, tab_of: NewTab) -> None:
    tab = tab_of(f"{address}/review#key={review.people.key}")
    tab.click("a[href='/sheet']")
    tab.wait_for_function("() => document.querySelectorAll('#sheet img').length === 8")
    picture = tab.locator("#sheet .picture").first.bounding_box()
    keeps = tab.locator("#sheet .keeps").first.bounding_box()
    assert picture and keeps and keeps["width"] == pytest.approx(picture["width"], abs=1)
    assert keeps["height"] == pytest.approx(0.75 * picture["height"], abs=1)
    assert keeps["y"] - picture["y"] == pytest.approx(0.125 * picture["height"], abs=1)
    third = tab.locator("#sheet li").nth(2)
    assert (third.locator(".lost").inner_text(), third.locator("small").inner_text()) == ("crop 25 %", "dropped")
    tab.hover("#sheet a >> nth=0")
    tab.wait_for_function("() => { const v = document.querySelector('#sheet video'); return v && v.currentTime > 0.1 }")
    tab.select_option("#queue", "dropped")
    tab.wait_for_function("() => document.querySelectorAll('#sheet li').length === 2")
    tab.click("#sheet a >> nth=0")
    tab.fill("#name", "ada")
    tab.keyboard.press("Enter")
    tab.wait_for_function("() => document.querySelector('#source').textContent === 'footage/file 2.mp4'")
    tab.keyboard.press("k")  # and on to the next of that queue
    tab.wait_for_function("() => document.querySelector('#source').textContent === 'footage/file 6.mp4'")
    tab.keyboard.press("c")
    tab.wait_for_selector("#sheet li.kept:has-text('kept by ada')")


@pytest.mark.browser
@pytest.mark.flaky(reruns=2)
def test_many_clips_are_turned_by_page_and_load_as_they_come_into_view(tmp_path: Path, tab_of: NewTab) -> None:
    review = open_at(tmp_path / "many", 2 * SHEET + 3)
    with serving(make_review_app(review, "test")) as address:
        tab = tab_of(f"{address}/sheet#key={review.people.key}", width_px=390)
        tab.wait_for_selector("#sheet img")
        tab.wait_for_timeout(300)
        assert tab.locator("#sheet li").count() == SHEET > tab.locator("#sheet img").count()
        assert tab.evaluate("document.documentElement.scrollWidth") == 390
        assert tab.locator("#sheet .keeps").count() == 0  # nothing is cropped here
        for _ in range(2):
            tab.click("#later")
        tab.wait_for_function("() => document.querySelectorAll('#sheet li').length === 3")
        assert tab.inner_text("#count") == "121 to 123 of 123 clips" and tab.is_disabled("#later")
        tab.reload()
        tab.wait_for_function("() => document.querySelectorAll('#sheet img').length === 3")
        tab.context.close()
    review.close()
