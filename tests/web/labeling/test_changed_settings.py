"""Labels that were given before a project's settings changed: opened as they are, corrected, and never reread."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from rushes.web.accounts import AccessDenied
from rushes.web.labeling.assignments import Assignment
from rushes.web.labeling.label_rows import LabelSubmission, Remarks
from rushes.web.labeling.labeling_session import LabelingSession

from ..conftest import NewSession, NewTab, make_app
from .test_page import MARKS, join, press, ready, saved, served

REASONS = (("hand",), (), (), ("flicker",))
OLD: dict[str, Any] = {"segment_s": 0.5, "reasons": ("hand", "flicker")}


def labelled(session: LabelingSession, marks: tuple[int, ...] = (-1, 1, 1, 1)) -> Assignment:
    item = session.next("ada")
    assert item is not None
    given = LabelSubmission("eeeeeee1", "", {"overall": marks}, remarks=Remarks(REASONS), segment_s=0.5)
    session.save("ada", item.id, given)
    return item


@pytest.mark.parametrize("length", [None, 1.0])
def test_an_old_label_is_opened_corrected_and_stored_in_its_own_parts(
    length: float | None, make_session: NewSession
) -> None:
    item = labelled(make_session(**OLD))
    session = make_session(segment_s=length)
    again, given = session.reopen("ada", item.id)
    assert session.segments(again) == 4 and session.asked(again).segment_s == given.segment_s == 0.5
    assert given.labels == {"overall": (-1, 1, 1, 1)} and given.remarks.reasons == REASONS
    changed = {"overall": (-1, 0, 1, 1)}
    session.save("ada", item.id, LabelSubmission("eeeeeee2", "eeeeeee1", changed, remarks=given.remarks, segment_s=0.5))
    (row,) = session.store.preferences()
    assert (row.by_slot, row.segment_s) == ((-1, 0, 1, 1), 0.5)
    assert [said.reasons for said in session.store.annotations()] == [REASONS], "reasons that the project had then"
    fresh = session.next("ada")
    assert fresh is not None and session.asked(fresh).segment_s == length and not session.asked(fresh).reasons


def test_an_answer_is_stored_in_the_parts_that_its_page_showed(make_session: NewSession) -> None:
    item = make_session(segment_s=0.5).next("ada")
    assert item is not None
    session = make_session(segment_s=1.0)
    with pytest.raises(AccessDenied, match="4 labels for 2 parts"):  # of a page that says no parts
        session.save("ada", item.id, LabelSubmission("eeeeeee1", "", {"overall": (1, -1, -1, -1)}))
    with pytest.raises(AccessDenied, match="2 labels for 4 parts"):
        session.save("ada", item.id, LabelSubmission("eeeeeee1", "", {"overall": (1, -1)}, segment_s=0.5))
    session.save("ada", item.id, LabelSubmission("eeeeeee1", "", {"overall": (1, -1, -1, -1)}, segment_s=0.5))
    (row,) = session.store.preferences()
    assert (row.by_slot, row.segment_s) == ((1, -1, -1, -1), 0.5)


def test_a_question_that_was_added_starts_fresh_on_an_old_label(make_session: NewSession) -> None:
    item = labelled(make_session(**OLD))
    session = make_session(dimensions=("motion", "overall"))
    assert session.reopen("ada", item.id)[1].labels == {"overall": (-1, 1, 1, 1)}
    both = {"motion": (1, 1, 1, 1), "overall": (1, 1, 1, 1)}
    session.save("ada", item.id, LabelSubmission("eeeeeee2", "eeeeeee1", both))
    session.save("ada", item.id, LabelSubmission("eeeeeee3", "eeeeeee2", both | {"motion": (0, 0, 0, 0)}))
    now = {row.dimension: (row.by_slot, row.segment_s, bool(row.supersedes)) for row in session.store.preferences()}
    assert now == {"motion": ((0, 0, 0, 0), 0.5, True), "overall": ((1, 1, 1, 1), 0.5, True)}


def test_every_pair_comes_with_the_questions_that_it_is_asked(make_session: NewSession) -> None:
    item = labelled(make_session(**OLD))
    session = make_session(groups=4, dimensions=("overall", "motion"), segment_s=None, reasons=("text",))
    address = "http://127.0.0.1:8765"
    headers = {"authorization": f"Bearer {session.assignments.join('ada')}", "origin": address}
    with TestClient(make_app(session, "t"), address) as client:
        fresh = client.post("/api/label/next", json={}, headers=headers).json()["item"]
        assert (fresh["segment_s"], fresh["segments"], fresh["reasons"]) == (None, 1, ["text"])
        assert fresh["dimensions"] == ["overall", "motion"] and fresh["play_first"] is fresh["scored"] is False
        old = client.post("/api/label/open", json={"item": item.id}, headers=headers).json()["item"]
        assert (old["segment_s"], old["segments"], old["reasons"]) == (0.5, 4, ["text", "hand", "flicker"])
        body = {"item": fresh["id"], "event": "e" * 16, "labels": {"overall": [1]}, "segment_s": None}
        late = client.post("/api/label/save", json=body, headers=headers)
        assert late.status_code == 409 and "now asks for overall, motion" in late.json()["detail"]


@pytest.mark.browser
@pytest.mark.flaky(reruns=2)
def test_the_page_shows_an_old_label_in_its_parts_and_keeps_what_was_begun(
    make_session: NewSession, tab_of: NewTab
) -> None:
    labelled(make_session(groups=3, media=True, **OLD))
    session = make_session(segment_s=None, reasons=("text",))
    with served(session) as address:
        tab = tab_of(address, expected="409")
        join(tab, "ada")
        press(tab, "y")
        tab.click("#mine-list button")
        tab.wait_for_function(f"() => JSON.stringify(({MARKS})()) === JSON.stringify(['-1', '1', '1', '1'])")
        assert tab.locator("#reasons button").all_inner_texts() == ["1 text", "2 hand", "3 flicker"]
        press(tab, "ArrowRight t")
        tab.reload()  # a correction in progress
        ready(tab)
        assert tab.evaluate(MARKS) == ["-1", "0", "1", "1"]
        press(tab, "Enter")
        tab.wait_for_function("() => document.querySelectorAll('.cell').length === 1")
        (row,) = session.store.preferences()
        assert (row.by_slot, row.segment_s) == ((-1, 0, 1, 1), 0.5)
        ready(tab)
        press(tab, "a")
        object.__setattr__(session.plan, "dimensions", ("overall", "motion"))  # the server takes new settings
        press(tab, "Enter")
        tab.wait_for_function("() => document.querySelectorAll('.cell').length === 2")
        assert "now asks for overall, motion" in tab.inner_text("#note") and tab.evaluate(MARKS) == ["1", ""]
        ready(tab)
        press(tab, "b Enter")
        saved(tab, 2)
    assert json.dumps([row.by_slot for row in session.store.preferences()][1:]) == "[[1], [-1]]"
