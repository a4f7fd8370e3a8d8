"""Rows and projects that the tests of the store share."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rushes.records import Annotation, Candidate, CaptionRow, Clip, Decision, Preference, Run, Score
from rushes.store.database import Store


def clip(id: str = "c", **changes: Any) -> Clip:
    row = Clip(id, "f" * 64, "a dog", width_px=64, height_px=48, frames=17, fps=8.0, source="dog.mp4")
    return replace(row, **changes)


def candidate(id: str = "k", **changes: Any) -> Candidate:
    row = Candidate(
        id, "e" * 64, "a dog", "take", group="g", clip_id="c", system="base", made_by="w", seed=1,
        width_px=64, height_px=48, frames=17, fps=8.0,
    )  # fmt: skip
    return replace(row, **changes)


def preference(id: str = "p", **changes: Any) -> Preference:
    return replace(Preference(id, left="c", right="k", labels=(1,), judge="me"), **changes)


def annotation(id: str = "n", **changes: Any) -> Annotation:
    row = Annotation(
        id, subject="p", judge="human:ada", reasons=(("hand", "flicker"), ()), note="six fingers", broken=("k",),
        strength="slightly", seconds=12.5, plays=2, span_starts_s=(0.25,), span_ends_s=(0.5,), span_labels=(-1,),
        span_reasons=(("text",),), ranking=(("c",), ("k", "l")),
    )  # fmt: skip
    return replace(row, **changes)


def score(id: str = "s", **changes: Any) -> Score:
    return replace(Score(id, subject="k", metric="flicker", value=0.25), **changes)


def caption(id: str = "t", **changes: Any) -> CaptionRow:
    return replace(CaptionRow(id, subject="c", text="a cat", kind="wrong", about="k"), **changes)


def decision(id: str = "e", **changes: Any) -> Decision:
    return replace(Decision(id, subject="c", keep=False, reason="motion: still"), **changes)


def run(id: str = "r", **changes: Any) -> Run:
    row = Run(
        id, "first", "realdpo", "tiny", base="w", made_by="v", seed=0, steps=10, seconds=1.5, settings={"lr": 1e-4}
    )
    return replace(row, **changes)


class RowMaker:
    """Makes one row of each kind; keyword arguments change its fields."""

    clip = staticmethod(clip)
    candidate = staticmethod(candidate)
    preference = staticmethod(preference)
    annotation = staticmethod(annotation)
    score = staticmethod(score)
    caption = staticmethod(caption)
    decision = staticmethod(decision)
    run = staticmethod(run)


@pytest.fixture
def make() -> RowMaker:
    return RowMaker()


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
