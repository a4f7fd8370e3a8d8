"""The figures, as SVG strings that take their colours from the page and say in words what they show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from markupsafe import Markup

from rushes.pages import in_html
from rushes.report.curves import smooth, thin
from rushes.report.model import Curve, LabelSummary, MetricRow, Scatter
from rushes.report.text import compact, interval, ordered, plain

_ROW_PX = 46
_HEAD_PX = 30
_BAR_START = 23.0  # per cent of the width kept for the names of label bars
_PANEL = (320, 176)  # width and height of a curve panel, px
_PLOT = (46, 312, 12, 146)  # left, right, top, bottom of its plot
_BETTER_WORDS = {"lower": ", lower is better", "higher": ", higher is better", "neutral": ""}
_HISTOGRAM = (220, 56)  # width and height of its bars
_SCATTER = (430, 300)
_SCATTER_PLOT = (42, 420, 26, 252)


def forest_scale(metrics: Sequence[MetricRow]) -> tuple[str, dict[str, float]]:
    """The unit that puts all differences on one axis, and what each metric's difference is divided by.

    Standard deviations over base clips where they are known for every metric, which leaves out metrics that are the
    same for every clip; otherwise per cent of the base value, which leaves out metrics whose base is zero.
    """
    if all(metric.clip_spread is not None for metric in metrics):
        return "standard deviations over base clips", {
            metric.name: metric.clip_spread for metric in metrics if metric.clip_spread
        }
    return "per cent of the base value", {m.name: abs(m.base) / 100 for m in metrics if m.base}


def forest(
    metrics: tuple[MetricRow, ...], key: str = "forest", systems: tuple[str, str] = ("base", "trained")
) -> Markup:
    """Differences with their intervals on one axis; to the right is better, whatever the metric's direction.

    Widths are percentages, so that text keeps its size on a narrow page. Empty when no metric can be scaled.
    """
    unit, scales = forest_scale(metrics)
    rows = [metric for metric in ordered(metrics) if metric.name in scales]
    if not rows:
        return Markup("")
    ends = [abs(x) / scales[m.name] for m in rows for x in (m.low, m.high, m.difference)]
    ticks = _ticks(0, max([x for x in ends if math.isfinite(x)], default=1.0) or 1.0)
    reach = ticks[-1]
    bottom = _HEAD_PX + _ROW_PX * len(rows)

    def x(value: float) -> str:
        return f"{50 + 47 * max(-1.0, min(1.0, value / reach)):.2f}%"

    parts = [f'<text x="0" y="14" class="faint">{Markup("&larr;")} worse</text>']
    parts.append(f'<text x="100%" y="14" class="faint end">better {Markup("&rarr;")}</text>')
    for tick in [-t for t in ticks[:0:-1]] + ticks:
        kind = "zero" if tick == 0 else "grid"
        parts.append(f'<line x1="{x(tick)}" x2="{x(tick)}" y1="{_HEAD_PX - 6}" y2="{bottom}" class="{kind}"/>')
        parts.append(f'<text x="{x(tick)}" y="{bottom + 16}" class="faint middle">{compact(tick)}</text>')
    parts += [_forest_row(metric, scales[metric.name], _HEAD_PX + _ROW_PX * at, x) for at, metric in enumerate(rows)]
    parts.append(f'<text x="50%" y="{bottom + 36}" class="faint middle">difference in {unit}</text>')
    description = "; ".join(f"{plain(m.name)} {_OUTCOME_WORDS[m.outcome]}, {interval(m)}" for m in rows)
    title = f"Differences between {systems[1]} and {systems[0]}, with 95 % intervals"
    return _svg(key, title, description, parts, height=bottom + 44)


def scatter(plot: Scatter, key: str = "scatter") -> Markup:
    """Every clip of every system as a point, and each system's mean as a larger one with its name."""
    left, right, top, bottom = _SCATTER_PLOT
    every = [point for points in plot.points.values() for point in points]
    xs, ys = [point[0] for point in every], [point[1] for point in every]
    ticks = [_ticks(min(values), max(values)) for values in (xs, ys)]

    def place(x: float, y: float) -> tuple[str, str]:
        across, up = ((v - t[0]) / (t[-1] - t[0]) for v, t in ((x, ticks[0]), (y, ticks[1])))
        return f"{left + across * (right - left):.1f}", f"{bottom - up * (bottom - top):.1f}"

    parts = []
    for tick in ticks[0]:
        x = place(tick, 0)[0]
        parts.append(f'<line x1="{x}" x2="{x}" y1="{top}" y2="{bottom}" class="grid"/>')
        parts.append(f'<text x="{x}" y="{bottom + 18}" class="faint middle">{compact(tick)}</text>')
    for tick in ticks[1]:
        y = place(0, tick)[1]
        parts.append(f'<line x1="{left}" x2="{right}" y1="{y}" y2="{y}" class="grid"/>')
        parts.append(f'<text x="{left - 6}" y="{float(y) + 4:.1f}" class="faint end">{compact(tick)}</text>')
    axes = ((plot.x_name, plot.x_better), (plot.y_name, plot.y_better))
    across_name, up_name = (in_html(f"{plain(name)}{_BETTER_WORDS[better]}") for name, better in axes)
    parts.append(f'<text x="{right}" y="{bottom + 36}" class="faint end">{across_name} &#8594;</text>')
    parts.append(f'<text x="0" y="14" class="faint">&#8593; {up_name}</text>')
    means, descriptions = [], []
    for at, (system, points) in enumerate(plot.points.items()):
        for across, up, clip in points:
            cx, cy = place(across, up)
            name = f"<title>{in_html(system)}, {in_html(clip)}</title>"
            parts.append(f'<circle cx="{cx}" cy="{cy}" r="4" class="clip s{at % 5}">{name}</circle>')
        mean = fmean(point[0] for point in points), fmean(point[1] for point in points)
        cx, cy = place(*mean)
        means.append(f'<circle cx="{cx}" cy="{cy}" r="8" class="mean s{at % 5}"/>')
        descriptions.append(f"{system}: {len(points)} clips, mean {compact(mean[0])} and {compact(mean[1])}")
    title = f"{plain(plot.y_name)} against {plain(plot.x_name)}"
    return _svg(key, title, "; ".join(descriptions), [*parts, *means], _SCATTER[1], _SCATTER[0])


