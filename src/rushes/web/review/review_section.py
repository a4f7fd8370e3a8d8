"""The review page over HTTP: one clip at a time, and whether it is in the set; and the contact sheet of all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import PurePosixPath, PureWindowsPath
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import Field

from rushes.records import Decision
from rushes.web.review.queue import QUEUES, Queue
from rushes.web.review.review_session import ClipFacts, ReviewAnswer, ReviewSession, ReviewThreshold
from rushes.web.site import Body, Id, SiteSection, StudioProject
from rushes.web.videos import add_videos, video_facts

AHEAD = 3  # clips that a page loads before they are shown
SHEET = 60  # clips of a page of the contact sheet
ClipId = Annotated[str, Field(min_length=1, max_length=64)]
ScenarioName = Annotated[str, Field(max_length=200)]


class NextClipRequest(Body):
    """Where the person is, and what the page holds already."""

    queue: Queue
    scenario: ScenarioName | None = None
    after: ClipId | Literal[""] = ""
    have: list[ClipId] = Field([], max_length=2 * AHEAD)
    count: int = Field(1, ge=1, le=AHEAD)


class Sheet(Body):
    """A page of the contact sheet."""

    queue: Queue
    page: Annotated[int, Field(ge=0, le=10**7)] = 0


class OneClip(Body):
    """A clip, or none."""

    clip: ClipId | Literal[""] = ""


class SaveDecision(Body):
    """What a person says of a clip; keep null takes it back."""

    clip: ClipId
    event: Id
    revises: Id | Literal[""] = ""
    keep: bool | None
    reason: Annotated[str, Field(max_length=200)] = ""
    caption: Annotated[str, Field(max_length=8000)] = ""


def sections(project: StudioProject) -> Iterator[SiteSection]:
    """The clips of the project."""
    yield review_section(project.review, project.title)


def review_section(session: ReviewSession, title: str) -> SiteSection:
    """The review page and the contact sheet, at which the owner looks without saying a name."""

    def routes(router: APIRouter, person: Any) -> None:
        _add_clips(router, session, person)
        # The session is asked at each request: it is opened by the first.
        add_videos(router, person, lambda id: session.video(id), lambda id: (session.store, session.clip(id)))
        _add_sheet(router, session, person)

        @router.get("/me")
        def me(request: Request, name: str = person) -> dict[str, Any]:
            here = {"name": name, "project": title, "place": session.people.place, "ahead": AHEAD}
            return {**here, **_progress(session, request, name)}

    pages = {"/review": "review.html", "/sheet": "sheet.html"}
    nameless = frozenset({"sheet", "media"})
    return SiteSection("review", "Footage", pages, routes, place=10, invited=True, nameless=nameless)


def _add_clips(router: APIRouter, session: ReviewSession, person: Any) -> None:
    @router.post("/deal")
    def deal(request: Request, body: NextClipRequest, name: str = person) -> dict[str, Any]:
        ids = session.deal(name, body.queue, body.scenario, body.after, body.have, body.count)
        return {"clips": [_shown(session, request, id) for id in ids], **_progress(session, request, name)}

    @router.post("/clip")
    def clip(request: Request, body: OneClip, name: str = person) -> dict[str, Any]:
        return {"clip": _shown(session, request, body.clip)}

    @router.post("/back")
    def back(request: Request, body: OneClip, name: str = person) -> dict[str, Any]:
        previous = session.back(name, body.clip)
        return {"clip": _shown(session, request, previous) if previous else None}

    @router.post("/save")
    def save(request: Request, body: SaveDecision, name: str = person) -> dict[str, Any]:
        session.save(name, ReviewAnswer(**body.model_dump()))
        return {"saved": body.event, "said": _status(session.facts(body.clip)), **_progress(session, request, name)}


def _add_sheet(router: APIRouter, session: ReviewSession, person: Any) -> None:
    @router.post("/sheet", dependencies=[person])
    def sheet(body: Sheet) -> dict[str, Any]:
        session.catch_up()
        queue = session.queue
        return {
            "clips": [_on_sheet(session, id) for id in queue.page(body.queue, SHEET * body.page, SHEET)],
            "page": SHEET,
            "queues": {kind: queue.size(kind) for kind in QUEUES},
            "cropped": session.cropped_to is not None,
        }


def _on_sheet(session: ReviewSession, id: str) -> dict[str, Any]:
    """What the contact sheet shows of a clip: `decided` is "kept" or "dropped", or "" where no person said either and
    no program dropped it; `by` the person, "" = a program."""
    clip, history = session.clip(id), session.queue.history(id)
    counts = history.counts()
    by_person = counts is not None and counts.person
    decided = "kept" if counts and counts.keep and by_person else "dropped" if counts and not counts.keep else ""
    across, down = session.crop(clip)
    return {
        "id": id,
        "caption": counts.caption if counts and counts.caption else clip.caption,
        "width_px": clip.width_px,
        "height_px": clip.height_px,
        "moves": clip.frames > 1,
        "across": across,
        "down": down,
        "decided": decided,
        "by": counts.made_by if counts and by_person else "",
        "reason": counts.reason if counts and decided else "",
    }


def _progress(session: ReviewSession, request: Request, name: str) -> dict[str, Any]:
    queue, people = session.queue, session.people_at_work()
    return {
        "decided": session.decided_by(name),
        "queues": {kind: queue.size(kind) for kind in QUEUES},
        "scenarios": [asdict(count) for count in queue.counts()],
        "people": people if request.state.owner else {name: people.get(name, 0)},
    }


def _shown(session: ReviewSession, request: Request, id: str) -> dict[str, Any]:
    """What the page shows of a clip."""
    facts = session.facts(id)
    clip = facts.clip
    return {
        "id": id,
        **video_facts(clip),
        "source": clip.source if request.state.owner else _file_name(clip.source),
        "split": clip.split,
        "scenario": session.queue.scenario(id),
        "margin": session.queue.margin(id),
        "caption": facts.caption,
        "imported_caption": clip.caption,
        "texts": dict(facts.texts),
        "values": [_value(name, value, session.limits.get(name)) for name, value in facts.values.items()],
        "said": _status(facts),
    }


def _file_name(source: str) -> str:
    """Where a clip came from, without the folders of the owner's machine."""
    outside = any(path(source).is_absolute() or ".." in path(source).parts for path in (PurePosixPath, PureWindowsPath))
    return PureWindowsPath(source).name if outside else source  # which also knows the other slash


def _value(name: str, value: float, limit: ReviewThreshold | None) -> dict[str, Any]:
    low, high = (limit.low, limit.high) if limit else (None, None)
    out = (low is not None and value < low) or (high is not None and value > high)
    return {"name": name, "value": value, "low": low, "high": high, "out": out}


def _status(facts: ClipFacts) -> dict[str, Any]:
    """How the clip stands: in the set or not, what the funnel said, and what people said."""
    counts = facts.history.counts()
    return {
        "keep": counts is None or counts.keep,
        "revises": person.id if (person := facts.history.person()) else "",
        "program": _decision(facts.history.program),
        "people": [_decision(row) for row in facts.history.people.values()],
    }


def _decision(row: Decision | None) -> dict[str, Any] | None:
    if row is None:
        return None
    return {"by": row.made_by, "keep": row.keep, "reason": row.reason, "caption": row.caption}
