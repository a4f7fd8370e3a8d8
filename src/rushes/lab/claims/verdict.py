"""From measurements of two arms to a verdict.

The unit of evidence is the training seed: prompts of one trained model are not independent. Each seed gives one
difference, paired by prompt, whose spread comes from seeds and prompts. A few seeds say little about their own spread,
so it is pooled with that of all differences of the metric (`rushes.stats.moderated`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.stats import t

from rushes.lab.claims.base import Hypothesis
from rushes.stats import NOTHING, Prior, fit_prior, telling

ClaimOutcome = Literal["reproduced", "not reproduced", "not decided"]
SeedValues = Mapping[int, Mapping[str, float]]  # seed -> prompt -> value
LEVEL = 0.95


@dataclass(frozen=True)
class Effect:
    """Difference of two arms, one value per seed."""

    per_seed: tuple[float, ...]
    prompts: int  # pairs, all seeds together
    prior: Prior = NOTHING  # what the spread of other differences of the metric lends

    @property
    def value(self) -> float:
        """Mean over seeds."""
        return float(np.mean(self.per_seed))

    @property
    def spread(self) -> tuple[float, float]:
        """Variance of one seed's difference, and its degrees of freedom; infinity and 0 with one seed."""
        n = len(self.per_seed)
        if n < 2:
            return float("inf"), 0.0
        return self.prior.moderated(float(np.var(self.per_seed, ddof=1)), n - 1.0)

    @property
    def error(self) -> float:
        """Standard error of the mean over seeds; infinite with one seed."""
        return float(np.sqrt(self.spread[0] / len(self.per_seed)))

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval."""
        return self.value - self._half

    @property
    def high(self) -> float:
        """Upper end of the 95 % interval."""
        return self.value + self._half

    @property
    def _half(self) -> float:
        df = self.spread[1]
        return float(t.ppf((1 + LEVEL) / 2, df)) * self.error if df else float("inf")

    def chance_above(self, threshold: float) -> float:
        """One-sided p-value for a true difference above the threshold; 1 with one seed."""
        return self._tail(self.value - threshold)

    def chance_below(self, threshold: float) -> float:
        """One-sided p-value for a true difference below the threshold; 1 with one seed."""
        return self._tail(threshold - self.value)

    def _tail(self, gap: float) -> float:
        df = self.spread[1]
        if not df:
            return 1.0
        if self.error == 0:
            return 0.0 if gap > 0 else 1.0
        return float(t.sf(gap / self.error, df))


def effect(arm: SeedValues, against: SeedValues) -> Effect:
    """Arm minus the other, paired by seed and prompt; a prompt that was not measured on both sides is left out.

    Raises ValueError: no seed has a prompt that was measured on both sides.
    """
    differences, pairs = [], 0
    for seed in sorted(set(arm) & set(against)):
        both = sorted(set(arm[seed]) & set(against[seed]))
        if both:
            differences.append(float(np.mean([arm[seed][p] - against[seed][p] for p in both])))
            pairs += len(both)
    if not differences:
        raise ValueError("the arms have no seed and prompt in common; run `rushes reproduce` to its end")
    return Effect(tuple(differences), pairs)


def moderated(effects: Iterable[Effect]) -> list[Effect]:
    """Differences of one metric, each with what the spread of all of them lends; all have as many seeds.

    Arms that are equal but for rounding have a spread of their own.
    """
    originals = list(effects)
    seeds = {len(e.per_seed) for e in originals}
    if len(seeds) != 1 or seeds == {1}:
        return originals
    variances = [float(np.var(e.per_seed, ddof=1)) for e in originals]
    prior = fit_prior(variances, seeds.pop() - 1.0)
    return [
        replace(e, prior=prior) if informative else e
        for e, informative in zip(originals, telling(variances), strict=True)
    ]


def p_value(observed: Effect, hypothesis: Hypothesis) -> float:
    """The p-value of what would refute the hypothesis.

    For a direction: two-sided, against no difference. For "equal": the larger of the two one-sided tests against a
    difference of `margin` (Schuirmann 1987). 1 with one seed.
    """
    if hypothesis.expects == "equal":
        return max(observed.chance_above(-hypothesis.margin), observed.chance_below(hypothesis.margin))
    return min(1.0, 2 * min(observed.chance_above(0.0), observed.chance_below(0.0)))


def refuting_p(observed: Effect, hypothesis: Hypothesis) -> float:
    """The p-value of an effect that would matter: small where there is none.

    For a direction: two-sided, against an effect as large as `margin` that way. For "equal": two-sided, against a
    difference within the margin. 1 with one seed.
    """
    margin = hypothesis.margin
    if hypothesis.expects == "equal":
        tail = min(observed.chance_above(margin), observed.chance_below(-margin))
    elif hypothesis.expects == "higher":
        tail = observed.chance_below(margin)
    else:
        tail = observed.chance_above(-margin)
    return min(1.0, 2 * tail)


def outcome(
    observed: Effect, hypothesis: Hypothesis, adjusted_p: float, refuted_p: float, seconded: bool | None = None
) -> ClaimOutcome:
    """The verdict on one hypothesis, with p-values that are both corrected for how many were asked.

    A direction is reproduced where the corrected p-value is below 0.05, the difference lies that way, and the second
    judge, where one is asked, sees it there too. "Equal" is reproduced where the difference is shown to be within the
    margin. Either is not reproduced where the corrected `refuting_p` is below 0.05: an effect that would matter is
    ruled out, or equality is. All else is not decided at this number of seeds.
    """
    sign = {"higher": 1.0, "lower": -1.0, "equal": 0.0}[hypothesis.expects]
    if adjusted_p < 1 - LEVEL and (not sign or sign * observed.value > 0):
        return "not decided" if seconded is False else "reproduced"
    return "not reproduced" if refuted_p < 1 - LEVEL else "not decided"


def agree(first: Sequence[float], second: Sequence[float]) -> bool:
    """Whether two judges see a difference on the same side, by the means of their seeds."""
    return bool(np.sign(np.mean(first)) == np.sign(np.mean(second)))
