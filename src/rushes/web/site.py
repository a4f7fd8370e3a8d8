"""What the pages of a project share: the server around them, their files, and the people who open them."""

from __future__ import annotations

import mimetypes
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import BaseModel, ConfigDict, Field

from rushes.web.accounts import AccessDenied, Accounts
from rushes.web.guard import Guard

_FILES = files("rushes.web") / "pages"
_PAGES = Environment(
    loader=PackageLoader("rushes.web", "pages"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    keep_trailing_newline=True,
)
LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})

Id = Annotated[str, Field(pattern=r"^[0-9a-f-]{8,64}$")]
Person = Callable[..., Awaitable[str]]


class Body(BaseModel):
    """What a request may hold: what is named, and of the type that is named."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Join(Body):
    """A person says a name."""

    name: Annotated[str, Field(max_length=40)]


@dataclass(frozen=True)
class SiteSection:
    """A part of the server: its pages, and the JSON under /api/NAME that their scripts talk to."""

    name: str
    title: str  # in the navigation
    pages: Mapping[str, str]  # address -> template in pages/; the first is the section's own
    routes: Callable[[Any], APIRouter]  # of the dependency that says who asks
    policy: str = ""  # Content-Security-Policy of its pages; "" = that of all pages


def make_site(
    people: Accounts, title: str, sections: Sequence[SiteSection], local: bool = True, warning: str = ""
) -> FastAPI:
    """A server of some sections; `/` is the first page of the first.

    Args:
        people: who may come in.
        title: name of the project, shown on the page.
        sections: parts of the server, in their order in the navigation.
        local: people on this machine join by saying their name; otherwise everybody needs an invitation.
        warning: what everybody should know of the clips, at the top of each page; "" = nothing.
    """
    app = FastAPI(title="Rushes", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guard, hosts=LOCAL if local else None)
    _add_pages(app, sections, warning)
    _add_people(app, people, title, local)
    person = Depends(_person(people))
    for section in sections:
        app.include_router(section.routes(person), prefix=f"/api/{section.name}")

    @app.exception_handler(AccessDenied)
    def refused(request: Request, error: AccessDenied) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 409)

    @app.exception_handler(RequestValidationError)
    def senseless(request: Request, error: RequestValidationError) -> JSONResponse:
        problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()[:3])
        return JSONResponse({"detail": problems}, 422)

    @app.exception_handler(OSError)
    def failed(request: Request, error: OSError) -> JSONResponse:
        return JSONResponse({"detail": f"Nothing was saved: {error.strerror or error}"}, 507)

    return app


def video_answer(find: Callable[[], Path]) -> Response:
    """The video file that `find` names, or 404 where it is missing; `AccessDenied` goes through."""
    try:
        path = find()
    except AccessDenied:
        raise
    except ValueError as error:
        raise HTTPException(404, "This video is missing from the project.") from error
    return FileResponse(path, media_type=mimetypes.guess_type(path.name)[0] or "video/mp4", filename=None)


def _add_pages(app: FastAPI, sections: Sequence[SiteSection], warning: str) -> None:
    links = [(next(iter(section.pages)), section.title) for section in sections]
    home, _ = links[0]
    for section in sections:
        for address, name in section.pages.items():
            page = _PAGES.get_template(name).render(warning=warning, links=links, section=section)
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


def _person(people: Accounts) -> Person:
    async def person(authorization: Annotated[str, Header()] = "") -> str:
        name = people.who(authorization.removeprefix("Bearer ").strip())
        if name is None:
            raise HTTPException(401, "This page does not know you; open your invitation again.")
        return name

    return person


def _add_people(app: FastAPI, people: Accounts, title: str, local: bool) -> None:
    @app.get("/api/hello")
    async def hello() -> dict[str, Any]:
        return {"project": title, "join": local}

    @app.post("/api/join")
    async def join(body: Join) -> dict[str, Any]:
        if not local:
            raise HTTPException(403, "Open the invitation that you were sent.")
        name = " ".join(body.name.split())
        try:
            return {"token": people.invite(name), "name": name}
        except ValueError as error:
            raise HTTPException(422, str(error)) from error
