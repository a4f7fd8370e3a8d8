"""A person's own labels as a list, to find one again and correct it."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field

from rushes.web.labeling.assignments import Assignment
from rushes.web.labeling.label_rows import LabelSubmission
from rushes.web.labeling.labeling_session import LabelingSession
from rushes.web.site import Body

_PAGE, _READ = 30, 200  # entries in an answer; items read for one of them


class LabelFilter(Body):
    """Which labels are wanted; "" = any. `answer` is that of the first question over the whole clip."""

    before: Annotated[float, Field(ge=0, strict=False, allow_inf_nan=False)] | None = None  # Unix time; None = to now
    answer: Literal["", "a", "b", "tie", "cannot tell", "mixed"] = ""  # mixed: of unlike parts
    reason: Annotated[str, Field(max_length=40)] = ""
    text: Annotated[str, Field(max_length=200)] = ""  # in the prompt or the note, whatever its case


def own_labels(session: LabelingSession, annotator: str, wanted: LabelFilter) -> dict[str, Any]:
    """Entries for the page, the last first, of what was saved before a moment; `more` is the moment to go on from,
    None at the end. Reads a bounded number of items, so that a page without entries may have more behind it."""
    entries: list[dict[str, Any]] = []
    before = math.inf if wanted.before is None else wanted.before
    items = session.assignments.saved(annotator, before, _READ)
    for item in items:
        given = session.given(item)
        before, entry = item.saved_at, _entry(session, item, given)
        if _fits(entry, wanted):
            entries.append(entry)
        if len(entries) == _PAGE:
            break
    ended = len(items) < _READ and (not items or before == items[-1].saved_at)
    return {"entries": entries, "more": None if ended else before}


def _entry(session: LabelingSession, item: Assignment, given: LabelSubmission) -> dict[str, Any]:
    remarks = given.remarks
    return {
        "id": item.id,
        "prompt": session.side(item, "a").caption,
        "saved_at": item.saved_at,
        "answer": _answer(given),
        "ranking": given.ranking,
        "marks": next(iter(given.labels.values()), ()),
        "reasons": list(remarks.named()),
        "note": remarks.note,
        "strength": remarks.strength,
        "broken": remarks.broken,
    }


def _answer(given: LabelSubmission) -> str:
    """The first question's answer over the whole clip, or "ranking"."""
    if given.ranking or not given.labels:
        return "ranking" if given.ranking else "cannot tell"
    marks = set(next(iter(given.labels.values())))
    words = {1: "a", -1: "b", 0: "tie", None: "cannot tell"}
    return words[marks.pop()] if len(marks) == 1 else "mixed"


def _fits(entry: dict[str, Any], wanted: LabelFilter) -> bool:
    return (
        wanted.answer in ("", entry["answer"])
        and (not wanted.reason or wanted.reason in entry["reasons"])
        and any(wanted.text.casefold() in entry[name].casefold() for name in ("prompt", "note"))
    )
