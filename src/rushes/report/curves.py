"""Training curves: rows of metrics.jsonl to panels, and what the panels show about the health of a run."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rushes.metrics.catalogue import all_metrics
from rushes.plugins import toml_table
from rushes.records import Diagnosis, StepRow, diagnoses_in, parsed_row
from rushes.report.model import Curve, ReportFinding
from rushes.stats import Interval, mean_interval

Points = tuple[tuple[float, float], ...]

# Panels that several keys share: the word in the key, the title, and the value at which nothing was learned yet.
PANELS: tuple[tuple[str, str, float | None, str], ...] = (
    ("loss", "Loss", math.log(2), "ln 2"),
    ("relative_error", "Relative error (policy \u2212 reference)", 0.0, "reference"),
    ("accuracy", "Implicit accuracy", 0.5, "chance"),
    ("margin", "Margin", 0.0, "no preference"),
    ("/gradient", "Weight on the gradient", 0.5, "untrained"),
)
_MEANINGS: Mapping[str, Mapping[str, str]] = toml_table("report", "curves.toml")
_SAMPLES = "samples/"  # prefix of a metric of clips that are sampled while a run trains
HELD_OUT = "held_out/"  # prefix of what was measured on comparisons that are not trained on
PARTS = re.compile(r"(.*)_by_(noise|source)/(.*)")  # a figure of a part of the comparisons
_PART_NAMES = {"noise": "noise level, 0 = clean", "source": "source"}
_NOT_CURVES = {"step", "seconds", "memory_gib", "time", "epoch"}
_NOT_ALONE = ("_low", "_high", "/beta")  # ends of intervals; a beta that does not move


def read_rows(path: Path) -> tuple[list[StepRow], int]:
    """The rows of a metrics.jsonl, and how many lines held none, as they are cut or altered.

    Raises OSError: no such file, or one that cannot be read.
    """
    rows = [parsed_row(line) for line in path.read_bytes().split(b"\n") if line.strip()]
    return [row for row in rows if row is not None], rows.count(None)


@dataclass(frozen=True)
class Panel:
    """Figures that are drawn together."""

    title: str
    keys: Mapping[str, str]  # name of a series -> its key in the rows
    idle: float | None = None  # at which nothing was learned yet
    idle_name: str = ""

    @property
    def meaning(self) -> str:
        """What it shows and what is good, in plain words; "" for a figure of a recipe from elsewhere."""
        key = next(iter(self.keys.values()))
        if part := PARTS.fullmatch(key):
            return _MEANINGS["parts"][part[2]]
        if key.startswith(_SAMPLES):
            metric = all_metrics().get(key.removeprefix(_SAMPLES))
            return f"{metric.doc} Good is no worse than before training, of clips sampled meanwhile." if metric else ""
        word = next((word for word, *_ in PANELS if word in key), key)
        return _MEANINGS["figures"].get(word.rpartition("/")[2], "")


def panels(keys: Sequence[str], still: Collection[str] = ()) -> list[Panel]:
    """One panel per known word (loss, relative error, accuracy, margin, gradient), one per remaining key, then those of
    parts of the comparisons.

    `still` are keys whose value never changed. The reference lines of the loss are drawn only when the run logs an
    accuracy or a margin, as plain fine-tuning has no ln 2.
    """
    parts = [key for key in keys if PARTS.fullmatch(key)]
    left = [key for key in keys if key not in {*_NOT_CURVES, *parts} and not _is_alone(key, still)]
    preference = any("accuracy" in key or "margin" in key for key in left)
    drawn = []
    for word, title, idle, idle_name in PANELS:
        # Beside the losses of its levels the total, a weighted sum of them, has a scale of its own.
        mine = [key for key in left if word in key and (key != "loss" or not any("/loss" in other for other in left))]
        left = [key for key in left if key not in mine]
        if mine:
            idle_value = idle if preference or word != "loss" else None
            series = {_series_name(key, word): key for key in mine}
            drawn.append(Panel(title, series, idle_value, idle_name if idle_value is not None else ""))
    for key in dict.fromkeys(key.removeprefix(HELD_OUT) for key in left):
        both = ((HELD_OUT + key, "held out"), (key, "training"))
        drawn.append(Panel(_title(key), {name: whole for whole, name in both if whole in left}))
    return [*drawn, *_part_panels(parts)]


def _part_panels(keys: Sequence[str]) -> list[Panel]:
    """A panel for each figure that is known by noise level or source; one part alone is the whole."""
    by_part: dict[tuple[str, str], dict[str, str]] = {}
    for key in keys:
        if match := PARTS.fullmatch(key):
            by_part.setdefault((match[1], match[2]), {})[match[3]] = key
    idle = {word: (value, name) for word, _, value, name in PANELS}
    return [
        Panel(f"{_title(key)}, by {_PART_NAMES[by]}", series, *idle.get(key.rpartition("/")[2], (None, "")))
        for (key, by), series in by_part.items()
        if len(series) > 1
    ]


def curves(rows: Sequence[Mapping[str, Any]]) -> tuple[Curve, ...]:
    """The panels of a run with their points.

    Values that are not finite leave a gap; `findings` reports them. What only the first row holds was known before the
    first step and is no curve.
    """
    keys = list(dict.fromkeys(key for row in rows for key, value in row.items() if is_number(value)))
    before = {key for key in keys if len(rows) > 1 and not any(key in row for row in rows[1:])}
    still = {key for key in keys if len({row[key] for row in rows if is_number(row.get(key))}) == 1}
    drawn = (
        Curve(
            panel.title,
            {name: _points(rows, key) for name, key in panel.keys.items()},
            panel.idle,
            panel.idle_name,
            panel.meaning,
        )
        for panel in panels([key for key in keys if key not in before], still)
    )
    return tuple(panel for panel in drawn if any(panel.series.values()))


def findings(
    rows: Sequence[Mapping[str, Any]], diagnoses: Sequence[Diagnosis] | None = None
) -> tuple[ReportFinding, ...]:
    """The diagnoses (default: those that the run wrote into its last row), a remedy each, and what went well."""
    results = []
    broken = sorted({key for row in rows for key, value in row.items() if _is_nan(value)})
    if broken:
        text = f"Values that are not finite in: {', '.join(broken)}. The run diverged; lower the learning rate."
        results.append(ReportFinding(False, text))
    written = diagnoses_in(rows[-1]) if rows else ()
    for each in written if diagnoses is None else diagnoses:
        name = each.name.replace("_", " ").capitalize()
        results.append(ReportFinding(False, f"{name}. {each.evidence} {each.remedy}"))
    if (winner := _tail(rows, "winner", "relative_error")) and winner.high < 0:
        results.append(ReportFinding(True, "The winner's error fell below the reference's."))
    return tuple(results)


def table(curve: Curve, count: int = 8) -> list[tuple[float, list[float | None]]]:
    """At most `count` evenly spaced steps with each series' value there, None where it has none."""
    steps = sorted({step for points in curve.series.values() for step, _ in points})
    last = len(steps) - 1
    chosen = sorted({steps[round(i * last / max(1, count - 1))] for i in range(count)})
    lookup = [dict(points) for points in curve.series.values()]
    return [(step, [values.get(step) for values in lookup]) for step in chosen]


