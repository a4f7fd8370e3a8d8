"""What people have said of each pair so far, in arrays: opens fast, grows by one event at a time, stays small.

One byte per person and pair. The table can be kept in a file beside the database; it is a copy that is checked against
the clips it was made for and then only needs the events that came after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from rushes.files import whole_file
from rushes.records import Preference, majority, stable_hash
from rushes.store.annotators import ANNOTATOR, is_own_answer
from rushes.store.database import Store
from rushes.web.labeling.expected_information import gains

NONE, UNJUDGED = -2, 2  # beside -1, 0 and +1
_BATCH_PAIRS = 200_000


class VoteTable:
    """Marks of people on the pairs of `groups`; each group is a list of candidate ids, and all its pairs count."""

    def __init__(self, groups: Sequence[Sequence[str]], dimension: str) -> None:
        self.dimension = dimension
        self.ids = [list(group) for group in groups if len(group) > 1]
        self.place = {id: (g, k) for g, group in enumerate(self.ids) for k, id in enumerate(group)}
        sizes = np.array([len(group) for group in self.ids], np.int64)
        self._start = np.concatenate([[0], np.cumsum(sizes * (sizes - 1) // 2)])
        self.pairs = int(self._start[-1])
        self.marks: dict[str, NDArray[np.int8]] = {}
        self.counts = np.zeros(self.pairs, np.int16)
        self.gain = np.zeros(self.pairs, np.float32)
        self.last = 0  # number of the last row that was taken in
        self._print = stable_hash([dimension, stable_hash(self.ids)])

    def number(self, left: str, right: str) -> tuple[int, int] | None:
        """Number of the pair and +1, or -1 where it is kept the other way round; None for no pair of these groups."""
        left_place, right_place = self.place.get(left), self.place.get(right)
        if left_place is None or right_place is None or left_place[0] != right_place[0] or left_place == right_place:
            return None
        low, high = sorted((left_place[1], right_place[1]))
        return int(self._start[left_place[0]]) + high * (high - 1) // 2 + low, 1 if low == left_place[1] else -1

    def sides(self, pair: int) -> tuple[str, str]:
        """Ids of the left and the right candidate of a pair."""
        group = int(np.searchsorted(self._start, pair, "right")) - 1
        at = pair - int(self._start[group])
        high = int((1 + np.sqrt(1 + 8 * at)) // 2)
        return self.ids[group][at - high * (high - 1) // 2], self.ids[group][high]

    def catch_up(self, store: Store, file: Path | None = None) -> int:
        """Take in all events that are not in yet, from `file` where it fits, then from the store; return how many."""
        if file is not None and not self.last:
            self._load(file)
        before = self.last
        changed = 0
        for seq, event in store.tail(Preference, self.last):
            self.last = seq
            changed += self._mark(event) is not None
        if not before or changed:
            self._count()
        return changed

    def add(self, event: Preference) -> None:
        """Take in one new event. Its row stays to be read by `catch_up` as well, which changes nothing."""
        pair = self._mark(event)
        if pair is not None:
            group = int(np.searchsorted(self._start, pair, "right")) - 1
            self._count(group, group + 1)

    def save(self, file: Path) -> None:
        """Keep the marks in `file`."""
        names = list(self.marks)
        with whole_file(file) as part, part.open("wb") as out:
            table = np.stack([self.marks[name] for name in names]) if names else np.zeros((0, self.pairs), np.int8)
            np.savez(out, print=self._print, last=self.last, names=np.array(names, dtype=np.str_), marks=table)

    def _load(self, file: Path) -> None:
        if not file.is_file():
            return
        try:
            with file.open("rb") as opened, NpzFile(opened, allow_pickle=False) as stored:
                assert stored.zip is not None
                if any(each.compress_type or each.flag_bits & 1 for each in stored.zip.infolist()):
                    raise ValueError("packed or locked, as `save` leaves none: it may fill memory")
                if str(stored["print"]) == self._print:
                    marks = stored["marks"]
                    if marks.dtype != np.int8 or marks.shape[1:] != (self.pairs,):
                        raise ValueError("of other pairs")
                    self.marks = dict(zip(map(str, stored["names"]), marks, strict=True))
                    self.last = int(stored["last"])
        except (OSError, ValueError, KeyError, EOFError, MemoryError, BadZipFile):
            file.unlink()  # a copy, damaged: the store has it all
            return
        self._count()

    def _mark(self, event: Preference) -> int | None:
        """Note an event, the latest of a person on a pair; return the pair when that changes the counts."""
        if not is_own_answer(event) or event.dimension != self.dimension:
            return None
        place = self.number(event.left, event.right)
        if place is None:
            return None
        pair, sign = place
        marks = self.of(event.judge.removeprefix(ANNOTATOR))
        mark = UNJUDGED if len(event.unjudged) == len(event.labels) else sign * majority(event.labels)
        if marks[pair] == mark:
            return None
        marks[pair] = mark
        return pair

    def of(self, annotator: str) -> NDArray[np.int8]:
        """Marks [pairs] of one person: -1, 0, +1, UNJUDGED, or NONE where there is none."""
        if annotator not in self.marks:
            self.marks[annotator] = np.full(self.pairs, NONE, np.int8)
        return self.marks[annotator]

    def _count(self, first: int = 0, end: int | None = None) -> None:
        """Count votes and gains of the groups first .. end - 1 anew, groups of one size together."""
        sizes = np.array([len(group) for group in self.ids[first:end]])
        for size in np.unique(sizes):
            high, low = np.tril_indices(size, -1)  # in the order that `number` counts them
            of_size = first + np.flatnonzero(sizes == size)
            for chunk in np.array_split(of_size, max(1, len(of_size) * len(high) // _BATCH_PAIRS)):
                at = self._start[chunk][:, None] + np.arange(len(high))
                counts = {mark: np.zeros(at.shape, np.int16) for mark in (-1, 0, 1, UNJUDGED)}
                for marks in self.marks.values():
                    here = marks[at]
                    for mark, count in counts.items():
                        count += here == mark
                wins, ties = (np.zeros((len(chunk), size, size)) for _ in range(2))
                wins[:, low, high], wins[:, high, low] = counts[1], counts[-1]
                ties[:, low, high] = ties[:, high, low] = counts[0]
                self.counts[at] = sum(counts.values())
                self.gain[at] = gains(wins, ties)[:, low, high]
