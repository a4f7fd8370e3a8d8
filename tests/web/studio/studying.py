"""A project that the studio's pages show: takes of three systems, scores, labels, runs with curves and samples."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.testclient import TestClient

from rushes.evaluate.suites import general_suite
from rushes.records import Candidate, Clip, Preference, Run, Score
from rushes.store.database import Store
from rushes.web.accounts import Accounts
from rushes.web.site import SiteSection, StudioProject, make_site

from ..conftest import FPS, FRAMES, encoded

SIZE: dict[str, Any] = {"width_px": 32, "height_px": 32, "frames": FRAMES, "fps": FPS}


def make_project(folder: Path, groups: int = 3) -> Path:
    """Clips g with two takes to train on by base, and held-out prompts with a take by base, by run one and by run two.

    Of held-out prompt g the base measures 0.1 g, run one 0.1 less, run two 0.1 more. Take 0 of clip 0 won by "vlm".
    """
    with Store.create(folder) as store:
        media = [store.put_media_bytes(encoded(tint), ".mp4") for tint in range(4)]
        rows: list[Any] = []
        suite = general_suite().name
        for g in range(groups):
            real = store.put_media_bytes(encoded(10 + 25 * g), ".mp4")
            rows.append(Clip(f"clip{g}", real, f"prompt {g} of 100%", **SIZE, source=f"film {g}.mp4"))
            for k in range(2):
                rows.append(_take(f"take{g}-{k}", media[1 + k], f"g{g}", f"clip{g}", seed=k))
                rows.append(Score(f"motion {g} {k}", f"take{g}-{k}", "motion_speed", g + k / 2))
            for system, step in (("base", 0.0), ("one", -0.1), ("two", 0.1)):
                id = f"{system}-{g}"
                rows.append(_take(id, media[1], f"held{g}", f"clip{g}", seed=7, system=system, split="eval"))
                rows.append(Score(f"error {id}", id, "warping_error", g / 10 + step, measured_by=suite))
        rows.append(Score("curated", "clip0", "curate/motion/speed", 3.0))
        rows.append(Preference("label", "take0-0", "take0-1", (1, 0, 1), judge="vlm", segment_s=1.0))
        rows.append(Preference("wrong", "take1-0", "take1-1", (1,), judge="vlm"))
        rows.append(Preference("right", "take1-0", "take1-1", (0,), judge="vlm", supersedes="wrong"))
        store.add(rows)
    return folder


def _take(id: str, media: str, group: str, clip: str, **more: Any) -> Candidate:
    facts: dict[str, Any] = {"kind": "take", "system": "base", "made_by": "w", **SIZE, **more}
    return Candidate(id, media, f"prompt {group[-1]} of 100%", group=group, clip_id=clip, **facts)


def row(step: int, **more: Any) -> dict[str, Any]:
    """A row as training writes it."""
    held = {"held_out/clip/accuracy": 0.6, "held_out/drift": 0.05, "held_out/reference_error": 0.5}
    figures = {"loss": 1 / (1 + step), "clip/accuracy": 0.75, "clip/gradient": 0.4, "seconds": 2.0, "memory_gib": 1.5}
    figures |= {"clip/winner_relative_error": -0.01 * step, "clip/loser_relative_error": 0.01 * step}
    return {"step": step, **(figures if step else {}), **({} if step % 10 else held), **more}


def write_run(folder: Path, name: str, rows: Iterable[dict[str, Any]], finished: bool = False) -> Path:
    """A run's folder with its curves; finished, it is a row of the project too."""
    place = folder / "runs" / name
    place.mkdir(parents=True, exist_ok=True)
    written = [*rows]
    (place / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in written))
    if finished:
        facts = {"base": "b", "made_by": "m", "seed": 0, "steps": written[-1]["step"], "seconds": 9.0}
        with Store.create(folder) as store:
            store.add([Run(f"run {name}", name, "realdpo", "tiny", **facts)])
    return place


def write_samples(place: Path, folder: Path, steps: Iterable[int], clips: int = 2) -> None:
    """Sampled clips of a run, whatever they show."""
    (place / "samples").mkdir(exist_ok=True)
    source = next((folder / "media").glob("*/*.mp4"))
    for step in steps:
        for at in range(clips):
            shutil.copy(source, place / "samples" / f"step-{step:08d}-{at}.mp4")


class Caller:
    """A person's requests to one section."""

    def __init__(self, app: FastAPI, token: str, section: str) -> None:
        self.address, self.section = "http://127.0.0.1:8765", section
        headers = {"authorization": f"Bearer {token}", "origin": self.address}
        self.client = TestClient(app, self.address, headers=headers)

    def get(self, path: str) -> Any:
        return self.client.get(f"/api/{self.section}/{path}")

    def post(self, path: str, **body: Any) -> Any:
        return self.client.post(f"/api/{self.section}/{path}", json=body)


def only_folder(folder: Path) -> StudioProject:
    """A project of which nothing is asked but its folder."""
    none: Any = None
    return StudioProject(folder, "test", none, none, none, none, none)


@contextmanager
def calling(folder: Path, make: Callable[[StudioProject], Iterable[SiteSection]]) -> Iterator[Caller]:
    """Requests to the server of one section of a project by a person whom it knows."""
    with Accounts(folder.parent / "people.db") as people:
        (section,) = make(only_folder(folder))
        yield Caller(make_site(people, "project", [section]), people.key, section.name)
