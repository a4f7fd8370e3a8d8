#!/usr/bin/env python3
"""How much slower a run trains while people look on: python benchmarks/watchers.py [--rounds N] [--watchers N]

A project of the embedded world trains (`rushes train`), and a process of its own serves the studio's page on runs.
In turn nobody looks on and so many watchers do, each as the page does: what is new every three seconds, the list of
runs every fifteen. The time of a step is the one that training writes; the ratio is taken within each round. The result
is one line of JSON.
Ratios say something on a machine that is otherwise idle alone, so the load before is said; `server_cores`, the share
of a core that the server takes while it is watched, says on any machine what training can lose to it (Linux alone
has it).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rushes.config.tables import Settings
from rushes.project.settings import create_project
from rushes.training.history import CURVES, read_history

NAME, EVERY_S, LIST_EVERY = "watched", 3.0, 5
SERVER = """
import sys
from pathlib import Path
import uvicorn
from rushes.web.accounts import Accounts
from rushes.web.site import make_site
from rushes.web.studio.runs_page import runs_section
folder, port = Path(sys.argv[1]), int(sys.argv[2])
people = Accounts(folder.parent / "people.db")
print(people.key, flush=True)  # runs are the owner's to see
uvicorn.run(make_site(people, "watched", [runs_section(folder)]), port=port, log_level="warning")
"""
PORT = 8769


def settings(steps: int) -> Settings:
    """A run of the demo's kind, its steps as long as a small machine's allow."""
    train = {"recipe": "realdpo", "name": NAME, "steps": steps, "batch": 8, "learning_rate": 1e-5, "shortcut_probe": 0}
    train |= {"checkpoint_every": steps, "held_out": 4, "options": {"beta": 100.0}}
    takes = {"takes": 1, "steps": 2, "batch": 8}
    return Settings.model_validate({"footage": {"clips": 24, "eval_prompts": 2}, "generate": takes, "train": train})


@contextmanager
def process(*words: str) -> Iterator[subprocess.Popen[str]]:
    """A Python process that ends with the block."""
    quiet = subprocess.DEVNULL
    running = subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, stderr=quiet, text=True)
    try:
        yield running
    finally:
        running.kill()
        running.wait()


class Page:
    """A page's connection, which is kept; plain sockets, as the browsers of watchers run on machines of theirs."""

    def __init__(self, token: str) -> None:
        self.head = f"Host: 127.0.0.1:{PORT}\r\nOrigin: http://127.0.0.1:{PORT}\r\nAuthorization: Bearer {token}\r\n"

    async def open(self) -> None:
        """Connect."""
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", PORT)

    async def ask(self, line: str, body: bytes = b"") -> bytes:
        """Send a request, and the body of its answer."""
        size = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.writer.write(f"{line} HTTP/1.1\r\n{self.head}{size}".encode() + body)
        head = await self.reader.readuntil(b"\r\n\r\n")
        (length,) = (int(each[15:]) for each in head.lower().split(b"\r\n") if each.startswith(b"content-length:"))
        answer = await self.reader.readexactly(length)
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"{line}: {head.decode()}{answer[:500].decode()}")
        return answer


async def watcher(page: Page, late_s: float) -> None:
    """One open page."""
    await asyncio.sleep(late_s)
    await page.open()
    has: dict[str, Any] = {"name": NAME, "generation": 0, "since": -1}
    for look in range(10**6):
        if look % LIST_EVERY == 0:
            await page.ask("GET /api/runs/list")
        (run,) = json.loads(await page.ask("POST /api/runs/read", json.dumps({"runs": [has]}).encode()))["runs"]
        has = {"name": NAME, "generation": run["generation"], "since": run["through"]}
        await asyncio.sleep(EVERY_S)


def cpu_s(pid: int) -> float:
    """Seconds of a core that a process has taken; NaN where the system does not say."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return math.nan
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def times(path: Path, after: int) -> list[float]:
    """Seconds of the steps after one."""
    return [row["seconds"] for row in read_history(path) if row["step"] > after]


async def phase(path: Path, count: int, watchers: int, token: str, train: subprocess.Popen[str]) -> float:
    """Median seconds of `count` steps beside so many watchers; the step in which they came is left out."""
    pages = [asyncio.create_task(watcher(Page(token), EVERY_S * at / watchers)) for at in range(watchers)]
    begun = len(times(path, 0)) + 1
    while len(seconds := times(path, begun)) < count:
        await asyncio.sleep(0.3)
        if failed := [page for page in pages if page.done()]:
            failed[0].result()
        if train.poll() is not None:
            raise SystemExit("the run ended before the last round; raise --steps of the run")
    for page in pages:
        page.cancel()
    for page in pages:
        with suppress(asyncio.CancelledError):
            await page
    return statistics.median(seconds[:count])


async def measure(
    folder: Path, rounds: int, watchers: int, count: int
) -> tuple[list[tuple[float, float]], list[float]]:
    """Seconds of a step alone and watched, of each round, and the server's share of a core while it was watched."""
    path = folder / "runs" / NAME / CURVES
    pairs, shares = [], []
    with (
        process("-c", SERVER, str(folder), str(PORT)) as server,
        process("-m", "rushes", "train", str(folder)) as train,
    ):
        assert server.stdout is not None
        token = server.stdout.readline().strip()
        while len(times(path, 0)) < 2:  # the first steps are slower
            time.sleep(1)
        for at in range(rounds):
            seconds = {}
            for each in (0, watchers) if at % 2 else (watchers, 0):  # who comes first takes turns
                began, used = time.monotonic(), cpu_s(server.pid)
                seconds[each] = await phase(path, count, each, token, train)
                if each:
                    shares.append((cpu_s(server.pid) - used) / (time.monotonic() - began))
            pairs.append((seconds[0], seconds[watchers]))
    return pairs, shares


def main() -> None:
    """Measure, and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--watchers", type=int, default=10)
    parser.add_argument("--steps", type=int, default=8, help="of each half of a round")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "project"
        create_project(folder, settings((options.rounds + 1) * 2 * (options.steps + 2)))
        for stage in ("import", "generate"):
            subprocess.run([sys.executable, "-m", "rushes", stage, str(folder)], check=True, capture_output=True)
        pairs, shares = asyncio.run(measure(folder, options.rounds, options.watchers, options.steps))
    ratios = [watched / alone for alone, watched in pairs]
    result = {
        "watchers": options.watchers,
        "alone_s": round(statistics.median(alone for alone, _ in pairs), 4),
        "watched_s": round(statistics.median(watched for _, watched in pairs), 4),
        "ratio": round(statistics.median(ratios), 4),
        "ratios": [round(ratio, 4) for ratio in ratios],
        "server_cores": round(statistics.median(shares), 4),
        "load_before": round(load, 2),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
