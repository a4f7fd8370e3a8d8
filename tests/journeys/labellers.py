"""People who label and vote: some pairs with the page in a browser, the rest by the requests that the page sends."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import numpy as np

from rushes.media.read import read_video
from rushes.records import Candidate, Clip
from rushes.store.database import Store

from .terminal import shot

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Response

Judgement = Callable[[str], int]
"""The id of a pair that somebody has to +1 for A, 0 for a tie, -1 for B."""

EYE_PX = 32  # at which takes are looked at


@dataclass
class Eyes:
    """What the script sees of a pair in place of a person: which take is nearer to the real clip, and which system's
    take is which. The file of assignments says what the page shows."""

    project: Path
    ledger: str  # file of the assignments
    errors: dict[str, float]
    systems: dict[str, str]

    @classmethod
    def on(cls, project: Path, ledger: str = "labelling.db") -> Eyes:
        with Store.open(project) as store:
            takes = store.candidates()
            real = {clip.id: clip for clip in store.clips()}
            errors = {take.id: _distance(store, take, real[take.clip_id]) for take in takes}
        return cls(project, ledger, errors, {take.id: take.system for take in takes})

    def shown(self, item: str) -> tuple[str, str]:
        """Ids of the takes that are A and B."""
        address = f"file:{self.project / self.ledger}?mode=ro"
        with closing(sqlite3.connect(address, uri=True)) as ledger:
            left, right, swapped = ledger.execute(
                "SELECT left, right, swapped FROM items WHERE id = ?", (item,)
            ).fetchone()
        return (right, left) if swapped else (left, right)

    def nearer(self, item: str) -> int:
        """Which of a pair is nearer to the real clip."""
        a, b = (self.errors[take] for take in self.shown(item))
        return int(np.sign(b - a))

    def trained(self, item: str) -> int:
        """Which of a pair the trained model made."""
        return -1 if self.systems[self.shown(item)[0]] == "base" else 1


def _distance(store: Store, take: Candidate, clip: Clip) -> float:
    """Mean absolute difference of a take and its clip, as a crop of one size and rate."""
    both = (
        read_video(store.media_path(row.media), fps=take.fps, frames=take.frames, size_px=(EYE_PX, EYE_PX))
        for row in (take, clip)
    )
    first, second = (video.frames_FHWC.astype(np.int16) for video in both)
    return float(np.abs(first - second).mean())


def mostly(judgement: Judgement, name: str, slips: float) -> Judgement:
    """Somebody who says the opposite in a share of pairs."""
    luck = random.Random(name)
    return lambda item: -judgement(item) if luck.random() < slips else judgement(item)


@dataclass
class Seat:
    """Somebody before the page, in a browser window of their own."""

    name: str
    tab: Page
    asked: list[Response] = field(default_factory=list)  # answers to `next`, in order
    answered: int = 0

    @classmethod
    def at(cls, browser: Browser, link: str, name: str) -> Seat:
        tab = browser.new_context(viewport={"width": 1280, "height": 760}).new_page()
        tab.set_default_timeout(20_000)
        seat = cls(name, tab)
        tab.on("response", lambda answer: seat.asked.append(answer) if answer.url.endswith("/next") else None)
        tab.goto(link)
        return seat

    def say_name(self) -> None:
        self.tab.locator("#name").fill(self.name)
        self.tab.keyboard.press("Enter")

    def pair(self) -> dict[str, Any]:
        """What the page shows now."""
        self.tab.wait_for_selector("#work:visible:not([aria-busy=true])")
        items = [item for answer in self.asked if (item := answer.json()["item"])]
        ordered = list({item["id"]: item for item in items}.values())
        return ordered[self.answered]  # type: ignore[no-any-return]

    def answer(self, judgement: Judgement, keys: Sequence[str] = ()) -> None:
        """Mark the whole of a pair, say more by other keys, and save; what practice explains stays open."""
        item = self.pair()
        mark = judgement(item["id"])
        self.tab.keyboard.press({1: "Shift+A", 0: "Shift+T", -1: "Shift+B"}[mark])
        for key in keys:
            self.tab.keyboard.press(key)
        with self.tab.expect_response("**/save"):
            self.tab.keyboard.press("Enter")
        self.answered += 1
        if not item["practice"]:
            self.tab.wait_for_selector("#work:not([aria-busy=true])", state="attached")

    def lesson(self) -> str:
        """What practice explains; read and closed."""
        self.tab.wait_for_selector("#lesson[open]")
        words = self.tab.inner_text("#lesson")
        shot(self.tab, f"c-lesson-{self.name}-{self.answered}")
        self.tab.keyboard.press("Enter")
        self.tab.wait_for_selector("#lesson[open]", state="detached")
        return words

    def requests(self, section: str) -> Requests:
        """The same person's requests, once the window is closed."""
        token = self.tab.evaluate("() => localStorage.getItem('rushes-token')")
        address = "{0.scheme}://{0.netloc}".format(urlsplit(self.tab.url))
        self.tab.context.close()
        headers = {"authorization": f"Bearer {token}", "origin": address}
        return Requests(section, httpx.Client(base_url=address, headers=headers), random.Random(self.name))


@dataclass
class Requests:
    """What the page of a person sends: next, the two videos, and the answer."""

    section: str
    client: httpx.Client
    luck: random.Random
    count: int = 0

    def answer(self, judgement: Judgement) -> bool:
        """Answer the next pair; False = there is none left."""
        item = self._call("next", {"have": []})["item"]
        if item is None:
            self.client.close()
            return False
        for side in ("a", "b"):
            self._video(item["id"], side)
        self.count += 1
        dimension = _patient(lambda: self.client.get(f"/api/{self.section}/me")).json()["dimensions"][0]
        self._call("save", {
            "item": item["id"], "event": f"{self.luck.getrandbits(64):016x}", "revises": "",
            "labels": {dimension: [judgement(item["id"])] * item["segments"]},
            "remarks": {"seconds": round(self.luck.uniform(6, 16), 1), "plays": 1},
        })  # fmt: skip
        return True

    def _call(self, what: str, body: dict[str, Any]) -> dict[str, Any]:
        return _patient(lambda: self.client.post(f"/api/{self.section}/{what}", json=body)).json()  # type: ignore[no-any-return]

    def _video(self, item: str, side: str) -> None:
        _patient(lambda: self.client.get(f"/api/{self.section}/media/{item}/{side}"))


def _patient(ask: Callable[[], httpx.Response]) -> httpx.Response:
    """An answer, asked for again while there are too many requests, as the page does."""
    while (answer := ask()).status_code == 429:
        time.sleep(1)
    assert answer.status_code == 200, answer.text
    return answer
