"""How a project is labelled, what a person says of a pair, as it was shown, and the rows that this becomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from rushes.records import HUMAN, Annotation, Preference, Score, Strength, now, stable_hash
from rushes.store.annotators import AGAIN, ANNOTATOR
from rushes.web.accounts import AccessDenied
from rushes.web.labeling.assignments import SIDES, Assignment, ClipSide

Reasons = tuple[str, ...]


@dataclass(frozen=True)
class LabelSpan:
    """A stretch of a clip, in seconds from its start, and what was said of it: +1 A is better there, 0 tie, -1 B."""

    start_s: float
    end_s: float
    mark: int
    reasons: Reasons = ()


@dataclass(frozen=True)
class Remarks:
    """What a person says of a pair beside its labels, in terms of what was shown; see `records.Annotation`."""

    reasons: tuple[Reasons, ...] = ()
    spans: tuple[LabelSpan, ...] = ()
    note: str = ""
    broken: tuple[ClipSide, ...] = ()
    strength: Strength = ""
    seconds: float | None = None
    plays: int | None = None
    from_spans: tuple[int, ...] = ()  # parts whose label was made from spans

    def named(self) -> Reasons:
        """All reasons, each once."""
        return tuple(
            dict.fromkeys(word for words in (*self.reasons, *(s.reasons for s in self.spans)) for word in words)
        )


def checked_remarks(item: Assignment, given: Remarks, reasons: Reasons, lists: int, play_first: bool) -> Remarks:
    """The same with reasons in the project's order, each once; `lists` is how many lists of reasons fit.

    Raises AccessDenied: remarks that do not fit the project's list of reasons or the item, or an answer before the
    clips were played, where the project wants that.
    """
    if given.reasons and len(given.reasons) != lists:
        raise AccessDenied(f"{lists} lists of reasons were expected.")
    if not set(given.broken) <= set(item.shown):
        raise AccessDenied("The answer calls a clip broken that this pair does not have.")
    if strange := sorted(set(given.named()) - set(reasons)):
        raise AccessDenied(f"{', '.join(strange)}: no longer among the reasons of this project; answer without.")
    if any(span.start_s >= span.end_s for span in given.spans):
        raise AccessDenied("A span must end after it begins.")
    if given.from_spans and (not given.spans or max(given.from_spans) >= lists):
        raise AccessDenied("A part takes its label from spans, but the answer has none there.")
    if play_first and not given.broken and not given.plays:
        raise AccessDenied("Play the clips to their end once before you answer; this project asks for it.")

    def ordered(words: Reasons) -> Reasons:
        return tuple(word for word in reasons if word in words)

    spans = tuple(replace(span, reasons=ordered(span.reasons)) for span in given.spans)
    return replace(given, reasons=tuple(map(ordered, given.reasons)), spans=spans)


def annotation_of(
    item: Assignment, given: Remarks, *, id: str, subject: str, signed: Mapping[str, Any],
    ranking: tuple[tuple[str, ...], ...] = (),
) -> Annotation | None:  # fmt: skip
    """The row of a person's remarks, beside the preference `subject`; None where they say nothing.

    `signed`: whose they are, and when they were given, as fields of the row.
    """
    if given == Remarks() and not ranking:
        return None
    sign = -1 if item.swapped else 1
    return Annotation(
        id=id,
        subject=subject,
        reasons=given.reasons if any(given.reasons) else (),
        note=given.note.strip(),
        broken=tuple(sorted(item.shown[side] for side in given.broken)),
        strength=given.strength,
        seconds=given.seconds,
        plays=given.plays,
        span_starts_s=tuple(span.start_s for span in given.spans),
        span_ends_s=tuple(span.end_s for span in given.spans),
        span_labels=tuple(sign * span.mark for span in given.spans),
        span_reasons=tuple(span.reasons for span in given.spans),
        from_spans=given.from_spans,
        ranking=ranking,
        **signed,
    )


def remarks_of(item: Assignment, row: Annotation) -> Remarks:
    """What a stored row says, as its person saw it."""
    sign = -1 if item.swapped else 1
    spans = zip(row.span_starts_s, row.span_ends_s, row.span_labels, row.span_reasons, strict=True)
    return Remarks(
        reasons=row.reasons,
        spans=tuple(LabelSpan(start, end, sign * label, reasons) for start, end, label, reasons in spans),
        from_spans=row.from_spans,
        note=row.note,
        broken=tuple(side for side in SIDES if item.shown.get(side) in row.broken),
        strength=row.strength,
        seconds=row.seconds,
        plays=row.plays,
    )


REMARKS = "remarks of it"  # beside dimensions, of what an event makes a row; no dimension has spaces
LabelRow = Preference | Score | Annotation
# Seconds of a part, None = the whole clip, "asked" = as the pair is asked now.
ShownParts = float | Literal["asked"] | None


@dataclass(frozen=True)
class LabelingPlan:
    """How a project is labelled; shares are of the pairs that a person gets, in [0, 1]."""

    dimensions: tuple[str, ...] = ("overall",)
    segment_s: float | None = 1.0  # None = one label for the whole clip
    scores: bool = False  # a score of 0 to 10 for each clip as well
    ranks: bool = False  # all takes of a prompt on one screen, to be ranked, in place of pairs
    reasons: tuple[str, ...] = ()  # faults that may be named
    play_first: bool = False  # an answer counts once the clips were played to their end
    overlap: int = 2  # people who label a pair that is labelled by several
    overlap_share: float = 0.1
    repeat_share: float = 0.05  # pairs that a person gets once more, the other way round
    gold_by: str = ""  # the person whose labels are the key; "" = nobody
    gold_share: float = 0.05
    by_gain: bool = True  # the pair whose label is most informative comes next; false = a random pair
    real: bool = True  # the real clip is shown, where there is one
    practice: int = 0  # pairs of a round of practice on the key; 0 = nobody practises
    pass_mark: float = 0.6  # share of a round's answers that must be the key's, in [0, 1]
    proposal: str = ""  # judge whose answer is shown after a person's own; "" = nobody's
    quotas: Mapping[str, int] = field(default_factory=dict)  # name -> different pairs that this person labels
    lease_s: float = 600.0
    seed: int = 0
    settings_hash: str = ""


@dataclass(frozen=True)
class LabelSubmission:
    """What a person says of a pair, in terms of what was shown: +1 A is better, 0 tie, -1 B, None = cannot tell.

    Takes to rank have `ranking` alone, best first, those in one place as good as each other; a take that is in no place
    could not be judged.
    """

    event: str
    revises: str
    labels: Mapping[str, Sequence[int | None]] = field(default_factory=dict)
    scores: Mapping[ClipSide, float] = field(default_factory=dict)  # from 0 to 10
    remarks: Remarks = field(default_factory=Remarks)
    ranking: tuple[tuple[ClipSide, ...], ...] = ()
    segment_s: ShownParts = "asked"  # parts that the labels were given in


def rows_of(item: Assignment, given: LabelSubmission, plan: LabelingPlan, segments: int) -> list[LabelRow]:
    """A preference per dimension and pair, a score per clip where scores were given, and remarks where there are any.

    Raises AccessDenied: labels that do not fit the plan or the pair.
    """
    if not given.event or given.event == given.revises:
        raise AccessDenied("The event has no id of its own.")
    judge = ANNOTATOR + item.annotator + (AGAIN if item.kind == "repeat" else "")
    signed = {"judge": judge, "created_at": now(), "settings_hash": plan.settings_hash}
    preferences = (_ranked if item.takes else _compared)(item, given, plan, segments, signed)
    rows: list[LabelRow] = [*preferences]
    for side, value in given.scores.items():
        id = row_id(item, given.event, f"score {side}")
        rows.append(Score(id, item.shown[side], HUMAN, value, measured_by=judge, settings_hash=plan.settings_hash))
    lists = sum(map(len, given.ranking)) if item.takes else segments
    remarks = annotation_of(
        item,
        checked_remarks(item, given.remarks, plan.reasons, lists, plan.play_first),
        id=row_id(item, given.event, REMARKS),
        subject=preferences[0].id,
        signed=signed,
        ranking=tuple(tuple(item.shown[side] for side in sides) for sides in given.ranking),
    )
    return [*rows, *([remarks] if remarks else [])]


def _compared(
    item: Assignment, given: LabelSubmission, plan: LabelingPlan, segments: int, signed: Mapping[str, Any]
) -> list[Preference]:
    if set(given.labels) != set(plan.dimensions):
        raise AccessDenied(
            f"Your answer was not saved: the project now asks for {', '.join(plan.dimensions)}. Answer once more."
        )
    if strange := [len(marks) for marks in given.labels.values() if len(marks) != segments]:
        raise AccessDenied(f"Your answer was not saved: {strange[0]} labels for {segments} parts. Reload the page.")
    if set(given.scores) != ({"a", "b"} if plan.scores else set()):
        wanted = "A score for both clips was expected." if plan.scores else "This project asks for no scores."
        raise AccessDenied(wanted)
    return [
        label_of(
            row_id(item, given.event, dimension),
            (item.left, item.right),
            given.labels[dimension],
            swapped=item.swapped,
            segment_s=plan.segment_s,
            dimension=dimension,
            supersedes=row_id(item, given.revises, dimension) if given.revises else "",
            **signed,
        )
        for dimension in plan.dimensions
    ]


def _ranked(
    item: Assignment, given: LabelSubmission, plan: LabelingPlan, segments: int, signed: Mapping[str, Any]
) -> list[Preference]:
    """A label of the whole clip for each pair of the takes."""
    places = {item.shown.get(side): place for place, sides in enumerate(given.ranking) for side in sides}
    if (
        sum(map(len, given.ranking)) != len(places)
        or not set(places) <= set(item.takes)
        or given.labels
        or given.scores
    ):
        raise AccessDenied("A ranking names each take that was shown at most once, and has no labels or scores.")
    rows = []
    for left, right in item.pairs:
        dimension, judged = plan.dimensions[0], {left, right} <= set(places)
        mark = (places[right] > places[left]) - (places[right] < places[left]) if judged else None
        what = dimension if {left, right} == {item.left, item.right} else f"{dimension} {left} {right}"
        rows.append(
            label_of(
                row_id(item, given.event, what),
                (left, right),
                (mark,),
                dimension=dimension,
                supersedes=row_id(item, given.revises, what) if given.revises else "",
                **signed,
            )
        )
    return sorted(rows, key=lambda row: {row.left, row.right} != {item.left, item.right})


def label_of(
    id: str, pair: tuple[str, str], marks: Sequence[int | None], *, swapped: bool = False, **facts: Any
) -> Preference:
    """The row of marks as they were given, +1 the clip shown first is better, 0 tie, -1 the other, None = cannot tell.

    `swapped`: the right clip was shown first. `facts` are further fields, `judge` among them.
    """
    slots = tuple(mark or 0 for mark in marks)
    labels = tuple(-slot for slot in slots) if swapped else slots
    unjudged = tuple(at for at, mark in enumerate(marks) if mark is None)
    return Preference(id=id, left=pair[0], right=pair[1], labels=labels, unjudged=unjudged, by_slot=slots, **facts)


def marks_of(row: Preference) -> tuple[int | None, ...]:
    """What the person said, as it was shown."""
    return tuple(None if at in row.unjudged else slot for at, slot in enumerate(row.by_slot))


def row_id(item: Assignment, event: str, what: str) -> str:
    """Id of the row that an event makes of a dimension or score: the same however often the event is sent."""
    return stable_hash(["human", item.id, event, what])
