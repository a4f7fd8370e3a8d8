"""From measurements of two arms to a verdict.

The unit of evidence is the training seed: prompts of one trained model share its luck. Each seed gives one difference,
paired by prompt; the interval is Student's t over these, which covers seeds and prompts both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import t

from rushes.claims.base import Hypothesis

Outcome = Literal["reproduced", "not reproduced", "not decided"]
Measured = Mapping[int, Mapping[str, float]]  # seed -> prompt -> value
LEVEL = 0.95


@dataclass(frozen=True)
class Effect:
    """Difference of two arms: mean over seeds, its interval, and one value per seed."""

    value: float
    low: float
    high: float
    per_seed: tuple[float, ...]
    prompts: int  # pairs, all seeds together

    @property
    def error(self) -> float:
        """Standard error of the mean over seeds; infinite with one seed."""
        n = len(self.per_seed)
        return float(np.std(self.per_seed, ddof=1) / np.sqrt(n)) if n > 1 else float("inf")


def effect(arm: Measured, against: Measured, level: float = LEVEL) -> Effect:
    """Arm minus the other, paired by seed and prompt; a prompt that was not measured on both sides is left out.

    Raises:
        ValueError: no seed has a prompt that was measured on both sides.
    """
    differences, pairs = [], 0
    for seed in sorted(set(arm) & set(against)):
        both = sorted(set(arm[seed]) & set(against[seed]))
        if both:
            differences.append(float(np.mean([arm[seed][p] - against[seed][p] for p in both])))
            pairs += len(both)
    if not differences:
        raise ValueError("the arms have no seed and prompt in common; run `rushes reproduce` to its end")
    mean, n = float(np.mean(differences)), len(differences)
    found = Effect(mean, -np.inf, np.inf, tuple(differences), pairs)
    half = float(t.ppf((1 + level) / 2, n - 1)) * found.error if n > 1 else np.inf
    return Effect(mean, mean - half, mean + half, tuple(differences), pairs)


def p_value(found: Effect, hypothesis: Hypothesis) -> float:
    """Of what would refute the hypothesis.

    For a direction: two-sided, against no difference. For "equal": the larger of the two one-sided tests against a
    difference of `margin` (Schuirmann 1987). 1 with one seed.
    """
    n = len(found.per_seed)
    if n < 2:
        return 1.0
    if hypothesis.expects == "equal":
        return max(_above(found, -hypothesis.margin), _above(found, hypothesis.margin, below=True))
    return min(1.0, 2 * min(_above(found, 0.0), _above(found, 0.0, below=True)))


def _above(found: Effect, threshold: float, below: bool = False) -> float:
    """One-sided p-value that the true difference is above the threshold, or below it."""
    gap = (threshold - found.value) if below else (found.value - threshold)
    if found.error == 0:
        return 0.0 if gap > 0 else 1.0
    return float(t.sf(gap / found.error, len(found.per_seed) - 1))


def outcome(found: Effect, hypothesis: Hypothesis, adjusted_p: float) -> Outcome:
    """The verdict on one hypothesis, with a p-value that is corrected for how many were asked.

    A direction is reproduced where the corrected p-value is below 0.05 and the difference lies that way. It is not
    reproduced where the interval ends before the smallest difference that would matter, or lies wholly on the other
    side of zero. "Equal" is reproduced where the difference is shown to be within the margin, and not reproduced where
    the interval lies wholly outside it. All else is not decided at this number of seeds.
    """
    significant = adjusted_p < 1 - LEVEL
    if hypothesis.expects == "equal":
        outside = found.low > hypothesis.margin or found.high < -hypothesis.margin
        return "reproduced" if significant else "not reproduced" if outside else "not decided"
    sign = 1.0 if hypothesis.expects == "higher" else -1.0
    best = max(sign * found.low, sign * found.high)  # the largest effect that the interval still allows
    if significant and sign * found.value > 0:
        return "reproduced"
    return "not reproduced" if best < hypothesis.margin else "not decided"


def agree(first: Sequence[float], second: Sequence[float]) -> bool:
    """Whether two judges see a difference on the same side, by the means of their seeds."""
    return bool(np.sign(np.mean(first)) == np.sign(np.mean(second)))
