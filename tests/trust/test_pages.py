"""The pages: who comes in and as whom, what each may see, and what a stranger on the network cannot do."""

from __future__ import annotations

import json
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import APIRouter, FastAPI

from rushes.records import Clip
from rushes.store.database import Store
from rushes.web import guard, server, videos
from rushes.web.accounts import Accounts, NameTaken, Visitor
from rushes.web.guard import BURST, Guard, Rate
from rushes.web.labeling.labeling_section import labeling_section
from rushes.web.labeling.labeling_session import LabelingSession
from rushes.web.review.queue import QueueEntry, ReviewQueue
from rushes.web.review.review_section import review_section
from rushes.web.review.review_session import ReviewSession
from rushes.web.site import SiteSection, make_site

from ..web.conftest import FPS, FRAMES, Clock, NewSession, clock, encoded, make_review_app, make_session, say, serving

__all__ = ["clock", "make_session"]  # fixtures


CLIENTS: list[httpx.Client] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while CLIENTS:
        CLIENTS.pop().close()


class Person:
    """What a browser sends: the page's own origin, and a token."""

    def __init__(self, address: str, token: str = "") -> None:
        headers = {"origin": address} | ({"authorization": f"Bearer {token}"} if token else {})
        self.http = httpx.Client(base_url=address, headers=headers, timeout=30, verify=False)
        CLIENTS.append(self.http)

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.http.get(path, headers=headers)

    def post(self, path: str, **body: Any) -> httpx.Response:
        return self.http.post(path, json=body)

    def joined(self, name: str, **body: Any) -> Person:
        """The same person under a name."""
        answer = self.post("/api/join", name=name, **body)
        assert answer.status_code == 200, answer.text
        return Person(str(self.http.base_url).rstrip("/"), answer.json()["token"])


def private_section() -> SiteSection:
    """A section that says nothing of who may open it."""

    def routes(router: APIRouter, person: Any) -> None:
        @router.get("/facts")
        def facts(name: str = person) -> dict[str, str]:
            return {"secret": "figures"}

    return SiteSection("private", "Private", {"/private": "home.html"}, routes)


def site(session: LabelingSession, local: bool = True) -> FastAPI:
    return make_site(session.assignments, "test", [private_section(), labeling_section(session, "test")], local)


@pytest.fixture
def session(make_session: NewSession) -> LabelingSession:
    return make_session(groups=6, media=True, gold_by="lead", gold_share=0.0)


@pytest.fixture
def address(session: LabelingSession) -> Iterator[str]:
    with serving(site(session), keyed=False) as served:
        yield served


def owner(address: str, session: LabelingSession) -> Person:
    return Person(address, session.assignments.key)


# ---- who comes in, and as whom -------------------------------------------------------------------------------------


def test_another_account_of_this_machine_is_nobody(address: str, session: LabelingSession) -> None:
    stranger = Person(address)
    assert stranger.post("/api/join", name="ada").status_code == 403
    assert Person(address, "guessed").post("/api/join", name="ada").status_code == 403
    ada = owner(address, session).joined("ada")
    for who in (stranger, Person(address, "guessed")):
        assert who.post("/api/join", name="ada", again=True).status_code == 403
        assert who.get("/api/who").status_code == 401
    assert ada.get("/api/label/me").json()["name"] == "ada"
    assert session.assignments.key not in (session.store.project / "labelling.db").read_bytes().decode("latin-1")


def test_an_answer_to_a_senseless_request_is_short(address: str, session: LabelingSession) -> None:
    """It gave back what it was sent, twice."""
    ada = owner(address, session).joined("ada")
    answer = ada.post("/api/label/save", item="a" * 8, event="a" * 8, scores={"x" * 60_000: 1.0})
    assert answer.status_code == 422 and len(answer.text) < 1000


def test_a_taken_name_is_handed_out_by_its_own_link_alone(address: str, session: LabelingSession) -> None:
    people = session.assignments
    bob, key = Person(address, people.invite("bob")), owner(address, session)
    for again in (False, True):
        assert key.post("/api/join", name="bob", again=again).status_code == 403
    assert bob.get("/api/label/me").status_code == 200
    assert bob.post("/api/join", name="cyd").status_code == 403, "an invitation is not a key"
    ada = key.joined("ada")
    assert key.post("/api/join", name="ada").status_code == 409 and ada.get("/api/label/me").status_code == 200
    anew = key.joined("ada", again=True)
    assert anew.get("/api/label/me").status_code == 200 and ada.get("/api/label/me").status_code == 401


