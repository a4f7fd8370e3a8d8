"""The labelling page over HTTP: pages, and a small interface of JSON that the page's script talks to."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import Response
from pydantic import Field

from rushes.records import Candidate, Clip
from rushes.web.labeling.assignments import Assignment
from rushes.web.labeling.label_rows import LabelSubmission, Side
from rushes.web.labeling.labeling_progress import own_progress, progress_of
from rushes.web.labeling.session import LabelingSession
from rushes.web.site import Body, Id, SiteSection, make_site, video_answer

_PROGRESS_S, _PROGRESS_SHARE = 5.0, 20  # counted anew after so long, and after 20 times the time that it took

Mark = Annotated[int, Field(ge=-1, le=1)] | None  # strict: true is no 1


class Next(Body):
    """What the page holds already."""

    have: list[Id] = Field(default_factory=list, max_length=4)


class OneItem(Body):
    """An item, or none."""

    item: Id | Literal[""] = ""


class SaveLabels(Body):
    """What a person says of an item."""

    item: Id
    event: Id
    revises: Id | Literal[""] = ""
    labels: Annotated[dict[str, Annotated[list[Mark], Field(max_length=4096)]], Field(max_length=32)]
    scores: dict[Literal["a", "b"], Annotated[float, Field(ge=0, le=10, strict=False, allow_inf_nan=False)]] = Field(
        default_factory=dict
    )


@dataclass
class _Cached:
    """Agreement takes a while to count over many labels, so it is not counted anew for every look at it."""

    session: LabelingSession
    until: float = -math.inf
    facts: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    def read(self) -> dict[str, Any]:
        with self._lock:
            began = time.monotonic()
            if began > self.until:
                self.facts = progress_of(self.session)
                now = time.monotonic()
                self.until = now + max(_PROGRESS_S, _PROGRESS_SHARE * (now - began))
            return self.facts


def make_app(session: LabelingSession, title: str, local: bool = True, warning: str = "") -> FastAPI:
    """The server of this section alone; `title`, `local` and `warning` as in `make_site`."""
    return make_site(session.assignments, title, [labeling_section(session, title)], local, warning)


def labeling_section(session: LabelingSession, title: str) -> SiteSection:
    """The labelling page and how far everybody is."""

    def routes(person: Any) -> APIRouter:
        router = APIRouter()
        _add_facts(router, session, title, person)
        _add_labels(router, session, person)
        return router

    return SiteSection("label", "Label", {"/label": "label.html", "/progress": "progress.html"}, routes, invited=True)


def _add_facts(router: APIRouter, session: LabelingSession, title: str, person: Any) -> None:
    cached = _Cached(session)

    @router.get("/me")
    async def me(name: str = person) -> dict[str, Any]:
        plan = session.plan
        questions = {"dimensions": list(plan.dimensions), "segment_s": plan.segment_s, "scores": plan.scores}
        here = {"name": name, "project": title, "place": session.assignments.place, "lease_s": plan.lease_s}
        return {**here, **questions, **session.progress(name)}

    @router.get("/progress")
    def progress(request: Request, name: str = person) -> dict[str, Any]:
        facts = cached.read() if request.state.owner else own_progress(cached.read(), name)
        return {"project": title, "name": name, **facts}


def _add_labels(router: APIRouter, session: LabelingSession, person: Any) -> None:
    # What takes a millisecond of memory and no disk runs where it is; what waits for the disk gets a thread.
    @router.post("/next")
    async def next_pair(body: Next, name: str = person) -> dict[str, Any]:
        item = session.next(name, tuple(body.have))
        return {"item": _shown(session, item) if item else None, **session.progress(name)}

    @router.post("/save")
    def save(body: SaveLabels, name: str = person) -> dict[str, Any]:
        session.save(name, body.item, LabelSubmission(body.event, body.revises, body.labels, body.scores))
        return {"saved": body.event, **session.progress(name)}

    @router.post("/back")
    def back(body: OneItem, name: str = person) -> dict[str, Any]:
        saved = session.back(name, body.item)
        if saved is None:
            return {"item": None}
        item, given = saved
        return {"item": _shown(session, item) | {"event": given.event, "labels": given.labels, "scores": given.scores}}

    @router.post("/renew")
    async def renew(name: str = person) -> dict[str, Any]:
        session.renew(name)
        return {}

    @router.post("/release")
    async def release(body: OneItem, name: str = person) -> dict[str, Any]:
        session.release(name, body.item)
        return {}

    @router.get("/media/{item}/{side}")
    def media(item: str, side: Side | Literal["real"], name: str = person) -> Response:
        return video_answer(lambda: session.media(name, item, side))


def _shown(session: LabelingSession, item: Assignment) -> dict[str, Any]:
    """What the page may know of an item: nothing that tells which clip is which."""
    a, real = session.side(item, "a"), session.real(item)
    rows: dict[str, Candidate | Clip] = {"a": a, "b": session.side(item, "b"), **({"real": real} if real else {})}
    clips = {
        side: {"fps": row.fps, "frames": row.frames, "width_px": row.width_px, "height_px": row.height_px}
        for side, row in rows.items()
    }
    return {"id": item.id, "prompt": a.caption, "clips": clips, "segments": session.segments(item), "until": item.until}