def curve(panel: Curve, key: str) -> Markup:
    """One panel of training curves: the logged values faint, their running mean bold, the idle value dashed."""
    left, right, top, bottom = _PLOT
    drawn = {name: thin(points) for name, points in panel.series.items() if points}
    steps = [step for points in drawn.values() for step, _ in points]
    values = [value for points in drawn.values() for _, value in points]
    low, high = min(values), max(values)
    if panel.idle is not None:
        low, high = min(low, panel.idle), max(high, panel.idle)
    ticks = _ticks(low, high)
    low, high = min(low, ticks[0]), max(high, ticks[-1])
    first, last = min(steps), max(steps)

    def place(step: float, value: float) -> str:
        across = (step - first) / ((last - first) or 1)
        up = (value - low) / ((high - low) or 1)
        return f"{left + across * (right - left):.1f},{bottom - up * (bottom - top):.1f}"

    parts = []
    for tick in ticks:
        y = place(first, tick).split(",")[1]
        parts.append(f'<line x1="{left}" x2="{right}" y1="{y}" y2="{y}" class="grid"/>')
        parts.append(f'<text x="{left - 6}" y="{float(y) + 4:.1f}" class="faint end">{compact(tick)}</text>')
    parts.append(f'<text x="{left}" y="{bottom + 18}" class="faint">{first:.0f}</text>')
    parts.append(f'<text x="{right}" y="{bottom + 18}" class="faint end">{last:.0f}</text>')
    parts.append(f'<text x="{(left + right) / 2}" y="{bottom + 18}" class="faint middle">step</text>')
    if panel.idle is not None:
        y = place(first, panel.idle).split(",")[1]
        parts.append(f'<line x1="{left}" x2="{right}" y1="{y}" y2="{y}" class="idle"/>')
    for at, points in enumerate(drawn.values()):
        if len(points) > 30:
            parts.append(f'<polyline points="{" ".join(place(*p) for p in points)}" class="raw s{at % 5}"/>')
            points = smooth(points)
        if len(points) == 1:
            cx, cy = place(*points[0]).split(",")
            parts.append(f'<circle cx="{cx}" cy="{cy}" r="3" class="dot s{at % 5}"/>')
        parts.append(f'<polyline points="{" ".join(place(*p) for p in points)}" class="line s{at % 5}"/>')
    description = "; ".join(
        f"{name}: from {compact(p[0][1])} to {compact(p[-1][1])}" for name, p in panel.series.items() if p
    )
    return _svg(key, f"{panel.title} over {last:.0f} steps", description, parts, _PANEL[1], _PANEL[0])


