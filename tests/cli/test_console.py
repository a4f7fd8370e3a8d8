"""What is shown while work goes on: lines of a log by a clock that the test moves, and a bar on a terminal."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from rushes.cli.console import LogLines, shown
from rushes.progress import duration, waiting


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_log_gets_a_line_a_minute_with_the_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    log = LogLines("train: long", 90, clock)
    for step in range(90):
        clock.now += 20
        log.tick(1, f"loss {step}")
    log.end()
    first, second, *lines = capsys.readouterr().err.splitlines()
    assert first == "train: long: 90"
    assert second == "train: long: 3 of 90, loss 2, 29 min 00 s left"
    assert len(lines) == 29 and lines[-1] == "train: long: 90 of 90, after 30 min 00 s"
    assert lines[-2] == "train: long: 87 of 90, loss 86, 1 min 00 s left"


def test_steps_from_before_a_resume_are_no_speed(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    log = LogLines("train: long", 90, clock)
    clock.now += 1
    log.tick(50)
    for _ in range(3):
        clock.now += 20
        log.tick(1)
    assert capsys.readouterr().err.splitlines()[-1] == "train: long: 53 of 90, 12 min 20 s left"


def test_what_takes_less_than_a_minute_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    log = LogLines("import", 12, clock)
    for _ in range(12):
        clock.now += 2
        log.tick(1)
    log.end()
    assert capsys.readouterr().err == "import: 12\n"


def test_a_bar_shows_parts_of_one_and_facts() -> None:
    out = io.StringIO()
    with shown("generate", 4, Console(file=out, force_terminal=True, width=110)) as tick:
        tick(0.5)
        tick(2.5, "loss 0.69")
    assert "3/4" in out.getvalue() and "loss 0.69" in out.getvalue() and "left" in out.getvalue()


def test_a_long_wait_says_what_it_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rushes.progress.LONG_WAIT_S", 0.02)
    lines: list[str] = []
    with waiting("reading the model", lines.append):
        while not lines:
            time.sleep(0.01)
    monkeypatch.setattr("rushes.progress.LONG_WAIT_S", 60)
    with waiting("reading more", lines.append):
        pass
    assert lines == ["reading the model ..."]


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.04, "0.0 s"), (59.97, "1 min 00 s"), (75.3, "1 min 15 s"), (7380, "2 h 03 min")]
)
def test_durations(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown
