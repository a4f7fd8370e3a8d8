"""What a number of prompts cannot show, in plain words and as a table."""

from __future__ import annotations

from collections.abc import Sequence

from scipy.stats import binom

from rushes.report.model import MetricRow, Reach
from rushes.stats import detectable_difference, prompts_needed

POWER = 0.8
_MANY = 100_000


def reaches(metrics: Sequence[MetricRow]) -> tuple[Reach, ...]:
    """Per metric with a direction: the smallest true change that is claimed four times in five, and what it would take.

    One metric at a time and without correction; metrics whose differences do not vary over prompts are left out.
    """
    rows = []
    for metric in metrics:
        if metric.better == "neutral" or metric.prompts < 2 or not metric.spread:
            continue
        smallest = detectable_difference(metric.spread, metric.prompts, power=POWER)
        rows.append(Reach(metric.name, metric.unit, metric.base, smallest, _needed(metric)))
    return tuple(rows)


def limits(metrics: Sequence[MetricRow], prompts: int, judged: bool) -> tuple[str, ...]:
    """Sentences about what the comparison leaves open, of which less is left where somebody `judged` the clips."""
    sentences = []
    if prompts >= 2:
        shift = detectable_difference(1.0, prompts, power=POWER)
        sentences.append(
            f"{prompts} prompts show a change of one metric four times in five if it is at least {shift:.2f} standard "
            "deviations, measured over prompts. With several metrics the change must be larger, because of the "
            "correction. Smaller changes may be missed: “no change shown” does not mean that nothing changed."
        )
        least = wins_needed(prompts)
        sentences.append(
            f"A system must win on at least {least} of {prompts} prompts before chance alone is unlikely (5 %)."
            if least
            else f"Even {prompts} wins of {prompts} prompts can be chance."
        )
    else:
        sentences.append("One prompt shows no spread, so nothing can be claimed.")
    if 1 < prompts < 30:
        sentences.append(
            "With so few prompts, the intervals assume that differences are spread about evenly around their mean. One "
            "unusual prompt can decide the result."
        )
    sentences.append(
        "Each system is one training run. The result of another training seed can lie outside these intervals."
    )
    if not judged:
        sentences.append(
            "The metrics see motion, light and detail. They do not see whether limbs, physics or the prompt are right: "
            "watch the videos, or add a judge."
        )
    return tuple(sentences)


def wins_needed(prompts: int) -> int:
    """Fewest wins of `prompts` at which a two-sided sign test is at most 0.05; 0 = even all of them are not enough."""
    enough = [wins for wins in range(prompts + 1) if 2 * binom.sf(wins - 1, prompts, 0.5) <= 0.05]
    return min(enough, default=0)


def _needed(metric: MetricRow) -> int | None:
    """Prompts that show the change that was seen, were it the true one; None where that is out of reach."""
    try:
        needed = prompts_needed(metric.difference, metric.spread, power=POWER)
    except ValueError:  # no change was seen at all
        return None
    return needed if needed <= _MANY else None
