from __future__ import annotations

from dataclasses import replace
from pathlib import Path

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


def parts(judge: str, segment_s: float | None, *labels: int, **more: object) -> Preference:
    return replace(row(judge, *labels, number=more.pop("number", 0)), segment_s=segment_s, **more)  # type: ignore[arg-type]


def test_people_who_labelled_in_unlike_parts_become_one_label_in_the_shortest(tmp_path: Path) -> None:
    with Store.create(tmp_path / "p") as store:
        store.add([parts("human:ada", 1.0, 1, -1), parts("human:bob", 0.5, 0, 1, -1, 1, -1)])
        (found,) = labels_to_train_on(store, "human")
        assert (found.labels, found.segment_s) == ((1, 1, -1, 0, -1), 0.5), "the last part holds what is left"
        store.add([parts("human:cem", None, -1)])
        (found,) = labels_to_train_on(store, "human")
        assert (found.labels, found.segment_s) == ((0, 1, -1, -1, -1), 0.5)
        (whole,) = labels_to_train_on(store, "human", segment_s="whole")
        assert (whole.labels, whole.segment_s) == ((-1,), None)


def test_parts_that_fit_no_grid_go_by_their_seconds_and_what_nobody_judged_stays_so() -> None:
    fine = parts("human:ada", 0.5, 0, 0, 0, unjudged=(0, 1, 2))
    assert merged([fine, parts("human:bob", 0.75, 1, -1)]).labels == (1, 0, -1)
    coarse = parts("human:bob", 1.0, 0, 1, unjudged=(0,))
    both = merged([fine, coarse])
    assert (both.labels, both.unjudged) == ((0, 0, 1), (0, 1))


def test_a_settled_label_stands_for_all_whatever_their_parts(tmp_path: Path) -> None:
    with Store.create(tmp_path / "p") as store:
        store.add([parts("human:ada", 1.0, 1, -1), parts("human:bob", 0.5, 0, 1, -1, 1)])
        store.add([parts("human:lead#settled", None, -1), parts("human:ada", 1.0, 1, 1, number=1)])
        (found,) = labels_to_train_on(store, "human")
        assert (found.labels, found.segment_s) == ((-1,), None)
        assert labels_to_train_on(store, "human", segment_s=1.0) == {}, "the pair has no label of such parts now"
        assert [own.labels for own in labels_to_train_on(store, "human:bob")] == [(0, 1, -1, 1)]
