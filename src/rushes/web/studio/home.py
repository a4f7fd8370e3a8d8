"""The studio's first page: how far a project is on the way from footage to proof, and the command that comes next."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from fastapi import APIRouter

from rushes.records import plain
from rushes.web.site import NotThere, SiteSection

_LOOK_S, _LOOK_SHARE = 2.0, 20  # looked anew after so long, and after 20 times the time that it took

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


@dataclass
class _SharedFacts:
    """The facts, which many watchers share: one of them looks, the others take what was seen last."""

    look: Callable[[], HomeFacts]
    _until: float = -math.inf
    _facts: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    def current(self) -> dict[str, Any] | None:
        """What was seen last; None where it is old."""
        return self._facts if time.monotonic() < self._until else None

    def read(self) -> dict[str, Any]:
        """What is there now. Raises ValueError as `look` does."""
        if not self._lock.acquire(blocking=not self._facts):
            return self._facts
        try:
            began = time.monotonic()
            if began >= self._until:
                self._facts = dict(plain(self.look()))
                now = time.monotonic()
                self._until = now + max(_LOOK_S, _LOOK_SHARE * (now - began))
            return self._facts
        finally:
            self._lock.release()


def home_section(look: Callable[[], HomeFacts]) -> SiteSection:
    """The first page; `look` raises ValueError where the project cannot be read, with what to do."""

    def routes(person: Any) -> APIRouter:
        router = APIRouter()
        seen = _SharedFacts(look)

        @router.get("/facts")
        def facts(name: str = person) -> dict[str, Any]:
            try:
                return seen.current() or seen.read()
            except ValueError as error:
                raise NotThere(str(error)) from error

        return router

    return SiteSection("home", "Home", {"/home": "home.html"}, routes)
