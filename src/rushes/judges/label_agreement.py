"""How far those who labelled the same segments agree; rows in, numbers out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from rushes.records import Preference
from rushes.stats.agreement import krippendorff_alpha

Unit = tuple[str, str, float | None, int]  # the two clips in order of their ids, segment length, segment
Ratings = dict[Unit, dict[str, int]]


@dataclass(frozen=True)
class Agreement:
    """Over segments that two or more labelled; None where that says nothing (none shared, or one label ever given)."""

    units: int
    raw: float | None  # share of pairs of labels of one segment that are equal, in [0, 1]
    alpha: float | None  # Krippendorff's, nominal: 1 agreement, 0 chance


def ratings_of(rows: Iterable[Preference]) -> dict[str, Ratings]:
    """Labels by dimension, segment and judge; of a judge's rows on one pair the latest counts, unjudged is not a label.

    Labels count as of the clip whose id comes first, so that it does not matter which side a clip was on.
    """
    by_dimension: dict[str, Ratings] = {}
    for row in rows:
        ratings = by_dimension.setdefault(row.dimension, {})
        sign = 1 if row.left < row.right else -1
        low, high = (row.left, row.right) if sign > 0 else (row.right, row.left)
        for at, label in enumerate(row.labels):
            unit = ratings.setdefault((low, high, row.segment_s, at), {})
            if at in row.unjudged:
                unit.pop(row.judge, None)
            else:
                unit[row.judge] = sign * label
    return by_dimension


def agreement(ratings: Ratings, of: str = "") -> Agreement:
    """Agreement of all, or of one judge with the others: over the segments that this judge labelled too."""
    shared = [unit for unit in ratings.values() if len(unit) > 1 and (not of or of in unit)]
    if not shared:
        return Agreement(0, None, None)
    same = total = 0
    for unit in shared:
        for (judge_a, label), (judge_b, its) in combinations(unit.items(), 2):
            if not of or of in (judge_a, judge_b):
                same, total = same + (label == its), total + 1
    judges = {judge: row for row, judge in enumerate(sorted({judge for unit in shared for judge in unit}))}
    table = np.full((len(judges), len(shared)), np.nan)
    for column, unit in enumerate(shared):
        for judge, label in unit.items():
            table[judges[judge], column] = label
    try:
        alpha = krippendorff_alpha(table)
    except ValueError:  # one label ever given: not perfect agreement, but no evidence of any
        alpha = None
    return Agreement(len(shared), same / total, alpha)


def matching(left: Mapping[Unit, int], right: Mapping[Unit, int]) -> tuple[int, int]:
    """How many labels of the units in both are equal, and how many units these are."""
    both = left.keys() & right.keys()
    return sum(left[unit] == right[unit] for unit in both), len(both)


def labels_by(ratings: Ratings, judge: str) -> dict[Unit, int]:
    """The labels of one judge."""
    return {unit: labels[judge] for unit, labels in ratings.items() if judge in labels}


def first_slot(rows: Iterable[Preference]) -> tuple[int, int]:
    """How often the clip that was shown first won, and how many segments were decided."""
    first = decided = 0
    for row in rows:
        first += sum(slot > 0 for slot in row.by_slot)
        decided += sum(slot != 0 for slot in row.by_slot)
    return first, decided
