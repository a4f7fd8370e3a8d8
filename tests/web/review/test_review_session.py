"""What people say of clips: stored once, never lost, never over an answer that was not seen; and all that over HTTP."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

import httpx
import pytest

from rushes.cli import main
from rushes.records import Decision
from rushes.store.database import Store
from rushes.web.accounts import AccessDenied
from rushes.web.review.review_session import ReviewAnswer, ReviewSession

from ...forked import start_into
from ..conftest import Clock, make_review_app, serving
from ..labeling.test_labeling_section import SENSELESS, Page
from .reviewing import open_at, say


@pytest.fixture
def review(tmp_path: Path, clock: Clock) -> Iterator[ReviewSession]:
    made = open_at(tmp_path / "project", media=False, clock=clock)
    yield made
    made.close()


def captions(review: ReviewSession) -> dict[str, str]:
    return {clip.id: clip.caption for clip in review.store.clips()}


def test_answers_decide_what_is_in_the_set(review: ReviewSession) -> None:
    assert "c2" not in captions(review) and "c0" in captions(review)
    say(review, "ada", "c2", True, caption="  mine \n all ")
    say(review, "ada", "c0", False, reason=" off   topic ")
    assert captions(review)["c2"] == "mine all" and "c0" not in captions(review)
    row = review.store.decisions()["c0"]
    assert (row.person, row.made_by, row.reason, row.keep) == (True, "ada", "off topic", False)
    assert row.created_at.endswith("+00:00")
    say(review, "ada", "c0", None)
    assert captions(review)["c0"] == "caption 0 <b>&</b>" and review.decided_by("ada") == 1


def test_an_answer_that_comes_twice_is_stored_once(review: ReviewSession) -> None:
    answer = ReviewAnswer("c0", "event-1", "", True, caption="text")
    for _ in range(3):
        review.save("ada", answer)
    assert len(list(review.store.stream(Decision))) == 8 + 1
    with pytest.raises(AccessDenied, match="other content"):
        review.save("ada", ReviewAnswer("c0", "event-1", "", False))
    say(review, "bob", "c0", False)
    review.save("ada", answer)  # late, and known: it changes nothing
    assert not review.store.decisions()["c0"].keep


def test_nobody_overwrites_what_they_have_not_seen(review: ReviewSession) -> None:
    say(review, "ada", "c0", False)
    with pytest.raises(AccessDenied, match="ada dropped this clip meanwhile"):
        review.save("bob", ReviewAnswer("c0", "bobs-first", "", True))
    with pytest.raises(AccessDenied, match="You dropped this clip in another window"):
        review.save("ada", ReviewAnswer("c0", "adas-other", "", True))
    say(review, "bob", "c0", True)
    assert review.store.decisions()["c0"].made_by == "bob"
    say(review, "bob", "c0", None)
    assert review.store.decisions()["c0"].made_by == "ada", "who takes back leaves what others said"
    with pytest.raises(AccessDenied, match="ada dropped this clip"):
        review.save("bob", ReviewAnswer("c0", "bobs-third", "no such row", True))


def test_two_people_get_different_clips_until_a_lease_ends(review: ReviewSession, clock: Clock) -> None:
    ada = review.deal("ada", "undecided", None, "", (), 3)
    assert ada == ("c0", "c1", "c3")
    assert review.deal("bob", "undecided", None, "", (), 2) == ("c4", "c5")
    assert review.deal("ada", "undecided", None, "c3", ("c1", "c3"), 9) == ("c7",), "not what bob looks at"
    assert review.deal("bob", "undecided", None, "", (), 1) == ("c0",), "ada has let go of it"
    clock.now += review.lease_s + 1
    assert review.deal("bob", "undecided", None, "", (), 9) == ("c0", "c1", "c3", "c4", "c5", "c7")


def test_what_another_process_decides_is_seen(review: ReviewSession) -> None:
    with Store.open(review.store.project) as other:
        other.add([Decision("x1", "c1", False, "motion: nothing moves"), Decision("x2", "c0", True, "", "densest")])
    assert review.deal("ada", "undecided", None, "", (), 2) == ("c0", "c3")
    assert review.facts("c0").caption == "densest"


def test_back_and_a_new_start_know_the_order(review: ReviewSession, tmp_path: Path) -> None:
    for clip in ("c3", "c0", "c1"):
        say(review, "ada", clip, True)
    say(review, "ada", "c0", None)
    with_more = open_at(tmp_path / "project")
    for one in (review, with_more):
        assert [one.back("ada"), one.back("ada", "c1"), one.back("ada", "c3"), one.back("bob")] == [
            "c1",
            "c3",
            None,
            None,
        ]
        assert one.people_at_work() == {"ada": 2}
    with_more.close()


def test_threads_that_answer_at_once_lose_nothing(review: ReviewSession) -> None:
    """Four people answer every clip as often as they are let; what was accepted is there, in one order."""
    accepted: list[tuple[str, str]] = []

    def work(person: str) -> None:
        for clip in review.queue.ids:
            for turn in range(3):
                last = review.queue.history(clip).person()
                event = f"{person}-{clip}-{turn}-event"
                try:
                    review.save(person, ReviewAnswer(clip, event, last.id if last else "", turn % 2 == 0))
                except AccessDenied:
                    continue
                accepted.append((clip, person))

    people = ["ada", "bob", "cyd", "dan"]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, people))
    rows = [row for row in review.store.stream(Decision) if row.person]
    assert sorted((row.subject, row.made_by) for row in rows) == sorted(accepted) and len(accepted) >= len(people)
    for clip in review.queue.ids:
        assert review.queue.history(clip).person() == [row for row in rows if row.subject == clip][-1]


# ---- over HTTP -----------------------------------------------------------------------------------------------------


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    made = open_at(tmp_path / "project")
    with serving(make_review_app(made, "my <project>")) as address:
        client = Page(address, "review")
        client.join("ada")
        yield client
        client.http.close()
    made.close()


def test_a_clip_is_reviewed_from_start_to_end(page: Page) -> None:
    me = page.get("/api/review/me").json()
    assert me["name"] == "ada" and me["decided"] == 0 and me["queues"]["undecided"] == 6 and me["queues"]["near"] == 8
    hug = {"name": "hug", "wanted": 2, "in_footage": 3, "in_set": 2, "by_people": 0, "missing": 0}
    assert me["scenarios"][0] == hug
    clip, other = page.post("deal", queue="undecided", count=2)["clips"]
    assert (clip["id"], other["id"]) == ("c0", "c1")
    assert clip["caption"] == "caption 0 <b>&</b>" and clip["texts"] == {"dense": "a denser one"}
    assert clip["source"] == "footage/file 0.mp4" and clip["scenario"] == "hug" and clip["frames"] == 17
    blur = {"name": "technical/blur", "value": 0.1, "low": None, "high": 0.7, "out": False}
    assert clip["values"] == [blur]
    assert clip["said"]["keep"] and clip["said"]["program"]["by"] == "rushes curate" and not clip["said"]["people"]
    body = {"clip": "c0", "event": "a" * 12, "keep": False, "reason": "a cut inside"}
    told = page.post("save", **body)
    assert told["decided"] == 1 and told["said"]["people"][0]["reason"] == "a cut inside"
    assert page.post("save", **body)["decided"] == 1
    refused = page.send("save", body | {"event": "b" * 12})
    assert refused.status_code == 409 and "another window" in refused.json()["detail"]
    assert page.post("back")["clip"]["said"]["revises"] == told["said"]["revises"]
    (dropped,) = page.post("deal", queue="dropped", count=1)["clips"]
    assert dropped["id"] == "c2" and dropped["values"][0]["out"]
    assert dropped["said"]["program"]["reason"] == "technical: blur 0.71, at most 0.7"


def test_videos_and_copies_are_the_clips(page: Page) -> None:
    files = [page.get(f"/api/review/media/{clip}/file") for clip in ("c0", "c1")]
    assert all(file.headers["content-type"] == "video/mp4" for file in files) and files[0].content != files[1].content
    copy = page.get("/api/review/media/c0/copy")
    assert copy.status_code == 200 and copy.content[4:8] == b"ftyp"
    assert page.get("/api/review/media/c99/file").status_code == 409


@pytest.mark.parametrize("queue", ["everything", "", None, 3])
def test_an_unknown_queue_is_refused(page: Page, queue: object) -> None:
    assert page.send("deal", {"queue": queue}).status_code == 422


def test_what_makes_no_sense_is_refused_and_stores_nothing(page: Page, tmp_path: Path) -> None:
    bodies = [
        {"clip": "c0", "event": "a" * 12, "keep": 1},
        {"clip": "c0", "event": "a" * 12},
        {"clip": "c0", "event": "short", "keep": True},
        {"clip": "c0", "event": "a" * 12, "keep": True, "reason": "x" * 201},
        {"clip": "c0", "event": "a" * 12, "keep": True, "person": True},
        {"clip": "c0", "event": "a" * 12, "keep": True, "caption": "x" * 8001},
    ]
    assert {page.send("save", body).status_code for body in bodies} == {422}
    for content in SENSELESS:
        headers = {"authorization": f"Bearer {page.token}", "content-type": "application/json"}
        assert page.http.post("/api/review/save", content=content, headers=headers).status_code in (409, 422), content
    assert page.send("save", {"clip": "nowhere", "event": "a" * 12, "keep": True}).status_code == 409
    lone = b'{"clip": "c0", "event": "aaaaaaaaaaaa", "keep": true, "caption": "\\ud800"}'
    headers = {"authorization": f"Bearer {page.token}", "content-type": "application/json"}
    assert page.http.post("/api/review/save", content=lone, headers=headers).status_code in (409, 422)
    with Store.open(tmp_path / "project") as store:
        assert not any(row.person for row in store.stream(Decision))


def test_strangers_and_foreign_pages_get_nothing(page: Page) -> None:
    body = {"clip": "c0", "event": "a" * 12, "keep": False}
    for headers in ({"origin": "https://evil.example"}, {"origin": ""}, {"host": "evil.example:80"}):
        assert page.send("save", body, **headers).status_code == 403
    page.token = "guessed"
    assert page.send("save", body).status_code == 401
    assert {
        page.get(path).status_code
        for path in ("/api/review/me", "/api/review/media/c0/file", "/api/review/media/c0/copy")
    } == {401}
    assert page.http.get("/progress").status_code == 404 and page.http.get("/static/label.html").status_code == 404
    assert page.http.get("/").text.count("http") == 0, "nothing is asked of another server"


def test_away_from_home_only_invited_people_come_in(tmp_path: Path) -> None:
    made = open_at(tmp_path / "project", media=False)
    with serving(make_review_app(made, "away", local=False)) as address:
        client = Page(address, "review")
        assert client.send("join", {"name": "eve"}).status_code == 403
        client.token = made.people.invite("ada")
        assert client.get("/api/review/me").json()["name"] == "ada"
        client.http.close()
    made.close()


@contextmanager
def started(project: Path) -> Iterator[tuple[BaseProcess, str]]:
    """`rushes review` in a process of its own, and its address."""
    pipe = project / "lines"
    pipe.unlink(missing_ok=True)
    os.mkfifo(pipe)
    program, arguments = "from rushes.cli import main; main(arguments)", ["review", str(project), "--port", "0"]
    server = start_into(Path(os.devnull), pipe, program, arguments=arguments)
    try:
        with pipe.open() as lines:
            address = re.search(r"http://\S+?(?=;)", lines.readline())
            assert address
            yield server, address[0]
    finally:
        server.kill()
        server.join()


def test_a_killed_server_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    project = tmp_path / "project"
    main(["init", str(project)])
    open_at(project, count=60, media=False).close()
    acknowledged: list[str] = []
    enough = threading.Event()

    def work(address: str, person: str) -> None:
        client = Page(address, "review")
        try:
            client.join(person)  # which the other person may have been too quick for
            for k in range(60):
                body = {"clip": f"c{k}", "event": f"{k:012d}", "keep": False, "reason": person}
                if client.send("save", body).status_code == 200:
                    acknowledged.append(f"c{k}")
                    if len(acknowledged) >= 12:
                        enough.set()
        except httpx.TransportError:
            return
        finally:
            client.http.close()

    with started(project) as (server, address), ThreadPoolExecutor(2) as pool:
        running = [pool.submit(work, address, person) for person in ("ada", "bob")]
        assert enough.wait(30)
        server.kill()
        for one in running:
            one.result()
    assert len(acknowledged) < 60, "it was killed in the middle"
    with Store.open(project) as store:
        stored = {row.subject for row in store.stream(Decision) if row.person}
    assert set(acknowledged) <= stored
    with started(project) as (_, address):
        client = Page(address, "review")
        client.join("cyd")
        assert client.get("/api/review/me").json()["queues"]["people"] == len(stored)
        client.http.close()
