"""The page's interface over HTTP, with all that stands between it and the network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from rushes.web.guard import BODY_BYTES, BURST, Rate

from ..conftest import Clock, NewSession, make_app, running, serving


class Page:
    """What a browser would send to a section: the right origin, and the token of a person."""

    def __init__(self, address: str, section: str = "label") -> None:
        self.section = section
        address, _, self.key = address.partition("#key=")  # as a command prints it
        origin = "/".join(address.split("/")[:3])
        self.http = httpx.Client(base_url=origin, headers={"origin": origin}, timeout=30, verify=False)

    def join(self, name: str) -> str:
        self.token = str(self.post("join", name=name)["token"])
        return self.token

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        response = self.send(path, body)
        assert response.status_code == 200, response.text
        return dict(response.json())

    def send(self, path: str, body: Any, **headers: str) -> httpx.Response:
        token = {"authorization": f"Bearer {bearer}"} if (bearer := getattr(self, "token", self.key)) else {}
        place = path if path == "join" else f"{self.section}/{path}"
        return self.http.post(f"/api/{place}", json=body, headers={**token, **headers})

    def get(self, path: str) -> httpx.Response:
        token = {"authorization": f"Bearer {self.token}"} if hasattr(self, "token") else {}
        return self.http.get(path, headers=token)


@pytest.fixture
def page(make_session: NewSession) -> Iterator[Page]:
    session = make_session(media=True, dimensions=("overall", "motion"))
    with running(session, "my <project>") as address, httpx.Client():
        made = Page(address)
        yield made
        made.http.close()


def test_every_page_says_what_to_know_of_the_clips(make_session: NewSession) -> None:
    with serving(make_app(make_session(), "test", warning="a <toy>")) as address:
        for page in ("/", "/progress"):
            assert '<b class="warning">a &lt;toy&gt;</b>' in httpx.get(address + page).text
    with running(make_session(), "test") as address:
        assert "warning" not in httpx.get(address).text


def test_a_pair_is_labelled_from_start_to_end(page: Page) -> None:
    assert page.get("/api/hello").json() == {"project": "my <project>", "join": True}
    page.join("  ada   lovelace ")
    me = page.get("/api/label/me").json()
    assert (me["name"], me["dimensions"], me["segment_s"], me["pairs"]) == (
        "ada lovelace",
        ["overall", "motion"],
        1.0,
        4,
    )
    item = page.post("next")["item"]
    assert item["segments"] == 2 and set(item["clips"]) == {"a", "b", "real"} and item["prompt"].startswith("prompt ")
    body = {"item": item["id"], "event": "0" * 12, "labels": {"overall": [1, None], "motion": [0, -1]}}
    assert page.post("save", **body)["done"] == 1
    assert page.post("save", **body)["done"] == 1
    assert page.post("next")["item"]["id"] != item["id"]
    back = page.post("back")["item"]
    assert back["id"] == item["id"] and back["event"] == "0" * 12
    assert back["labels"] == {"overall": [1, None], "motion": [0, -1]}
    facts = page.get("/api/label/progress").json()
    assert facts["pairs"] == 4 and facts["people"][0]["pairs"] == 1


def test_nothing_tells_which_clip_is_which(page: Page) -> None:
    page.join("ada")
    item = page.post("next")["item"]
    text = json.dumps(item)
    assert "take" not in text and "base" not in text and "0" * 64 not in text
    responses = [page.get(f"/api/label/media/{item['id']}/{side}") for side in ("a", "b", "real")]
    assert all(r.status_code == 200 and r.headers["content-type"] == "video/mp4" for r in responses)
    assert len({r.content for r in responses}) == 3
    assert "content-disposition" not in responses[0].headers


def test_nothing_is_done_without_a_token(page: Page) -> None:
    for path in ("next", "save", "back", "release", "renew"):
        response = page.send(path, {"item": "a" * 24, "event": "b" * 12, "labels": {}} if path == "save" else {})
        assert response.status_code in (401, 422), path
        page.token = "guessed"
    for path in ("/api/label/me", "/api/label/progress", f"/api/label/media/{'a' * 24}/a"):
        assert page.get(path).status_code == 401


def test_another_origin_or_name_writes_nothing(page: Page) -> None:
    page.join("ada")
    evil = "https://evil.example"
    for headers in ({"origin": evil}, {"origin": "null"}, {"origin": ""}, {"host": "evil.example:80"}):
        assert page.send("next", {}, **headers).status_code == 403, headers
    assert page.http.get("/api/hello", headers={"host": "evil.example"}).status_code == 403


OUTSIDE = (
    "/api/label/media/../../../../etc/passwd/a",
    "/api/label/media/%2e%2e%2f%2e%2e%2frushes.db/a",
    "/static/../app.py",
    "/static/%2e%2e/app.py",
    "/static/..%2fapp.py",
    "/rushes.db",
    "/static/",
)


def test_no_file_but_the_page_and_its_clips_is_served(page: Page) -> None:
    page.join("ada")
    for path in OUTSIDE:
        response = page.get(path)
        assert response.status_code in (401, 404, 405, 409, 422) and b"import" not in response.content, path


def test_a_link_out_of_the_media_folder_is_not_followed(page: Page, tmp_path: Path) -> None:
    page.join("ada")
    item = page.post("next")["item"]
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(b"secret")
    for path in (tmp_path / "project" / "media").rglob("*.mp4"):
        path.unlink()
        path.symlink_to(secret)
    response = page.get(f"/api/label/media/{item['id']}/a")
    assert response.status_code == 404 and b"secret" not in response.content
    for path in (tmp_path / "project" / "media").rglob("*.mp4"):
        path.unlink()
    assert page.get(f"/api/label/media/{item['id']}/a").status_code == 404


SENSELESS = (
    b"",
    b"{",
    b"[]",
    b'{"item": 3}',
    b'{"item": "x", "event": "e", "labels": {}}',
    b'{"item": "aaaaaaaa", "event": "bbbbbbbb", "labels": {"overall": [2]}}',
    b'{"item": "aaaaaaaa", "event": "bbbbbbbb", "labels": {"overall": ["1"]}}',
    b'{"item": "aaaaaaaa", "event": "bbbbbbbb", "labels": {"overall": [true]}}',
    b'{"item": "aaaaaaaa", "event": "bbbbbbbb", "labels": {}, "scores": {"a": 11}}',
    b'{"item": "aaaaaaaa", "event": "bbbbbbbb", "labels": {}, "scores": {"a": NaN}}',
    b'{"item": "aaaaaaaa", "event": "bbbbbbbb", "labels": {}, "more": 1}',
    b"\xff\xfe",
)


def test_what_makes_no_sense_is_refused(page: Page) -> None:
    page.join("ada")
    headers = {"authorization": f"Bearer {page.token}", "content-type": "application/json"}
    for body in SENSELESS:
        assert page.http.post("/api/label/save", content=body, headers=headers).status_code in (400, 422), body


def test_a_name_is_a_name(page: Page) -> None:
    for name in ("", " ", "<b>", "../../x", "a" * 41, "-", "human:ada", "ada#again"):
        assert page.send("join", {"name": name}).status_code == 422, name
    assert page.post("join", name="a\nb\tc")["name"] == "a b c"


def test_bodies_are_limited(page: Page) -> None:
    page.join("ada")
    assert page.send("save", {"item": "a" * BODY_BYTES}).status_code == 413
    headers = {"authorization": f"Bearer {page.token}", "content-type": "application/json"}
    endless = page.http.post("/api/label/save", content=iter([b"x" * 1000] * 200), headers=headers)
    assert endless.status_code == 411


def test_requests_are_limited_per_person(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    page.join("ada")
    monkeypatch.setattr("rushes.web.guard.PER_SECOND", 0.0)
    codes = [page.get("/api/label/me").status_code for _ in range(int(BURST) + 5)]
    assert 429 in codes and codes[:20] == [200] * 20
    assert page.http.get("/api/hello").status_code == 200


def test_rate_fills_again(clock: Clock) -> None:
    rate = Rate(clock)
    assert [rate.allow("a") for _ in range(int(1.1 * BURST))][-1] is False  # which takes a while
    assert rate.allow("b")
    clock.now += 1
    assert rate.allow("a")


def test_pages_are_sent_with_a_strict_policy(page: Page) -> None:
    for path in ("/", "/progress", "/static/label.js", "/static/page.css"):
        response = page.http.get(path)
        assert response.status_code == 200
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert response.headers["x-content-type-options"] == "nosniff"
    assert "http" not in page.http.get("/static/page.css").text


def test_away_from_home_only_invited_people_come_in(make_session: NewSession) -> None:
    session = make_session()
    invited = session.assignments.invite("ada")
    with running(session, "x", local=False) as address:
        page = Page(address)
        assert page.send("join", {"name": "eve"}).status_code == 403
        assert page.send("next", {}).status_code == 401
        page.token = invited
        assert page.post("next")["item"]
        renewed = session.assignments.invite("ada")
        assert page.send("next", {}).status_code == 401
        page.token = renewed
        assert page.post("next")["item"]
        page.http.close()
    assert invited not in (session.store.project / "labelling.db").read_bytes().decode("latin-1")


def test_a_full_disk_is_said_and_nothing_is_acknowledged(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    page.join("ada")
    item = page.post("next")["item"]

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    body = {"item": item["id"], "event": "0" * 12, "labels": {"overall": [1, 1], "motion": [1, 1]}}
    with monkeypatch.context() as patch:
        patch.setattr("rushes.store.database.Store.add", full)
        response = page.send("save", body)
        assert response.status_code == 507 and "No space left" in response.text
    assert page.post("save", **body)["done"] == 1
