"""A campaign and its owner: the plan, quotas, the dashboard, and pairs that are settled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from rushes.project.labeling_page import with_campaign
from rushes.records import VOTE, Preference
from rushes.store.annotators import SETTLED, labels_to_train_on
from rushes.web.labeling.campaign import Campaign, dashboard, lean, planned, read_campaign, write_campaign
from rushes.web.labeling.disputes import disputes
from rushes.web.labeling.label_rows import LabelingPlan, LabelSubmission, Remarks
from rushes.web.labeling.labeling_progress import own_progress, progress_of
from rushes.web.labeling.labeling_session import LabelingSession
from rushes.web.labeling.owner_pages import sections
from rushes.web.site import StudioProject, make_site

from ..conftest import NewSession, say

EVENT, OTHER = "e" * 16, "f" * 16


@pytest.fixture
def client_of() -> Iterator[Callable[[LabelingSession, str], TestClient]]:
    """A client of the owner's pages, under a token."""

    def make(session: LabelingSession, token: str = "") -> TestClient:
        none: Any = None
        project = StudioProject(session.store.project, "test", none, none, session, none, lambda: None)
        site = make_site(session.assignments, "test", [*sections(project)])
        address = "http://127.0.0.1:8765"
        bearer = token or session.assignments.key
        return TestClient(site, address, headers={"authorization": f"Bearer {bearer}", "origin": address})

    yield make


def answer(session: LabelingSession, who: str, marks: tuple[int | None, ...], seconds: float = 10.0) -> None:
    item = session.next(who)
    assert item is not None
    given = LabelSubmission(f"{who} {item.id}", "", {"overall": marks}, remarks=Remarks(seconds=seconds))
    session.save(who, item.id, given)


def test_everybody_labels_as_much_and_all_pairs_come_out() -> None:
    plan = planned(["a", "b", "c", "d", "e"], 300, overlap=2, overlap_share=0.2, repeat_share=0.0, gold_share=0.05)
    assert plan.each == 80 and plan.quotas() == dict.fromkeys("abcde", 80)  # 80 x 0.75 x 5 = 300
    alone = planned(["a"], 30, overlap=2, overlap_share=0.5, repeat_share=0.0, gold_share=0.0)
    assert (alone.each, alone.overlap_share) == (30, 0.0)  # nobody to share with
    with pytest.raises(ValueError, match="--people"):
        planned(["a", "a"], 30, overlap=2, overlap_share=0.1, repeat_share=0.0, gold_share=0.0)
    with pytest.raises(ValueError, match="'<b>' is not a name"):
        planned(["ada", "<b>"], 30, overlap=2, overlap_share=0.1, repeat_share=0.0, gold_share=0.0)
    with pytest.raises(ValueError, match="leave no new pairs"):
        planned(["a", "b"], 30, overlap=2, overlap_share=0.9, repeat_share=0.1, gold_share=0.0)


def test_a_campaign_is_kept_and_a_damaged_one_refused(tmp_path: Path) -> None:
    assert read_campaign(tmp_path) is None
    plan = Campaign(("ada", "bob"), 10, 6, overlap=2, overlap_share=0.2, created_at="now")
    write_campaign(tmp_path, plan)
    assert read_campaign(tmp_path) == plan
    (tmp_path / "campaign.json").write_text('{"people": ["ada"]}', encoding="utf-8")
    with pytest.raises(ValueError, match="not what `rushes campaign` writes"):
        read_campaign(tmp_path)


def test_a_campaign_has_a_key_where_the_settings_name_none() -> None:
    shares = {"overlap": 2, "overlap_share": 0.2, "repeat_share": 0.0, "gold_share": 0.05}
    campaign = planned(["ada", "bob"], 10, **shares, key="lead", practice=5)  # type: ignore[arg-type]
    plan = with_campaign(LabelingPlan(), campaign)
    assert (plan.gold_by, plan.practice, plan.quotas) == ("lead", 5, {"ada": 7, "bob": 7})
    named = with_campaign(LabelingPlan(gold_by="cleo"), campaign)
    assert (named.gold_by, named.practice) == ("cleo", 0)


def test_a_program_stands_beside_what_people_say_together(make_session: NewSession) -> None:
    session = make_session(groups=3, segment_s=1.0)
    agreed, split = both(session, (1, 1), (1, 0)), both(session, (1, -1), (-1, -1))
    assert dashboard(progress_of(session), None)["judges"] == []
    session.store.add([
        Preference("p", agreed[1], agreed[0], (-1, -1), "metric:x", segment_s=1.0),
        Preference("q", *split, (0, 1), "metric:x", segment_s=1.0), Preference("r", *split, (1,), "vlm"),
    ])  # fmt: skip
    # people together: A, and A of A and a tie; a tie of both sides, and B
    assert dashboard(progress_of(session), None)["judges"] == [
        {"name": "metric:x", "same": 3, "of": 4}, {"name": "vlm", "same": 0, "of": 0},
    ]  # fmt: skip
    assert "judges" not in own_progress(progress_of(session), "ada")