def test_the_key_is_the_owners_and_invited_people_open_their_pages_only(address: str, session: LabelingSession) -> None:
    key, bob = owner(address, session), Person(address, session.assignments.invite("bob"))
    assert key.get("/api/who").json() == {"project": "test", "name": "", "owner": True, "crowd": False}
    assert bob.get("/api/who").json() == {"project": "test", "name": "bob", "owner": False, "crowd": False}
    assert key.get("/api/private/facts").status_code == key.joined("ada").get("/api/private/facts").status_code == 200
    assert bob.get("/api/private/facts").status_code == 403 and bob.get("/api/label/me").status_code == 200
    assert key.get("/api/label/me").status_code == 401, "labels carry a name"
    assert [bob.get(path).headers["content-type"].startswith("text/html") for path in ("/private", "/label")] == [
        True
    ] * 2


def test_every_address_with_facts_asks_for_a_token(session: LabelingSession, tmp_path: Path) -> None:
    review = reviewed(tmp_path / "clips", "footage/a.mp4")
    sections = [private_section(), labeling_section(session, "test"), review_section(review, "test")]
    app = make_site(session.assignments, "test", sections)
    asked = []
    with serving(app, keyed=False) as address:
        stranger = Person(address)
        for path, methods in app.openapi()["paths"].items():
            if not path.startswith("/api/") or path == "/api/hello":
                continue
            for method in methods:
                filled = path.format(item="a" * 24, side="a", id="c0", kind="poster")
                response = stranger.http.request(method.upper(), filled, json={})
                assert response.status_code in (401, 403, 422), (path, response.status_code)
                asked.append(path)
    assert len(asked) > 14 and {"/api/private/facts", "/api/review/me", "/api/label/progress"} <= set(asked)
    review.close()


def test_tokens_of_a_local_page_end_when_others_may_come(session: LabelingSession) -> None:
    people = session.assignments
    with serving(site(session), keyed=False) as address:
        ada, bob = owner(address, session).joined("ada"), Person(address, people.invite("bob"))
        assert ada.get("/api/label/me").status_code == bob.get("/api/label/me").status_code == 200
    for _ in range(2):  # those that came by the key meanwhile stay when it is opened so again
        with serving(site(session, local=False)) as address:
            for person, status in ((ada, 401), (bob, 200)):
                token = person.http.headers["authorization"].partition(" ")[2]
                assert Person(address, token).get("/api/label/me").status_code == status
            ada = owner(address, session).joined("ada", again=True)
            assert ada.get("/api/label/me").status_code == 200
            bob = Person(address, people.invite("bob"))
        with serving(site(session, local=False)) as address:
            token = ada.http.headers["authorization"].partition(" ")[2]
            assert Person(address, token).get("/api/label/me").status_code == 200
        people.opened(local=True)


def test_a_person_is_forgotten_and_the_name_stays_theirs(tmp_path: Path) -> None:
    with Accounts(tmp_path / "labelling.db") as people, Accounts(tmp_path / "labelling.db") as command:
        token = people.join("ada")
        command.forget("ada")
        assert people.visitor(token) is None and people.people() == ("ada",)
        with pytest.raises(NameTaken) as refusal:
            people.join("ada", again=True)
        assert not refusal.value.again
        assert people.visitor(people.invite("ada")) == Visitor("ada", owner=False)
        with pytest.raises(ValueError, match=r"--forget eve: nobody has this name \(ada\)"):
            people.forget("eve")


def test_what_ended_stays_so_after_a_restart_and_all_else_goes_on(tmp_path: Path) -> None:
    with Accounts(tmp_path / "labelling.db") as people:
        key, ada, bob, eve = people.key, people.join("ada"), people.invite("bob"), people.join("eve")
        people.forget("ada")
    with Accounts(tmp_path / "labelling.db") as people:
        people.opened(local=True)
        assert [people.who(token) for token in (key, ada, bob, eve)] == [None, None, "bob", "eve"]
        assert people.visitor(people.key) == Visitor("", owner=True)
        for name in ("ada", "bob", "eve"):
            with pytest.raises(NameTaken) as refusal:
                people.join(name)
            assert refusal.value.again == (name == "eve")


