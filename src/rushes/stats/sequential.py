"""When a study may stop: intervals that hold however often one looks.

A study that is looked at after every vote and stopped at the first interval of 95 % that excludes one half finds a
winner where there is none in far more than one case in twenty. The intervals here hold at all times at once, so one may
look at any time and stop for any reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from rushes.arrays import Floats
from rushes.stats.intervals import Interval

SequentialOutcome = Literal["better", "worse", "equal", "undecided"]

_GRID = 2001  # candidate win rates, 0.0005 apart
_BOLD = 0.75  # largest share of the stake that is bet
MOST_AHEAD = 500  # outcomes that are looked ahead
_FUTURES, _LEAST_SEEN = 9, 5


@dataclass(frozen=True)
class StoppingDecision:
    """Where a study stands. `after` is the number of votes at which it could first have stopped, 0 = not yet."""

    decision: SequentialOutcome
    rate: Interval
    after: int


def anytime_interval(outcomes: ArrayLike, level: float = 0.95) -> tuple[Floats, Floats]:
    """Ends [N], [N] of an interval for the mean of outcomes in [0, 1] after each of them, all valid at once.

    Outcomes are 1 for a win, 0.5 for a tie, 0 for a loss; where prompts have several votes, give the mean of each
    prompt, as votes of one prompt are not independent. The order must not depend on the outcomes to come. Hedged
    capital process of Waudby-Smith and Ramdas ("Estimating means of bounded random variables by betting", 2023,
    theorem 3), with the running intersection: a rate that was excluded once stays excluded.

    Raises ValueError: no outcome, or one outside [0, 1].
    """
    x = np.asarray(outcomes, np.float64).ravel()
    if not x.size or not ((x >= 0) & (x <= 1)).all():
        raise ValueError("outcomes must be one or more numbers from 0 (lost) to 1 (won); a tie is 0.5")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    at = np.arange(1, x.size + 1)
    mean = (0.5 + np.cumsum(x)) / (at + 1)
    variance = (0.25 + np.cumsum((x - mean) ** 2)) / (at + 1)
    before = np.r_[0.25, variance[:-1]]  # a bet may know only what came before it
    bet = np.sqrt(2 * np.log(2 / (1 - level)) / (before * at * np.log(1 + at)))
    rates = np.linspace(0, 1, _GRID)
    with np.errstate(divide="ignore"):
        most_up, most_down = _BOLD / rates, _BOLD / (1 - rates)
    up, down, alive = np.zeros(_GRID), np.zeros(_GRID), np.ones(_GRID, np.bool_)
    low, high = np.zeros(x.size), np.ones(x.size)
    limit = np.log(2 / (1 - level))  # each side has half of the stake
    for n in range(x.size):
        up += np.log1p(np.minimum(bet[n], most_up) * (x[n] - rates))
        down += np.log1p(-np.minimum(bet[n], most_down) * (x[n] - rates))
        alive &= np.maximum(up, down) < limit
        remaining = np.flatnonzero(alive)
        if not remaining.size:  # happens with probability 1 - level at most; the last interval stands
            low[n:], high[n:] = low[n - 1], high[n - 1]
            break
        low[n], high[n] = rates[max(0, remaining[0] - 1)], rates[min(_GRID - 1, remaining[-1] + 1)]
    return low, high


def watch(outcomes: ArrayLike, *, margin: float = 0.05, level: float = 0.95) -> StoppingDecision:
    """Whether a study of wins (1), ties (0.5) and losses (0), in the order of arrival, may stop, and with what result.

    It may stop when the interval excludes one half ("better", "worse") or lies within `margin` of it ("equal").
    Raises ValueError as `anytime_interval` does.
    """
    x = np.asarray(outcomes, np.float64).ravel()
    low, high = anytime_interval(x, level)
    better, worse = low > 0.5, high < 0.5
    equal = (low >= 0.5 - margin) & (high <= 0.5 + margin)
    done = np.flatnonzero(better | worse | equal)
    stop = int(done[0]) if done.size else x.size - 1
    decision: SequentialOutcome = "undecided"
    if done.size:
        decision = "better" if better[stop] else "worse" if worse[stop] else "equal"
    rate = Interval(float(x.mean()), float(low[-1]), float(high[-1]), x.size)
    return StoppingDecision(decision, rate, stop + 1 if done.size else 0)


def more_expected(outcomes: ArrayLike, *, margin: float = 0.05, level: float = 0.95, seed: int = 0) -> int | None:
    """How many more outcomes a study that goes on is expected to take, if those to come are as those before; None
    where more than `MOST_AHEAD` would be needed, or fewer than `_LEAST_SEEN` say nothing of what is to come.

    The median of `_FUTURES` futures drawn from the outcomes, with one tie among them, as a few wins in a row promise
    too much. 0 = it may stop now. Raises ValueError as `anytime_interval` does.
    """
    x = np.asarray(outcomes, np.float64).ravel()
    if watch(x, margin=margin, level=level).after:
        return 0
    if x.size < _LEAST_SEEN:
        return None
    rng, seen = np.random.default_rng(seed), np.r_[x, 0.5]
    after = [
        watch(np.r_[x, rng.choice(seen, MOST_AHEAD)], margin=margin, level=level).after or np.inf
        for _ in range(_FUTURES)
    ]
    median = float(np.median(after))
    return int(median) - x.size if np.isfinite(median) else None
