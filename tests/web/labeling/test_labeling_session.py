"""Who gets which pair, and what becomes of labels that come once, twice, late or out of order."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from rushes.records import Preference, Score
from rushes.web.accounts import AccessDenied
from rushes.web.labeling.assignments import Assignment
from rushes.web.labeling.label_rows import LabelSubmission
from rushes.web.labeling.labeling_session import LabelingSession

from ..conftest import Clock, NewSession, say


def taken(session: LabelingSession, who: str, have: tuple[str, ...] = ()) -> Assignment:
    item = session.next(who, have)
    assert item is not None
    return item


def events(session: LabelingSession) -> list[Preference]:
    return list(session.store.preferences(current=False))


def test_labels_are_stored_as_of_the_true_sides_and_as_they_were_seen(make_session: NewSession) -> None:
    session = make_session(groups=12)
    seen = Counter[bool]()
    for k in range(12):
        item = taken(session, "ada")
        assert session.segments(item) == 2
        session.save("ada", item.id, LabelSubmission(f"e{k:07}", "", {"overall": (1, None)}))
        row = events(session)[-1]
        winner = item.right if item.swapped else item.left
        assert session.side(item, "a").id == winner
        assert (row.left, row.right) == (item.left, item.right)
        assert row.labels == ((-1, 0) if item.swapped else (1, 0)) and row.by_slot == (1, 0) and row.unjudged == (1,)
        assert row.judge == "human:ada" and row.segment_s == 1.0 and row.created_at
        seen[item.swapped] += 1
    assert min(seen.values()) >= 3 and session.next("ada") is None
    assert {(p.left, p.right) for p in events(session)} == {(f"take{g}-0", f"take{g}-1") for g in range(12)}


def test_the_same_request_again_changes_nothing(make_session: NewSession) -> None:
    session = make_session()
    item = taken(session, "ada")
    assert taken(session, "ada") == item or taken(session, "ada").id == item.id
    for _ in range(3):
        say(session, "ada", item, 1, "event-01")
    assert len(events(session)) == 1
    with pytest.raises(AccessDenied, match="stored with other content already"):
        say(session, "ada", item, -1, "event-01")
    assert len(events(session)) == 1 and session.progress("ada")["done"] == 1


def test_corrections_build_on_the_last_event_and_late_ones_are_refused(make_session: NewSession) -> None:
    session = make_session()
    item = taken(session, "ada")
    say(session, "ada", item, 1, "event-01")
    say(session, "ada", item, -1, "event-02", revises="event-01")
    say(session, "ada", item, 1, "event-01")  # the first one comes again, late
    with pytest.raises(AccessDenied, match="saved from another window"):
        say(session, "ada", item, 0, "event-03", revises="event-01")
    with pytest.raises(AccessDenied, match="saved from another window"):
        say(session, "ada", item, 0, "event-04")
    (current,) = session.store.preferences()
    assert current.by_slot == (-1, -1) and len(events(session)) == 2
    assert session.votes.counts.sum() == 1


def test_what_does_not_fit_is_refused_whole(make_session: NewSession) -> None:
    session = make_session(dimensions=("overall", "motion"), scores=True)
    item = taken(session, "ada")
    wrong: list[dict[str, Any]] = [
        {"overall": (1, 1)},
        {"overall": (1, 1), "motion": (1,)},
        {"overall": (1, 1), "motion": (1, 1), "more": (1, 1)},
    ]
    for labels in wrong:
        with pytest.raises(AccessDenied, match=r"now asks for overall, motion|1 labels for 2 parts"):
            session.save("ada", item.id, LabelSubmission("event-01", "", labels))
    with pytest.raises(AccessDenied, match="do not have this pair open"):
        say(session, "bob", item, 1, "event-01")
    with pytest.raises(AccessDenied, match="do not have this pair open"):
        session.media("bob", item.id, "a")
    assert events(session) == []
    session.save(
        "ada", item.id, LabelSubmission("event-01", "", {"overall": (1, 1), "motion": (0, -1)}, {"a": 7.5, "b": 2.0})
    )
    assert {row.dimension for row in events(session)} == {"overall", "motion"}
    scores = {row.subject: row for row in session.store.scores(metric="human")}
    assert scores[session.side(item, "a").id] == Score(
        scores[session.side(item, "a").id].id, session.side(item, "a").id, "human", 7.5, (), "human:ada"
    )
    assert scores[session.side(item, "b").id].value == 2.0


def test_nobody_gets_a_pair_that_another_has(make_session: NewSession) -> None:
    session = make_session(groups=6)
    held = [taken(session, who) for who in ("ada", "bob", "cem")]
    held += [taken(session, who, have=(item.id,)) for who, item in zip(("ada", "bob", "cem"), held, strict=True)]
    assert len({(item.left, item.right) for item in held}) == 6
    assert session.next("dia") is None
    with pytest.raises(AccessDenied, match="You have two pairs open"):
        session.next("ada", (held[0].id, held[3].id))


def test_a_closed_laptop_gives_its_pair_back(make_session: NewSession, clock: Clock) -> None:
    session = make_session(groups=1, lease_s=600)
    item = taken(session, "ada")
    assert session.next("bob") is None
    clock.now += 599
    session.renew("ada")
    clock.now += 599
    assert session.next("bob") is None
    clock.now += 2
    other = taken(session, "bob")
    with pytest.raises(AccessDenied, match=r"not saved.*somebody else has this pair"):
        say(session, "ada", item, 1, "event-01")
    say(session, "bob", other, 1, "event-02")
    with pytest.raises(AccessDenied, match="somebody else"):
        say(session, "ada", item, 1, "event-01")
    assert [row.judge for row in events(session)] == ["human:bob"]


def test_a_late_label_is_taken_where_nobody_else_has_the_pair(make_session: NewSession, clock: Clock) -> None:
    session = make_session(groups=1)
    item = taken(session, "ada")
    clock.now += 10_000
    say(session, "ada", item, 1, "event-01")
    assert len(events(session)) == 1


def test_a_pair_that_was_open_too_long_is_still_there(make_session: NewSession, clock: Clock) -> None:
    session = make_session(groups=6, lease_s=600)
    first = taken(session, "ada")
    second = taken(session, "ada", have=(first.id,))
    for again in (session, make_session(lease_s=600)):  # a pause, and a pause over which the server begins anew
        clock.now += 10_000
        assert taken(again, "ada").id == first.id, "in the order in which they were given"
        assert taken(again, "ada", have=(first.id,)).id == second.id
    clock.now += 10_000
    say(again, "ada", first, 1, "event-01")
    third = taken(again, "ada", have=(second.id,))
    assert {third.left, third.right} != {second.left, second.right}
    say(again, "ada", second, 1, "event-02")
    assert len(events(again)) == 2 and again.progress("ada")["done"] == 2


def test_two_items_of_one_person_are_no_two_people(make_session: NewSession, clock: Clock) -> None:
    """A project of before leases were begun anew may have assigned a pair to one person twice."""
    session = make_session(groups=1, lease_s=600)
    item = taken(session, "ada")
    clock.now += 10_000
    twin = Assignment("twin", "ada", item.left, item.right, "new", item.swapped, until=clock.now + 600)
    session._keep(twin)
    say(session, "ada", twin, -1, "event-01")
    say(session, "ada", item, 1, "event-02")
    assert [row.by_slot for row in events(session)] == [(-1, -1), (1, 1)] and session.votes.counts.sum() == 1
    assert session.next("ada") is None


def test_a_pair_that_is_given_back_goes_to_the_next(make_session: NewSession) -> None:
    session = make_session(groups=1)
    item = taken(session, "ada")
    session.release("bob", item.id)
    assert session.next("bob") is None
    session.release("ada", item.id)
    session.release("ada", item.id)
    assert taken(session, "bob").left == item.left


def test_the_open_pairs_are_as_they_were_after_the_process_died(make_session: NewSession) -> None:
    session = make_session(groups=3)
    done, held = taken(session, "ada"), None
    say(session, "ada", done, 1, "event-01")
    held = taken(session, "ada")
    again = make_session(groups=3)
    assert taken(again, "ada").id == held.id
    assert again.progress("ada") == {"done": 1, "pairs": 3, "open": 2}
    say(again, "ada", done, 1, "event-01")
    assert len(events(again)) == 1
    found = again.back("ada")
    assert found is not None and found[0].id == done.id and found[1].labels == {"overall": (1, 1)}


def test_an_event_that_was_stored_before_the_ledger_knew_is_found(
    make_session: NewSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = make_session()
    item = taken(session, "ada")

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(session.votes, "add", die)
        patch.setattr(session.assignments, "put", _until(session.assignments.put, calls=1))
        with pytest.raises(KeyboardInterrupt):
            say(session, "ada", item, 1, "event-01")
    again = make_session()
    assert again.progress("ada")["done"] == 1
    say(again, "ada", item, -1, "event-02", revises="event-01")
    assert [row.by_slot for row in again.store.preferences()] == [(-1, -1)]


def _until(act: Callable[..., None], calls: int) -> Callable[..., None]:
    left = calls

    def limited(*arguments: Any) -> None:
        nonlocal left
        if not left:
            raise KeyboardInterrupt
        left -= 1
        act(*arguments)

    return limited


def test_going_back_walks_through_what_was_saved(make_session: NewSession) -> None:
    session = make_session()
    assert session.back("ada") is None
    items = []
    for k in range(3):
        items.append(taken(session, "ada"))
        say(session, "ada", items[-1], (1, 0, None)[k], f"event-{k:02}")
    now = taken(session, "ada")
    back = session.back("ada", now.id)
    assert back is not None and back[0].id == items[2].id and back[1].labels == {"overall": (None, None)}
    back = session.back("ada", items[2].id)
    assert back is not None and back[0].id == items[1].id and back[1].event == "event-01"
    assert session.back("ada", items[0].id) is None and session.back("bob") is None


def test_overlap_gives_a_pair_to_as_many_people_as_asked_for(make_session: NewSession) -> None:
    session = make_session(groups=5, overlap=3, overlap_share=1.0)
    for number, who in enumerate(("ada", "bob", "cem", "dia")):
        while (item := session.next(who)) is not None:
            say(session, who, item, 1, f"{number}-{item.id[:10]}")
    per_pair = Counter((row.left, row.right) for row in events(session))
    assert set(per_pair.values()) == {3} and len(per_pair) == 5
    assert len({(row.left, row.judge) for row in events(session)}) == 15


def test_a_share_of_overlap_is_about_that_share(make_session: NewSession) -> None:
    session = make_session(groups=60, overlap_share=0.3)
    for number in range(60):
        who = ("ada", "bob")[number % 2]
        if (item := session.next(who)) is not None:
            say(session, who, item, 1, f"event-{number:03}")
    kinds = Counter(item.kind for who in ("ada", "bob") for item in saved(session, who))
    assert 10 <= kinds["overlap"] <= 28 and kinds["overlap"] + kinds["new"] == 60


def saved(session: LabelingSession, who: str) -> list[Assignment]:
    found, before = [], ""
    while (back := session.back(who, before)) is not None:
        found.append(back[0])
        before = back[0].id
    return found


def test_repeats_come_later_swapped_once_and_under_another_name(make_session: NewSession) -> None:
    session = make_session(groups=60, repeat_share=0.25)
    for number in range(40):
        say(session, "ada", taken(session, "ada"), 1, f"event-{number:03}")
    items = saved(session, "ada")[::-1]
    repeats = [item for item in items if item.kind == "repeat"]
    assert 4 <= len(repeats) <= 18
    for repeat in repeats:
        (first,) = [i for i in items if i.kind != "repeat" and (i.left, i.right) == (repeat.left, repeat.right)]
        assert items.index(repeat) - items.index(first) >= 5 and repeat.swapped != first.swapped
    assert len({(item.left, item.right) for item in repeats}) == len(repeats)
    assert Counter(row.judge for row in events(session))["human:ada#again"] == len(repeats)
    assert session.progress("ada")["done"] == 40 - len(repeats)


def test_gold_pairs_come_from_the_key_and_never_to_its_author(make_session: NewSession) -> None:
    session = make_session(groups=40, gold_by="lead", gold_share=0.4)
    for number in range(10):
        say(session, "lead", taken(session, "lead"), 1, f"lead-{number:03}")
    for number in range(20):
        say(session, "ada", taken(session, "ada"), 1, f"ada-{number:05}")
    gold = [item for item in saved(session, "ada") if item.kind == "gold"]
    key = {(row.left, row.right) for row in events(session) if row.judge == "human:lead"}
    assert 3 <= len(gold) <= 10 and {(item.left, item.right) for item in gold} <= key
    assert all(item.kind == "new" for item in saved(session, "lead"))


def test_the_same_seed_gives_the_same_pairs_and_another_seed_others(make_session: NewSession) -> None:
    def order(folder: str, seed: int) -> list[tuple[str, str, bool]]:
        session = make_session(groups=12, takes=3, folder=folder, seed=seed, overlap_share=0.2, repeat_share=0.2)
        found = []
        for number in range(20):
            item = taken(session, "ada")
            found.append((item.left, item.right, item.swapped))
            say(session, "ada", item, (-1, 0, 1)[number % 3], f"event-{number:03}")
        return found

    assert order("one", 7) == order("two", 7) != order("three", 8)


def test_labels_go_where_they_tell_most(make_session: NewSession) -> None:
    """With three takes a prompt, prompts without a label come before the second pair of one."""
    session = make_session(groups=6, takes=3)
    groups = []
    for number in range(6):
        item = taken(session, "ada")
        groups.append(item.left.partition("-")[0])
        say(session, "ada", item, 1, f"event-{number:03}")
    assert len(set(groups)) == 6


def test_a_pair_that_chance_alone_chooses_depends_on_no_answer(make_session: NewSession) -> None:
    def order(by_gain: bool, mark: int) -> list[frozenset[str]]:
        session = make_session(
            groups=2, takes=4, folder=f"{by_gain}{mark}", segment_s=None, by_gain=by_gain, overlap=9, overlap_share=1.0
        )
        for who in ("ada", "bob"):
            for number in range(6):
                item = session.next(who)
                assert item is not None
                say(session, who, item, mark if number % 2 else -mark, f"{who} {number}")
        return [frozenset((item.left, item.right)) for item in session.assignments.saved("bob", math.inf, 9)]

    assert order(False, 1) == order(False, -1) == order(False, 0)
    assert len({tuple(order(True, mark)) for mark in (1, -1, 0)}) > 1  # the other way it would not be so
