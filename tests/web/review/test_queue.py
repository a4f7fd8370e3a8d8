"""Queues of clips: what is in each, in which order, and what calls up a clip that was held back."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import pytest

from rushes.records import Decision
from rushes.web.review.queue import QUEUES, Queue, QueueEntry, ReviewQueue, ScenarioProgress

HELD_BACK = "enough of it"


def said(subject: str, keep: bool, by: str = "", withdrawn: bool = False, reason: str = "") -> Decision:
    return Decision(f"{subject}{keep}{by}", subject, keep, reason, "", bool(by), by, withdrawn=withdrawn)


@pytest.fixture
def queue() -> ReviewQueue:
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


def everything(queue: ReviewQueue, name: Queue, scenario: str | None = None) -> str:
    found = "".join(queue.after(name, scenario, "", (), 100))
    assert queue.size(name, scenario) == len(found)
    if scenario is None:
        assert "".join(id for first in range(0, 6, 2) for id in queue.page(name, first, 2)) == found
    return found


def test_queues_and_their_order(queue: ReviewQueue) -> None:
    assert {name: everything(queue, name) for name in QUEUES} == {
        "undecided": "acd",
        "near": "dbea",  # nearest first; c was not measured
        "dropped": "be",
        "in_set": "acd",
        "people": "",
        "all": "abcde",
    }
    queue.add([said("a", False, "ada"), said("b", True, "bob")])
    assert everything(queue, "undecided") == "cde", "with a out, e may fill the place of its scenario"
    assert everything(queue, "people") == "ab" and everything(queue, "in_set") == "bcd"
    assert everything(queue, "near") == "de" and everything(queue, "dropped") == "e"


def test_what_was_held_back_is_called_up_until_the_scenario_is_full(queue: ReviewQueue) -> None:
    assert everything(queue, "undecided", "hug") == "ac"
    queue.add([said("c", False, "ada")])
    assert everything(queue, "undecided", "hug") == "ae"
    queue.add([said("e", True, "ada")])
    assert everything(queue, "undecided", "hug") == "a"
    assert queue.counts()[0] == ScenarioProgress("hug", 2, 3, 2, 1) and queue.counts()[0].missing == 0
    queue.add([said("c", False, "ada", withdrawn=True)])  # back under the program, which keeps it
    assert everything(queue, "undecided", "hug") == "ac"


def test_a_dropped_clip_is_called_up_only_where_it_was_held_back(queue: ReviewQueue) -> None:
    """b is what the only scenario "pour" lacks, but it was dropped for what it is."""
    assert [count.missing for count in queue.counts()] == [0, 1, 0, 0]
    assert everything(queue, "undecided", "pour") == ""


def test_counts_of_scenarios(queue: ReviewQueue) -> None:
    assert queue.counts() == (
        ScenarioProgress("hug", 2, 3, 2, 0),
        ScenarioProgress("pour", 1, 1, 0, 0),
        ScenarioProgress("eat", None, 0, 0, 0),
        ScenarioProgress("", None, 1, 1, 0),
    )
    assert everything(queue, "all", "") == "d" and everything(queue, "all", "no such") == ""


def test_going_on_behind_a_clip_that_left_the_queue(queue: ReviewQueue) -> None:
    assert queue.after("undecided", None, "a", (), 1) == ("c",)
    queue.add([said("c", True, "ada")])
    assert queue.after("undecided", None, "c", (), 9) == ("d",)
    assert queue.after("near", None, "d", ("b",), 9) == ("e", "a")
    assert queue.after("undecided", None, "d", (), 9) == ()
    assert queue.after("undecided", None, "unknown", (), 1) == ("a",)


def test_the_last_person_counts_whoever_writes_later(queue: ReviewQueue) -> None:
    queue.add([said("d", False, "ada"), said("d", True, "bob"), said("d", False)])
    assert queue.history("d").counts() == said("d", True, "bob") and everything(queue, "in_set") == "acd"
    queue.add([replace(said("d", True, "bob"), withdrawn=True)])
    assert everything(queue, "in_set") == "ac", "ada's word counts again"
    queue.add([replace(said("d", True, "ada"), withdrawn=True), said("nowhere", True, "ada")])
    assert everything(queue, "in_set") == "ac" and not everything(queue, "people"), "and then the program's"


def test_a_hundred_thousand_clips_answer_at_once() -> None:
    rng = np.random.default_rng(0)
    entries = [QueueEntry(f"{k:024x}", f"s{k % 10}", float(m)) for k, m in enumerate(rng.random(100_000))]
    queue = ReviewQueue(entries, {f"s{k}": 5000 for k in range(10)})
    queue.add(said(entry.id, math.isfinite(entry.margin) and entry.margin > 0.2) for entry in entries)
    began = time.perf_counter()
    for start in range(0, 100_000, 1000):
        assert len(queue.after("near", f"s{start % 10}", entries[start].id, (), 3)) <= 3
        queue.counts()
    assert (time.perf_counter() - began) / 100 < 0.05, "seconds for a step"
