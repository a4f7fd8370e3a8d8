"""Programs that get a copy of metrics.jsonl, which stays the truth. A tracker's package is imported when it is named.

Each tracker is a context that gives a function of all rows so far. It passes on those that it has not passed on yet, so
what was done before a resume is passed on again, to a record of its own.
"""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import takewhile
from pathlib import Path
from types import ModuleType
from typing import Any

from rushes.records import StepRow

Tracker = Callable[[Sequence[StepRow]], None]


def open_trackers(
    names: Sequence[str], project: str, folder: Path, settings: Mapping[str, Any]
) -> list[AbstractContextManager[Tracker]]:
    """The trackers of a run, not entered yet.

    Args:
        names: "tensorboard", "trackio", "wandb".
        project: name under which runs are grouped.
        folder: of the run, whose name is the run's. What a tracker writes lies below it, where it lets us say so.
        settings: of the run, shown beside its curves.

    Raises:
        ValueError: a tracker whose package is not installed.
    """
    return [_KINDS[name](_module(name), project, folder, settings) for name in names]


def numbers(row: StepRow) -> dict[str, float]:
    """What of a row can be drawn."""
    plain = {key: value for key, value in row.items() if isinstance(value, int | float)}
    return {key: float(value) for key, value in plain.items() if key != "step"}


def _module(name: str) -> ModuleType:
    needed = {"tensorboard": ("torch.utils.tensorboard", "tensorboard")}.get(name, (name, name))
    try:
        return importlib.import_module(needed[0])
    except ImportError as error:
        raise ValueError(
            f"train.trackers: {name!r} is not installed ({error}); run `pip install {needed[1]}`, or remove it from "
            "the list"
        ) from error


def _new(rows: Sequence[StepRow], done: list[int]) -> list[StepRow]:
    """Rows behind the last step that was passed on; `done` holds that step and is moved on."""
    fresh = list(takewhile(lambda row: row["step"] > done[0], reversed(rows)))[::-1]  # called after each of many steps
    done[0] = fresh[-1]["step"] if fresh else done[0]
    return fresh


@contextmanager
def _tensorboard(module: ModuleType, project: str, folder: Path, settings: Mapping[str, Any]) -> Iterator[Tracker]:
    place, done = folder / "tensorboard", [-1]
    shutil.rmtree(place, ignore_errors=True)  # of the part before a resume, which is passed on again
    writer = module.SummaryWriter(str(place))
    writer.add_text("settings", "\n".join(f"    {key} = {value}" for key, value in settings.items()))

    def track(rows: Sequence[StepRow]) -> None:
        for row in _new(rows, done):
            for key, value in numbers(row).items():
                writer.add_scalar(key, value, row["step"])
        writer.flush()

    try:
        yield track
    finally:
        writer.close()


@contextmanager
def _wandb(module: ModuleType, project: str, folder: Path, settings: Mapping[str, Any]) -> Iterator[Tracker]:
    mode = os.environ.get("WANDB_MODE", "offline")  # nothing leaves the machine unless the user says so
    with _logging(module, project, folder, settings, dir=str(folder), mode=mode) as track:
        yield track


@contextmanager
def _logging(
    module: ModuleType, project: str, folder: Path, settings: Mapping[str, Any], **own: str
) -> Iterator[Tracker]:
    """A tracker with wandb's functions, as trackio has them too."""
    run, done = module.init(project=project, name=folder.name, config=dict(settings), **own), [-1]

    def track(rows: Sequence[StepRow]) -> None:
        for row in _new(rows, done):
            run.log(numbers(row), step=row["step"])

    try:
        yield track
    finally:
        run.finish()


_KINDS: Mapping[str, Callable[[ModuleType, str, Path, Mapping[str, Any]], AbstractContextManager[Tracker]]] = {
    "tensorboard": _tensorboard,
    "trackio": _logging,
    "wandb": _wandb,
}
