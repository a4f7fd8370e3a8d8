"""The reports of a project inside the studio's frame: each has scripts of its own, and so an origin of its own."""

from __future__ import annotations

import os
import secrets
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException
from fastapi.responses import Response
from pydantic import Field

from rushes.store.own_files import own_path
from rushes.web.guard import HEADERS
from rushes.web.site import Body, SiteSection, StudioProject

REPORTS, ENDING = "reports", ".html"
VALID_S = 60.0
_MOST = 200  # addresses that are not used yet
NONE_YET = (
    "There are no reports yet. `rushes report {project}` writes one of a finished run, and "
    "`rushes card {project}` one of the clips."
)
FRAME = f"{HEADERS['content-security-policy']}; frame-src 'self'"  # of the page around a report
# A report may run the script that lies in it, as nobody: without this site's origin, and without any network.
SANDBOX = (
    "sandbox allow-scripts allow-modals; default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "media-src data: blob:; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)


class OpenReport(Body):
    """A report by the name of its file."""

    name: Annotated[str, Field(min_length=1, max_length=255)]


@dataclass
class OpenAddresses:
    """Addresses that answer once, for a minute: a frame sends no header that says who asks."""

    clock: Callable[[], float] = time.monotonic
    _names: dict[str, tuple[str, float]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def new(self, name: str) -> str:
        """A word that stands for a report."""
        word = secrets.token_urlsafe(24)
        with self._lock:
            self._names = {w: each for w, each in self._names.items() if each[1] > self.clock()}
            while len(self._names) >= _MOST:
                del self._names[next(iter(self._names))]
            self._names[word] = (name, self.clock() + VALID_S)
        return word

    def take(self, word: str) -> str | None:
        """The report that a word stands for, once."""
        with self._lock:
            name, until = self._names.pop(word, ("", 0.0))
        return name if until > self.clock() else None


def sections(project: StudioProject) -> Iterator[SiteSection]:
    """The page on the reports of the project."""
    folder = project.folder

    def routes(router: APIRouter, person: Any) -> None:
        addresses = OpenAddresses()

        @router.get("/list", dependencies=[person])
        def listed() -> dict[str, Any]:
            rows = _reports(folder)
            return {"reports": rows, "nothing": "" if rows else project.named_in(NONE_YET)}

        @router.post("/open", dependencies=[person])
        def opened(body: OpenReport) -> dict[str, str]:
            if body.name not in {row["name"] for row in _reports(folder)}:
                raise HTTPException(404, "There is no such report.")
            return {"address": f"/api/report/page/{addresses.new(body.name)}"}

        @router.get("/page/{word}")  # who has the word was asked for by somebody who may
        def page(word: str) -> Response:
            name = addresses.take(word)
            text = _read(folder, name) if name is not None else None
            if text is None:
                return Response(
                    "This address was used or has ended; open the report again.", 404, media_type="text/plain"
                )
            return Response(text, media_type="text/html", headers={"content-security-policy": SANDBOX})

    yield SiteSection("report", "Report", {"/report": "report.html"}, routes, place=80, policy=FRAME)


def _reports(folder: Path) -> list[dict[str, Any]]:
    """Files that are reports, the newest first; links are none."""
    rows = []
    with suppress(FileNotFoundError, NotADirectoryError, ValueError), os.scandir(own_path(folder, REPORTS)) as entries:
        for entry in entries:
            if entry.name.endswith(ENDING) and not entry.name.startswith(".") and entry.is_file(follow_symlinks=False):
                facts = entry.stat(follow_symlinks=False)
                rows.append({"name": entry.name, "changed": int(facts.st_mtime), "bytes": facts.st_size})
    return sorted(rows, key=lambda row: (-row["changed"], row["name"]))


def _read(folder: Path, name: str) -> bytes | None:
    """What a report's file holds; None where it is none, or no longer."""
    with suppress(ValueError, OSError):
        handle = os.open(own_path(folder, REPORTS, name), os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        with open(handle, "rb") as file:
            return file.read() if stat.S_ISREG(os.fstat(handle).st_mode) else None
    return None