def test_an_older_file_opens_and_its_people_are_no_owners(tmp_path: Path) -> None:
    path = tmp_path / "labelling.db"
    old = sqlite3.connect(path)
    old.execute("CREATE TABLE people (name TEXT PRIMARY KEY, token_hash TEXT NOT NULL UNIQUE)")
    old.execute("CREATE TABLE place (id TEXT NOT NULL)")
    old.execute("INSERT INTO people VALUES ('ada', '2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae')")
    old.execute("INSERT INTO place VALUES ('here')")
    old.commit()
    old.close()
    with Accounts(path) as people:
        assert people.place == "here" and people.visitor("foo") == Visitor("ada", owner=False)
        people.opened(local=True)
        assert people.who("foo") == "ada"
        people.opened(local=False)
        assert people.who("foo") is None
        assert people.visitor(people.join("ada", again=True)) == Visitor("ada", owner=True)


# ---- what each may see ---------------------------------------------------------------------------------------------


def test_the_key_of_gold_answers_cannot_be_read_from_progress(session: LabelingSession, address: str) -> None:
    for who, mark in (("lead", 1), ("ada", -1)):
        while item := session.next(who):
            say(session, who, item, -mark if item.swapped else mark, f"{who}-{item.id}")
            if who == "ada":
                break
        session.plan = session.plan.__class__(**{**session.plan.__dict__, "overlap_share": 1.0})
        session._selector._plan = session.plan
    item, given = session.back("ada") or pytest.fail("ada labelled nothing")
    say(session, "ada", item, -1 if item.swapped else 1, "corrected-1", given.event)
    key, ada = owner(address, session).joined("boss"), Person(address, session.assignments.invite("ada"))
    facts = key.get("/api/label/progress").json()
    rows = {row["name"]: row for row in facts["people"]}
    assert rows["ada"]["gold"] == {"same": 0, "of": 2}, "the first answer counts, not the corrected one"
    assert rows["lead"]["pairs"] == 6 and facts["dimensions"]
    own = ada.get("/api/label/progress").json()
    assert [row["name"] for row in own["people"]] == ["ada"] and own["people"][0]["pairs"] == 1
    assert "gold" not in json.dumps(own) and "lead" not in json.dumps(own)
    assert not {"dimensions", "agreement"} & {*own, *own["people"][0]}


def reviewed(folder: Path, source: str) -> ReviewSession:
    store = Store.create(folder)
    store.add([Clip("c0", store.put_media_bytes(encoded(1), ".mp4"), "a cat", 32, 32, FRAMES, FPS, source)])
    return ReviewSession(store, ReviewQueue([QueueEntry("c0")], {}), Accounts(folder / "labelling.db"))


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("/home/boss/private/a b.mp4", "a b.mp4"),
        (r"C:\Users\boss\a.mp4", "a.mp4"),
        ("../../boss/a.mp4", "a.mp4"),
        ("footage/a.mp4", "footage/a.mp4"),
    ],
)
def test_invited_people_see_no_folder_of_the_owners(source: str, shown: str, tmp_path: Path) -> None:
    review = reviewed(tmp_path / "project", source)
    with serving(make_review_app(review, "test"), keyed=False) as address:
        for person, text in (
            (Person(address, review.people.invite("bob")), shown),
            (Person(address, review.people.key).joined("ada"), source),
        ):
            assert person.post("/api/review/clip", clip="c0").json()["clip"]["source"] == text
        assert Person(address, review.people.invite("bob")).get("/api/review/me").json()["people"] == {"bob": 0}
    review.close()


def test_a_video_does_not_say_when_it_was_written(address: str, session: LabelingSession) -> None:
    ada = Person(address, session.assignments.invite("ada"))
    item = ada.post("/api/label/next").json()["item"]["id"]
    whole = ada.get(f"/api/label/media/{item}/a")
    part = ada.get(f"/api/label/media/{item}/a", range="bytes=0-9")
    both = ada.get(f"/api/label/media/{item}/a", **{"range": "bytes=0-9", "if-range": '"x"'})
    assert (whole.status_code, part.status_code, both.status_code) == (200, 206, 200) and len(part.content) == 10
    assert not {"last-modified", "etag"} & {*whole.headers, *part.headers, *both.headers}


def test_scores_are_taken_where_the_project_asks_for_them_and_for_both_sides(make_session: NewSession) -> None:
    for folder, scores, good, bad in (
        ("without", False, {}, ({"a": 3.0}, {"a": 3.0, "b": 4.0})),
        ("with", True, {"a": 3.0, "b": 4.0}, ({}, {"a": 3.0})),
    ):
        session = make_session(folder=folder, scores=scores)
        with serving(site(session), keyed=False) as address:
            ada = Person(address, session.assignments.invite("ada"))
            item = ada.post("/api/label/next").json()["item"]
            body = {"item": item["id"], "event": "a" * 12, "labels": {"overall": [1] * item["segments"]}}
            for given in bad:
                assert ada.post("/api/label/save", **body, scores=given).status_code == 409, given
            assert not session.store.scores() and not session.store.preferences()
            assert ada.post("/api/label/save", **body, scores=good).status_code == 200
            assert len(session.store.scores()) == len(good)


