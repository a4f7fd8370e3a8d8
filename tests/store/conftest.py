"""Rows and projects that the tests of the store share."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from rushes.records import Candidate, CaptionRow, Clip, Decision, Preference, Run, Score
from rushes.store.database import Store


def clip(id: str = "c", **changes: object) -> Clip:
    return Clip(
        **({"id": id, "media": "f" * 64, "caption": "a dog", "width_px": 64, "height_px": 48, "frames": 17}
           | {"fps": 8.0, "source": "dog.mp4"} | changes)
    )  # fmt: skip


def candidate(id: str = "k", **changes: object) -> Candidate:
    return Candidate(
        **({"id": id, "media": "e" * 64, "caption": "a dog", "kind": "take", "group": "g", "clip_id": "c"}
           | {"system": "base", "made_by": "w", "seed": 1, "width_px": 64, "height_px": 48, "frames": 17, "fps": 8.0}
           | changes)
    )  # fmt: skip


def preference(id: str = "p", **changes: object) -> Preference:
    return Preference(**({"id": id, "left": "c", "right": "k", "labels": (1,), "judge": "me"} | changes))


def score(id: str = "s", **changes: object) -> Score:
    return Score(**({"id": id, "subject": "k", "metric": "flicker", "value": 0.25} | changes))


def caption(id: str = "t", **changes: object) -> CaptionRow:
    return CaptionRow(**({"id": id, "subject": "c", "text": "a cat", "kind": "wrong", "about": "k"} | changes))


def decision(id: str = "e", **changes: object) -> Decision:
    return Decision(**({"id": id, "subject": "c", "keep": False, "reason": "motion: still"} | changes))


def run(id: str = "r", **changes: object) -> Run:
    values = {"id": id, "name": "first", "recipe": "realdpo", "backbone": "tiny", "base": "w", "made_by": "v"}
    return Run(**(values | {"seed": 0, "steps": 10, "seconds": 1.5, "settings": {"lr": 1e-4}} | changes))


@pytest.fixture
def make() -> SimpleNamespace:
    """Functions that make one row of each kind; keyword arguments change its fields."""
    return SimpleNamespace(
        clip=clip, candidate=candidate, preference=preference, score=score, caption=caption, decision=decision, run=run
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.create(tmp_path / "project") as made:
        yield made


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a Python program in a process of its own; `sys.argv[1:]` are the arguments."""
    started: list[subprocess.Popen[str]] = []

    def begin(program: str, *arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", program, *map(str, arguments)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()
