from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rushes.records import Preference
from rushes.store.database import Store
from rushes.web.labeling.vote_table import NONE, UNJUDGED, VoteTable

GROUPS = [["a", "b"], ["c", "d", "e", "f"], ["lonely"], ["g", "h", "i"]]


def event(id: str, left: str, right: str, *labels: int, judge: str = "human:ada", **more: object) -> Preference:
    return Preference(id, left, right, labels, judge, 1.0, **more)  # type: ignore[arg-type]


def test_every_pair_of_a_group_has_a_number_and_no_other_has() -> None:
    votes = VoteTable(GROUPS, "overall")
    assert votes.pairs == 1 + 6 + 3
    for pair in range(votes.pairs):
        left, right = votes.sides(pair)
        assert votes.number(left, right) == (pair, 1) and votes.number(right, left) == (pair, -1)
    for left, right in (("a", "c"), ("a", "a"), ("a", "lonely"), ("a", "unknown")):
        assert votes.number(left, right) is None


def test_marks_are_the_side_with_more_parts_whichever_way_round_the_row_is() -> None:
    votes = VoteTable(GROUPS, "overall")
    votes.add(event("1", "a", "b", 1, 1, -1))
    votes.add(event("2", "e", "c", 1, 0, 1))
    votes.add(event("3", "c", "d", 1, -1, 0))
    votes.add(event("4", "g", "h", 0, 0, unjudged=(0, 1)))
    ada = votes.of("ada")
    marks = {votes.sides(pair): int(ada[pair]) for pair in np.flatnonzero(ada != NONE).tolist()}
    assert marks == {("a", "b"): 1, ("c", "e"): -1, ("c", "d"): 0, ("g", "h"): UNJUDGED}
    assert votes.counts.sum() == 4


def test_other_judges_questions_repeats_and_clips_do_not_count() -> None:
    votes = VoteTable(GROUPS, "overall")
    for changes in ({"judge": "world"}, {"judge": "human:ada#again"}, {"dimension": "motion"}):
        votes.add(event("1", "a", "b", 1, **changes))
    votes.add(event("2", "a", "z", 1))
    assert votes.counts.sum() == 0 and set(votes.marks) <= {"ada"}


def test_a_label_lowers_the_gain_of_its_group_alone() -> None:
    votes = VoteTable(GROUPS, "overall")
    votes._count()
    before = votes.gain.copy()
    assert (before > 0).all()
    votes.add(event("1", "c", "d", 1))
    changed = {votes.sides(pair)[0] in "cdef" for pair in np.flatnonzero(votes.gain != before).tolist()}
    assert changed == {True} and votes.gain[votes.number("c", "d")[0]] == votes.gain[1:7].min()  # type: ignore[index]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store.create(tmp_path / "project")
    rows = [event(str(k), *("ab", "cd", "ce")[k % 3], (-1, 0, 1)[k % 2], judge=f"human:p{k % 5}") for k in range(30)]
    store.add(rows)
    store.add([event("last", "a", "b", -1, judge="human:p0", supersedes="0")])
    return store


def same(one: VoteTable, other: VoteTable) -> bool:
    return (one.counts == other.counts).all() and np.allclose(one.gain, other.gain) and one.last == other.last


def test_one_by_one_from_the_store_and_from_the_file_come_to_the_same(store: Store, tmp_path: Path) -> None:
    whole = VoteTable(GROUPS, "overall")
    whole.catch_up(store)
    stepped = VoteTable(GROUPS, "overall")
    stepped._count()
    for seq, row in store.tail(Preference):
        stepped.add(row)
        stepped.last = seq
    assert same(whole, stepped) and whole.counts.sum() > 3
    whole.save(tmp_path / "tally.npz")
    store.add([event("late", "g", "h", 1)])
    kept, fresh = VoteTable(GROUPS, "overall"), VoteTable(GROUPS, "overall")
    assert kept.catch_up(store, tmp_path / "tally.npz") == 1
    fresh.catch_up(store)
    assert same(kept, fresh) and not same(kept, whole)


def test_a_file_of_other_clips_or_a_damaged_one_is_not_believed(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "tally.npz"
    other = VoteTable([["a", "x"]], "overall")
    other.catch_up(store)
    other.save(file)
    votes, fresh = VoteTable(GROUPS, "overall"), VoteTable(GROUPS, "overall")
    votes.catch_up(store, file)
    fresh.catch_up(store)
    assert same(votes, fresh)
    file.write_bytes(b"PK\x03\x04 no archive")
    again = VoteTable(GROUPS, "overall")
    again.catch_up(store, file)
    assert same(again, fresh) and not file.exists()


@pytest.mark.parametrize("what", ["packed", "locked", "array", "endless", "wider"])
def test_a_file_from_elsewhere_fills_no_memory(what: str, store: Store, tmp_path: Path) -> None:
    """A stranger's was unpacked whatever its size, or ended the page in an error of Python's."""
    file, votes = tmp_path / "tally.npz", VoteTable(GROUPS, "overall")
    votes.catch_up(store)
    print_of: Any = {"print": votes._print, "last": 1, "names": np.array(["eve"])}
    if what == "array":
        with file.open("wb") as out:
            np.save(out, np.zeros(3))
    elif what == "packed":
        np.savez_compressed(file, **print_of, marks=np.zeros((1, 2**26), np.int8))
        assert file.stat().st_size < 100_000
    else:
        np.savez(file, **print_of, marks=np.zeros((1, votes.pairs + (what == "wider")), np.int8))
        data, shape = file.read_bytes(), f"(1, {votes.pairs}), }}".encode()
        if what == "locked":
            data = data.replace(b"PK\x01\x02-\x03-\x00\x00\x00", b"PK\x01\x02-\x03-\x00\x01\x00")
        elif what == "endless":
            data = data.replace(shape + b" " * 9, shape.replace(b"), }", b"0" * 9 + b"), }"))
        assert what == "wider" or data != file.read_bytes()
        file.write_bytes(data)
    before, again = votes.counts.copy(), VoteTable(GROUPS, "overall")
    again.catch_up(store, file)
    assert np.array_equal(again.counts, before) and not file.exists()