# ---- what a stranger on the network cannot do ----------------------------------------------------------------------


def test_wrong_tokens_are_counted_by_address_and_honest_people_never_meet_it(
    address: str, session: LabelingSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "PER_SECOND", 0.0)
    ada, stranger = Person(address, session.assignments.invite("ada")), Person(address)
    codes = [
        stranger.get("/api/label/me", authorization=f"Bearer {k}", **{"x-forwarded-for": f"9.9.9.{k}"}).status_code
        for k in range(int(BURST) + 30)
    ]
    assert codes[:5] == [401] * 5 and codes[-1] == 429
    assert ada.get("/api/label/me").status_code == 200
    for path in ("/", "/label", "/static/api.js", "/static/page.css"):
        assert stranger.get(path).status_code == 200, "a page whose script is refused stays dead"


@pytest.mark.parametrize(("behind_proxy", "last"), [(False, 429), (True, 401)])
def test_a_forwarded_address_is_believed_behind_a_proxy_alone(
    behind_proxy: bool, last: int, session: LabelingSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "PER_SECOND", 0.0)
    monkeypatch.setattr(guard, "BURST", 5.0)
    config = server.config_of(site(session, local=not behind_proxy), behind_proxy)
    with listening(config) as address, httpx.Client(base_url=address) as http:
        codes = [http.get("/api/who", headers={"x-forwarded-for": f"9.9.9.{k}"}).status_code for k in range(12)]
    assert codes[-1] == last


def test_what_is_counted_stays_small(clock: Clock) -> None:
    rate = Rate(clock)
    for k in range(12_000):
        rate.allow(f"from {k} " + "x" * 60_000 * (k % 500 == 0))
    assert len(rate._left) <= 10_000 and max(map(len, rate._left)) <= 64
    assert "from 11999 " in rate._left and "from 1 " not in rate._left


def refusal(host: str, **headers: str) -> int:
    """The status of the guard for a request, 0 = let through."""
    guard = Guard(FastAPI(), frozenset({"127.0.0.1", "localhost", "::1"}), lambda token: "")
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in {"host": host, **headers}.items()]
    method = "POST" if "origin" in headers else "GET"
    scope = {"type": "http", "method": method, "path": "/api/x", "headers": raw, "client": ("1.1.1.1", 1)}
    return guard._refuse(scope)[0]


def test_the_servers_own_names_are_known_with_and_without_a_port() -> None:
    for host in ("127.0.0.1", "127.0.0.1:8765", "localhost", "LOCALHOST:80", "[::1]", "[::1]:8765"):
        assert refusal(host) == 0, host
    assert refusal("localhost", origin="http://localhost", content_length="2") == 0
    for origin in ("http://[", "http://a]b", "localhost", "http://localhost:81", "file://localhost"):  # two were a 500
        assert refusal("localhost", origin=origin, content_length="2") == 403, origin
    for host in (
        "",
        "evil.example",
        "127.0.0.1.evil.example",
        "evil@127.0.0.1",
        "127.0.0.1:80@evil",
        "::1",
        "[::1",
        "a/b",
    ):
        assert refusal(host) == 403, host


def exchange(address: str, text: str) -> bytes:
    """All that a server answers to a text that is sent on one connection."""
    host, _, port = address.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as sent:
        sent.sendall(text.replace("\n", "\r\n").replace("HOST", f"{host}:{port}").encode())
        answer = b""
        while more := sent.recv(65536):
            answer += more
    return answer


def test_a_request_with_two_lengths_gets_one_answer(address: str) -> None:
    hidden = "GET /api/hello HTTP/1.1\nHost: HOST\nConnection: close\n\n"
    for method in ("GET", "POST"):
        head = f"{method} /api/hello HTTP/1.1\nHost: HOST\nOrigin: http://HOST\nTransfer-Encoding: chunked\n"
        for length in (f"Content-Length: {len(hidden)}\n", ""):
            answer = exchange(address, f"{head}{length}\n0\n\n{hidden}")
            assert answer.count(b"HTTP/1.1 ") == 1 and answer.split()[1] in (b"400", b"411"), (method, length, answer)


