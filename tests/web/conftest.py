"""A project with pairs to label, of clips whose grey level tells the frame; and a session whose clock stands still."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from rushes.media.write import encode_bytes
from rushes.records import Candidate, Clip
from rushes.store.database import Store
from rushes.web.labeling.assignments import Assignment, AssignmentStore
from rushes.web.labeling.label_rows import LabelingPlan, LabelSubmission
from rushes.web.labeling.labeling_section import labeling_section
from rushes.web.labeling.labeling_session import LabelingSession
from rushes.web.labeling.vote_table import VoteTable
from rushes.web.review.review_section import review_section
from rushes.web.review.review_session import ReviewSession
from rushes.web.server import config_of
from rushes.web.site import make_site

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ColorScheme = Literal["light", "dark"]
FPS, FRAMES, GREY_STEP = 8.0, 17, 13  # two seconds and a frame; frame i is grey level 16 + 13 i


def make_app(session: LabelingSession, title: str, local: bool = True, warning: str = "") -> FastAPI:
    """The server of the labelling page alone."""
    return make_site(session.assignments, title, [labeling_section(session, title)], local, warning)


def make_review_app(session: ReviewSession, title: str, local: bool = True, warning: str = "") -> FastAPI:
    """The server of the review page alone."""
    return make_site(session.people, title, [review_section(session, title)], local, warning)


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


def grey_clip(tint: int, lighter: int = 0) -> np.ndarray:
    """[F,32,32,3]: every frame has one grey level of its own; `tint` makes files differ."""
    levels = 16 + lighter + GREY_STEP * np.arange(FRAMES, dtype=np.uint8)
    frames = np.broadcast_to(levels[:, None, None, None], (FRAMES, 32, 32, 3)).copy()
    frames[:, :2, :2] = tint
    return frames


@cache
def encoded(tint: int, lighter: int = 0) -> bytes:
    return encode_bytes(grey_clip(tint, lighter), FPS)


def fill(store: Store, groups: int, takes: int = 2, media: bool = True, lighter: int = 0) -> list[list[str]]:
    """Real clips with takes of each, each so many levels lighter than the one before; ids of the takes by group."""
    found = []
    for g in range(groups):
        rows: list[Clip | Candidate] = []
        for k in range(takes + 1):
            name = f"clip{g}" if k == takes else f"take{g}-{k}"
            content = encoded((17 * g + 5 * k) % 255, lighter * k) if media else b""
            digest = store.put_media_bytes(content, ".mp4") if media else "0" * 64
            common: dict[str, Any] = {"id": name, "media": digest, "caption": f"prompt {g} <b>&</b>"}
            common |= {"width_px": 32, "height_px": 32, "frames": FRAMES, "fps": FPS}
            if k == takes:
                rows.append(Clip(**common, source="test"))
            else:
                rows.append(
                    Candidate(
                        **common, kind="take", group=f"g{g}", clip_id=f"clip{g}", system="base", made_by="w", seed=k
                    )
                )
        store.add(rows)
        found.append([row.id for row in rows[:-1]])
    return found


@pytest.fixture
def clock() -> Clock:
    return Clock()


class NewSession(Protocol):
    """A session over a project of `groups` groups; called again, the same project is opened anew."""

    def __call__(
        self,
        groups: int = 4,
        takes: int = 2,
        media: bool = False,
        folder: str = "project",
        time: Callable[[], float] | None = None,
        lighter: int = 0,
        **plan: Any,
    ) -> LabelingSession: ...


@pytest.fixture
def make_session(tmp_path: Path, clock: Clock) -> Iterator[NewSession]:
    opened: list[LabelingSession] = []
    groups_of: dict[Path, list[list[str]]] = {}

    def make(
        groups: int = 4,
        takes: int = 2,
        media: bool = False,
        folder: str = "project",
        time: Callable[[], float] | None = None,
        lighter: int = 0,
        **plan: Any,
    ) -> LabelingSession:
        path = tmp_path / folder
        store = Store.create(path)
        if path not in groups_of:
            groups_of[path] = fill(store, groups, takes, media, lighter)
        labeling_plan = LabelingPlan(**{"repeat_share": 0.0, "overlap_share": 0.0, **plan})
        votes = VoteTable(groups_of[path], labeling_plan.dimensions[0])
        votes.catch_up(store)
        opened.append(
            LabelingSession(store, votes, AssignmentStore(path / "labelling.db"), labeling_plan, time or clock)
        )
        return opened[-1]

    yield make
    for session in opened:
        session.close()


class NewTab(Protocol):
    """Opens an address in a new tab of a window so wide; errors that have the text `expected` are none."""

    def __call__(
        self, address: str, scheme: ColorScheme = "light", expected: str = "", width_px: int = 1280
    ) -> Page: ...


@pytest.fixture
def tab_of(browser: Browser) -> Iterator[NewTab]:
    """A new tab of a person who has not been here; errors and foreign requests fail the test at its end."""
    problems: list[str] = []
    with ExitStack() as stack:

        def make(address: str, scheme: ColorScheme = "light", expected: str = "", width_px: int = 1280) -> Page:
            context = browser.new_context(viewport={"width": width_px, "height": 720}, color_scheme=scheme)
            stack.callback(context.close)
            tab = context.new_page()
            tab.set_default_timeout(10_000)

            def note(text: str) -> None:
                if not expected or expected not in text:
                    problems.append(text)

            tab.on("console", lambda message: note(f"{message.type}: {message.text}"))
            tab.on("pageerror", lambda error: note(str(error)))
            tab.on("request", lambda request: note(request.url) if not ours(request.url, address) else None)
            tab.goto(address)
            return tab

        yield make
    assert problems == []


def ours(url: str, address: str) -> bool:
    address = "/".join(address.split("/")[:3])  # without the page and what is behind its #
    return url.startswith((address, f"blob:{address}", "blob:null/", "data:,"))  # null: of a report in its frame


def say(
    session: LabelingSession, annotator: str, item: Assignment, mark: int | None, event: str, revises: str = ""
) -> None:
    """Save one mark for every part of every question."""
    size = session.segments(item)
    labels = {name: (mark,) * size for name in session.plan.dimensions}
    session.save(annotator, item.id, LabelSubmission(event, revises, labels))


def running(session: LabelingSession, title: str = "test", local: bool = True) -> AbstractContextManager[str]:
    """The labelling page, see `serving`."""
    return serving(make_app(session, title, local))


class WithKey:
    """A server as for people who opened the address with the start key, though the test's address lacks it.

    Only requests that come without any token get the key, and only those by which a page finds out who is here.
    """

    def __init__(self, app: FastAPI) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asks = scope["type"] == "http" and scope["path"] in ("/api/hello", "/api/who", "/api/join")
        if asks and not any(name == b"authorization" for name, _ in scope["headers"]):
            key = f"Bearer {self.app.state.people.key}".encode()
            scope = {**scope, "headers": [*scope["headers"], (b"authorization", key)]}
        await self.app(scope, receive, send)


@contextmanager
def serving(app: ASGIApp, keyed: bool = True) -> Iterator[str]:
    """A page on a free port of this machine in a thread, for as long as the block; yields its address.

    `keyed`: people who come hold the start key, see `WithKey`; where others than this machine may come they never do.
    """
    served: ASGIApp = WithKey(app) if keyed and isinstance(app, FastAPI) and app.state.local else app
    listener = socket.socket(
        socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP
    )  # as the server's own, without delay
    listener.bind(("127.0.0.1", 0))
    listener.listen(100)  # whoever comes before the thread has begun waits
    server = uvicorn.Server(config_of(served))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()
