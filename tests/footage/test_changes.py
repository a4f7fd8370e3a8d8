"""What an import changed of the set, and that it may be stopped at any moment and taken back."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from rushes.footage.changes import SetChanges, apply_changes
from rushes.records import Clip, Decision, Row
from rushes.store.database import Store


def clip(id: str, media: str = "", source: str = "", film: str = "") -> Clip:
    return Clip(id, media or id, f"caption {id}", 32, 32, 17, 8.0, source or f"{id}.mp4", made_by="import", film=film)


def in_set(store: Store) -> list[str]:
    return [row.id for row in store.clips()]


def test_the_first_import_changed_nothing(store: Store) -> None:
    store.add([clip("a"), clip("b")])
    assert apply_changes(store, {"a", "b"}, set()) == SetChanges()


def test_each_clip_is_counted_once(store: Store) -> None:
    span = "#t=0.000,2.125"
    pieces = [clip("old words of a piece", "p", f"f.mp4{span}", "film"),
              clip("old cut", "q", "f.mp4#t=3.000,5.125", "film")]  # fmt: skip
    before = [clip("same"), clip("old words", "1"), clip("gone"), clip("old file", "2", "x.mp4"), *pieces]
    after = [clip("new"), clip("new words", "1"), clip("new file", "3", "x.mp4"),
             clip("new words of a piece", "p2", f"moved.mp4{span}", "film")]  # fmt: skip
    other = Clip("still", "s", "a prompt", 32, 32, 1, 8.0, "still by sd", "eval", made_by="sd")
    store.add([*before, other])
    store.add(after)
    ids = {"same", *(row.id for row in after)}
    changes = apply_changes(store, ids, {row.id for row in (*before, other)})
    assert changes == SetChanges(new=2, unchanged=1, captions_changed=2, replaced=2, gone=1)
    assert set(in_set(store)) == {*ids, "still"}


def test_a_clip_that_a_person_put_back_is_left_in(store: Store) -> None:
    store.add([clip("a"), clip("b")])
    everything = {"a", "b"}
    assert apply_changes(store, {"a"}, everything) == SetChanges(unchanged=1, gone=1)
    assert in_set(store) == ["a"]
    store.add([Decision("by ada", "b", True, person=True, made_by="ada")])
    assert apply_changes(store, {"a"}, everything) == SetChanges(unchanged=1, held_by_people=1)
    assert in_set(store) == ["a", "b"]


def test_a_stopped_import_is_finished_by_the_next(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.add([clip("a"), clip("b"), clip("c")])
    add = Store.add

    def stopping(self: Store, rows: Iterable[Row]) -> int:
        add(self, rows)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Store, "add", stopping)  # after the one commit in which all is set aside
        apply_changes(store, {"a"}, {"a", "b", "c"})
    assert in_set(store) == ["a"]
    assert apply_changes(store, {"a"}, {"a", "b", "c"}) == SetChanges(unchanged=1)
    for ids in ({"b"}, {"a"}, {"b"}):  # the same things again are decisions of their own
        apply_changes(store, ids, {"a", "b", "c"})
        assert set(in_set(store)) == ids
