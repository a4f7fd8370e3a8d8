"""What a judge says of pairs, looked up by pair: read once, and then what is new."""

from __future__ import annotations

import threading

from rushes.records import Preference
from rushes.store.annotators import turned_round
from rushes.store.database import Store


class Proposals:
    """Labels of one judge on one question; `judge` "" has none."""

    def __init__(self, store: Store, judge: str, dimension: str) -> None:
        self._store, self._judge, self._dimension = store, judge, dimension
        self._lock = threading.Lock()
        self._rows: dict[frozenset[str], Preference] = {}
        self._last = 0

    def of(self, first: str, second: str) -> tuple[int | None, ...] | None:
        """The newest label of a pair: +1 the first is better, 0 tie, -1 the second, None = unjudged, a value for each
        segment; None where there is no label."""
        if not self._judge:
            return None
        with self._lock:
            for number, row in self._store.tail(Preference, self._last):
                self._last = number
                if row.judge == self._judge and row.dimension == self._dimension:
                    self._rows[frozenset((row.left, row.right))] = row
            row_of_pair = self._rows.get(frozenset((first, second)))
        if row_of_pair is None:
            return None
        return (row_of_pair if row_of_pair.left == first else turned_round(row_of_pair)).marks