def test_who_has_done_their_pairs_gets_no_more(make_session: NewSession) -> None:
    session = make_session(groups=5, segment_s=None, quotas={"ada": 2})
    for _ in range(2):
        answer(session, "ada", (1,))
    assert session.next("ada") is None
    assert session.next("bob") is not None
    first = session.next("cleo")
    assert first is not None and session.next("cleo", (first.id,)) is not None  # nobody asked her for fewer


def test_an_open_pair_counts_towards_the_quota(make_session: NewSession) -> None:
    session = make_session(groups=5, segment_s=None, quotas={"ada": 1})
    first = session.next("ada")
    assert first is not None and session.next("ada", (first.id,)) is None


@pytest.mark.parametrize(
    ("first", "decided", "side"),
    [(0, 0, ""), (3, 3, ""), (0, 9, ""), (0, 10, "B"), (19, 20, "A"), (1, 20, "B"), (55, 100, ""), (620, 1000, "A")],
)
def test_a_lean_is_said_where_its_interval_excludes_one_half(first: int, decided: int, side: str) -> None:
    assert lean(first, decided) == side


def test_the_dashboard_says_what_is_left_and_when_it_is_enough(make_session: NewSession) -> None:
    session = make_session(groups=4, segment_s=None)
    plan = Campaign(("ada", "bob"), 3, 2, overlap=1, overlap_share=0.0)
    empty = dashboard(progress_of(session), plan)
    assert empty["enough"] == "3 more pairs to label" and empty["left_s"] == 2 * 2 * 20.0
    answer(session, "ada", (1,), seconds=30.0)
    answer(session, "ada", (1,), seconds=30.0)
    facts = dashboard(progress_of(session), plan)
    ada, bob = facts["people"]
    assert (ada["pairs"], ada["quota"], ada["left_s"], ada["per_hour"]) == (2, 2, 0.0, 120.0)
    assert (bob["name"], bob["left_s"]) == ("bob", 60.0) and facts["enough"] == "1 more pair to label"
    answer(session, "bob", (0,))
    assert dashboard(progress_of(session), plan)["enough"] == "enough to train"


def test_who_only_voted_is_there_with_their_votes(make_session: NewSession) -> None:
    session = make_session(groups=3, segment_s=None)
    answer(session, "ada", (1,))
    for group in (1, 2):
        session.store.add(
            [Preference(f"v{group}", f"take{group}-0", f"take{group}-1", (1,), "human:eve", dimension=VOTE)]
        )
    people = dashboard(progress_of(session), None)["people"]
    assert [(row["name"], row["pairs"], row["votes"]) for row in people] == [("ada", 1, 0), ("eve", 0, 2)]


def both(session: LabelingSession, ada: tuple[int | None, ...], bob: tuple[int | None, ...]) -> tuple[str, str]:
    """Ada and bob label one pair, as of its true sides; its ids."""
    item = session.next("ada")
    assert item is not None
    for who, marks in (("ada", ada), ("bob", bob)):
        row = Preference(
            f"{who}{item.id}",
            item.left,
            item.right,
            tuple(mark or 0 for mark in marks),
            f"human:{who}",
            segment_s=session.plan.segment_s,
            unjudged=tuple(at for at, mark in enumerate(marks) if mark is None),
        )
        session.store.add([row])
        session.votes.add(row)
    session.release("ada", item.id)
    return item.left, item.right


def test_opposite_sides_come_before_ties_and_before_programs(make_session: NewSession) -> None:
    session = make_session(groups=5, segment_s=1.0)
    tie, opposite = both(session, (1, 1), (0, 0)), both(session, (1, 0), (-1, 0))
    agreed, against = both(session, (1, 1), (1, 0)), both(session, (-1, 0), (-1, -1))
    both(session, (1, 1), (None, None))
    session.store.add([Preference("p", against[1], against[0], (-1,), "vlm"), Preference("q", *agreed, (0,), "vlm")])
    listed = disputes(session.store, "overall")
    assert [(pair.left, pair.right) for pair in listed] == [opposite, tie, against]
    assert [pair.weight for pair in listed] == [3, 2, 1]
    (program,) = listed[2].programs  # turned to the sides of the people's
    assert (program.left, program.labels) == (against[0], (1,))


