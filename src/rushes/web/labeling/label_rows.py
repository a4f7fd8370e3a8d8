"""How a project is labelled, what a person says of a pair, and the rows that this becomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rushes.records import Preference, Score, now, stable_hash
from rushes.store.annotators import AGAIN, ANNOTATOR, HUMAN
from rushes.web.accounts import AccessDenied
from rushes.web.labeling.assignments import Assignment

Side = Literal["a", "b"]


@dataclass(frozen=True)
class LabelingPlan:
    """How a project is labelled; shares are of the pairs that a person gets, in [0, 1]."""

    dimensions: tuple[str, ...] = ("overall",)
    segment_s: float | None = 1.0  # None = one label for the whole clip
    scores: bool = False  # a score of 0 to 10 for each clip as well
    overlap: int = 2  # people who label a pair that is labelled by several
    overlap_share: float = 0.1
    repeat_share: float = 0.05  # pairs that a person gets once more, the other way round
    gold_by: str = ""  # the person whose labels are the key; "" = nobody
    gold_share: float = 0.05
    lease_s: float = 600.0
    seed: int = 0
    settings_hash: str = ""


@dataclass(frozen=True)
class LabelSubmission:
    """What a person says of a pair, in terms of what was shown: +1 A is better, 0 tie, -1 B, None = cannot tell."""

    event: str
    revises: str
    labels: Mapping[str, Sequence[int | None]]
    scores: Mapping[Side, float] = field(default_factory=dict)  # from 0 to 10


def rows_of(item: Assignment, given: LabelSubmission, plan: LabelingPlan, segments: int) -> list[Preference | Score]:
    """A preference per dimension, and a score per clip where scores were given.

    Raises AccessDenied: labels that do not fit the plan or the pair.
    """
    if set(given.labels) != set(plan.dimensions) or any(len(marks) != segments for marks in given.labels.values()):
        raise AccessDenied(f"Labels for {', '.join(plan.dimensions)} with {segments} segments each were expected.")
    if not given.event or given.event == given.revises:
        raise AccessDenied("The event has no id of its own.")
    if set(given.scores) != ({"a", "b"} if plan.scores else set()):
        wanted = "A score for both clips was expected." if plan.scores else "This project asks for no scores."
        raise AccessDenied(wanted)
    judge = ANNOTATOR + item.annotator + (AGAIN if item.kind == "repeat" else "")
    at = now()
    rows: list[Preference | Score] = []
    for dimension, marks in given.labels.items():
        slots = tuple(mark or 0 for mark in marks)
        rows.append(
            Preference(
                id=row_id(item, given.event, dimension),
                left=item.left,
                right=item.right,
                labels=tuple(-slot for slot in slots) if item.swapped else slots,
                judge=judge,
                segment_s=plan.segment_s,
                dimension=dimension,
                supersedes=row_id(item, given.revises, dimension) if given.revises else "",
                created_at=at,
                settings_hash=plan.settings_hash,
                unjudged=tuple(at for at, mark in enumerate(marks) if mark is None),
                by_slot=slots,
            )
        )
    for side, value in given.scores.items():
        subject = item.left if (side == "a") != item.swapped else item.right
        id = row_id(item, given.event, f"score {side}")
        rows.append(
            Score(id, subject, HUMAN, value=value, per_segment=(), measured_by=judge, settings_hash=plan.settings_hash)
        )
    return rows


def marks_of(row: Preference) -> tuple[int | None, ...]:
    """What the person said, as it was shown."""
    return tuple(None if at in row.unjudged else slot for at, slot in enumerate(row.by_slot))


def row_id(item: Assignment, event: str, what: str) -> str:
    """Id of the row that an event makes of a dimension or score: the same however often the event is sent."""
    return stable_hash(["human", item.id, event, what])
