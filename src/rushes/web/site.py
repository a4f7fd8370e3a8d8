"""What the pages of a project share: the server around them, their files, and the people who open them."""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import BaseModel, ConfigDict, Field

from rushes.plugins import modules_of
from rushes.web.accounts import AccessDenied, Accounts, NameTaken, Visitor, bearer
from rushes.web.guard import Guard, Rate, network_of

if TYPE_CHECKING:
    from rushes.evaluate.votes import VoteStanding
    from rushes.web.labeling.labeling_session import LabelingSession
    from rushes.web.review.review_session import ReviewSession

_FILES = files("rushes.web") / "pages"
_PAGES = Environment(
    loader=PackageLoader("rushes.web", "pages"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    keep_trailing_newline=True,
)
_ROOMS = ("studio", "review", "labeling")  # whose modules may have a function `sections`
_ENTRIES_A_SECOND, _ENTRIES = 0.2, 20  # of one network by the open link: lastingly, and at once
LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})

Id = Annotated[str, Field(pattern=r"^[0-9a-f-]{8,64}$")]
Person = Callable[..., Awaitable[str]]


class Body(BaseModel):
    """What a request may hold: what is named, and of the type that is named."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Join(Body):
    """The owner says a name; `again`: one that the start key gave out before."""

    name: Annotated[str, Field(max_length=40)]
    again: bool = False


class OpenLinkLogin(Body):
    """Somebody comes by the open link, under an id that a platform gave them."""

    door: Annotated[str, Field(max_length=64)]
    id: Annotated[str, Field(max_length=64)]


class NotThere(ValueError):
    """What a section shows is not there yet; the text says so, with the command that makes it."""


@dataclass(frozen=True)
class SiteSection:
    """A part of the server: its pages, and the JSON under /api/NAME that their scripts talk to."""

    name: str
    title: str  # in the navigation
    pages: Mapping[str, str]  # address -> template in pages/; the first is the section's own
    # adds its addresses to a router; with the dependency that says who asks, which sets request.state.owner
    routes: Callable[[APIRouter, Any], None]
    place: int = 0  # in the navigation, rising; tests/web/test_sections.py lists the titles in this order
    policy: str = ""  # Content-Security-Policy of its pages; "" = that of all pages
    invited: bool = False  # whether people with an invitation may open it, under a name; else it is the owner's alone
    nameless: frozenset[str] = frozenset()  # what right under /api/NAME/ the owner may look at before saying a name
    crowd: bool = False  # whether people of the open link may open it too


@dataclass(frozen=True)
class StudioProject:
    """A project, as its pages see it; nothing of it is read before it is asked for."""

    folder: Path
    title: str
    facts: Callable[[], object]  # all that the first page shows; ValueError where it cannot be read, with what to do
    review: ReviewSession
    labeling: LabelingSession
    vote: LabelingSession
    standing: Callable[[], VoteStanding | None]  # of the vote; None where there is nothing to vote on

    def named_in(self, text: str) -> str:
        """A text whose commands name the project in place of {project}."""
        return text.format(project=quote(str(self.folder)))


def all_sections(project: StudioProject) -> list[SiteSection]:
    """Those of every module, in their order in the navigation."""
    modules = [import_module(f"rushes.web.{room}.{name}") for room in _ROOMS for name in modules_of(f"web/{room}")]
    sections = [each for module in modules if hasattr(module, "sections") for each in module.sections(project)]
    return sorted(sections, key=lambda section: section.place)


def make_site(
    people: Accounts, title: str, sections: Sequence[SiteSection], local: bool = True, warning: str = ""
) -> FastAPI:
    """A server of some sections; `/` is the first page of the first.

    Args:
        people: who may come in; its start key opens everything.
        title: name of the project, shown on the page.
        sections: parts of the server, in their order in the navigation.
        local: it answers to this machine's own names only; otherwise to any, and tokens from before then end.
        warning: what everybody should know of the clips, at the top of each page; "" = nothing.
    """
    app = FastAPI(title="Rushes", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.people, app.state.local = people, local
    people.opened(local)
    app.add_middleware(
        Guard, hosts=LOCAL if local else None, caller_of=lambda token: _counted_as(people.visitor(token))
    )
    _add_pages(app, sections, warning)
    _add_people(app, people, title)
    for section in sections:
        router = APIRouter(prefix=f"/api/{section.name}")
        section.routes(router, Depends(_person(people, section)))
        app.include_router(router)
    _add_refusals(app)
    return app


def _add_refusals(app: FastAPI) -> None:

    @app.exception_handler(AccessDenied)
    def refused(request: Request, error: AccessDenied) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 409)

    @app.exception_handler(NotThere)
    def not_there(request: Request, error: NotThere) -> JSONResponse:
        owner = getattr(request.state, "owner", False)
        text = str(error) if owner else "There is nothing here yet; ask the person who invited you."
        return JSONResponse({"detail": text}, 424)

    @app.exception_handler(RequestValidationError)
    def senseless(request: Request, error: RequestValidationError) -> JSONResponse:
        problems = "; ".join(
            f"{'.'.join(map(str, item['loc'])):.80}: {item['msg']:.200}" for item in error.errors()[:3]
        )
        return JSONResponse({"detail": problems}, 422)

    @app.exception_handler(OSError)
    def failed(request: Request, error: OSError) -> JSONResponse:
        return JSONResponse({"detail": f"Nothing was saved: {error.strerror or error}"}, 507)


class _Undated(FileResponse):
    """A file without the time at which it was written, which would say which of two clips is the newer."""

    def set_stat_headers(self, stat_result: os.stat_result) -> None:
        self.headers.setdefault("content-length", str(stat_result.st_size))

    def _should_use_range(self, http_if_range: str) -> bool:
        return False  # nothing that it could be compared with was sent


def video_answer(find: Callable[[], Path]) -> Response:
    """The video file that `find` names, or 404 where it is missing; `AccessDenied` goes through."""
    try:
        path = find()
    except AccessDenied:
        raise
    except ValueError as error:
        raise HTTPException(404, "This video is missing from the project.") from error
    return _Undated(path, media_type=mimetypes.guess_type(path.name)[0] or "video/mp4", filename=None)


def _add_pages(app: FastAPI, sections: Sequence[SiteSection], warning: str) -> None:
    home = next(iter(sections[0].pages))
    for section in sections:
        for address, name in section.pages.items():
            page = _PAGES.get_template(name).render(warning=warning, sections=sections, section=section, here=address)
            for place in (address, "/") if address == home else (address,):
                app.add_api_route(place, _always(page, "text/html", section.policy), methods=["GET"])
    for file in _FILES.iterdir():
        if not file.name.endswith(".html"):
            kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
            app.add_api_route(f"/static/{file.name}", _always(file.read_bytes(), kind), methods=["GET"])


def _always(body: str | bytes, kind: str, policy: str = "") -> Callable[[], Response]:
    headers = {"content-security-policy": policy} if policy else None

    def answer() -> Response:
        return Response(body, media_type=kind, headers=headers)

    return answer


def _counted_as(visitor: Visitor | None) -> str:
    return (visitor.name or "the owner") if visitor else ""


def _visitor(people: Accounts, authorization: str) -> Visitor:
    visitor = people.visitor(bearer(authorization))
    if visitor is None:
        raise HTTPException(
            401, "This page does not know you; open your invitation again, or the address that the command printed."
        )
    return visitor


def _person(people: Accounts, section: SiteSection) -> Person:
    async def person(request: Request, authorization: Annotated[str, Header()] = "") -> str:
        visitor = _visitor(people, authorization)
        if not (section.invited or visitor.owner):
            raise HTTPException(403, "This page is for the project's owner alone.")
        asked = request.url.path.removeprefix(f"/api/{section.name}/").partition("/")[0]
        looks = visitor.owner and asked in section.nameless
        if visitor.crowd and not section.crowd:
            raise HTTPException(403, "This page is not for people who came by the open link.")
        if section.invited and not visitor.name and not looks:
            raise HTTPException(401, "Say your name first.")
        request.state.owner = visitor.owner
        return visitor.name

    return person


def _add_people(app: FastAPI, people: Accounts, title: str) -> None:
    @app.get("/api/hello")
    async def hello(authorization: Annotated[str, Header()] = "") -> dict[str, Any]:
        visitor = people.visitor(bearer(authorization))
        return {"project": title, "join": visitor == Visitor("", owner=True)}

    @app.get("/api/who")
    async def who(authorization: Annotated[str, Header()] = "") -> dict[str, Any]:
        visitor = _visitor(people, authorization)
        return {"project": title, "name": visitor.name, "owner": visitor.owner, "crowd": visitor.crowd}

    entries = Rate(per_second=_ENTRIES_A_SECOND, burst=_ENTRIES)

    @app.post("/api/enter")
    async def enter(body: OpenLinkLogin, request: Request) -> dict[str, Any]:
        if not entries.allow(network_of(request.client.host if request.client else "")):
            raise HTTPException(429, "Many people come from your network; wait a minute.")
        try:
            name, token = people.enter(body.door, body.id)
        except AccessDenied as error:
            raise HTTPException(403, str(error)) from error
        except ValueError as error:
            raise HTTPException(422, str(error)) from error
        return {"token": token, "name": name}

    @app.post("/api/join")
    async def join(body: Join, authorization: Annotated[str, Header()] = "") -> dict[str, Any]:
        if people.visitor(bearer(authorization)) != Visitor("", owner=True):
            raise HTTPException(403, "Open the invitation that you were sent, or the address that the command printed.")
        name = " ".join(body.name.split())
        try:
            return {"token": people.join(name, body.again), "name": name}
        except NameTaken as error:
            raise HTTPException(409 if error.again else 403, str(error)) from error
        except ValueError as error:
            raise HTTPException(422, str(error)) from error
