"""The labelling page over HTTP: pages, and a small interface of JSON that the page's script talks to."""

from __future__ import annotations

import math
import mimetypes
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Header, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from rushes.records import Candidate, Clip
from rushes.web.desk import Desk
from rushes.web.guard import Guard
from rushes.web.ledger import Item
from rushes.web.marks import Labels, Refused, Side
from rushes.web.progress import progress_of

_PAGES = files("rushes.web") / "pages"
_PROGRESS_S, _PROGRESS_SHARE = 5.0, 20  # counted anew after so long, and after 20 times the time that it took
LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})

Id = Annotated[str, Field(pattern=r"^[0-9a-f-]{8,64}$")]
Mark = Annotated[int, Field(ge=-1, le=1)] | None  # strict: true is no 1


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Join(_Request):
    """A person says a name."""

    name: Annotated[str, Field(max_length=40)]


class Next(_Request):
    """What the page holds already."""

    have: Annotated[list[Id], Field(max_length=4)] = []


class OneItem(_Request):
    """An item, or none."""

    item: Id | Literal[""] = ""


class Save(_Request):
    """What a person says of an item."""

    item: Id
    event: Id
    revises: Id | Literal[""] = ""
    labels: Annotated[dict[str, Annotated[list[Mark], Field(max_length=4096)]], Field(max_length=32)]
    scores: dict[Literal["a", "b"], Annotated[float, Field(ge=0, le=10, strict=False, allow_inf_nan=False)]] = {}


@dataclass
class _Cached:
    """Agreement takes a while to count over many labels, so it is not counted anew for every look at it."""

    desk: Desk
    until: float = -math.inf
    facts: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    def read(self) -> dict[str, Any]:
        with self._lock:
            began = time.monotonic()
            if began > self.until:
                self.facts = progress_of(self.desk)
                now = time.monotonic()
                self.until = now + max(_PROGRESS_S, _PROGRESS_SHARE * (now - began))
            return self.facts


def make_app(desk: Desk, title: str, local: bool = True) -> FastAPI:
    """The application.

    Args:
        desk: what is labelled.
        title: name of the project, shown on the page.
        local: people on this machine join by saying their name; otherwise everybody needs an invitation.
    """
    app = FastAPI(title="Rushes labelling", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guard, hosts=LOCAL if local else None)
    _add_pages(app)
    _add_people(app, desk, title, local)
    _add_labels(app, desk)

    @app.exception_handler(Refused)
    def refused(request: Request, error: Refused) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 409)

    @app.exception_handler(RequestValidationError)
    def senseless(request: Request, error: RequestValidationError) -> JSONResponse:
        told = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()[:3])
        return JSONResponse({"detail": told}, 422)

    @app.exception_handler(OSError)
    def failed(request: Request, error: OSError) -> JSONResponse:
        return JSONResponse({"detail": f"Nothing was saved: {error.strerror or error}"}, 507)

    return app


def _add_pages(app: FastAPI) -> None:
    for resource in _PAGES.iterdir():
        kind = mimetypes.guess_type(resource.name)[0] or "application/octet-stream"
        path = {"label.html": "/", "progress.html": "/progress"}.get(resource.name, f"/static/{resource.name}")
        app.add_api_route(path, _page(resource.read_bytes(), kind), methods=["GET"])


def _page(body: bytes, kind: str) -> Callable[[], Response]:
    def page() -> Response:
        return Response(body, media_type=kind)

    return page


def _person(desk: Desk) -> Callable[..., Awaitable[str]]:
    async def person(authorization: Annotated[str, Header()] = "") -> str:
        name = desk.ledger.who(authorization.removeprefix("Bearer ").strip())
        if name is None:
            raise HTTPException(401, "This page does not know you; open your invitation again.")
        return name

    return person


def _add_people(app: FastAPI, desk: Desk, title: str, local: bool) -> None:
    cached, person = _Cached(desk), Depends(_person(desk))

    @app.get("/api/hello")
    async def hello() -> dict[str, Any]:
        return {"project": title, "join": local}

    @app.post("/api/join")
    async def join(body: Join) -> dict[str, Any]:
        if not local:
            raise HTTPException(403, "Open the invitation that you were sent.")
        name = " ".join(body.name.split())
        try:
            return {"token": desk.ledger.invite(name), "name": name}
        except ValueError as error:
            raise HTTPException(422, str(error)) from error

    @app.get("/api/me")
    async def me(name: str = person) -> dict[str, Any]:
        plan = desk.plan
        told = {"dimensions": list(plan.dimensions), "segment_s": plan.segment_s, "scores": plan.scores}
        return {"name": name, "project": title, "lease_s": plan.lease_s, **told, **desk.progress(name)}

    @app.get("/api/progress")
    def progress(name: str = person) -> dict[str, Any]:
        return {"project": title, "name": name, **cached.read()}


def _add_labels(app: FastAPI, desk: Desk) -> None:
    # What takes a millisecond of memory and no disk runs where it is; what waits for the disk gets a thread.
    person = Depends(_person(desk))

    @app.post("/api/next")
    async def next_pair(body: Next, name: str = person) -> dict[str, Any]:
        item = desk.next(name, tuple(body.have))
        return {"item": _shown(desk, item) if item else None, **desk.progress(name)}

    @app.post("/api/save")
    def save(body: Save, name: str = person) -> dict[str, Any]:
        desk.save(name, body.item, Labels(body.event, body.revises, body.labels, body.scores))
        return {"saved": body.event, **desk.progress(name)}

    @app.post("/api/back")
    def back(body: OneItem, name: str = person) -> dict[str, Any]:
        found = desk.back(name, body.item)
        if found is None:
            return {"item": None}
        item, given = found
        return {"item": _shown(desk, item) | {"event": given.event, "labels": given.labels, "scores": given.scores}}

    @app.post("/api/renew")
    async def renew(name: str = person) -> dict[str, Any]:
        desk.renew(name)
        return {}

    @app.post("/api/release")
    async def release(body: OneItem, name: str = person) -> dict[str, Any]:
        desk.release(name, body.item)
        return {}

    @app.get("/api/media/{item}/{side}")
    def media(item: str, side: Side | Literal["real"], name: str = person) -> Response:
        try:
            path = desk.media(name, item, side)
        except Refused:
            raise
        except ValueError as error:
            raise HTTPException(404, "This video is missing from the project.") from error
        return FileResponse(path, media_type=mimetypes.guess_type(path.name)[0] or "video/mp4", filename=None)


def _shown(desk: Desk, item: Item) -> dict[str, Any]:
    """What the page may know of an item: nothing that tells which clip is which."""
    a, real = desk.side(item, "a"), desk.real(item)
    rows: dict[str, Candidate | Clip] = {"a": a, "b": desk.side(item, "b"), **({"real": real} if real else {})}
    clips = {
        side: {"fps": row.fps, "frames": row.frames, "width_px": row.width_px, "height_px": row.height_px}
        for side, row in rows.items()
    }
    return {"id": item.id, "prompt": a.caption, "clips": clips, "segments": desk.segments(item), "until": item.until}
