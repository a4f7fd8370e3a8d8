from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from rushes.report import curves
from rushes.report.model import Curve
from rushes.training.history import read_history
from rushes.training.monitor import MEASURED

from .conftest import training_rows


def test_half_lines_of_a_killed_run_are_counted(tmp_path: Path) -> None:
    lines = ['{"step": 1, "loss": 0.7}', "", '{"loss": 1}', "[1]", '{"step": 1.5}', '{"step": 2, "lo']
    (path := tmp_path / "metrics.jsonl").write_text("\n".join(lines))
    rows, unread = curves.read_rows(path)
    assert rows == [{"step": 1, "loss": 0.7}] and unread == 4


def test_a_run_of_a_former_version_has_the_names_of_today(tmp_path: Path) -> None:
    wrong = {"name": "learned_by_heart", "severity": "warning", "evidence": "e.", "remedy": "r.", "step": 1}
    old = [{"step": 0, "leak/all": 0.9}, {"step": 1, "leak/all": 0.8, "diagnoses": [wrong]}]
    (path := tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in old))
    rows, _ = curves.read_rows(path)
    assert rows == read_history(path)
    assert [curve.series for curve in curves.curves(rows)] == [{"training": ((0.0, 0.9), (1.0, 0.8))}]
    assert rows[0] == {"step": 0, "shortcut/all": 0.9}
    assert [finding.text for finding in curves.findings(rows)] == ["Memorised. e. r."]


def test_known_words_share_panels_and_the_rest_keep_their_own() -> None:
    panels = curves.curves(training_rows())
    assert [panel.title for panel in panels] == [
        "Loss", "Relative error (policy \u2212 reference)", "Implicit accuracy", "Learning rate",
    ]  # fmt: skip
    assert list(panels[1].series) == ["winner", "loser"]
    assert panels[0].idle == pytest.approx(math.log(2)) and panels[2].idle == 0.5


def test_the_weight_on_the_gradient_is_one_panel_and_its_norm_another() -> None:
    keys = ["gradient_norm", "clip/gradient", "held_out/clip/gradient", "seconds", "memory_gib", "clip/beta"]
    drawn = {panel.title: panel.keys for panel in curves.panels(keys, still={"clip/beta"})}
    assert drawn == {
        "Weight on the gradient": {"clip": "clip/gradient", "held out clip": "held_out/clip/gradient"},
        "Gradient norm": {"training": "gradient_norm"},
    }


def test_every_figure_of_a_run_has_a_sentence_on_what_is_good() -> None:
    figures = ("winner_relative_error", "loss", "accuracy", "margin", "spread", "gradient", "saturated", "typical")
    keys = [f"held_out/clip/{name}" for name in figures] + [f"samples/{name}" for name in MEASURED]
    keys += ["loss", "gradient_norm", "learning_rate", "loser_scale", "supervised/error", "above_reference/excess"]
    drifts = ("drift", "reference_error", "conditional_drift", "unconditional_drift")
    keys += [f"held_out/{name}" for name in drifts]
    parts = ("noise/0-0.25", "noise/0.25-0.5", "source/a", "source/b")
    keys += [f"held_out/clip/margin_by_{part}" for part in parts]
    meanings = {panel.title: panel.meaning for panel in curves.panels(keys)}
    lacking = [title for title, words in meanings.items() if "Good is" not in words and "It " not in words]
    assert not lacking and len(meanings) == 5 + 3 + 6 + 4 + 7 + 2
    (strange,) = curves.curves([{"step": step, "of/another": step} for step in range(3)])
    assert strange.meaning == "" and "Share of pairs" in curves.curves(training_rows())[2].meaning


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


def test_diagnoses_of_the_last_row_are_told_with_their_remedy() -> None:
    rows = training_rows()
    named = {
        "name": "winner_rising",
        "severity": "severe",
        "evidence": "It rose by 0.1.",
        "remedy": "Raise beta.",
        "step": 9,
    }
    assert [f.good for f in curves.findings([*rows[:-1], rows[-1] | {"diagnoses": [named]}])] == [False, True]
    found = curves.findings([*rows[:-1], rows[-1] | {"diagnoses": [named]}])[0]
    assert found.text == "Winner rising. It rose by 0.1. Raise beta."
    # what an earlier row showed and the last one did not is over
    assert [f.good for f in curves.findings([*rows[:-2], rows[-2] | {"diagnoses": [named]}, rows[-1]])] == [True]


def test_parts_of_the_comparisons_have_panels_of_their_own() -> None:
    rows = [
        {
            "step": step,
            "held_out/clip/accuracy": 0.6,
            "held_out/clip/accuracy_low": 0.4,
            "held_out/clip/accuracy_by_noise/0-0.25": 0.5,
            "held_out/clip/accuracy_by_noise/0.25-0.5": 0.7,
            "held_out/clip/margin_by_source/real over take": 1.0,
            "clip/beta": 2000.0,
            **({"shortcut/all": 0.9} if not step else {}),
        }
        for step in range(3)
    ]
    panels = {panel.title: panel for panel in curves.curves(rows)}
    assert list(panels) == ["Implicit accuracy", "Held out: clip: accuracy, by noise level, 0 = clean"]
    assert list(panels["Implicit accuracy"].series) == ["held out clip"]
    by_noise = panels["Held out: clip: accuracy, by noise level, 0 = clean"]
    assert list(by_noise.series) == ["0-0.25", "0.25-0.5"] and by_noise.idle == 0.5
    moving = [row | {"clip/beta": 2000.0 + row["step"]} for row in rows]
    assert "Clip: beta" in {panel.title for panel in curves.curves(moving)}


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
