"""What is said beside labels, and rankings: as rows, back on the page, in the list of own labels, and in Progress."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from rushes.records import Annotation
from rushes.web.accounts import AccessDenied
from rushes.web.labeling.assignments import Assignment, AssignmentStore
from rushes.web.labeling.label_rows import LabelSpan, LabelSubmission, Remarks
from rushes.web.labeling.labeling_progress import progress_of
from rushes.web.labeling.labeling_section import LabelFilter, own_labels
from rushes.web.labeling.labeling_session import LabelingSession

from ..conftest import NewSession, say

REASONS = ("hand", "flicker")


def taken(session: LabelingSession, who: str = "ada") -> Assignment:
    item = session.next(who)
    assert item is not None
    return item


def saying(session: LabelingSession, item: Assignment, event: str, revises: str = "", **remarks: Any) -> None:
    labels = {"overall": (1, -1)}
    session.save(item.annotator, item.id, LabelSubmission(event, revises, labels, remarks=Remarks(**remarks)))


def test_remarks_are_of_the_true_sides_and_come_back_as_they_were_seen(make_session: NewSession) -> None:
    session = make_session(groups=12, reasons=REASONS)
    sides = set()
    for k in range(12):
        item = taken(session)
        spans = (LabelSpan(0.25, 0.5, 1, ("flicker",)), LabelSpan(1.0, 2.0, 0))
        remarks: dict[str, Any] = {
            "reasons": (("flicker", "hand", "hand"), ()),
            "spans": spans,
            "broken": ("b",),
            "note": " so \n",
            "from_spans": (1,),
        }
        saying(session, item, f"e{k:07}", **remarks, strength="much", seconds=3.5, plays=2)
        (row,) = (row for row in session.store.annotations() if row.subject == session.store.preferences()[-1].id)
        assert row.reasons == (("hand", "flicker"), ()) and row.broken == (session.side(item, "b").id,)
        assert row.from_spans == (1,)
        assert row.span_labels == ((-1, 0) if item.swapped else (1, 0)) and row.note == "so" and row.strength == "much"
        again, given = session.reopen("ada", item.id)
        assert again.id == item.id and given.remarks == Remarks(
            (("hand", "flicker"), ()), spans, "so", ("b",), "much", seconds=3.5, plays=2, from_spans=(1,)
        )
        sides.add(item.swapped)
    assert sides == {True, False}


def test_a_correction_replaces_and_an_empty_one_takes_back(make_session: NewSession) -> None:
    session = make_session(reasons=REASONS)
    item = taken(session)
    saying(session, item, "event-01", note="first")
    saying(session, item, "event-01", note="first")  # sent again
    saying(session, item, "event-02", "event-01", note="second")
    assert [row.note for row in session.store.annotations()] == ["second"]
    saying(session, item, "event-03", "event-02")
    assert session.store.annotations() == () and session.store.count(Annotation) == 2


@pytest.mark.parametrize(
    ("remarks", "why"),
    [
        ({"reasons": (("teeth",), ())}, "teeth: no longer among the reasons"),
        ({"reasons": ((),)}, "2 lists of reasons"),
        ({"spans": (LabelSpan(1.0, 1.0, 1),)}, "must end after"),
        ({"broken": ("c",)}, "does not have"),
        ({"plays": 0}, "Play the clips to their end"),
    ],
)
def test_what_does_not_fit_is_refused_whole(remarks: dict[str, Any], why: str, make_session: NewSession) -> None:
    session = make_session(reasons=REASONS, play_first=True)
    item = taken(session)
    with pytest.raises(AccessDenied, match=why):
        saying(session, item, "event-01", **{"plays": 1, **remarks})
    assert not session.store.preferences() and not session.store.annotations()
    saying(session, item, "event-02", broken=("a",))  # what is broken cannot be played


def test_takes_are_ranked_once_and_come_again_the_other_way_round(make_session: NewSession) -> None:
    session = make_session(groups=6, takes=4, ranks=True, repeat_share=0.99, overlap_share=0.0)
    first = taken(session)
    assert len(first.takes) == 4 and first.pairs and session.segments(first) == 1
    kinds = []
    for k in range(7):
        item = taken(session)
        kinds.append((item.kind, item.takes))
        session.save("ada", item.id, LabelSubmission(f"e{k:07}", "", ranking=(("b",), ("a", "c"), ("d",))))
    assert kinds[6] == ("repeat", first.takes[::-1])
    counts = session.votes.counts
    assert counts.max() == 1 and counts.sum() == 36 == len({row.id for row in session.store.preferences()}) - 6
    facts = progress_of(session)["people"][0]
    assert facts["pairs"] == 36 and facts["repeats"]["of"] == 6 and 0 < facts["repeats"]["same"] < 6
    assert session.given(session.assignments.saved("ada", 1e12, 1)[0]).ranking == (("b",), ("a", "c"), ("d",))


@pytest.mark.parametrize("ranking", [(("a",), ("a", "b")), (("a", "e"),), (("a", "f", "b"),)])
def test_a_ranking_that_does_not_fit_is_refused(ranking: Any, make_session: NewSession) -> None:
    session = make_session(groups=1, takes=4, ranks=True)
    item = taken(session)
    with pytest.raises(AccessDenied, match="each take that was shown"):
        session.save("ada", item.id, LabelSubmission("event-01", "", ranking=ranking))


def test_two_people_do_not_rank_the_same_takes_unless_they_overlap(make_session: NewSession) -> None:
    session = make_session(groups=2, takes=3, ranks=True)
    assert not set(taken(session, "ada").takes) & set(taken(session, "bob").takes)
    assert session.next("cem") is None


def test_own_labels_are_listed_and_filtered(make_session: NewSession) -> None:
    session = make_session(groups=5, reasons=REASONS)
    for k, mark in enumerate((1, -1, 0, None)):
        say(session, "ada", taken(session), mark, f"e{k:07}")
    item = taken(session)
    saying(session, item, "event-05", reasons=(("hand",), ()), note="Six FINGERS")

    def answers(**wanted: Any) -> list[str]:
        return [entry["answer"] for entry in own_labels(session, "ada", LabelFilter(**wanted))["entries"]]

    assert answers() == ["mixed", "cannot tell", "tie", "b", "a"]
    assert answers(answer="b") == ["b"] and answers(reason="hand") == ["mixed"] == answers(text="six f")
    assert answers(text="PROMPT", answer="tie") == ["tie"] and answers(text="nowhere") == []
    assert own_labels(session, "bob", LabelFilter()) == {"entries": [], "more": None}
    with pytest.raises(AccessDenied, match="do not have this pair open"):
        session.reopen("bob", item.id)


def test_progress_says_who_answers_faster_than_the_clips_last(make_session: NewSession) -> None:
    session = make_session(groups=4, reasons=REASONS)
    for k, seconds in enumerate((1.0, 2.0, 30.0, None)):
        saying(session, taken(session), f"e{k:07}", seconds=seconds, reasons=(("hand",), ("hand",)))
    facts = progress_of(session)
    assert facts["people"][0]["fast"] == {"of": 3, "fast": 2} and facts["people"][0]["seconds"] == 2.0
    assert facts["reasons"] == {"hand": 4}


def test_a_file_from_before_there_were_rankings_opens(tmp_path: Path) -> None:
    path = tmp_path / "labelling.db"
    AssignmentStore(path).close()
    old = Assignment("i", "ada", "l", right="r", kind="new", swapped=True, until=1.0, event="e", saved_at=2.0)
    with sqlite3.connect(path) as database:
        database.execute("ALTER TABLE items DROP COLUMN takes")
        values = [value for name, value in vars(old).items() if name != "takes"]
        database.execute(f"INSERT INTO items VALUES ({', '.join('?' * len(values))})", values)
    with AssignmentStore(path) as store:
        assert store.get("i") == old and old.shown == {"a": "r", "b": "l"} and old.pairs == (("l", "r"),)