def test_half_sent_requests_end_and_shut_out_nobody(
    address: str, session: LabelingSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HEAD_S", 1.0)
    monkeypatch.setattr(server, "WAITING", 20)
    host, _, port = address.removeprefix("http://").partition(":")
    began = time.monotonic()
    halves = [socket.create_connection((host, int(port)), timeout=10) for _ in range(60)]
    for half in halves[::2]:
        half.sendall(b"GET /api/hello HTTP/1.1\r\nHost: x\r\n")
    assert Person(address, session.assignments.key).get("/api/who").status_code == 200
    for half in halves:
        while True:
            try:
                half.sendall(b"x")  # byte by byte it would never end
                assert half.recv(1) == b""
            except (ConnectionError, BrokenPipeError):
                pass
            break
        half.close()
    assert 0.5 < time.monotonic() - began < 8 and not server.WaitLimit.waiting


def test_a_body_that_does_not_come_ends(
    address: str, session: LabelingSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "BODY_S", 0.3)
    head = (
        f"POST /api/join HTTP/1.1\nHost: HOST\nOrigin: http://HOST\nAuthorization: Bearer {session.assignments.key}\n"
    )
    answer = exchange(address, f"{head}Content-Type: application/json\nContent-Length: 20\nConnection: close\n\n{{")
    assert b"200 OK" not in answer


def until(true: Callable[[], object]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_answers_that_are_not_read_end_and_shut_out_nobody(
    address: str, session: LabelingSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections that asked for pages and never read them were held for ever, until the server had no more."""
    host, _, port = address.removeprefix("http://").partition(":")
    deaf = []

    def ask() -> None:
        (asked := socket.socket()).setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        asked.connect((host, int(port)))
        asked.sendall(f"GET /static/uplot.js HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode() * 200)
        deaf.append(asked)

    def stalled() -> list[server.WaitLimit]:
        return [each for each in list(server.WaitLimit.waiting) if each.flow.write_paused]

    monkeypatch.setattr(server, "READ_S", 2.0)
    ask()
    until(stalled)
    connections = stalled()[0].connections
    until(lambda: not connections)  # it ends by itself
    monkeypatch.setattr(server, "READ_S", 600.0)
    monkeypatch.setattr(server, "WAITING", 10)
    for _ in range(20):
        ask()
    assert Person(address, session.assignments.key).get("/api/who").status_code == 200
    until(lambda: 0 < len(stalled()) <= 10 and len(connections) <= 11)  # the oldest went; that of the person stays
    for asked in deaf:
        asked.close()


def test_copies_that_are_made_keep_nobody_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More requests wait for copies than the server has threads; the next call is answered before any copy is made."""
    answered = threading.Event()

    def copy(path: Path, row: Clip) -> bytes:
        assert answered.wait(30)
        return row.id.encode()

    monkeypatch.setattr(videos, "_copy", copy)
    store = Store.create(tmp_path / "project")
    media = [store.put_media_bytes(bytes([k]), ".mp4") for k in range(50)]
    store.add(Clip(f"c{k}", media[k], "", 32, 32, FRAMES, FPS, f"{k}.mp4") for k in range(50))
    queue = ReviewQueue([QueueEntry(f"c{k}") for k in range(50)], {})
    review = ReviewSession(store, queue, Accounts(tmp_path / "project" / "labelling.db"))
    with serving(make_review_app(review, "test"), keyed=False) as address, ThreadPoolExecutor(50) as pool:
        token = review.people.invite("ada")
        waiting = [pool.submit(Person(address, token).get, f"/api/review/media/c{k}/copy") for k in range(50)]
        while not any(thread.name.startswith("copies") for thread in threading.enumerate()):
            time.sleep(0.01)
        assert Person(address, token).post("/api/review/clip", clip="c7").status_code == 200
        assert not any(each.done() for each in waiting)
        answered.set()
        assert [each.result().content for each in waiting] == [f"c{k}".encode() for k in range(50)]
    review.close()


class listening:
    """A server of some configuration on a free port, for as long as the block."""

    def __init__(self, config: uvicorn.Config) -> None:
        self.server = uvicorn.Server(config)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)

    def __enter__(self) -> str:
        self.socket.bind(("127.0.0.1", 0))
        self.socket.listen(100)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]}, daemon=True)
        self.thread.start()
        return f"http://127.0.0.1:{self.socket.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self.thread.join(10)
        self.socket.close()
