#!/usr/bin/env python3
"""Fifty annotators, a training run and an import, of which one is killed every ten seconds.

python benchmarks/soak.py [--minutes 60]

Whichever of the labelling server, the run and the import is killed (`SIGKILL`) is started again at once by the same
command; a run or an import that is done is compared with one that nothing had happened to, and begun anew in another
project. At the end every label that the server acknowledged must be stored, once. One line of JSON says what was done;
exit code 1 where something differs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from tests.durability.crash_points import leftovers  # noqa: E402
from tests.forked import start_into  # noqa: E402
from tests.projects import PROGRAM, SMALL, new_project, read_contents  # noqa: E402
from tests.web.labeling import load  # noqa: E402

from rushes.config.tables import FootageSettings, LabelSettings  # noqa: E402
from rushes.records import Clip  # noqa: E402
from rushes.store.database import Store  # noqa: E402
from rushes.web.labeling.assignments import AssignmentStore  # noqa: E402
from rushes.web.labeling.label_rows import row_id  # noqa: E402

EVERY_S = 10.0  # between two kills
PEOPLE = 50
CLIPS = 60  # of an import


@dataclass
class Work:
    """A command that is killed and started again until it is done, over and over, each time in a new project."""

    name: str
    folder: Path
    begin: Callable[[Path], Path]  # makes a project that the command has not run in yet
    wanted: dict[str, Any] = field(default_factory=dict)  # of a project that nothing happened to
    process: BaseProcess | None = None
    project: Path = Path()
    kills: int = 0
    done: int = 0
    struck: int = 0  # of those that are done, how many were killed on their way
    different: list[str] = field(default_factory=list)
    _here: int = 0  # kills in this project

    def start(self) -> None:
        """Begin, or go on."""
        out, err = self.folder / "out", self.folder / "err"
        self.process = start_into(out, err, PROGRAM, arguments=[self.name, str(self.project)], before="")

    def prepare(self) -> None:
        """Run once undisturbed, to compare with, and begin the first that is disturbed."""
        self.folder.mkdir()
        self.project = self.begin(self.folder / "undisturbed")
        self.start()
        assert self.process
        self.process.join()
        assert self.process.exitcode == 0, (self.folder / "err").read_text()
        self.wanted = read_contents(self.project)
        self._anew()

    def _anew(self) -> None:
        shutil.rmtree(self.folder / "now", ignore_errors=True)
        self.project, self._here = self.begin(self.folder / "now"), 0
        self.start()

    def kill(self) -> None:
        """A kill that hits, and the same command again."""
        assert self.process
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
            self.kills, self._here = self.kills + 1, self._here + 1
            self.start()

    def look(self) -> None:
        """Compare what is done, and begin anew."""
        assert self.process
        if self.process.exitcode is None:
            return
        if self.process.exitcode:
            self.different.append(f"exit {self.process.exitcode}: {(self.folder / 'err').read_text()[-500:]}")
        else:
            ended = read_contents(self.project)
            names = self.wanted.keys() | ended.keys()
            self.different += [name for name in names if self.wanted.get(name) != ended.get(name)]
            self.different += leftovers(self.project)
        self.done, self.struck = self.done + 1, self.struck + bool(self._here)
        self._anew()

    def stop(self) -> None:
        """Let the last one end, and compare it."""
        assert self.process
        self.process.join(300)
        self.look()
        self.process.kill()
        self.process.join()


@dataclass
class Studio:
    """The labelling server of the annotators."""

    folder: Path
    port: int
    server: BaseProcess
    kills: int = 0

    def kill(self) -> None:
        """A kill, and the same command again."""
        self.server.kill()
        self.server.join()
        self.kills += 1
        self.server, _, _ = load.start(self.folder, self.port)


async def label(address: str, tokens: dict[str, str], pairs: int, seen: load.Seen, end: float) -> None:
    """Everybody at once, until each has labelled so many pairs or the time is over."""
    await asyncio.gather(
        *(
            load.annotate(address, name, token, pairs, seen, random.Random(k), end=end)
            for k, (name, token) in enumerate(tokens.items())
        )
    )


def stored_as_acknowledged(project: Path, seen: load.Seen) -> dict[str, int]:
    """How many labels were acknowledged, are stored, were lost, and are there twice."""
    with Store.open(project) as store, AssignmentStore(project / "labelling.db") as assignments:
        rows = {row.id: row for row in store.preferences(current=False)}
        lost = 0
        for event, (name, number) in seen.acknowledged.items():
            item = assignments.get(number)
            row = rows.get(row_id(item, event, "overall")) if item else None
            lost += row is None or row.judge != f"human:{name}"
    twice = sum(count - 1 for count in Counter((row.left, row.right) for row in rows.values()).values())
    return {"acknowledged": len(seen.acknowledged), "stored": len(rows), "lost": lost, "doubled": twice}


def works(folder: Path) -> list[Work]:
    """The training run and the import, each with an undisturbed one behind it."""
    train = SMALL.train.model_copy(update={"steps": 60, "checkpoint_every": 5})
    behind = new_project(folder / "behind", SMALL.model_copy(update={"train": train}))
    for name in ("import", "generate", "label"):
        process = start_into(folder / "out", folder / "err", PROGRAM, arguments=[name, str(behind)], before="")
        process.join()
        assert process.exitcode == 0, (folder / "err").read_text()
    reels = new_project(folder / "reels", SMALL.model_copy(update={"footage": FootageSettings(clips=CLIPS)}))
    process = start_into(folder / "out", folder / "err", PROGRAM, arguments=["import", str(reels)], before="")
    process.join()
    clips = folder / "clips"
    clips.mkdir()
    with Store.open(reels) as store:
        for clip in store.stream(Clip):
            shutil.copy(path := store.media_path(clip.media), clips)
            (clips / path.name).with_suffix(".txt").write_text(clip.caption)
    tables = {"footage": FootageSettings(kind="folder", path=str(clips)), "label": LabelSettings(by="none")}
    footage = SMALL.model_copy(update=tables)
    return [
        Work("train", folder / "train", lambda to: Path(shutil.copytree(behind, to))),
        Work("import", folder / "import", lambda to: new_project(to, footage)),
    ]


def soak(folder: Path, minutes: float, seed: int) -> dict[str, Any]:
    """What was done in so many minutes, and what was not as it should be."""
    running = works(folder)
    for work in running:
        work.prepare()
    pairs = max(2, round(10 * minutes))
    load.THINK_S = 60 * minutes / pairs
    load.make_project(folder / "labels", PEOPLE * pairs + 5)
    port, seen = load.free_port(), load.Seen()
    server, _, tokens = load.start(folder / "labels", port, [f"person {k}" for k in range(PEOPLE)])
    studio, draw = Studio(folder / "labels", port, server), random.Random(seed)
    failed: list[BaseException] = []
    end, due = time.monotonic() + 60 * minutes, time.monotonic() + EVERY_S

    def annotate() -> None:
        try:
            asyncio.run(label(f"http://127.0.0.1:{port}", tokens, pairs, seen, end))
        except BaseException as error:
            failed.append(error)

    crowd = threading.Thread(target=annotate)
    crowd.start()
    while crowd.is_alive():
        time.sleep(0.2)
        for work in running:
            work.look()
        if due <= time.monotonic() < end:
            due += EVERY_S
            draw.choice([studio, *running]).kill()
    crowd.join()
    for work in running:
        work.stop()
    studio.server.terminate()
    studio.server.join()
    return {
        "minutes": minutes,
        "labels": stored_as_acknowledged(folder / "labels", seen) | {"kills": studio.kills},
        **{
            work.name: {
                "done": work.done,
                "of_which_killed": work.struck,
                "kills": work.kills,
                "different": work.different,
            }
            for work in running
        },
        "failed": [repr(error) for error in failed],
    }


def main() -> None:
    """Soak, and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0, help="of what is killed")
    asked = parser.parse_args()
    with TemporaryDirectory() as folder:
        result = soak(Path(folder), asked.minutes, asked.seed)
    print(json.dumps(result))
    labels = result["labels"]
    bad = [*result["failed"], *result["train"]["different"], *result["import"]["different"]]
    sys.exit(bool(bad or labels["lost"] or labels["doubled"] or labels["acknowledged"] != labels["stored"]))


if __name__ == "__main__":
    main()
