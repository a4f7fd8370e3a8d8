"""What guided pairs of several noise levels can teach, and the range of levels that they are to be made at.

A guided pair is two denoisings of one real clip that was noised to a level eta. From too low a level the two hardly
differ and their labels tie; from too high a level they differ in their motion as well, which DenseDPO (arXiv
2506.03517) wants to be alike, and from pure noise they are plain takes. The range that suits depends on the model, the
clip length and the size.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rushes.stats import Interval, mean_interval, ratio_interval, wilson

MOST_TIED, LEAST_MIXED = 0.2, 0.4  # of a level's pairs, in the range that is proposed
LEAST_AGREEMENT, LEAST_FAULTS = 0.9, 0.5  # below these the range comes with a warning
LEAST_CLIPS = 8
MEASURES = ("motion_agreement", "faults_left", "tied_pairs", "mixed_pairs")


@dataclass(frozen=True)
class PairFacts:
    """What was measured of one pair."""

    clip: str  # id of the real clip that both members belong to
    eta: float  # share of noise that both started from; 1 = pure noise, as free takes do
    # `rushes.metrics.motion_agreement.motion_agreement` of the members; NaN where neither moves
    motion: float = math.nan
    labels: tuple[int, ...] = ()  # of the pair's segments, +1, 0 or -1; empty = not judged
    faults: float = math.nan  # mean over both members of how much worse than the real clip they are; NaN = not known


@dataclass(frozen=True)
class Level:
    """The measures of a level with their intervals over clips; None = could not be measured."""

    eta: float  # of its pairs; 1 = free takes
    judged: int  # pairs that have labels
    motion_agreement: Interval | None  # mean of `PairFacts.motion` over the pairs in which something moves
    faults_left: Interval | None  # mean faults of its pairs over those of the same clips' free takes
    tied_pairs: Interval | None  # share of the judged pairs whose segments all tie
    mixed_pairs: Interval | None  # share of the judged pairs in which each side wins a segment

    @property
    def free(self) -> bool:
        """Whether its takes are free ones, from pure noise."""
        return self.eta == 1.0


def summarise(pairs: Iterable[PairFacts], seed: int = 0) -> list[Level]:
    """The levels of pairs, from the lowest up; one pair per clip and level."""
    by_level: dict[float, list[PairFacts]] = {}
    for pair in pairs:
        by_level.setdefault(pair.eta, []).append(pair)
    free = {pair.clip: pair.faults for pair in by_level.get(1.0, ()) if math.isfinite(pair.faults)}
    return [_level(eta, by_level[eta], free, seed) for eta in sorted(by_level)]


def _level(eta: float, pairs: Sequence[PairFacts], free: dict[str, float], seed: int) -> Level:
    motion = [pair.motion for pair in pairs if math.isfinite(pair.motion)]
    judged = [pair.labels for pair in pairs if pair.labels]
    tied, mixed = (sum(map(holds, judged)) for holds in (wholly_tied, is_mixed))
    return Level(
        eta,
        len(judged),
        mean_interval(motion, seed=seed) if motion else None,
        faults_left=_faults_left(pairs, free, seed),
        tied_pairs=wilson(tied, len(judged)) if judged else None,
        mixed_pairs=wilson(mixed, len(judged)) if judged else None,
    )


def wholly_tied(labels: tuple[int, ...]) -> bool:
    """Whether no segment is decided, so the pair has no gradient."""
    return not any(labels)


def is_mixed(labels: tuple[int, ...]) -> bool:
    """Whether each side wins a segment, so that labels per segment say what one label for the clip cannot."""
    return 1 in labels and -1 in labels


def _faults_left(pairs: Sequence[PairFacts], free: dict[str, float], seed: int) -> Interval | None:
    """None where the free takes are not seen to be worse than the real clips: then there is nothing to be left."""
    faults = [(pair.faults, free[pair.clip]) for pair in pairs if math.isfinite(pair.faults) and pair.clip in free]
    if not faults:
        return None
    ours, theirs = zip(*faults, strict=True)
    if not mean_interval(theirs, seed=seed).low > 0:
        return None
    return ratio_interval(ours, theirs, seed=seed)


def propose(levels: Sequence[Level]) -> tuple[float, float] | None:
    """The widest range of noise with at most `MOST_TIED` of the pairs wholly tied and at least `LEAST_MIXED` mixed.

    Between two neighbouring levels both shares are taken to run straight, so that an end may lie between a level that
    will do and one that will not; no end lies beyond the levels that were measured. Free takes are no level of it. Ends
    have two digits, rounded into the range. The lower of two ranges equally wide is taken.

    Returns:
        None where no range will do, or a level has fewer than `LEAST_CLIPS` judged pairs.
    """
    guided = [level for level in levels if level.eta < 1.0]
    if not guided or min(level.judged for level in guided) < LEAST_CLIPS:
        return None
    widest: tuple[float, float] | None = None
    for first, level in enumerate(guided):
        if not _will_do(level) or (first and _will_do(guided[first - 1])):
            continue
        last = first
        while last + 1 < len(guided) and _will_do(guided[last + 1]):
            last += 1
        low = _crossing(level, guided[first - 1]) if first else level.eta
        high = _crossing(guided[last], guided[last + 1]) if last + 1 < len(guided) else guided[last].eta
        low, high = math.ceil(100 * low - 1e-6) / 100, math.floor(100 * high + 1e-6) / 100
        if low < high and (widest is None or high - low > widest[1] - widest[0] + 1e-9):
            widest = (low, high)
    return widest


def _shares(level: Level) -> tuple[float, float]:
    assert level.tied_pairs is not None and level.mixed_pairs is not None, "a judged level has both"
    return level.tied_pairs.value, level.mixed_pairs.value


def _will_do(level: Level) -> bool:
    tied, mixed = _shares(level)
    return tied <= MOST_TIED and mixed >= LEAST_MIXED


def _crossing(good: Level, bad: Level) -> float:
    """The noise between a level that will do and one that will not, at which it ceases to."""
    (tied, mixed), (bad_tied, bad_mixed) = _shares(good), _shares(bad)
    ends = [1.0]
    if bad_tied > MOST_TIED:
        ends.append((MOST_TIED - tied) / (bad_tied - tied))
    if bad_mixed < LEAST_MIXED:
        ends.append((mixed - LEAST_MIXED) / (mixed - bad_mixed))
    return good.eta + min(ends) * (bad.eta - good.eta)


def warnings_of(levels: Sequence[Level], proposed: tuple[float, float] | None) -> list[str]:
    """Why nothing is proposed, or what speaks against the range that is."""
    guided = [level for level in levels if level.eta < 1.0]
    if proposed is None:
        return [_why_nothing(guided)]
    low, high = proposed
    within = [level for level in guided if low <= level.eta <= high]
    near = [level for level in guided if level.eta < low][-1:] + [level for level in guided if level.eta > high][:1]
    return [line for measure in _SHORTFALLS if (line := _shortfall(within or near, measure))]


def _why_nothing(guided: Sequence[Level]) -> str:
    judged = min((level.judged for level in guided), default=0)
    if judged < LEAST_CLIPS:
        return f"{judged} judged pairs per level are too few to propose a range; use {LEAST_CLIPS} clips or more"
    most = max(guided, key=lambda level: _shares(level)[1])
    tied, mixed = _shares(most)
    return (
        f"no range of these levels has at most {MOST_TIED:.0%} pairs with ties only and {LEAST_MIXED:.0%} or more with "
        f"mixed labels; eta {most.eta:g} is nearest with {tied:.0%} and {mixed:.0%}: measure other levels (--levels), "
        "or lower label.margin or label.segment_s"
    )


def _shortfall(within: Sequence[Level], measure: str) -> str:
    """What speaks against pairs of these levels by a measure of which they have too little; "" = nothing."""
    limit, unknown, short = _SHORTFALLS[measure]
    shares = [(interval.value, level.eta) for level in within if (interval := getattr(level, measure))]
    if not shares:
        return unknown
    least, eta = min(shares)
    return "" if least >= limit else short.format(least=least, eta=eta, limit=limit)


# By measure: the least that will do, and the sentences where it is unknown and where it is less.
_SHORTFALLS = {
    "motion_agreement": (
        LEAST_AGREEMENT,
        "motion agreement is unknown: no motion was measured in these pairs",
        "motion agreement falls to {least:.2f} at eta {eta:g}, below {limit}: the two videos of a pair also move "
        "differently, so labels judge motion as well",
    ),
    "faults_left": (
        LEAST_FAULTS,
        "the share of faults left is unknown: free takes do not measure worse than real clips",
        "at eta {eta:g} {least:.0%} of the free takes' faults are left, below {limit:.0%}: these pairs show too little "
        "of what the model does wrong on its own",
    ),
}
