"""What people found wrong with each take: the reasons beside their labels, as faults of the clips that they are of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from rushes.records import Annotation, Preference
from rushes.store.annotators import AGAIN
from rushes.store.database import Store


def judged_takes(row: Preference, remarks: Annotation) -> tuple[str, ...]:
    """Ids of the takes that an answer is about."""
    return tuple(id for place in remarks.ranking for id in place) or (row.left, row.right)


def faults_of(row: Preference, remarks: Annotation) -> dict[str, set[str]]:
    """Take id -> faults that one answer names: those of the worse take of a segment or span, of both where neither is
    worse. Takes without faults are left out."""
    faults: dict[str, set[str]] = {}
    for ids, words in _named(row, remarks):
        for id in ids if words else ():
            faults.setdefault(id, set()).update(words)
    return faults


def faults_by_take(store: Store) -> dict[str, Counter[str]]:
    """Take id -> how many answers of people name each fault; takes that were judged and have none are there too."""
    faults: dict[str, Counter[str]] = {}
    for remarks in store.annotations():
        row = store.get(remarks.subject)
        if isinstance(row, Preference) and not row.judge.endswith(AGAIN):
            named = faults_of(row, remarks)
            for id in judged_takes(row, remarks):
                faults.setdefault(id, Counter()).update(named.get(id, ()))
    return faults


def _named(row: Preference, remarks: Annotation) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Takes, and the faults that are named of each of them, one segment, span or place at a time."""
    if remarks.ranking:
        yield from (((id,), words) for id, words in zip(judged_takes(row, remarks), remarks.reasons, strict=False))
        return
    worse = {1: (row.right,), -1: (row.left,), 0: (row.left, row.right)}
    yield from ((worse[label], words) for label, words in zip(row.labels, remarks.reasons, strict=False))
    yield from ((worse[label], words) for label, words in zip(remarks.span_labels, remarks.span_reasons, strict=True))
