from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from rushes.report import figures
from rushes.report.model import Curve, LabelSummary, Scatter

from .conftest import metric


def parsed(svg: str) -> ET.Element:
    return ET.fromstring(svg.replace("&larr;", "").replace("&rarr;", ""))


def position(element: ET.Element, name: str) -> float:
    return float(element.attrib[name].rstrip("%"))


def test_right_is_better_whatever_the_direction() -> None:
    worse, better = metric("artifacts", 0.1, 0.3), metric("motion", 0.1, 0.3, "higher")
    rows = parsed(figures.forest((better, worse))).findall("g")
    assert [row.attrib["class"] for row in rows] == ["worse", "better"]
    left, right = (position(row.findall("circle")[0], "cx") for row in rows)
    assert left < 50 < right and left + right == pytest.approx(100)
    span = rows[0].find("line")
    assert span is not None and position(span, "x1") < left < position(span, "x2") < 50


def test_differences_are_divided_by_the_spread_over_base_clips() -> None:
    wide, narrow = replace(metric("a", 1, 3), clip_spread=10.0), replace(metric("b", 0.1, 0.3), clip_spread=1.0)
    first, second = parsed(figures.forest((wide, narrow))).findall("g/circle")
    assert first.attrib["cx"] == second.attrib["cx"]
    assert "standard deviations" in figures.forest((wide, narrow))


def test_without_spreads_per_cent_of_the_base_is_used_and_zero_bases_are_left_out() -> None:
    metrics = (replace(metric("a", 1, 3), clip_spread=None), metric("none", 1, 3, base=0.0))
    unit, scales = figures.forest_scale(metrics)
    assert unit.startswith("per cent") and list(scales) == ["a"]
    assert "none" not in figures.forest(metrics)
    assert figures.forest(metrics[1:]) == "" or "standard" in figures.forest(metrics[1:])


def test_unknown_intervals_span_the_plot_and_stay_inside() -> None:
    svg = figures.forest((metric("a", -math.inf, math.inf), metric("b", -0.2, 0.1)))
    assert "inf" not in re.sub("info", "", svg) and "nan" not in svg
    assert all(0 <= position(line, name) <= 100 for line in parsed(svg).iter("line") for name in ("x1", "x2"))


def test_curve_stays_inside_its_panel_and_says_what_it_shows() -> None:
    panel = Curve("Loss", {"a": tuple((float(s), math.sin(s)) for s in range(500)), "b": ((0.0, -3.0),)}, 0.5, "idle")
    svg = parsed(figures.curve(panel, "k"))
    points = [pair.split(",") for line in svg.iter("polyline") for pair in line.attrib["points"].split()]
    assert all(0 <= float(x) <= 320 and 0 <= float(y) <= 176 for x, y in points)
    assert svg.attrib["role"] == "img" and svg.findtext("desc", "").startswith("a: from 0 to")
    assert len(list(svg.iter("circle"))) == 1  # a single value is a dot, not an invisible line


def test_constant_curve_has_a_scale() -> None:
    svg = figures.curve(Curve("lr", {"lr": ((1.0, 0.0), (2.0, 0.0))}), "k")
    assert "nan" not in svg and len(list(parsed(svg).iter("polyline"))) == 1


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-0.002, 0.013), (5, 5), (0, 0), (-1e6, 3e6), (0.68, 0.71)])
def test_ticks_cover_the_range_with_few_round_values(low: float, high: float) -> None:
    ticks = figures._ticks(low, high)
    assert ticks[0] <= low + 1e-9 * abs(low) and ticks[-1] >= high - 1e-9 * abs(high)
    assert 2 <= len(ticks) <= 7


def test_label_bars_add_up() -> None:
    svg = parsed(figures.label_bars(LabelSummary("<judge>", "overall", 9, ((2, 1, 1), (0, 0, 4))), "k"))
    bars = list(svg.iter("rect"))
    assert len(bars) == 9  # all, segment 1, segment 2
    first = [position(bar, "width") for bar in bars[:3]]
    assert sum(first) == pytest.approx(77, abs=0.02) and first[0] == pytest.approx(77 * 2 / 8, abs=0.01)
    assert "<judge>" in svg.findtext("title", "")


def test_scatter_shows_every_clip_and_every_mean() -> None:
    points = {"old": ((0.1, 3.0, "a <dog>"), (0.3, 5.0, "b")), "new": ((0.2, 2.0, "a"),)}
    svg = figures.scatter(Scatter("motion_speed", "warping_error", points, "higher", "lower"))
    root = parsed(svg)
    circles = list(root.iter("circle"))
    assert len(circles) == 3 + 2
    means = [c for c in circles if c.attrib["class"].startswith("mean")]
    old, new = ((float(c.attrib["cx"]), float(c.attrib["cy"])) for c in means)
    assert old[0] == pytest.approx(new[0], abs=0.2)  # both means lie at 0.2
    assert old[1] < new[1]  # a larger value lies higher up
    assert "old: 2 clips, mean 0.2 and 4; new: 1 clips, mean 0.2 and 2" in root.findtext("desc", "")
    assert (
        "motion speed, higher is better" in svg and "warping error, lower is better" in svg and "a &lt;dog&gt;" in svg
    )
    one = figures.scatter(Scatter("x", "y", {"only": ((0.0, 0.0, "c"),)}))
    assert "nan" not in one


def test_metrics_without_a_direction_stay_out_of_the_forest() -> None:
    assert "level" not in figures.forest((metric("error", -1, 1), metric("level", 1, 2, "neutral")))
    same = replace(metric("cuts", -1, 1), clip_spread=0.0)
    unit, scales = figures.forest_scale((same, metric("error", -1, 1)))
    assert unit.startswith("standard deviations") and list(scales) == ["error"]
