from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rushes.records import StepRow
from rushes.training.trackers import numbers, open_trackers

ROWS: list[StepRow] = [
    {"step": 0, "held_out/clip/accuracy": 0.5, "gradients": "joint"},
    {"step": 1, "loss": 0.69, "samples/each": {"motion_speed": [0.1]}},
    {"step": 2, "loss": 0.5, "diagnoses": []},
]


def test_numbers_alone_are_passed_on() -> None:
    assert numbers(ROWS[0]) == {"held_out/clip/accuracy": 0.5} and numbers(ROWS[1]) == {"loss": 0.69}


@pytest.mark.filterwarnings("ignore")  # of tensorboard's own imports
def test_tensorboard_has_every_row_once_also_after_a_resume(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for rows in (ROWS[:2], ROWS):  # the second session is a resumed one
        with ExitStack() as stack:
            (track,) = (
                stack.enter_context(each) for each in open_trackers(["tensorboard"], "p", tmp_path, {"lr": 1e-5})
            )
            track(rows[:1])
            track(rows)
            track(rows)
    found = EventAccumulator(str(tmp_path / "tensorboard"))
    found.Reload()
    assert [(event.step, round(event.value, 4)) for event in found.Scalars("loss")] == [(1, 0.69), (2, 0.5)]
    assert [event.step for event in found.Scalars("held_out/clip/accuracy")] == [0]


class Run:
    """What wandb's and trackio's `init` return, as far as it is used."""

    def __init__(self, **asked: Any) -> None:
        self.asked, self.finished = asked, False
        self.logged: list[tuple[int, dict[str, float]]] = []

    def log(self, values: dict[str, float], step: int) -> None:
        assert not self.finished
        self.logged.append((step, values))

    def finish(self) -> None:
        self.finished = True


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_the_others_get_each_row_once(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    runs: list[Run] = []

    def init(**asked: Any) -> Run:
        runs.append(Run(**asked))
        return runs[-1]

    module = SimpleNamespace(init=init)
    monkeypatch.setitem(sys.modules, name, module)
    with ExitStack() as stack:
        (track,) = (stack.enter_context(e) for e in open_trackers([name], "films", tmp_path / "run", {"lr": 1e-5}))
        track(ROWS[:2])
        track(ROWS)
    (run,) = runs
    assert run.finished and run.logged == [(row["step"], numbers(row)) for row in ROWS]
    assert (run.asked["project"], run.asked["name"], run.asked["config"]) == ("films", "run", {"lr": 1e-5})
    assert name != "wandb" or run.asked["mode"] == "offline"


@pytest.mark.parametrize("name", ["wandb", "trackio", "tensorboard"])
def test_a_tracker_that_is_not_installed_is_said(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = {"tensorboard": "torch.utils.tensorboard"}.get(name, name)
    monkeypatch.setitem(sys.modules, hidden, None)
    with pytest.raises(ValueError, match=rf"train\.trackers: '{name}' is not installed .*run `pip install {name}`, or"):
        open_trackers([name], "films", tmp_path, {})


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_the_real_package_takes_what_we_give(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(name)
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))
    with ExitStack() as stack:
        (track,) = (stack.enter_context(e) for e in open_trackers([name], "films", tmp_path / "run", {"lr": 1e-5}))
        track(ROWS)
