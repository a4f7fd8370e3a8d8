from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

from rushes.web.studio import run_log
from rushes.web.studio.run_log import RunLog, last_row, thinned

from .studying import row


def text(rows: list[dict[str, object]]) -> str:
    return "".join(json.dumps(each) + "\n" for each in rows)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "metrics.jsonl"


def test_only_what_was_added_is_read_and_a_half_written_line_waits(file: Path) -> None:
    log = RunLog(file)
    log.catch_up()
    assert (log.count, log.step, log.seconds) == (0, 0, None)
    half = json.dumps(row(3))
    file.write_text(text([row(0), row(1), row(2)]) + half[:20])
    log.catch_up()
    assert (log.step, log.count) == (2, 3) and log.series["loss"].after(1) == ([2.0], [1 / 3])
    generation = log.generation
    with file.open("a") as more:
        more.write(half[20:] + "\n" + text([row(4)]))
    log.catch_up()
    assert (log.step, log.count, log.generation, log.unread) == (4, 5, generation, 0)
    assert list(log.series["loss"].steps) == [1, 2, 3, 4] and log.seconds == 2.0


def test_a_run_that_was_cut_and_went_on_is_read_again(file: Path) -> None:
    """Also where it is as long as before by the time that it is looked at."""
    log = RunLog(file)
    file.write_text(text([row(step) for step in range(6)]))
    log.catch_up()
    first = log.generation
    file.write_text(text([row(step) for step in range(3)]))
    log.catch_up()
    assert (log.step, log.generation) == (2, first + 1)
    file.write_text(text([row(step, **({"loss": 9.0} if step == 2 else {})) for step in range(8)]))
    log.catch_up()
    assert (log.step, log.generation) == (7, first + 2) and log.series["loss"].high == 9.0
    file.unlink()
    log.catch_up()
    assert log.count == 0


def test_a_link_is_not_followed(file: Path) -> None:
    elsewhere = file.with_name("other")
    elsewhere.write_text(text([row(0), row(1)]))
    os.symlink(elsewhere, file)
    with pytest.raises(OSError):
        RunLog(file).catch_up()
    assert last_row(file) == {}


def test_what_is_no_figure_is_no_curve(file: Path) -> None:
    rows = [row(0, **{"shortcut/all": 0.9}), row(1, gradients="joint", diagnoses=[]), row(2)]
    odd = '{"step": 3, "loss": NaN, "margin": 2, "norm": 1HUGE}\n{"step": 1HUGE}\n'.replace("HUGE", "0" * 400)
    file.write_text(text(rows) + "junk\n" + odd)
    log = RunLog(file)
    log.catch_up()
    assert (log.unread, log.not_finite, log.step) == (2, {"loss", "norm"}, 3)
    assert {"loss", "margin"} <= set(log.figures()) and not {"shortcut/all", "gradients"} & set(log.figures())
    assert "clip/accuracy" in log.still() and "loss" not in log.still()
    assert last_row(file)["step"] == 3


@pytest.mark.parametrize("count", [1, 1999, 2000, 2001, 100_000])
def test_no_spike_is_lost_when_a_curve_is_thinned(count: int) -> None:
    values = np.sin(np.arange(count) / 900.0)
    values[count // 3], values[count // 2] = 50.0, -50.0
    steps, kept = thinned(np.arange(count, dtype=float), values)
    assert len(steps) <= 2000 and steps == sorted(set(steps)) and (steps[0], steps[-1]) == (0, count - 1)
    assert {max(kept), min(kept)} == {float(values.max()), float(values.min())}
    assert all(values[int(step)] == value for step, value in zip(steps, kept, strict=True))


def test_diagnoses_of_a_long_run_are_made_from_rows_all_over_it(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_log, "HEALTH_ROWS", 100)
    file.write_text(text([row(step) for step in range(1001)]))
    log = RunLog(file)
    log.catch_up()
    rows = log.health_rows()
    steps = [each["step"] for each in rows]
    assert steps == sorted(set(steps)) and steps[:3] == [0, 1, 2] and steps[-1] == 1000
    assert {step for step in range(10, 1001, 20)} <= set(steps) or {step for step in range(0, 1001, 20)} <= set(steps)
    plain = np.diff([step for step in steps[3:] if step % 10])
    assert 50 <= len(plain) <= 100 and plain.max() <= 2 * np.median(plain) + 10
    assert len(log.series["loss"].steps) == 1000 and math.isfinite(log.series["loss"].low)