def label_bars(labels: LabelSummary, key: str) -> Markup:
    """Shares of left, tie and right, for all labels and then for each segment of a clip."""
    named = [("all", labels.totals)]
    if len(labels.segments) > 1:
        named += [(f"segment {at + 1}", counts) for at, counts in enumerate(labels.segments)]
    parts, descriptions = [], []
    for at, (name, counts) in enumerate(named):
        y, total, x = 4 + at * 26 + (8 if at else 0), sum(counts) or 1, _BAR_START
        parts.append(f'<text x="0" y="{y + 13}">{name}</text>')
        for kind, count in zip(("left", "tie", "right"), counts, strict=True):
            width = (100 - _BAR_START) * count / total
            parts.append(f'<rect x="{x:.2f}%" y="{y}" width="{width:.2f}%" height="18" class="{kind}"/>')
            if width > 10:
                middle = f'x="{x + width / 2:.2f}%" y="{y + 13}"'
                parts.append(f'<text {middle} class="on {kind} middle">{100 * count / total:.0f} %</text>')
            x += width
        descriptions.append(f"{name}: left {counts[0]}, tie {counts[1]}, right {counts[2]}")
    title = f"Labels by {labels.judge}, {labels.dimension}"
    return _svg(key, title, "; ".join(descriptions), parts, height=4 + 26 * len(named) + 10)


def histogram(name: str, every: Sequence[int], passed: Sequence[int], ends: tuple[float, float], key: str) -> Markup:
    """Counts of equal bins between two ends: all clips as faint bars, those kept before them."""
    wide, tall = _HISTOGRAM
    highest, width = max(every) or 1, wide / len(every)
    parts = []
    for counts, kind in ((every, "tie"), (passed, "left")):
        for at, count in enumerate(counts):
            up = tall * count / highest
            if count:
                box = f'x="{at * width:.1f}" y="{tall - up:.1f}" width="{width - 1:.1f}" height="{up:.1f}"'
                parts.append(f'<rect {box} class="{kind}"/>')
    low, high = map(compact, ends)
    parts.append(f'<line x1="0" x2="{wide}" y1="{tall + 0.5}" y2="{tall + 0.5}" class="zero"/>')
    parts.append(f'<text x="0" y="{tall + 15}" class="faint">{low}</text>')
    parts.append(f'<text x="{wide}" y="{tall + 15}" class="faint end">{high}</text>')
    description = f"{sum(every)} clips, {sum(passed)} kept, from {low} to {high}"
    return _svg(key, plain(name), description, parts, tall + 20, wide)


_OUTCOME_WORDS = {
    "worse": "got worse",
    "suspect": "may be worse",
    "undecided": "no change shown",
    "better": "got better",
}


def _forest_row(metric: MetricRow, scale: float, y: int, x: object) -> str:
    assert callable(x)
    sign = (1 if metric.better == "higher" else -1) / scale
    low, high = sorted((sign * metric.low, sign * metric.high))
    bar, value = y + 28, sign * metric.difference
    mark = f'<circle cx="{x(value)}" cy="{bar}" r="5" class="point"/>'
    return (
        f'<g class="{metric.outcome}"><text x="0" y="{y + 14}">{in_html(plain(metric.name))}</text>'
        f'<text x="100%" y="{y + 14}" class="end">{_OUTCOME_WORDS[metric.outcome]}</text>'
        f'<line x1="{x(low)}" x2="{x(high)}" y1="{bar}" y2="{bar}" class="span"/>{mark}</g>'
    )


def _ticks(low: float, high: float, wanted: int = 4) -> list[float]:
    """Round values that cover [low, high], between two and about `wanted` + 1 of them."""
    span = (high - low) or abs(high) or 1.0
    rough = span / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    size = next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= rough * 0.999)
    first, last = math.floor(low / size + 1e-9), math.ceil(high / size - 1e-9)
    return [at * size for at in range(first, max(last, first + 1) + 1)]


def _svg(key: str, title: str, desc: str, parts: Sequence[str], height: int, width: int | None = None) -> Markup:
    box = f'viewBox="0 0 {width} {height}"' if width else f'width="100%" height="{height}"'
    key = in_html(key)
    name = f'aria-labelledby="{key}-title {key}-desc"'
    head = f'<title id="{key}-title">{in_html(title)}</title><desc id="{key}-desc">{in_html(desc)}</desc>'
    return Markup(f'<svg {box} role="img" {name}>{head}{"".join(parts)}</svg>')
