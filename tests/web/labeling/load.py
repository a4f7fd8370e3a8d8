"""Many annotators and watchers at once against a studio in a process of its own, which is killed in the middle.

    python tests/web/labeling/load.py [ANNOTATORS] [PAIRS] [WATCHERS]

Prints the latencies of next, save and Home, without the time in which no server runs, and apart from them those of
requests that had to be sent again: they come in one rush, from everybody, the moment that the server is back.
Annotators come one after the other within two seconds, and think for about a second between a pair and its labels,
which is far less than people do. Watchers have the owner's page *Home* open, which asks every three seconds.
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import resource
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import httpx
import numpy as np

if not __package__:  # run as a program
    sys.path[:0] = [str(Path(__file__).resolve().parents[3])]

from tests.forked import start_into

from rushes.config.tables import LabelSettings, Settings
from rushes.project.settings import write_settings
from rushes.records import Candidate
from rushes.store.database import Store

THINK_S, WATCH_S = 1.0, 3.0


@dataclass
class Seen:
    """What the annotators saw: seconds of each answered request, and the events that the server said it has."""

    next_s: list[float] = field(default_factory=list)
    save_s: list[float] = field(default_factory=list)
    acknowledged: dict[str, tuple[str, str]] = field(default_factory=dict)  # event -> annotator and item
    again_s: list[float] = field(default_factory=list)  # of requests that had to be sent again, all in one rush
    sent_twice: int = 0
    home_s: list[float] = field(default_factory=list)  # of the watchers' looks

    def p95_ms(self) -> tuple[float, float]:
        """Of next and of save."""
        return tuple(1000 * float(np.quantile(times, 0.95)) for times in (self.next_s, self.save_s))  # type: ignore[return-value]


def make_project(folder: Path, pairs: int) -> None:
    """A project of so many pairs; their videos are not asked for."""
    folder.mkdir(exist_ok=True)
    write_settings(
        folder, Settings(label=LabelSettings(by="human", overlap_share=0.0, repeat_share=0.0, segment_s=1.0))
    )
    common: dict[str, Any] = {"media": "0" * 64, "caption": "a cat", "kind": "take", "clip_id": "", "system": "base"}
    common |= {"made_by": "w", "width_px": 32, "height_px": 32, "frames": 24, "fps": 8.0}
    with Store.create(folder) as store:
        store.add(Candidate(id=f"{g}-{k}", group=f"g{g}", seed=k, **common) for g in range(pairs) for k in range(2))


def start(folder: Path, port: int, annotators: Sequence[str] = ()) -> tuple[BaseProcess, str, dict[str, str]]:
    """The server once it answers, its start key, and the token of each invitation."""
    output, notes = folder / "output", folder / "notes"
    for path in (output, notes):
        path.unlink(missing_ok=True)
    program = "from rushes.cli import main; main(arguments)"
    invited = [text for name in annotators for text in ("--annotators", name)]
    server = start_into(output, notes, program, arguments=["studio", str(folder), "--port", str(port), *invited])
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            httpx.get(f"http://127.0.0.1:{port}/api/hello", timeout=1)
        except httpx.TransportError:
            time.sleep(0.05)
            continue
        lines = [line.partition(": ") for line in output.read_text().splitlines()]
        key = notes.read_text().partition("#key=")[2].partition(";")[0]
        return server, key, {name: link.partition("#invite=")[2] for name, _, link in lines}
    server.kill()
    raise TimeoutError("the server did not start")


async def post(client: httpx.AsyncClient, path: str, body: dict[str, Any], times: list[float], seen: Seen) -> Any:
    """An answer, however often the request has to be sent; the time of the request that was answered."""
    tries = 0
    while True:
        began = time.perf_counter()
        try:
            response = await client.post(f"/api/label/{path}", json=body)
            response.raise_for_status()
            (seen.again_s if tries else times).append(time.perf_counter() - began)
            return response.json()
        except (httpx.TransportError, httpx.HTTPStatusError) as error:
            if isinstance(error, httpx.HTTPStatusError) and error.response.status_code != 429:
                raise
            tries += 1
            seen.sent_twice += path == "save"
            assert tries < 400, f"{path} was never answered: {error!r}"
            await asyncio.sleep(0.1)


async def annotate(
    address: str, name: str, token: str, pairs: int, seen: Seen, rng: random.Random, *, end: float = math.inf
) -> None:
    """One person who labels so many pairs, or as many as there is time for until `end` (of `time.monotonic`)."""
    await asyncio.sleep(2 * THINK_S * rng.random())
    headers = {"origin": address, "authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=address, headers=headers, timeout=20, verify=False) as client:
        for number in range(pairs):
            if time.monotonic() >= end:
                return
            item = (await post(client, "next", {}, seen.next_s, seen))["item"]
            await asyncio.sleep(THINK_S * rng.uniform(0.5, 1.5))
            event = f"{rng.getrandbits(64):016x}"
            labels = {"overall": [rng.choice([-1, 0, 1, None]) for _ in range(item["segments"])]}
            body = {"item": item["id"], "event": event, "labels": labels}
            await post(client, "save", body, seen.save_s, seen)
            seen.acknowledged[event] = (name, item["id"])
            assert number < pairs


async def watch(address: str, key: list[str], seen: Seen, rng: random.Random) -> None:
    """Somebody who has Home open, until cancelled; `key` holds the start key of the server that runs now."""
    await asyncio.sleep(WATCH_S * rng.random())
    async with httpx.AsyncClient(base_url=address, timeout=20, verify=False) as client:
        while True:
            began = time.perf_counter()
            try:
                response = await client.get("/api/home/facts", headers={"authorization": f"Bearer {key[0]}"})
                if response.status_code != 401:  # between two servers the key is of the one before
                    response.raise_for_status()
                    assert response.json()["steps"]
                    seen.home_s.append(time.perf_counter() - began)
            except httpx.TransportError:
                pass
            await asyncio.sleep(WATCH_S)


async def crowd(folder: Path, annotators: int, pairs: int, watchers: int, port: int) -> Seen:
    """All at once; the server is killed when a third of the time is over, and started again."""
    names = [f"person {k}" for k in range(annotators)]
    seen, (server, key, tokens) = Seen(), start(folder, port, names)
    keys, address = [key], f"http://127.0.0.1:{port}"
    watching = [asyncio.create_task(watch(address, keys, seen, random.Random(k))) for k in range(watchers)]
    try:
        people = [
            asyncio.create_task(annotate(address, name, tokens[name], pairs, seen, random.Random(k)))
            for k, name in enumerate(names)
        ]
        await asyncio.sleep(pairs * THINK_S / 3)
        server.kill()
        server.join()
        server, keys[0], _ = await asyncio.to_thread(start, folder, port)
        await asyncio.gather(*people)
        for task in watching:
            task.cancel()
        ended = await asyncio.gather(*watching, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ended), ended
    finally:
        server.terminate()
        server.join()
    return seen


def run(folder: Path, annotators: int, pairs: int, watchers: int = 0) -> Seen:
    """Make the project and let the crowd in."""
    make_project(folder, annotators * pairs + 5)
    with ThreadPoolExecutor(1) as pool:  # the browser of other tests keeps a loop of its own on the main thread
        return pool.submit(lambda: asyncio.run(crowd(folder, annotators, pairs, watchers, free_port()))).result()


def free_port() -> int:
    """A port of this machine that nobody uses now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


if __name__ == "__main__":
    given = [int(text) for text in sys.argv[1:]] or [50, 10, 10]
    with tempfile.TemporaryDirectory() as temporary:
        found = run(Path(temporary), *given)
    for title, seconds in (
        ("next", found.next_s),
        ("save", found.save_s),
        ("home", found.home_s),
        ("sent again", found.again_s),
    ):
        if not seconds:
            continue
        p50, p95, worst = (1000 * np.quantile(seconds, q) for q in (0.5, 0.95, 1.0))
        print(f"{title}: {len(seconds)} requests, p50 {p50:.1f} ms, p95 {p95:.1f} ms, worst {worst:.0f} ms")
    print(f"{len(found.acknowledged)} labels acknowledged, {found.sent_twice} requests sent again after the kill")
    for who, what in (("server", resource.RUSAGE_CHILDREN), ("annotators", resource.RUSAGE_SELF)):
        used = resource.getrusage(what)
        print(f"{who}: {used.ru_utime + used.ru_stime:.1f} s of processor, load {os.getloadavg()[0]:.1f}")
