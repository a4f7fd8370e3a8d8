"""The studio's first page: how far a project is on the way from footage to proof, and the command that comes next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from fastapi import APIRouter

from rushes.records import plain
from rushes.web.cached_poll import CachedPoll
from rushes.web.site import NotThere, SiteSection, StudioProject

_LOOK_S = 2.0  # between two looks at where a project stands, at least

# measured: an evaluation that does not say "better"
StepState = Literal["done", "measured", "running", "next", "later", "not needed"]


@dataclass(frozen=True)
class PathStep:
    """A step of the way."""

    title: str
    section: str  # address of the page about it
    state: StepState
    text: str  # counts, in words


@dataclass(frozen=True)
class RunningNow:
    """What works on the project now."""

    text: str
    done: int | None = None  # of `total`; null = unknown
    total: int | None = None
    left_s: float | None = None  # seconds; null = unknown


@dataclass(frozen=True)
class HomeFacts:
    """All that the page shows."""

    project: str  # its name
    about: str  # recipe and model
    steps: tuple[PathStep, ...]
    running: RunningNow | None
    next: str  # command; "" where the page `here` does it
    why: str  # what it does, in a sentence
    here: str = ""  # address of the page that does it; "" = there is none


def sections(project: StudioProject) -> Iterator[SiteSection]:
    """The first page."""

    def routes(router: APIRouter, person: Any) -> None:
        seen = CachedPoll(lambda: plain(project.facts()), least_s=_LOOK_S)

        @router.get("/facts", dependencies=[person])
        def facts() -> Any:
            try:
                return seen.read()
            except ValueError as error:
                raise NotThere(str(error)) from error

    yield SiteSection("home", "Home", {"/home": "home.html"}, routes)