def smooth(points: Points) -> Points:
    """Running mean over a twentieth of the points on each side; always symmetric, so that ends do not lag."""
    values, widest = [value for _, value in points], max(1, len(points) // 20)
    reaches = [min(widest, at, len(values) - 1 - at) for at in range(len(values))]
    windows = [values[at - reach : at + reach + 1] for at, reach in enumerate(reaches)]
    return tuple((step, sum(window) / len(window)) for (step, _), window in zip(points, windows, strict=True))


def thin(points: Points, limit: int = 240) -> Points:
    """Means of neighbouring points, so that at most `limit` remain."""
    size = math.ceil(len(points) / limit)
    groups = [points[at : at + size] for at in range(0, len(points), size)] if size > 1 else [(p,) for p in points]
    return tuple((sum(p[0] for p in group) / len(group), sum(p[1] for p in group) / len(group)) for group in groups)


def _points(rows: Sequence[Mapping[str, Any]], key: str) -> Points:
    return tuple(
        (float(row["step"]), float(row[key])) for row in rows if is_number(row.get(key)) and not _is_nan(row[key])
    )


def _tail(rows: Sequence[Mapping[str, Any]], side: str, word: str, share: float = 0.25) -> Interval | None:
    named = dict.fromkeys(key for row in rows for key in row if side in key and word in key)
    keys = sorted(named, key=lambda key: key.startswith(HELD_OUT))  # measured at every step first
    values = [value for _, value in _points(rows, keys[0])] if keys else []
    last = values[len(values) - max(1, round(len(values) * share)) :]
    return mean_interval(last) if len(last) > 1 else None  # one value has no interval


def _is_alone(key: str, still: Collection[str]) -> bool:
    return key.endswith(_NOT_ALONE) and (key in still or not key.endswith("/beta"))


def _title(key: str) -> str:
    words = "Total loss" if key == "loss" else key.replace("_", " ").replace("/", ": ")
    return words[:1].upper() + words[1:]


def _series_name(key: str, word: str) -> str:
    rest = key.replace(word, "").strip("_/. ").replace("_", " ").replace("/", " ")
    return rest or key.replace("_", " ")


def is_number(value: object) -> bool:
    """Whether it can be a figure of a row."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
