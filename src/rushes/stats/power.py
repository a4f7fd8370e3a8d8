"""What a number of prompts can show, and how many it takes to see a difference."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.stats import binom, chi2, norm, t

_MOST_PROMPTS = 10_000_000
_QUANTILES = (np.arange(4000) + 0.5) / 4000


@dataclass(frozen=True)
class PowerResult:
    """What a number of prompts can show; what was not asked for is null."""

    prompts: int | None = None  # prompts needed
    chance: float | None = None  # power: probability of detecting the difference, 0 to 1
    win_rate: float | None = None  # least that is seen, 0 to 1; null also where none is
    standard_deviations: float | None = None  # least change of a metric that is seen


@dataclass(frozen=True)
class PowerTable:
    """What some numbers of prompts can show."""

    by_prompts: Mapping[int, PowerResult]


def chance_to_see(difference: float, sd: float, prompts: int, *, level: float = 0.95) -> float:
    """Chance that the paired t-test over prompts claims a true `difference`, when differences spread by `sd`.

    Raises ValueError for fewer than two prompts or a spread that is not positive.
    """
    if prompts < 2:
        raise ValueError(f"one prompt has no spread, so nothing can be concluded; use 2 or more, got {prompts}")
    if not 0 < sd < math.inf:
        raise ValueError(f"the spread of the differences must be a positive number, got {sd}")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    reach = float(t.ppf((1 + level) / 2, prompts - 1))
    shift = abs(difference) / sd * math.sqrt(prompts)
    # The noncentral t as a mixture of normals over the spread that a sample shows; library routines give NaN here.
    shown = np.sqrt(chi2.ppf(_QUANTILES, prompts - 1) / (prompts - 1))
    return float((norm.sf(reach * shown - shift) + norm.cdf(-reach * shown - shift)).mean())


def detectable_difference(sd: float, prompts: int, *, power: float = 0.8, level: float = 0.95) -> float:
    """Smallest true difference that is claimed with chance `power`, in the unit of `sd`.

    Raises ValueError as `chance_to_see` does, and for a power outside (1 - level, 1).
    """
    _check_power(power, level)
    chance_to_see(0.0, sd, prompts, level=level)  # refuses what cannot be
    return float(brentq(lambda d: chance_to_see(d, sd, prompts, level=level) - power, 0.0, 1000 * sd))


def detectable_win_rate(prompts: int, ties: float = 0.0, *, power: float = 0.8, level: float = 0.95) -> float | None:
    """Smallest true win rate above one half that the exact sign test claims with chance `power`; a tie is half a win.

    None where even winning every prompt that is not tied can be chance: below six of them at 95 %.
    Raises ValueError as `detectable_difference` does, and for a share of ties outside [0, 1).
    """
    _check_power(power, level)
    if prompts < 1 or not 0 <= ties < 1:
        raise ValueError(f"need one prompt or more and ties from 0 to below 1, got {prompts} and {ties}")
    decided = round(prompts * (1 - ties))
    enough = [wins for wins in range(decided + 1) if 2 * binom.sf(wins - 1, decided, 0.5) <= 1 - level]
    if not enough:
        return None
    share = float(brentq(lambda p: binom.sf(enough[0] - 1, decided, p) - power, 0.5, 1.0))
    return ties / 2 + share * (1 - ties)


def prompts_needed(difference: float, sd: float, *, power: float = 0.8, level: float = 0.95) -> int:
    """Fewest prompts with which a true `difference` is claimed with chance `power`.

    Raises ValueError as `detectable_difference` does, and for a difference of zero or one that is too small to see.
    """
    _check_power(power, level)
    if difference == 0:
        raise ValueError(
            "no number of prompts can show a difference of 0; give the smallest difference that matters to you"
        )
    low, high = 1, 2
    while chance_to_see(difference, sd, high, level=level) < power:
        low, high = high, 2 * high
        if high > _MOST_PROMPTS:
            raise ValueError(
                f"a difference of {difference:g} at a spread of {sd:g} needs more than {_MOST_PROMPTS} "
                "prompts; give a larger difference"
            )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if chance_to_see(difference, sd, middle, level=level) >= power else (middle, high)
    return high


def outcome_spread(rate: float, ties: float = 0.0) -> float:
    """Standard deviation of one outcome (win 1, tie 0.5, loss 0) at a win rate and a share of ties.

    Raises ValueError for shares that cannot be: a rate of 0.9 leaves at most 0.2 for ties.
    """
    wins = rate - ties / 2
    if not 0 <= ties <= 1 or wins < 0 or wins + ties > 1 + 1e-9:
        raise ValueError(
            f"a win rate of {rate:g} and a share of {ties:g} of ties contradict each other; lower the ties"
        )
    return math.sqrt(max(0.0, wins + ties / 4 - rate**2))


def spread_of_means(sd: float, seeds: int, alike: float) -> float:
    """Spread of a prompt's mean over `seeds`, whose values correlate by `alike` (0 independent, 1 the same).

    Raises ValueError for fewer than one seed or `alike` outside [0, 1].
    """
    if seeds < 1 or not 0 <= alike <= 1:
        raise ValueError(f"need one seed or more, and likeness within [0, 1], got {seeds} and {alike}")
    return sd * math.sqrt((1 + (seeds - 1) * alike) / seeds)


def _check_power(power: float, level: float) -> None:
    if not 1 - level < power < 1:
        raise ValueError(f"power must lie between {1 - level:.2g} and 1, got {power}")
