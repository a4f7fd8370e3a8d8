"""What several people said of one pair, as one label: the rule by which recipes read labels.

A person signs as `human:NAME`. Labels that a person gave a second time, to measure how steady that person is, are
signed `human:NAME#again`; they are never trained on.
"""

from __future__ import annotations

from dataclasses import replace

from rushes.records import Preference, stable_hash
from rushes.store.database import Store

ANNOTATOR = "human:"  # before a person's name: the judge of that person's labels
AGAIN = "#again"
HUMAN = "human"  # judge of what several people said together, and metric of their scores


def labels_to_train_on(
    store: Store, judge: str = "", dimension: str = "overall", without: str = ""
) -> tuple[Preference, ...]:
    """Labels of a dimension by one judge, or by all: one preference per pair and judge, and all people are one judge.

    `judge` "human" takes the people alone, "human:NAME" one of them as that person labelled; `without` leaves one out.
    """
    rows = (
        p
        for p in store.preferences()
        if p.dimension == dimension and not p.judge.endswith(AGAIN) and p.judge != without
    )
    if judge.startswith(ANNOTATOR):
        return tuple(p for p in rows if p.judge == judge)
    people: dict[tuple[str, str, float | None], list[Preference]] = {}
    others = []
    for row in rows:
        if row.judge.startswith(ANNOTATOR):
            low, high = sorted((row.left, row.right))
            people.setdefault((low, high, row.segment_s), []).append(row)
        elif judge in ("", row.judge):
            others.append(row)
    if judge not in ("", HUMAN):
        return tuple(others)
    return (*others, *(merged(rows) for rows in people.values()))


def merged(rows: list[Preference]) -> Preference:
    """One preference of what several people said of one pair: per segment the side that more of them chose, else a tie.

    A person's latest row counts; segments that a person did not judge carry no vote. A segment that nobody judged is
    unjudged. Raises ValueError when the rows have unlike numbers of segments.
    """
    latest = {row.judge: row for row in rows}.values()
    first = next(iter(latest))
    turned = [row if row.left == first.left else turned_round(row) for row in latest]
    if len({len(row.labels) for row in turned}) > 1:
        counts = sorted({len(row.labels) for row in turned})
        raise ValueError(
            f"people labelled {first.left} and {first.right} in {counts} segments, which cannot be merged; name one of "
            "them as the judge"
        )
    sums = [sum(votes) for votes in zip(*(row.labels for row in turned), strict=True)]
    nobody = set(first.unjudged).intersection(*(row.unjudged for row in turned))
    if len(turned) == 1:
        return replace(first, judge=HUMAN)
    return replace(
        first,
        id=stable_hash(["people", sorted(row.id for row in turned)]),
        labels=tuple((total > 0) - (total < 0) for total in sums),
        judge=HUMAN,
        strength=None,
        unjudged=tuple(sorted(nobody)),
        by_slot=(),
        created_at=max(row.created_at for row in turned),
    )


def turned_round(row: Preference) -> Preference:
    """The same judgement with left and right exchanged."""
    return replace(
        row,
        left=row.right,
        right=row.left,
        labels=tuple(-label for label in row.labels),
        strength=None if row.strength is None else -row.strength,
    )
