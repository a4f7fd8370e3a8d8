"""The report as one HTML file that asks nothing of the network."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

from markupsafe import Markup

from rushes.files import write_text
from rushes.report import curves, figures, text
from rushes.report.model import Case, LabelSummary, MetricRow, Report, ReportArm, ReportVideo, Step
from rushes.report.text import asset, templates
from rushes.stats import Interval, wilson

KINDS = {"random": "Chosen by chance", "worst": "Where training hurt most", "best": "Where training helped most"}
_SMALL_PX = 160  # videos up to this wide are shown enlarged, two cases to a row
_MB = 1_000_000
_SLACK_BYTES = 200  # the sentence that says what was left out changes with the count


def render(report: Report, max_mb: float = 30) -> str:
    """The page as text, at most `max_mb` million bytes of UTF-8.

    Videos are embedded as they are stored. Cases that would not fit are left out, the kinds taking turns so that
    none is favoured, and the page says how many. Raises ValueError when even the page without videos is larger.
    """
    limit = int(max_mb * _MB) - _SLACK_BYTES
    shown: list[Case] = []
    empty = _page_bytes(report, shown)
    if empty > limit:
        raise ValueError(f"the report without videos takes {empty / _MB:.2f} MB: raise max_mb above {max_mb:g}")
    by_kind = [[case for case in report.cases if case.kind == kind] for kind in KINDS]
    for case in (case for turn in zip_longest(*by_kind) for case in turn if case):
        if _page_bytes(report, [*shown, case]) <= limit:
            shown.append(case)
    return _render(report, shown)


def write(report: Report, path: Path, max_mb: float = 30) -> Path:
    """Render to `path`, which appears whole or not at all. Raises OSError when the disk is full."""
    page = render(report, max_mb)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, page)
    return path


def _page_bytes(report: Report, cases: Sequence[Case]) -> int:
    """Size of the page with these cases, without encoding their videos."""
    hollow = [replace(case, videos=tuple(replace(v, data=b"") for v in case.videos)) for case in cases]
    encoded = sum(4 * ((len(video.data) + 2) // 3) for case in cases for video in case.videos)
    return len(_render(report, hollow).encode()) + encoded


def _render(report: Report, cases: Sequence[Case]) -> str:
    return _TEMPLATE.render(
        report=report,
        headline=text.outcome_of(report),
        corrected=all(metric.p_adjusted is not None for metric in report.metrics),
        verdict=text.verdict(report),
        in_short=text.in_short(report),
        regressions=text.regressions(report),
        groups=_groups(report.metrics),
        unit=figures.forest_scale(report.metrics)[0],
        forest=figures.forest(report.metrics, systems=report.systems),
        unscaled=[
            m.name for m in text.ordered(report.metrics) if m.name not in figures.forest_scale(report.metrics)[1]
        ],
        scatter=figures.scatter(report.scatter) if report.scatter else "",
        panels=[(panel, figures.curve(panel, f"curve{at}")) for at, panel in enumerate(report.curves)],
        labels=[(labels, figures.label_bars(labels, f"labels{at}")) for at, labels in enumerate(report.labels)],
        kinds=[(kind, words, [case for case in cases if case.kind == kind]) for kind, words in KINDS.items()],
        shown=len(cases),
    )


def _metric_names(arms: Sequence[ReportArm]) -> list[str]:
    """The metrics that any of them has."""
    return list(dict.fromkeys(metric.name for arm in arms for metric in arm.metrics))


def _groups(metrics: Sequence[MetricRow]) -> list[tuple[str, list[MetricRow]]]:
    """Regressions first; what has no better direction last."""
    directed = text.ordered(tuple(metrics))
    groups = [(words, [m for m in directed if m.outcome == key]) for key, words in text.OUTCOME_HEADINGS.items()]
    return [*groups, ("Neither direction is better", [m for m in metrics if m.better == "neutral"])]


def _side(video: ReportVideo, at: int) -> str:
    """The class of a video's figure: the two sides that are compared, the real clip, and others."""
    return "real" if video.label == "Real" else ("base", "trained", "other")[min(at, 2)]


def _span(interval: Interval) -> str:
    ends = (text.number(end, 2, signed=True) for end in (interval.low, interval.high))
    return f"{text.number(interval.value, 2, signed=True)} ({' to '.join(ends)})"


def _first_slot(labels: LabelSummary) -> str:
    left, _, right = labels.totals
    return text.percent(wilson(left, left + right)) if left + right else "no decided label"


def _data_uri(video: ReportVideo) -> Markup:
    return Markup(f"data:{video.mime};base64,{base64.b64encode(video.data).decode()}")


def _share(step: Step, steps: Sequence[Step]) -> float:
    total = sum(other.seconds or 0 for other in steps)
    return round(100 * (step.seconds or 0) / total, 1) if total else 0.0


_TEMPLATE = templates(
    row=text.cells,
    metric_names=_metric_names,
    percent=text.percent,
    data_uri=_data_uri,
    first_slot=_first_slot,
    side=_side,
    span=_span,
    share=_share,
    percent_of=lambda share: f"{100 * share:.0f} %",
    samples=curves.table,
).get_template("page.html", globals={"js": asset("page.js"), "small_px": _SMALL_PX})
