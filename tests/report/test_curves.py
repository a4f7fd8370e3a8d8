from __future__ import annotations

import math

import pytest

from rushes.report import curves
from rushes.report.model import Curve

from .conftest import training_rows


def test_half_lines_of_a_killed_run_are_counted() -> None:
    rows, unread = curves.read_rows(['{"step": 1, "loss": 0.7}', "", '{"loss": 1}', "[1]", '{"step": 2, "lo'])
    assert rows == [{"step": 1, "loss": 0.7}] and unread == 3


def test_known_words_share_panels_and_the_rest_keep_their_own() -> None:
    panels = curves.curves(training_rows())
    assert [panel.title for panel in panels] == [
        "Loss", "Relative error (policy \u2212 reference)", "Implicit accuracy", "Learning rate",
    ]  # fmt: skip
    assert list(panels[1].series) == ["winner", "loser"]
    assert panels[0].idle == pytest.approx(math.log(2)) and panels[2].idle == 0.5


def test_plain_fine_tuning_has_no_ln_2() -> None:
    (panel,) = curves.curves([{"step": step, "loss": 1.0} for step in range(3)])
    assert panel.idle is None and panel.idle_name == ""


def test_values_that_are_not_finite_leave_a_gap_and_a_finding() -> None:
    rows = [{"step": 1, "loss": 0.7}, {"step": 2, "loss": math.nan}, {"step": 3, "loss": 0.6}]
    (panel,) = curves.curves(rows)
    assert panel.series["loss"] == ((1, 0.7), (3, 0.6))
    (finding,) = curves.findings(rows)
    assert not finding.good and "diverged" in finding.text and "loss" in finding.text


def test_healthy_run_has_only_good_findings() -> None:
    found = curves.findings(training_rows())
    assert [finding.good for finding in found] == [True]


def test_rising_winner_error_is_named() -> None:
    rows = [{**row, "winner_relative_error": 0.01 + 1e-4 * (at % 3)} for at, row in enumerate(training_rows())]
    assert any(not f.good and "likelihood displacement" in f.text for f in curves.findings(rows))


def test_chance_accuracy_is_named() -> None:
    rows = [{**row, "accuracy": 0.5 + 0.1 * (-1) ** at} for at, row in enumerate(training_rows())]
    assert any("nothing learned" in finding.text for finding in curves.findings(rows))


def test_accuracy_that_starts_at_one_is_named_as_a_shortcut() -> None:
    rows = [{**row, "accuracy": 1.0} for row in training_rows()]
    assert any("almost from the first step" in finding.text for finding in curves.findings(rows))


def test_running_mean_keeps_lines_and_ends() -> None:
    ramp = tuple((float(step), 2.0 * step) for step in range(100))
    assert [value for _, value in curves.smooth(ramp)] == pytest.approx([value for _, value in ramp])
    zigzag = curves.smooth(tuple((float(step), float(step % 2)) for step in range(200)))
    assert all(abs(value - 0.5) < 0.06 for _, value in zigzag[20:-20])


def test_thinning_keeps_the_mean() -> None:
    points = tuple((float(step), float(step**2)) for step in range(960))
    few = curves.thin(points)
    assert len(few) == 240
    assert sum(v for _, v in few) / 240 == pytest.approx(sum(v for _, v in points) / 960)
    assert curves.thin(points[:5]) == points[:5]


def test_table_shows_first_and_last_step() -> None:
    panel = Curve("x", {"a": tuple((float(s), float(s)) for s in range(1, 101)), "b": ((1.0, 5.0),)})
    rows = curves.table(panel)
    assert len(rows) == 8 and rows[0] == (1.0, [1.0, 5.0]) and rows[-1] == (100.0, [100.0, None])
    assert curves.table(Curve("x", {"a": ((3.0, 1.0),)})) == [(3.0, [1.0])]


def test_what_is_held_out_is_drawn_beside_training_and_is_not_what_diagnoses_read() -> None:
    """Held-out figures come once in a while: a single one must not be read as the last quarter of the run."""
    rows: list[dict[str, float]] = [{"step": 0, "held_out/clip/accuracy": 0.5, "held_out/clip/spread": 0.0}]
    rows += [
        {"step": n, "loss": 300.0, "clip/loss": 0.2, "clip/accuracy": 0.9, "clip/spread": 1.0} for n in range(1, 41)
    ]
    rows[-1] |= {"held_out/clip/accuracy": 0.9, "held_out/clip/spread": 1.0}
    assert not [finding for finding in curves.findings(rows) if "one half" in finding.text]
    panels = {panel.title: set(panel.series) for panel in curves.curves(rows)}
    assert panels["Clip: spread"] == {"training", "held out"}
    assert panels["Loss"] == {"clip"} and panels["Total loss"] == {"training"}
