"""The words and numbers of the report: what may be claimed, and with how many digits."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from importlib import resources

from jinja2 import Environment
from markupsafe import Markup

from rushes import pages
from rushes.metrics.catalogue import all_metrics
from rushes.progress import duration
from rushes.report.model import MetricRow, Report
from rushes.stats import LEAST_PROMPTS, Interval, Outcome
from rushes.world.verify import MEASURES

MINUS = "\u2212"
OUTCOME_HEADINGS: dict[Outcome, str] = {
    "worse": "What got worse",
    "suspect": "What may have got worse",
    "undecided": "No change shown",
    "better": "What got better",
}


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


def metric_digits(metric: MetricRow) -> int:
    """Digits for all numbers of one metric, from the width of its interval."""
    half = (metric.high - metric.low) / 2
    return decimals(half if math.isfinite(half) and half > 0 else metric.base or metric.trained)


def interval(metric: MetricRow) -> str:
    """The ends of the 95 % interval of the difference."""
    if not math.isfinite(metric.low):
        return "unknown: one pair"
    digits = metric_digits(metric)
    ends = (number(end, digits, signed=True) for end in (metric.low, metric.high))
    return " to ".join(ends)


def cells(metric: MetricRow) -> dict[str, str]:
    """The numbers of one metric, all with the same digits."""
    digits = metric_digits(metric)
    return {
        "base": number(metric.base, digits),
        "trained": number(metric.trained, digits),
        "difference": number(metric.difference, digits, signed=True),
        "interval": interval(metric),
    }


def percent(share: Interval) -> str:
    """A share in [0, 1] with its interval, in per cent."""
    return f"{100 * share.value:.0f} % ({100 * share.low:.0f} to {100 * share.high:.0f})"


def plain(name: str) -> str:
    """A metric or stage name as words."""
    return name.replace("_", " ")


def ordered(metrics: tuple[MetricRow, ...]) -> tuple[MetricRow, ...]:
    """Regressions first, then what is undecided, then what got better; each in the order given.

    Metrics without a better direction are left out.
    """
    directed = [metric for metric in metrics if metric.better != "neutral"]
    return tuple(metric for outcome in OUTCOME_HEADINGS for metric in directed if metric.outcome == outcome)


def named(metrics: Sequence[MetricRow], outcome: Outcome) -> list[str]:
    """Names, as words, of the metrics of this outcome."""
    return [plain(metric.name) for metric in metrics if metric.outcome == outcome]


def overall(systems: tuple[str, str], metrics: Sequence[MetricRow], pairs: int) -> str:
    """One sentence about all metrics together, with the chance that it claims what is not there."""
    directed = [metric for metric in metrics if metric.better != "neutral"]
    better, worse = named(directed, "better"), named(directed, "worse")
    first, second = systems
    whole = "1 metric" if len(directed) == 1 else f"all {len(directed)} metrics"
    proof = (
        f"({pairs} pair{'' if pairs == 1 else 's'}; corrected for {whole}, a false claim has a chance of at most 5 %)"
    )
    if not better and not worse:
        return f"No change shown: no metric distinguishes {second} from {first} {proof}."
    moved = {plain(m.name): f"{plain(m.name)} ({_from_to(m)})" for m in directed}
    sides = (("worse", worse), ("better", better))
    changes = [f"{words} on {', '.join(moved[name] for name in names)}" for words, names in sides if names]
    open_ = len(directed) - len(better) - len(worse)
    rest = f", undecided on {open_} more" if open_ else ""
    return f"{second} against {first}: {' and '.join(changes)}{rest} {proof}."


def _from_to(metric: MetricRow) -> str:
    digits = metric_digits(metric)
    return f"{number(metric.base, digits)} to {number(metric.trained, digits)}"


def meaning(metric: MetricRow) -> str:
    """What a metric is, in a sentence; "" for one of another program."""
    general = all_metrics().get(metric.name)
    if general is not None and metric.unit == general.unit:
        return general.doc
    own = MEASURES.get(metric.name)
    return own.meaning if own else ""


def in_short(report: Report) -> str:
    """What the verdict means, for readers who want no statistics; "" where nothing may be claimed."""
    metric = next((metric for metric in report.metrics if metric.name == report.headline), None)
    if report.too_few or metric is None or metric.outcome not in ("better", "worse") or not metric.base:
        return ""
    share = metric.difference / abs(metric.base)
    kind, is_share = plain(metric.name), metric.unit == "" and metric.better == "lower" and 0 < metric.base <= 1
    ends, likely = "", ""
    if is_share:
        ends = f": {100 * metric.trained:.0f} %, before {100 * metric.base:.0f} %"
        points = " to ".join(number(100 * end, 1, signed=True) for end in (metric.low, metric.high))
        likely = f" Likely range of the change: {points} points."
    if is_share and share < -0.04:
        nearest = min(PARTS, key=lambda part: abs(math.log(part / -share)))
        return f"About {PARTS[nearest].format(kind)} gone{ends}.{likely}"
    return f"{kind[:1].upper()}{kind[1:]} {'fell' if share < 0 else 'rose'} by {100 * abs(share):.0f} %{ends}.{likely}"


PARTS = {  # of what there was, in words
    1 / 20: "one in twenty {} is", 1 / 10: "one in ten {} is", 1 / 8: "one in eight {} is", 1 / 6: "one in six {} is",
    1 / 5: "one in five {} is", 1 / 4: "one in four {} is", 1 / 3: "one in three {} is", 1 / 2: "half of the {} are",
    2 / 3: "two in three {} are", 3 / 4: "three in four {} are", 9 / 10: "nine in ten {} are",
}  # fmt: skip


def verdict(report: Report) -> str:
    """One sentence about the headline metric, with its interval; no change is claimed where zero lies inside.

    Without a headline it is about all metrics together, and with few independent prompts about none.
    """
    if report.unmeasured:
        return report.unmeasured
    if report.too_few:
        return too_few(report.too_few, report.pairs)
    if not report.headline:
        return overall(report.systems, report.metrics, report.pairs)
    metric = next(metric for metric in report.metrics if metric.name == report.headline)
    digits, name = metric_digits(metric), plain(metric.name)
    base, trained = number(metric.base, digits), number(metric.trained, digits)
    what = f"{name} ({metric.unit})" if metric.unit else name
    pairs = f"{metric.n} pair" + ("" if metric.n == 1 else "s")
    proof = f"(difference {number(metric.difference, digits, signed=True)}, 95 % interval {interval(metric)}, {pairs})"
    if metric.outcome != "undecided":
        claim = {"better": "Better", "worse": "Worse", "suspect": "Perhaps worse"}[metric.outcome]
        return f"{claim}: {what} {'fell' if metric.difference < 0 else 'rose'} from {base} to {trained} {proof}."
    went = f"No change shown: {what} went from {base} to {trained}"
    if not math.isfinite(metric.low):
        return f"{went}, but {pairs} cannot show a change."
    if metric.interval.excludes_zero:
        return f"{went}, which a test over the prompts does not confirm {proof}."
    return f"{went}, and the interval includes zero {proof}."


def outcome_of(report: Report) -> Outcome:
    """What the verdict claims: of the headline metric, or of all metrics where there is none."""
    if report.headline:
        return next((metric.outcome for metric in report.metrics if metric.name == report.headline), "undecided")
    claims = {metric.outcome for metric in report.metrics} & {"better", "worse"}
    return claims.pop() if len(claims) == 1 else "undecided"


def too_few(prompts: int, pairs: int) -> str:
    """That so few independent prompts make no claim."""
    of = f"{pairs} pair{'' if pairs == 1 else 's'} of {prompts} independent prompt{'' if prompts == 1 else 's'}"
    return (
        f"Too few held-out prompts to say: {of}, and a claim takes {LEAST_PROMPTS} (prompts of one film, or under one "
        "caption, count once)."
    )


def regressions(report: Report) -> str:
    """One sentence that says which of the other metrics got worse; "" where there are too few prompts to say."""
    if report.too_few or report.unmeasured:
        return ""
    others = [metric for metric in report.metrics if metric.name != report.headline and metric.better != "neutral"]
    worse, suspect = named(others, "worse"), named(others, "suspect")
    leaning = (
        f"{', '.join(suspect)} may have got worse: the interval says so, the correction for many metrics does not."
    )
    if not report.headline:
        return (
            leaning[:1].upper() + leaning[1:] if suspect else "No other metric leans to the worse beyond its interval."
        )
    if not others:
        return "No other metric was measured."
    count = f"{len(others)} other metric" + ("" if len(others) == 1 else "s")
    if not worse and not suspect:
        return f"Nothing else got worse beyond its interval ({count})."
    count_text = (
        f"Of {count}, {len(worse)} got worse: {', '.join(worse)}." if worse else f"Of {count}, none is shown worse."
    )
    return f"{count_text} But {leaning}" if suspect else count_text


def whole_verdict(report: Report) -> str:
    """The verdict, and what else got worse."""
    more = report.headline or any(metric.outcome == "suspect" for metric in report.metrics)
    return f"{verdict(report)} {regressions(report) if more else ''}".strip()


def asset(name: str) -> Markup:
    """The text of a file of this room, to stand in a page as it is."""
    return Markup(resources.files("rushes.report").joinpath(name).read_text("utf-8"))


def templates(**filters: Callable[..., object]) -> Environment:
    """The templates, with filters of a page's own beside those for names, numbers and seconds."""
    environment = pages.templates(
        "rushes.report", plain=plain, compact=compact, duration=duration, meaning=meaning, **filters
    )
    environment.globals.update(css=asset("page.css"))
    return environment
