"""What a person says of a pair beside its labels: as it was shown, and as the row that this becomes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rushes.records import Annotation, Strength
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
    item: Assignment, given: Remarks, *, id: str, subject: str, judge: str, at: str, settings_hash: str,
    ranking: tuple[tuple[str, ...], ...] = (),
) -> Annotation | None:  # fmt: skip
    """The row of a person's remarks, beside the preference `subject`; None where they say nothing."""
    if given == Remarks() and not ranking:
        return None
    sign = -1 if item.swapped else 1
    return Annotation(
        id=id,
        subject=subject,
        judge=judge,
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
        created_at=at,
        settings_hash=settings_hash,
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
