"""Queues of clips: what is in each, in which order, and what calls up a clip that was held back."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import pytest

from rushes.records import Decision
from rushes.web.review.queue import QUEUES, Queue, QueueEntry, ReviewQueue, ScenarioCount

HELD_BACK = "enough of it"


def said(subject: str, keep: bool, by: str = "", withdrawn: bool = False, reason: str = "") -> Decision:
    return Decision(f"{subject}{keep}{by}", subject, keep, reason, "", bool(by), by, withdrawn=withdrawn)


@pytest.fixture
def shelf() -> ReviewQueue:
    """Five clips; of "hug" two are wanted and three found."""
    entries = [
        QueueEntry("a", "hug", 3.0),
        QueueEntry("b", "pour", 0.5),
        QueueEntry("c", "hug"),
        QueueEntry("d", "", 0.1),
        QueueEntry("e", "hug", 2.0),
    ]
    made = ReviewQueue(entries, {"hug": 2, "pour": 1, "eat": None}, lambda row: row.reason == HELD_BACK)
    made.add([said("b", False), said("e", False, reason=HELD_BACK), said("a", True)])
    return made


def everything(shelf: ReviewQueue, queue: Queue, scenario: str | None = None) -> str:
    found = "".join(shelf.after(queue, scenario, "", (), 100))
    assert shelf.size(queue, scenario) == len(found)
    return found


def test_queues_and_their_order(shelf: ReviewQueue) -> None:
    assert {queue: everything(shelf, queue) for queue in QUEUES} == {
        "undecided": "acd",
        "near": "dbea",  # nearest first; c was not measured
        "dropped": "be",
        "kept": "acd",
        "people": "",
        "all": "abcde",
    }
    shelf.add([said("a", False, "ada"), said("b", True, "bob")])
    assert everything(shelf, "undecided") == "cde", "with a out, e may fill the place of its scenario"
    assert everything(shelf, "people") == "ab" and everything(shelf, "kept") == "bcd"
    assert everything(shelf, "near") == "de" and everything(shelf, "dropped") == "e"


def test_what_was_held_back_is_called_up_until_the_scenario_is_full(shelf: ReviewQueue) -> None:
    assert everything(shelf, "undecided", "hug") == "ac"
    shelf.add([said("c", False, "ada")])
    assert everything(shelf, "undecided", "hug") == "ae"
    shelf.add([said("e", True, "ada")])
    assert everything(shelf, "undecided", "hug") == "a"
    assert shelf.counts()[0] == ScenarioCount("hug", 2, 3, 2, 1) and shelf.counts()[0].missing == 0
    shelf.add([said("c", False, "ada", withdrawn=True)])  # back under the program, which keeps it
    assert everything(shelf, "undecided", "hug") == "ac"


def test_a_dropped_clip_is_called_up_only_where_it_was_held_back(shelf: ReviewQueue) -> None:
    """b is what the only scenario "pour" lacks, but it was dropped for what it is."""
    assert [count.missing for count in shelf.counts()] == [0, 1, 0, 0]
    assert everything(shelf, "undecided", "pour") == ""


def test_counts_of_scenarios(shelf: ReviewQueue) -> None:
    assert shelf.counts() == (
        ScenarioCount("hug", 2, 3, 2, 0),
        ScenarioCount("pour", 1, 1, 0, 0),
        ScenarioCount("eat", None, 0, 0, 0),
        ScenarioCount("", None, 1, 1, 0),
    )
    assert everything(shelf, "all", "") == "d" and everything(shelf, "all", "no such") == ""


def test_going_on_behind_a_clip_that_left_the_queue(shelf: ReviewQueue) -> None:
    assert shelf.after("undecided", None, "a", (), 1) == ("c",)
    shelf.add([said("c", True, "ada")])
    assert shelf.after("undecided", None, "c", (), 9) == ("d",)
    assert shelf.after("near", None, "d", ("b",), 9) == ("e", "a")
    assert shelf.after("undecided", None, "d", (), 9) == ()
    assert shelf.after("undecided", None, "unknown", (), 1) == ("a",)


def test_the_last_person_counts_whoever_writes_later(shelf: ReviewQueue) -> None:
    shelf.add([said("d", False, "ada"), said("d", True, "bob"), said("d", False)])
    assert shelf.said("d").counts() == said("d", True, "bob") and everything(shelf, "kept") == "acd"
    shelf.add([replace(said("d", True, "bob"), withdrawn=True)])
    assert everything(shelf, "kept") == "ac", "ada's word counts again"
    shelf.add([replace(said("d", True, "ada"), withdrawn=True), said("nowhere", True, "ada")])
    assert everything(shelf, "kept") == "ac" and not everything(shelf, "people"), "and then the program's"


def test_a_hundred_thousand_clips_answer_at_once() -> None:
    rng = np.random.default_rng(0)
    entries = [QueueEntry(f"{k:024x}", f"s{k % 10}", float(m)) for k, m in enumerate(rng.random(100_000))]
    shelf = ReviewQueue(entries, {f"s{k}": 5000 for k in range(10)})
    shelf.add(said(entry.id, math.isfinite(entry.margin) and entry.margin > 0.2) for entry in entries)
    began = time.perf_counter()
    for start in range(0, 100_000, 1000):
        assert len(shelf.after("near", f"s{start % 10}", entries[start].id, (), 3)) <= 3
        shelf.counts()
    assert (time.perf_counter() - began) / 100 < 0.05, "seconds for a step"
