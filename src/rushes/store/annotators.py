"""What several people said of one pair, as one label: the rule by which recipes read labels.

A person signs as `human:NAME`. Labels that a person gave a second time, to measure how steady that person is, are
signed `human:NAME#again`; they are never trained on. A label by which the owner settled what people, or people and a
program, saw differently is signed `human:NAME#settled`: it stands for all of theirs.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

from rushes.records import HUMAN, Preference, majority, stable_hash
from rushes.store.database import Store
from rushes.text_reader import counted

ANNOTATOR = f"{HUMAN}:"  # before a person's name: the judge of that person's labels
AGAIN = "#again"
SETTLED = "#settled"
ALL_JUDGES = "all"  # in place of a judge: the labels of every one, pooled
_INSTANT_S = 1e-6


SegmentChoice = float | Literal["newest", "whole"]
"""Which labels of a pair are read where a judge labelled it more than once: the newest, those of whole clips alone, or
those of segments of so many seconds alone."""


def labels_to_train_on(
    store: Store,
    judge: str = "",
    dimension: str = "overall",
    without: str = "",
    segment_s: SegmentChoice = "newest",
) -> dict[Preference, tuple[Preference, ...]]:
    """Labels of a dimension by one judge, or by all: a label per pair and judge, where all people are one judge ->
    the answers that count in it: itself, or what several people said. A pair that was settled has that label alone,
    whatever parts the others are of.

    Args:
        judge: "human" takes the people alone, "human:NAME" one of them as that person labelled; "" = all.
        without: a judge that is left out.
        segment_s: which of a judge's labels of one pair; the newest of these counts.
    """
    every = labels_of(store, judge, dimension, without)
    settled = {frozenset((row.left, row.right)): row.id for row in every if row.judge.endswith(SETTLED)}
    rows = newest(every, segment_s)
    if judge.startswith(ANNOTATOR):
        return {row: (row,) for row in rows}
    people: dict[frozenset[str], list[Preference]] = {}
    others = []
    for row in rows:
        pair = frozenset((row.left, row.right))
        if not row.judge.startswith(ANNOTATOR):
            others.append(row)
        elif settled.get(pair, row.id) == row.id:
            people.setdefault(pair, []).append(row)
    return {row: (row,) for row in others} | {merged(rows): _counting(rows) for rows in people.values()}


def check_one_source(labels: Iterable[Preference]) -> None:
    """Refuse to train on labels of several judges that nobody asked to pool: three labels of people drown in a
    hundred of a metric, and two judges of one pair pull it both ways. All people are one judge here.

    Raises:
        ValueError: there are several; each is named with how many pairs it labelled.
    """
    pairs = Counter(row.judge for row in labels)
    if len(pairs) > 1:
        there = ", ".join(f"{judge} ({counted(count, 'pair')})" for judge, count in pairs.most_common())
        raise ValueError(
            f"train.options.judge: labels come from several judges ({there}), which are not mixed by default; set it "
            f"to one judge, or to {ALL_JUDGES} to train on the labels of all"
        )


def labels_of(store: Store, judge: str = "", dimension: str = "overall", without: str = "") -> tuple[Preference, ...]:
    """All labels that `labels_to_train_on` chooses from, as they were given."""
    return tuple(
        row
        for row in store.preferences()
        if row.dimension == dimension
        and not row.judge.endswith(AGAIN)
        and row.judge != without
        and (judge in ("", row.judge) or (judge == HUMAN and row.judge.startswith(ANNOTATOR)))
    )


def newest(rows: Iterable[Preference], segment_s: SegmentChoice = "newest") -> tuple[Preference, ...]:
    """The last label of each judge and pair: who labels a pair again, in finer segments or otherwise, replaces."""
    wanted = None if isinstance(segment_s, str) else segment_s
    chosen = [row for row in rows if segment_s == "newest" or row.segment_s == wanted]
    last = {(row.judge, frozenset((row.left, row.right))): row.id for row in chosen}
    return tuple(row for row in chosen if last[row.judge, frozenset((row.left, row.right))] == row.id)


def slight_shares(store: Store, judge: str = "", dimension: str = "overall") -> dict[frozenset[str], float]:
    """Pair of ids -> the share of the people who decided it that called the better one only slightly better.

    Pairs of which nobody said so are left out. `judge` and `dimension` are those of `labels_to_train_on`.
    """
    slight = {row.subject for row in store.annotations() if row.strength == "slightly"}
    shares: dict[frozenset[str], list[bool]] = {}
    for row in newest(labels_of(store, judge, dimension)) if slight else ():
        if row.judge.startswith(ANNOTATOR) and any(row.labels):
            shares.setdefault(frozenset((row.left, row.right)), []).append(row.id in slight)
    return {pair: sum(votes) / len(votes) for pair, votes in shares.items() if any(votes)}


def merged(rows: list[Preference]) -> Preference:
    """One preference of what several people said of one pair: per segment the side that more of them chose, else a tie.

    A person's latest row counts; segments that a person did not judge carry no vote. A segment that nobody judged is
    unjudged. Where the pair was settled, that label alone counts. Rows of unlike segments come into the shortest.
    """
    latest = _counting(rows)
    first = latest[0]
    turned = on_one_grid(row if row.left == first.left else turned_round(row) for row in latest)
    nobody = set(turned[0].unjudged).intersection(*(row.unjudged for row in turned))
    if len(turned) == 1:
        return replace(first, judge=HUMAN)
    return replace(
        turned[0],
        id=stable_hash(["people", sorted(row.id for row in turned)]),
        labels=tuple(majority(votes) for votes in zip(*(row.labels for row in turned), strict=True)),
        judge=HUMAN,
        strength=None,
        unjudged=tuple(sorted(nobody)),
        by_slot=(),
        created_at=max(row.created_at for row in turned),
    )


def _counting(rows: list[Preference]) -> tuple[Preference, ...]:
    """Each person's latest row of one pair, or that which settles it."""
    return tuple({row.judge: row for row in [row for row in rows if row.judge.endswith(SETTLED)][-1:] or rows}.values())


