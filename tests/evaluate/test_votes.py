"""Votes of people between two systems: which pairs count, when it is enough, and who reads them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rushes.evaluate.votes import judged_by_people, standing_of, systems_with_pairs, vote_pairs
from rushes.records import VOTE, Candidate, Preference
from rushes.store.annotators import labels_to_train_on
from rushes.store.database import Store

PROMPTS = 24


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Held-out takes of the base and of run one for `PROMPTS` prompts, two seeds each."""
    with Store.create(tmp_path / "project") as opened:
        opened.add([take(s, g, k) for s in ("base", "one") for g in range(PROMPTS) for k in range(2)])
        yield opened


def take(system: str, group: int, seed: int) -> Candidate:
    size: dict[str, Any] = {"width_px": 8, "height_px": 8, "frames": 8, "fps": 8.0}
    return Candidate(
        f"{system}-{group}-{seed}", "0" * 64, f"prompt {group}", kind="take", group=f"g{group}", clip_id="",
        system=system, made_by="w", seed=seed, split="eval", **size,
    )  # fmt: skip


def vote(store: Store, group: int, seed: int, mark: int | None, who: str = "ada", supersedes: str = "") -> Preference:
    """A vote as the page stores it, the run on the left for even prompts: +1 the run is better."""
    sign = 1 if group % 2 == 0 else -1
    left, right = (f"one-{group}-{seed}", f"base-{group}-{seed}")[::sign]
    row = Preference(
        f"{who}{group}{seed}{supersedes}",
        left,
        right,
        (sign * (mark or 0),),
        f"human:{who}",
        dimension=VOTE,
        supersedes=supersedes,
        unjudged=(0,) if mark is None else (),
        by_slot=(mark or 0,),
    )
    store.add([row])
    return row


def test_pairs_are_of_one_prompt_and_seed(store: Store) -> None:
    assert systems_with_pairs(store) == ["one"]
    pairs = vote_pairs(store, "base", "one")
    assert len(pairs) == 2 * PROMPTS and all((a.group, a.seed) == (b.group, b.seed) for a, b in pairs)
    assert {(a.system, b.system) for a, b in pairs} == {("base", "one")}


def test_nothing_but_the_vote_reads_votes(store: Store) -> None:
    vote(store, 0, 0, 1)
    assert store.preferences() == () and len(store.preferences(votes=True)) == 1
    assert labels_to_train_on(store) == {} == labels_to_train_on(store, dimension=VOTE)


def test_a_prompt_counts_once_all_of_its_pairs_are_complete(store: Store) -> None:
    assert standing_of(store, "one", 1).rate is None
    vote(store, 0, 0, 1)
    stands = standing_of(store, "one", 1)
    assert (stands.votes, stands.complete, stands.prompts_complete, stands.wins) == (1, 1, 0, 1)
    vote(store, 0, 1, -1)
    stands = standing_of(store, "one", 1)
    assert (stands.complete, stands.prompts_complete, stands.rate) == (2, 1, 0.5)
    assert standing_of(store, "one", 2).prompts_complete == 0  # two people are asked for


def test_enough_is_said_of_a_clear_win_and_more_of_few_votes(store: Store) -> None:
    for group in range(5):
        for seed in (0, 1):
            vote(store, group, seed, 1)
    stands = standing_of(store, "one", 1)
    assert not stands.enough and stands.decision == "undecided" and stands.more_prompts
    assert 0 < stands.more_prompts <= PROMPTS and f"{stands.more_prompts} more prompts expected" in stands.in_words()
    for group in range(5, PROMPTS):
        for seed in (0, 1):
            vote(store, group, seed, 1)
    stands = standing_of(store, "one", 1)
    assert stands.enough and stands.decision == "better" and stands.after <= PROMPTS
    assert stands.low is not None and stands.low > 0.5 and "one is better" in stands.in_words()


def test_who_corrects_a_vote_changes_it_and_not_its_place(store: Store) -> None:
    first = vote(store, 1, 0, 1)
    vote(store, 1, 1, 1)
    vote(store, 1, 0, -1, supersedes=first.id)
    stands = standing_of(store, "one", 1)
    assert (stands.votes, stands.wins, stands.losses, stands.rate) == (2, 1, 1, 0.5)


def test_people_who_differ_make_the_side_that_more_chose(store: Store) -> None:
    for who, mark in (("ada", 1), ("bob", 1), ("eve", -1)):
        vote(store, 0, 0, mark, who)
    vote(store, 0, 1, None, "ada")
    vote(store, 1, 0, 0, "ada")
    (row,) = judged_by_people(store, ("base", "one"))
    assert (row.judge, row.first, row.second) == ("3 people, blind", "base", "one")
    assert (row.wins.wins, row.wins.ties, row.wins.losses) == (1, 1, 0)
    assert (row.disagreed, row.unreadable) == (1, 1)
    assert row.first_slot is not None and row.first_slot.n == 3  # A was chosen in two of three decided answers
    assert row.first_slot.value == pytest.approx(2 / 3)


def test_systems_without_votes_are_left_out(store: Store) -> None:
    assert judged_by_people(store, ("base", "one")) == ()