def test_the_owner_settles_a_pair_and_training_reads_that(make_session: NewSession, client_of: Any) -> None:
    session = make_session(groups=3, segment_s=1.0)
    left, right = both(session, (1, 0), (-1, -1))
    client = client_of(session)
    listed = client.get("/api/campaign/disputes").json()
    assert listed["total"] == 1 and [each["who"] for each in listed["pairs"][0]["said"]] == ["ada", "bob"]
    (merged,) = labels_to_train_on(session.store)
    assert merged.labels == (0, -1)
    body = {"left": left, "right": right, "segment_s": 1.0, "labels": [1, None], "event": EVENT}
    assert client.post("/api/campaign/settle", json=body).status_code == 200
    assert client.post("/api/campaign/settle", json=body).status_code == 200  # sent again, it changes nothing
    (settled,) = labels_to_train_on(session.store)
    assert (settled.labels, settled.unjudged, settled.judge) == ((1, 0), (1,), "human")
    assert client.get("/api/campaign/disputes").json()["total"] == 0
    again = {**body, "labels": [-1, -1], "event": OTHER, "revises": EVENT}
    assert client.post("/api/campaign/settle", json=again).status_code == 200
    (settled,) = labels_to_train_on(session.store)
    assert settled.labels == (-1, -1)
    rows = session.store.preferences()
    assert [row.judge for row in rows] == ["human:ada", "human:bob", f"human:owner{SETTLED}"]
    assert {each["name"] for each in progress_of(session)["people"]} == {"ada", "bob"}
    (mine,) = labels_to_train_on(session.store, judge="human:ada")
    assert mine.labels == (1, 0)  # what ada said stays what she said


def test_people_who_differ_in_unlike_parts_are_seen_and_settled(make_session: NewSession, client_of: Any) -> None:
    session = make_session(groups=2, segment_s=0.5)
    left, right = both(session, (1, 1, 1, 1), (0, 1, 1, 1))
    session.store.add([Preference("c", right, left, (1,), "human:cem")])  # of the whole clip, for the other side
    (pair,) = client_of(session).get("/api/campaign/disputes").json()["pairs"]
    assert (pair["weight"], pair["segment_s"], pair["segments"]) == (3, 0.5, 4)
    assert [each["labels"] for each in pair["said"]] == [[-1] * 4, [0, -1, -1, -1], [1] * 4], "as of cem's left clip"


def test_a_settled_pair_is_listed_and_corrected_on_a_later_visit(make_session: NewSession, client_of: Any) -> None:
    session = make_session(groups=3, segment_s=1.0)
    left, right = both(session, (1, 0), (-1, -1))
    body = {"left": left, "right": right, "segment_s": 1.0, "labels": [1, None], "event": EVENT}
    session.assignments.join("lead")
    assert client_of(session).post("/api/campaign/settle", json=body).status_code == 200
    client = client_of(session)
    (pair,) = client.get("/api/campaign/disputes").json()["settled"]
    assert (pair["labels"], pair["segment_s"], pair["clips"][0]["id"]) == ([1, None], 1.0, left)
    assert [each["labels"] for each in pair["said"]] == [[1, 0], [-1, -1]]
    again = {**body, "labels": [-1, -1], "event": OTHER, "revises": pair["event"]}
    assert client.post("/api/campaign/settle", json=again).status_code == 200
    assert [row.labels for row in session.store.preferences() if row.judge.endswith(SETTLED)] == [(-1, -1)]
    assert [each["labels"] for each in client.get("/api/campaign/disputes").json()["settled"]] == [[-1, -1]]


def test_what_fits_no_pair_is_not_settled(make_session: NewSession, client_of: Any) -> None:
    session = make_session(groups=2, segment_s=None)
    left, right = both(session, (1,), (-1,))
    client = client_of(session)
    body = {"left": left, "right": right, "segment_s": None, "labels": [1], "event": EVENT}
    for change, status in (
        ({"left": "nobody"}, 404),
        ({"labels": [2]}, 422),
        ({"labels": []}, 409),
        ({"labels": [1, 0]}, 409),
    ):
        assert client.post("/api/campaign/settle", json={**body, **change}).status_code == status, change
    assert not [row for row in session.store.preferences() if row.judge.endswith(SETTLED)]


def test_the_pages_are_the_owners_alone(make_session: NewSession, client_of: Any) -> None:
    session = make_session(groups=2)
    item = session.next("ada")
    assert item is not None
    say(session, "ada", item, 1, "event")
    invited = client_of(session, session.assignments.invite("ada"))
    for path in ("facts", "disputes"):
        assert invited.get(f"/api/campaign/{path}").status_code == 403
    facts = client_of(session).get("/api/campaign/facts").json()
    assert facts["labelled"] == 1 and facts["vote"] is None and facts["campaign"] is None
