"""Practice on the key, instructions with examples, and a judge's answer after one's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from fastapi.testclient import TestClient

from rushes.records import Annotation, Preference
from rushes.web.accounts import AccessDenied
from rushes.web.labeling.assignments import Assignment
from rushes.web.labeling.instructions import read_instructions
from rushes.web.labeling.label_rows import LabelSubmission
from rushes.web.labeling.labeling_progress import own_progress, progress_of
from rushes.web.labeling.labeling_session import LabelingSession

from ..conftest import NewSession, NewTab, make_app, running, say

if TYPE_CHECKING:
    from rushes.web.labeling.practice import Explanation


def with_key(session: LabelingSession, pairs: int) -> dict[frozenset[str], int]:
    """The lead labels so many pairs, a +1 each as of the left clip; the reasons are of the worse clip."""
    key = {}
    for group in range(pairs):
        row = Preference(f"k{group}", f"take{group}-0", f"take{group}-1", (1,), "human:lead")
        session.store.add([row, Annotation(f"r{group}", row.id, "human:lead", reasons=(("hand",),), note="look left")])
        session.votes.add(row)
        key[frozenset((row.left, row.right))] = 1
    return key


def practise(session: LabelingSession, name: str, right: bool) -> tuple[Assignment, Explanation]:
    item = session.next(name)
    assert item is not None and item.kind == "practice"
    mark = (1 if item.shown["a"].endswith("-0") else -1) * (1 if right else -1)
    lesson = session.practised(name, item.id, LabelSubmission(f"event {item.id}", "", {"overall": (mark,)}))
    assert lesson is not None and lesson.right is right
    assert lesson.key == (mark if right else -mark,)  # as it was shown
    return item, lesson


@pytest.fixture
def session(make_session: NewSession) -> LabelingSession:
    session = make_session(groups=8, segment_s=None, gold_by="lead", gold_share=1.0, practice=2, pass_mark=1.0)
    with_key(session, 5)
    return session


def test_practice_explains_and_counts_nowhere(session: LabelingSession) -> None:
    before = len(session.store.preferences())
    first, lesson = practise(session, "ada", True)
    assert (lesson.reasons, lesson.note, lesson.standing.right, lesson.standing.of) == (("hand",), "look left", 1, 1)
    second, lesson = practise(session, "ada", True)
    assert lesson.standing.passed and {first.left, second.left} <= {f"take{g}-0" for g in range(5)}
    assert len(session.store.preferences()) == before and session.progress("ada")["done"] == 0
    assert session.back("ada") is None  # nothing of it is in the list of labels
    (ada,) = [row for row in progress_of(session)["people"] if row["name"] == "lead"]
    assert ada["practice"] is None  # who made the key has none


def test_who_passed_gets_pairs_that_count_and_none_that_were_explained(session: LabelingSession) -> None:
    told = {practise(session, "ada", True)[0].left for _ in range(2)}
    checks = []
    for number in range(3):
        item = session.next("ada")
        assert item is not None and item.kind == "gold"
        checks.append(item.left)
        say(session, "ada", item, 1, f"event {number}")
    assert not told & set(checks) and len(told | set(checks)) == 5


def test_who_fails_practises_again(session: LabelingSession) -> None:
    practise(session, "ada", True)
    _, lesson = practise(session, "ada", False)
    assert not lesson.standing.passed and session.practice.due("ada")
    third, lesson = practise(session, "ada", True)
    assert (lesson.standing.of, lesson.standing.right) == (1, 1) and third.kind == "practice"
    practise(session, "ada", True)
    assert not session.practice.due("ada")
    mine = own_progress(progress_of(session), "ada")
    assert mine["people"] == []  # she has labelled nothing yet


def test_no_pair_comes_again_while_one_of_the_key_was_not_explained(session: LabelingSession) -> None:
    explained = []
    for _ in range(5):
        item = session.next("ada")
        assert item is not None
        ahead = session.next("ada", (item.id,))  # as the page does
        assert ahead is None or ahead.left != item.left
        explained.append(practise(session, "ada", False)[0].left)
    assert len(set(explained)) == 5
    assert practise(session, "ada", False)[0].left == explained[0], "the one that was explained longest ago"


def test_an_answer_that_comes_twice_or_does_not_fit_changes_nothing(session: LabelingSession) -> None:
    item, _ = practise(session, "ada", True)
    again = session.practised("ada", item.id, LabelSubmission("event", "", {"overall": (0,)}))
    assert again is not None and session.assignments.practised("ada") == [True]
    with pytest.raises(AccessDenied, match="2 labels for 1 parts"):
        session.practised("ada", item.id, LabelSubmission("event", "", {"overall": (0, 0)}))
    with pytest.raises(AccessDenied, match="do not have this pair open"):
        session.practised("bob", item.id, LabelSubmission("event", "", {"overall": (1,)}))


def test_the_page_looks_ahead_within_a_round_alone(session: LabelingSession) -> None:
    first = session.next("ada")
    assert first is not None
    second = session.next("ada", (first.id,))
    assert second is not None and second.id != first.id and second.kind == "practice"
    practise(session, "ada", True)
    assert session.next("ada", (second.id,)) is None  # whether there is another round is not known yet


def test_without_a_key_nobody_waits(make_session: NewSession) -> None:
    session = make_session(groups=3, segment_s=None, gold_by="lead", practice=3)
    item = session.next("ada")
    assert item is not None and item.kind == "new"


@contextmanager
def client(session: LabelingSession, name: str = "ada") -> Iterator[TestClient]:
    address = "http://127.0.0.1:8765"
    token = session.assignments.invite(name)
    yield TestClient(make_app(session, "t"), address, headers={"authorization": f"Bearer {token}", "origin": address})


def test_instructions_show_the_projects_own_pairs_and_run_nothing(make_session: NewSession) -> None:
    session = make_session(groups=2, media=True)
    file = session.store.project / "instructions.md"
    with client(session) as ada:
        assert ada.get("/api/label/instructions").json() == {"html": "", "pairs": [], "version": ""}
        file.write_text(
            "# Hands first\n\n<script>alert(1)</script> ![x](http://elsewhere/x.png) [y](javascript:z)\n\n"
            "pair: take0-0 take0-1\n\nA is better.\n", encoding="utf-8",
        )  # fmt: skip
        given: dict[str, Any] = ada.get("/api/label/instructions").json()
        assert "<h1>Hands first</h1>" in given["html"] and '<p data-pair="0"></p>' in given["html"]
        assert not any(word in given["html"] for word in ("<script", "<img", 'href="javascript'))
        assert [[clip["fps"] for clip in pair] for pair in given["pairs"]] == [[8.0, 8.0]]
        video = ada.get("/api/label/media/example-0/b")
        assert video.status_code == 200 and len(video.content) > 100
        for odd in ("example-1/a", "example-0/real", "example-x/a", "example--1/a"):
            assert ada.get(f"/api/label/media/{odd}").status_code == 404, odd
    file.write_text("pair: take0-0 nobody\n", encoding="utf-8")
    with pytest.raises(ValueError, match="'nobody' is no clip or take"):
        read_instructions(session.store)


@pytest.mark.parametrize("proposal", ["", "vlm"])
def test_a_judges_answer_comes_after_ones_own(make_session: NewSession, proposal: str) -> None:
    session = make_session(groups=1, segment_s=None, proposal=proposal)
    session.store.add([Preference("p", "take0-1", "take0-0", (1,), "vlm")])  # the second take is better
    with client(session) as ada:
        item = ada.post("/api/label/next", json={"have": []}).json()["item"]
        assert "proposal" not in item
        body = {"item": item["id"], "event": "e" * 16, "labels": {"overall": [0]}}
        answer = ada.post("/api/label/save", json=body).json()
    shown = session.assignments.get(item["id"])
    assert shown is not None
    assert answer["proposal"] == ([1 if shown.shown["a"] == "take0-1" else -1] if proposal else None)


@pytest.mark.browser
@pytest.mark.flaky(reruns=2)
@pytest.mark.parametrize("mouse", [False, True])
def test_a_newcomer_reads_practises_and_begins(mouse: bool, make_session: NewSession, tab_of: NewTab) -> None:
    session = make_session(groups=4, media=True, segment_s=None, gold_by="lead", practice=1, pass_mark=0.0)
    with_key(session, 1)
    (session.store.project / "instructions.md").write_text(
        "Hands *first*.\n\npair: take1-0 take1-1\n", encoding="utf-8"
    )
    with running(session) as address:
        tab = tab_of(address)

        def do(key: str, button: str) -> None:
            tab.click(button) if mouse else tab.keyboard.press(key)

        tab.wait_for_selector("#name:visible")
        tab.keyboard.type("ada")
        do("Enter", "#join button")
        tab.wait_for_selector("#guide[open] .example video")
        assert tab.inner_text("#guide-text em") == "first"
        do("Enter", "#guide button")
        tab.wait_for_selector("#practice:visible")
        do("a", "footer [data-mark='1']")
        do("Enter", "#save")
        tab.wait_for_selector("#lesson[open]")
        assert "Why: hand · look left" in tab.inner_text("#lesson") and "passed" in tab.inner_text("#lesson-round")
        do("Enter", "#lesson button")
        tab.wait_for_selector("#practice", state="hidden")
        assert len(session.store.preferences()) == 1  # the lead's alone
        do("t", "footer [data-mark='0']")
        do("Enter", "#save")
        tab.wait_for_function("() => document.querySelector('#count').textContent.startsWith('1 of 4')")
        do("g", "[data-act=guide]")
        tab.wait_for_selector("#guide[open]")
        assert len(session.store.preferences()) == 2
