"""The open link: one address for a crowd, ids that a platform gave, a code at the end, and nothing but Label."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from rushes.records import VOTE
from rushes.web.accounts import CROWD, AccessDenied, Accounts
from rushes.web.labeling.campaign import dashboard
from rushes.web.labeling.labeling_progress import progress_of
from rushes.web.labeling.labeling_section import labeling_section, vote_section
from rushes.web.labeling.labeling_session import LabelingSession
from rushes.web.site import make_site

from .conftest import NewSession, NewTab, serving

ADDRESS = "http://127.0.0.1:8765"


@contextmanager
def visiting(session: LabelingSession, token: str = "") -> Iterator[TestClient]:
    sections = [labeling_section(session, "t"), vote_section(session, "t")]
    headers = {"origin": ADDRESS, **({"authorization": f"Bearer {token}"} if token else {})}
    yield TestClient(make_site(session.assignments, "t", sections), ADDRESS, headers=headers)


def test_people_come_by_id_label_their_part_and_get_the_code(make_session: NewSession) -> None:
    session = make_session(groups=5, segment_s=None)
    crowd = session.assignments.open_link(2)
    with visiting(session) as nobody:
        entered = nobody.post("/api/enter", json={"door": crowd.door, "id": "5f3a9c"})
        assert entered.status_code == 200 and entered.json()["name"] == CROWD + "5f3a9c"
        for door, id, status in (("guess", "5f3a9c", 403), (crowd.door, "<b>", 422), (crowd.door, "", 422)):
            body = {"door": door, "id": id}
            assert nobody.post("/api/enter", json=body).status_code == status
    with visiting(session, entered.json()["token"]) as someone:
        assert someone.get("/api/vote/me").status_code == 403  # nothing but Label is for a crowd
        me = someone.get("/api/who").json()
        assert me["crowd"] and not me["owner"]
        for number in range(2):
            answer = someone.post("/api/label/next", json={"have": []}).json()
            assert "code" not in answer
            have = someone.post("/api/label/next", json={"have": [answer["item"]["id"]]}).json()
            assert have.get("code", "") == "" and (have["item"] is None) is (number == 1)
            save = {"item": answer["item"]["id"], "event": f"abcdef0{number}", "labels": {"overall": [1]}}
            assert someone.post("/api/label/save", json=save).status_code == 200
        assert someone.post("/api/label/next", json={"have": []}).json() == {
            "item": None, "code": crowd.code, **session.progress(CROWD + "5f3a9c"),
        }  # fmt: skip
    facts = dashboard(progress_of(session), None, session.assignments.crowd())
    assert [(row["name"], row["pairs"], row["quota"]) for row in facts["people"]] == [(CROWD + "5f3a9c", 2, 2)]
    assert VOTE not in {row.dimension for row in session.store.preferences()}


def test_the_link_stays_and_is_closed_unless_asked_for(tmp_path: Path) -> None:
    with Accounts(tmp_path / "people.db") as people:
        crowd = people.open_link(5)
        _, token = people.enter(crowd.door, "worker1")
        assert people.who(token) == "id worker1"
    with Accounts(tmp_path / "people.db") as people:
        assert people.who(token) is None
        with pytest.raises(AccessDenied, match="closed"):
            people.enter(crowd.door, "worker1")
        again = people.open_link(7)
        assert (again.door, again.code, again.pairs_each) == (crowd.door, crowd.code, 7)
        assert people.who(token) == "id worker1"
        _, newer = people.enter(crowd.door, "worker1")
        assert people.who(token) is None and people.who(newer) == "id worker1"
        people.forget("id worker1")
        with pytest.raises(AccessDenied, match="This id is closed"):
            people.enter(crowd.door, "worker1")


def test_an_id_in_another_case_is_the_same_person(tmp_path: Path) -> None:
    with Accounts(tmp_path / "people.db") as people:
        crowd = people.open_link(5)
        _, token = people.enter(crowd.door, "Worker1")
        name, newer = people.enter(crowd.door, "wORKER1")
        assert name == "id Worker1" == people.who(newer) and people.who(token) is None
        assert people.people() == ("id Worker1",)
        people.forget("id Worker1")
        with pytest.raises(AccessDenied, match="This id is closed"):
            people.enter(crowd.door, "worker1")


def test_an_id_takes_nobodys_name(tmp_path: Path) -> None:
    with Accounts(tmp_path / "people.db") as people:
        crowd = people.open_link(5)
        people.invite("id worker1")
        with pytest.raises(AccessDenied):
            people.enter(crowd.door, "worker1")


def test_entries_of_one_network_are_limited(make_session: NewSession) -> None:
    session = make_session(groups=2)
    crowd = session.assignments.open_link(2)
    with visiting(session) as nobody:
        answers = [
            nobody.post("/api/enter", json={"door": crowd.door, "id": f"worker{n}"}).status_code for n in range(22)
        ]
    assert answers[:20] == [200] * 20 and answers[21] == 429


@pytest.mark.browser
@pytest.mark.flaky(reruns=2)
def test_somebody_opens_the_link_and_ends_with_the_code(make_session: NewSession, tab_of: NewTab) -> None:
    session = make_session(groups=3, media=True, segment_s=None)
    crowd = session.assignments.open_link(1)
    with serving(make_site(session.assignments, "t", [labeling_section(session, "t")]), keyed=False) as address:
        tab = tab_of(f"{address}/label?id=5f3a9c#open={crowd.door}")
        tab.wait_for_selector("#work:visible")
        assert "id 5f3a9c" in tab.inner_text("#who") and "#" not in tab.url
        assert tab.inner_text("#count") == "pairs: 0 of your 1"
        tab.keyboard.press("t")
        tab.keyboard.press("Enter")
        tab.wait_for_selector("#code:visible")
        assert tab.inner_text("#code") == f"Your completion code: {crowd.code}"
        tab.goto(f"{address}/label?id=5f3a9c#open={crowd.door}")  # once more
        tab.wait_for_selector("#code:visible")
