from __future__ import annotations

from pathlib import Path

import pytest

from rushes.records import Preference
from rushes.store.annotators import labels_to_train_on, merged
from rushes.store.database import Store


def row(judge: str, *labels: int, left: str = "a", right: str = "b", **more: object) -> Preference:
    number = more.pop("number", 0)
    return Preference(f"{judge}-{left}-{right}-{number}", left, right, labels, judge, 1.0, **more)  # type: ignore[arg-type]


def test_people_become_one_judge_by_majority_and_programs_stay_apart(tmp_path: Path) -> None:
    with Store.create(tmp_path / "p") as store:
        store.add(
            [
                row("human:ada", 1, 1, 0, -1),
                row("human:bob", 1, -1, 0, -1),
                row("human:cem", -1, -1, 1, 0, left="b", right="a"),
                row("human:ada#again", -1, -1, -1, -1),
                row("world", -1, -1, -1, -1),
                row("human:ada", 1, 1, 1, 1, left="c", right="d"),
                row("human:ada", -1, -1, -1, -1, number=1, dimension="motion"),
            ]
        )
        found = {(p.judge, p.left, p.right): p for p in labels_to_train_on(store)}
        assert set(found) == {("world", "a", "b"), ("human", "a", "b"), ("human", "c", "d")}
        # votes as of a: 1 1 1, 1 -1 1, 0 0 -1, -1 -1 0
        assert found["human", "a", "b"].labels == (1, 1, -1, -1)
        assert [p.labels for p in labels_to_train_on(store, "human")] == [(1, 1, -1, -1), (1, 1, 1, 1)]
        assert [p.labels for p in labels_to_train_on(store, "human:bob")] == [(1, -1, 0, -1)]
        assert [p.judge for p in labels_to_train_on(store, "world")] == ["world"]
        assert [p.labels for p in labels_to_train_on(store, "human", "motion")] == [(-1, -1, -1, -1)]


def test_a_correction_counts_in_place_of_what_it_corrects(tmp_path: Path) -> None:
    with Store.create(tmp_path / "p") as store:
        first = row("human:ada", 1, 1)
        store.add([first, row("human:ada", -1, 0, number=1, supersedes=first.id)])
        assert [p.labels for p in labels_to_train_on(store)] == [(-1, 0)]


def test_who_cannot_tell_has_no_vote() -> None:
    found = merged([row("human:ada", 0, 0, unjudged=(0, 1)), row("human:bob", 1, 0, unjudged=(1,))])
    assert found.labels == (1, 0) and found.unjudged == (1,) and found.judge == "human"


def test_equal_sides_are_a_tie_and_the_same_rows_give_the_same_id() -> None:
    rows = [row("human:ada", 1), row("human:bob", -1)]
    assert merged(rows).labels == (0,) and merged(rows).id == merged(rows[::-1]).id


def test_unlike_segments_are_refused() -> None:
    with pytest.raises(ValueError, match="in \\[1, 2\\] segments, which cannot be merged"):
        merged([row("human:ada", 1), row("human:bob", 1, 1)])