def on_one_grid(rows: Iterable[Preference]) -> tuple[Preference, ...]:
    """Labels of one pair in the shortest segments that any of them has. Such a segment takes of a longer one its side;
    of several that it lies in, the side that more of its judged seconds are for, else a tie."""
    of = tuple(rows)
    grid = min(of, key=lambda row: (math.inf if row.segment_s is None else row.segment_s, -len(row.labels)))
    shape = grid.segment_s, len(grid.labels)
    return tuple(row if (row.segment_s, len(row.labels)) == shape else _on_grid(row, grid) for row in of)


def _on_grid(row: Preference, grid: Preference) -> Preference:
    marks = [_mark_between(row, begin, end) for begin, end in _segments(grid)]
    return replace(
        row,
        labels=tuple(mark or 0 for mark in marks),
        unjudged=tuple(at for at, mark in enumerate(marks) if mark is None),
        segment_s=grid.segment_s,
        by_slot=(),
    )


def _mark_between(row: Preference, begin: float, end: float) -> int | None:
    """What a row says of a stretch of time; None where it judges none of it."""
    last = len(row.labels) - 1
    seconds = [  # the last segment holds what is left of the clip
        min(end, math.inf if at == last else stop) - max(begin, start)
        for at, (start, stop) in enumerate(_segments(row))
    ]
    judged = [(s, mark) for s, mark in zip(seconds, row.marks, strict=True) if s > _INSTANT_S and mark is not None]
    total = sum(s * mark for s, mark in judged)
    return ((total > _INSTANT_S) - (total < -_INSTANT_S)) if judged else None


def _segments(row: Preference) -> list[tuple[float, float]]:
    length = row.segment_s or 1.0
    return [(at * length, (at + 1) * length) for at in range(len(row.labels))]


def is_own_answer(row: Preference) -> bool:
    """Whether it is a person's own label of a pair: no program's, no repeat, and not one that settles a pair."""
    return row.judge.startswith(ANNOTATOR) and not row.judge.endswith((AGAIN, SETTLED))


def whole_mark(marks: Iterable[int | None]) -> int | None:
    """What marks of segments say of the whole clip: +1, 0 or -1, by their sum; None where nothing could be told."""
    judged = [mark for mark in marks if mark is not None]
    return majority(judged) if judged else None


def turned_round(row: Preference) -> Preference:
    """The same judgement with left and right exchanged."""
    return replace(
        row,
        left=row.right,
        right=row.left,
        labels=tuple(-label for label in row.labels),
        strength=None if row.strength is None else -row.strength,
    )
