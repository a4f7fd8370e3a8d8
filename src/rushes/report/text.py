"""The words and numbers of the report: what may be claimed, and with how many digits."""

from __future__ import annotations

import math

from rushes.report.model import Metric, Report
from rushes.stats import Interval

MINUS = "\u2212"
OUTCOME_HEADINGS = {"worse": "What got worse", "undecided": "No change shown", "better": "What got better"}


def decimals(scale: float) -> int:
    """Digits after the point that show two significant ones of `scale`, at most six."""
    if not math.isfinite(scale) or scale == 0:
        return 2
    return min(6, max(0, 1 - math.floor(math.log10(abs(scale)))))


def number(value: float, digits: int, signed: bool = False) -> str:
    """The value with a real minus sign; "unknown" stands for what is not finite."""
    if not math.isfinite(value):
        return "unknown"
    text = f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
    if not float(text):
        text = text.lstrip("+-")  # no sign on what rounds to zero
    return text.replace("-", MINUS)


def compact(value: float) -> str:
    """Three significant digits, for axes and single values."""
    return f"{value:.3g}".replace("-", MINUS) if math.isfinite(value) else "unknown"


def metric_digits(metric: Metric) -> int:
    """Digits for all numbers of one metric, from the width of its interval."""
    half = (metric.difference.high - metric.difference.low) / 2
    return decimals(half if math.isfinite(half) and half > 0 else metric.base or metric.trained)


def interval(metric: Metric) -> str:
    """The ends of the 95 % interval of the difference."""
    if not math.isfinite(metric.difference.low):
        return "unknown: one pair"
    digits = metric_digits(metric)
    ends = (number(end, digits, signed=True) for end in (metric.difference.low, metric.difference.high))
    return " to ".join(ends)


def percent(share: Interval) -> str:
    """A share in [0, 1] with its interval, in per cent."""
    return f"{100 * share.value:.0f} % ({100 * share.low:.0f} to {100 * share.high:.0f})"


def plain(name: str) -> str:
    """A metric or stage name as words."""
    return name.replace("_", " ")


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def ordered(metrics: tuple[Metric, ...]) -> tuple[Metric, ...]:
    """Regressions first, then what is undecided, then what got better; each in the order given."""
    return tuple(metric for outcome in OUTCOME_HEADINGS for metric in metrics if metric.outcome == outcome)


def verdict(report: Report) -> str:
    """One sentence about the headline metric, with its interval; no change is claimed where zero lies inside."""
    metric = next(metric for metric in report.metrics if metric.name == report.headline)
    digits, found, name = metric_digits(metric), metric.difference, plain(metric.name)
    base, trained = number(metric.base, digits), number(metric.trained, digits)
    what = f"{name} ({metric.unit})" if metric.unit else name
    pairs = f"{found.n} pair" + ("" if found.n == 1 else "s")
    proof = f"(difference {number(found.value, digits, signed=True)}, 95 % interval {interval(metric)}, {pairs})"
    if metric.outcome != "undecided":
        claim = "Better" if metric.outcome == "better" else "Worse"
        return f"{claim}: {what} {'fell' if found.value < 0 else 'rose'} from {base} to {trained} {proof}."
    went = f"No change shown: {what} went from {base} to {trained}"
    if not math.isfinite(found.low):
        return f"{went}, but {pairs} cannot show a change."
    return f"{went}, and the interval includes zero {proof}."


def regressions(report: Report) -> str:
    """One sentence that says which of the other metrics got worse."""
    others = [metric for metric in report.metrics if metric.name != report.headline]
    worse = [plain(metric.name) for metric in others if metric.outcome == "worse"]
    if not others:
        return "No other metric was measured."
    count = f"{len(others)} other metric" + ("" if len(others) == 1 else "s")
    if not worse:
        return f"Nothing else got worse beyond its interval ({count})."
    return f"Of {count}, {len(worse)} got worse: {', '.join(worse)}."
