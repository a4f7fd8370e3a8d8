"""The labelling of one project: assigns pairs to annotators, takes their labels, and knows nothing of HTTP.

Every call may be repeated. An event is stored once, however often it is sent; an event that does not build on the
last one of its pair is refused, so nothing that comes late or out of order can undo what came after it.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

from rushes.records import Annotation, Candidate, Clip, Preference, Row, Score
from rushes.store.annotators import turned_round
from rushes.store.database import Store
from rushes.web.accounts import CROWD, AccessDenied
from rushes.web.labeling.assignments import SIDES, Assignment, AssignmentStore, ClipSide
from rushes.web.labeling.instructions import read_instructions
from rushes.web.labeling.label_rows import (
    REMARKS,
    LabelingPlan,
    LabelRow,
    LabelSubmission,
    Remarks,
    ShownParts,
    marks_of,
    remarks_of,
    row_id,
    rows_of,
)
from rushes.web.labeling.pair_selector import PairSelector
from rushes.web.labeling.practice import Explanation, Practice
from rushes.web.labeling.vote_table import NONE, VoteTable

_HELD = 2  # pairs that one person has: the one that is labelled, and the next, which loads meanwhile


@dataclass(eq=False)
class LabelingSession:
    """Pairs and labels of one project; threads may share it."""

    store: Store
    votes: VoteTable
    assignments: AssignmentStore
    plan: LabelingPlan
    clock: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        assignments, plan = self.assignments, self.plan
        self._reader = Store.open(self.store.project)  # reads while another's label is written
        self._lock = threading.RLock()
        self._locks: dict[str, threading.Lock] = {}
        self._open = {item.id: item for item in assignments.open(self.clock())}
        self._selector = PairSelector(self.votes, assignments, plan)
        self.candidate = lru_cache(4096)(self._candidate)
        self._proposals = Proposals(self._reader, plan.proposal, plan.dimensions[0])
        self.practice = Practice(self._reader, assignments, plan, self.segments)

    def next(self, annotator: str, have: tuple[str, ...] = ()) -> Assignment | None:
        """A pair for this person that is not among the items `have`: one assigned already, or new; None = no more.

        The lease of what is given, and of `have`, begins anew.
        """
        if self.practice.due(annotator):
            return self.practice.next(annotator, have)
        with self._lock:
            self.renew(annotator)
            mine = [item for item in self._open.values() if item.annotator == annotator]
            waiting = [item for item in mine if item.id not in have]
            if waiting:
                return waiting[0]
            if len(mine) >= _HELD:
                raise AccessDenied("You have two pairs open; label one of them first.")
            quota = self.quota(annotator)
            if quota < math.inf and len(mine) + self.progress(annotator)["done"] >= quota:
                return None
            assignment = self._selector.pick(annotator, self._open.values(), self.clock() + self.plan.lease_s)
            if assignment is not None:
                self._keep(assignment)
            return assignment

    def save(self, annotator: str, item_id: str, given: LabelSubmission) -> None:
        """Store labels. Sent again, the same event changes nothing.

        Raises AccessDenied: an unknown item, labels that do not fit it, an event that does not build on the last one,
        or a pair that went to somebody else after the lease had ended.
        """
        with self._one_at_a_time(annotator):
            item = self._own(annotator, item_id)
            rows = self._rows(item, given)
            if given.event == item.event or self._was_stored(item, given.event):
                self._add(rows)  # changes nothing, and refuses other content under the same event
                return
            if given.revises != item.event:
                raise AccessDenied("This pair was saved from another window meanwhile; reload the page to go on.")
            if not item.event:
                self._renew(item)
            self._keep(replace(item, pending=given.event, until=self.clock() + self.plan.lease_s))
            self._add(rows)
            with self._lock:
                self._saved(item, given.event)
                for row in rows:
                    if isinstance(row, Preference) and row.dimension == self.votes.dimension:
                        self.votes.add(row)

    def quota(self, annotator: str) -> float:
        """How many different pairs this person labels."""
        crowd = self.assignments.crowd() if annotator.startswith(CROWD) else None
        return crowd.pairs_each if crowd else self.plan.quotas.get(annotator, math.inf)

    def completion_code(self, annotator: str) -> str:
        """What somebody of the open link shows the platform, once they have done their part or nothing is left; ""
        before, and for who has done nothing."""
        crowd, done = self.assignments.crowd(), self.progress(annotator)["done"]
        busy = any(item.annotator == annotator for item in self._open.values()) or self.practice.due(annotator)
        return crowd.code if crowd and done and (done >= crowd.pairs_each or not busy) else ""

    def practised(self, annotator: str, item_id: str, given: LabelSubmission) -> Explanation | None:
        """What is to be learnt from an answer to a pair of practice, which is stored apart; None for any other pair.

        Raises AccessDenied as `save` does.
        """
        with self._one_at_a_time(annotator):
            item = self._own(annotator, item_id)
            if item.kind != "practice":
                return None
            if given.segment_s not in ("asked", self.plan.segment_s):
                raise AccessDenied("The parts of this practice pair have changed; answer it once more.")
            self._rows(item, given)  # refuses what does not fit
            return self.practice.save(item, given)

    def proposed(self, annotator: str, item_id: str) -> tuple[int | None, ...] | None:
        """What the judge of `plan.proposal` says of a pair that this person saved, as it was shown; None = nothing."""
        item = self._own(annotator, item_id)
        return None if item.takes or not item.event else self._proposals.of(item.shown["a"], item.shown["b"])

    def renew(self, annotator: str) -> None:
        """Let the leases of this person begin anew, also of what lay too long and nobody else has since."""
        with self._lock:
            self._expire()
            held = [item for item in self._open.values() if item.annotator == annotator]
            room = _HELD - len(held)
            late = [item for item in self.assignments.unsaved(annotator) if item.id not in self._open] if room else []
            again = [item for item in late if self._is_asked(item) and self._is_free(item)][:room]
            for item in (*held, *reversed(again)):
                self._keep(replace(item, until=self.clock() + self.plan.lease_s))

    def release(self, annotator: str, item_id: str) -> None:
        """Give a pair back that was not labelled; nothing happens when it was."""
        with self._lock:
            item = self._open.get(item_id)
            if item and item.annotator == annotator:
                del self._open[item_id]
                self.assignments.drop(item_id)

    def back(self, annotator: str, item_id: str = "") -> tuple[Assignment, LabelSubmission] | None:
        """What this person saved before the item (without one: saved last), and how; None where there is nothing."""
        now = self.assignments.get(item_id) if item_id else None
        before = now.saved_at if now and now.annotator == annotator and now.saved_at else math.inf
        item = self.assignments.saved_before(annotator, before)
        return (item, self.given(item)) if item else None

    def reopen(self, annotator: str, item_id: str) -> tuple[Assignment, LabelSubmission]:
        """An item that this person saved, and how, to look at it again or to correct it.

        Raises AccessDenied: not an item of this person, or not saved yet.
        """
        item = self._own(annotator, item_id)
        if not item.event:
            raise AccessDenied("This pair was not saved yet.")
        return item, self.given(item)

    def given(self, item: Assignment) -> LabelSubmission:
        """What was saved last of an item, as its person saw it."""
        rows = {} if item.takes else {name: self._stored(item, item.event, name) for name in self.plan.dimensions}
        scores = {side: self._stored(item, item.event, f"score {side}") for side in SIDES[:2]}
        remarks = self._stored(item, item.event, REMARKS)
        letters = {id: side for side, id in item.shown.items()}
        ranking = remarks.ranking if isinstance(remarks, Annotation) else ()
        return LabelSubmission(
            item.event,
            item.event,
            {name: marks_of(row) for name, row in rows.items() if isinstance(row, Preference)},
            {side: row.value for side, row in scores.items() if isinstance(row, Score)},
            remarks=remarks_of(item, remarks) if isinstance(remarks, Annotation) else Remarks(),
            ranking=tuple(tuple(letters[id] for id in place) for place in ranking),
            segment_s=next((row.segment_s for row in rows.values() if isinstance(row, Preference)), "asked"),
        )

    def asked(self, item: Assignment, shown: ShownParts = "asked") -> LabelingPlan:
        """The plan as it holds for an item: what was saved of it keeps its parts and its reasons, whatever the project
        asks of new pairs by now. `shown` are parts that the page showed and that count in their place."""
        saved = self.given(item) if item.event else LabelSubmission("", "")
        parts = saved.segment_s if shown == "asked" else shown
        own = tuple(word for word in saved.remarks.named() if word not in self.plan.reasons)
        length = self.plan.segment_s if parts == "asked" or item.takes else parts
        return replace(self.plan, segment_s=length, reasons=(*self.plan.reasons, *own))

    def media(self, annotator: str, item_id: str, side: ClipSide | Literal["real"]) -> Path:
        """The video file of one side of an item of this person.

        Raises AccessDenied: not an item of this person, or a side that it does not have.
        """
        item = self._own(annotator, item_id)
        row = self.real(item) if side == "real" else self.side(item, side)
        if row is None:
            raise AccessDenied("This pair has no real clip.")
        return self.store.media_path(row.media)

    def example(self, pair: str, side: str) -> Path:
        """The video file of one side of a pair of the instructions. Raises ValueError: there is none."""
        given = read_instructions(self._reader)
        if given is None:
            raise ValueError("this project has no instructions")
        return self.store.media_path(given.side(pair, side).media)

    def side(self, item: Assignment, side: ClipSide) -> Candidate:
        """The clip that is shown under a letter. Raises AccessDenied for a letter that the item does not have."""
        if side not in item.shown:
            raise AccessDenied(f"There is no clip {side.upper()} here.")
        return self.candidate(item.shown[side])

    def real(self, item: Assignment) -> Clip | None:
        """The real clip that both sides answer to, where there is one."""
        clip_id = self.candidate(item.left).clip_id if self.plan.real else ""
        row = self._reader.get(clip_id) if clip_id else None
        return row if isinstance(row, Clip) else None

    def segments(self, item: Assignment, shown: ShownParts = "asked") -> int:
        """How many labels the pair takes: the full segments of the shorter clip, at least one; see `asked`."""
        length = self.asked(item, shown).segment_s
        if length is None or item.takes:
            return 1
        seconds = min(row.frames / row.fps for row in (self.candidate(item.left), self.candidate(item.right)))
        return max(1, int(seconds / length + 1e-6))

    def progress(self, annotator: str) -> dict[str, int]:
        """Pairs that this person has labelled, those of the project, and those that nobody has labelled."""
        with self._lock:
            done = int((self.votes.of(annotator) != NONE).sum()) if annotator else 0
            return {"done": done, "pairs": self.votes.pairs, "open": int((self.votes.counts == 0).sum())}

    def close(self, votes_file: Path | None = None) -> None:
        """Keep the votes, then close what is open."""
        with self._lock:
            if votes_file is not None:
                self.votes.save(votes_file)
            self.assignments.close()
            self._reader.close()
            self.store.close()

    def _keep(self, item: Assignment) -> None:
        with self._lock:
            if not item.event:
                self._open[item.id] = item
            self.assignments.put(item)

    def _expire(self) -> None:
        for item in [item for item in self._open.values() if item.until <= self.clock()]:
            del self._open[item.id]

    def _renew(self, item: Assignment) -> None:
        """Let a first save through while the lease lasts, or when nobody else has the pair since."""
        with self._lock:
            self._expire()
            if item.id not in self._open and not self._is_free(item):
                raise AccessDenied("Your answer was not saved: it took too long, and somebody else has this pair.")

    def _is_free(self, item: Assignment) -> bool:
        """Whether an item may still be labelled whose lease has ended: nobody else has come in between."""
        place = self.votes.number(item.left, item.right)
        if item.kind in ("repeat", "gold") or place is None:
            return True
        pairs = {frozenset(pair) for pair in item.pairs}
        others = [i for i in self._open.values() if i.annotator != item.annotator]
        holders = sum(not pairs.isdisjoint(map(frozenset, other.pairs)) for other in others)
        labelled = self.votes.counts[place[0]] - (self.votes.of(item.annotator)[place[0]] != NONE)
        return bool(labelled + holders < (1 if item.kind == "new" else self.plan.overlap))

    def _is_asked(self, item: Assignment) -> bool:
        """Whether an item that was given out before is one that this person could still get."""
        place = self.votes.number(item.left, item.right)
        new = place is not None and (item.kind == "repeat" or self.votes.of(item.annotator)[place[0]] == NONE)
        twin = any(
            {i.left, i.right} == {item.left, item.right} for i in self._open.values() if i.annotator == item.annotator
        )
        return new and not twin and bool(item.takes) == self.plan.ranks

    def _own(self, annotator: str, item_id: str) -> Assignment:
        item = self.assignments.get(item_id)
        if item is None or item.annotator != annotator:
            raise AccessDenied("You do not have this pair open; reload the page to get one.")
        if item.pending and item.pending != item.event and self._was_stored(item, item.pending):
            # The process was stopped between the store and the assignments.
            return self._saved(item, item.pending)
        return item

    def _saved(self, item: Assignment, event: str) -> Assignment:
        """The item once an event of it is stored, as it is kept from then on."""
        saved = replace(item, event=event, pending="", saved_at=item.saved_at or self.clock())
        with self._lock:
            self._open.pop(item.id, None)
            self.assignments.put(saved)
        return saved

    def _rows(self, item: Assignment, given: LabelSubmission) -> list[LabelRow]:
        """Rows of an answer in the parts that it was given in. What corrects a label of a question that was not asked
        then has nothing to supersede."""
        plan = self.asked(item, given.segment_s)
        rows = rows_of(item, given, plan, self.segments(item, given.segment_s))
        return [
            replace(row, supersedes="") if isinstance(row, Preference) and self._read(row.supersedes) is None else row
            for row in rows
        ]

    def _add(self, rows: Sequence[LabelRow]) -> None:
        try:
            self.store.add(rows)
        except ValueError as error:
            raise AccessDenied(str(error)) from error

    def _was_stored(self, item: Assignment, event: str) -> bool:
        """Whether an event made rows, which it makes all at once."""
        return any(self._stored(item, event, what) is not None for what in (*self.plan.dimensions, REMARKS))

    def _stored(self, item: Assignment, event: str, what: str) -> Row | None:
        """What an event made of a dimension or score; None where it made nothing."""
        return self._read(row_id(item, event, what))

    def _read(self, id: str) -> Row | None:
        try:
            return self._reader.get(id)
        except ValueError:
            return None

    def _candidate(self, id: str) -> Candidate:
        row = self._reader.get(id)
        assert isinstance(row, Candidate), id
        return row

    @contextmanager
    def _one_at_a_time(self, annotator: str) -> Iterator[None]:
        with self._lock:
            lock = self._locks.setdefault(annotator, threading.Lock())
        with lock:
            yield


class Proposals:
    """Labels of one judge on one question, looked up by pair: read once, and then what is new; `judge` "" has none."""

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
