from __future__ import annotations

import math
from collections.abc import Mapping

import pytest

from rushes.evaluate.levels import Level, PairFacts, propose, summarise, warnings_of
from rushes.stats import Interval, wilson

MIXED, DECIDED, TIED = (1, -1, 0), (1, 0, 1), (0, 0, 0)


def level(eta: float, tied: float, mixed: float, motion: float = 0.95, faults: float = 0.7, judged: int = 20) -> Level:
    def known(value: float) -> Interval:
        return Interval(value, value, value, judged)

    return Level(eta, judged, known(motion), known(faults), known(tied), known(mixed))


def levels(shares: Mapping[float, tuple[float, float]]) -> list[Level]:
    return [level(eta, tied, mixed) for eta, (tied, mixed) in shares.items()]


GOOD, FEW_MIXED, MANY_TIED = (0.1, 0.5), (0.1, 0.3), (0.3, 0.5)


@pytest.mark.parametrize(
    ("shares", "range_"),
    [
        ({0.6: GOOD, 0.7: GOOD, 0.8: GOOD}, (0.6, 0.8)),
        ({0.6: FEW_MIXED, 0.7: FEW_MIXED, 0.8: FEW_MIXED}, None),
        ({0.6: MANY_TIED, 0.7: MANY_TIED}, None),
        # half way from 0.5 mixed to 0.3, and half way from 0.1 tied to 0.3
        ({0.6: FEW_MIXED, 0.7: GOOD, 0.8: GOOD}, (0.65, 0.8)),
        ({0.6: MANY_TIED, 0.7: GOOD, 0.8: GOOD}, (0.65, 0.8)),
        ({0.6: GOOD, 0.7: GOOD, 0.8: FEW_MIXED}, (0.6, 0.75)),
        # what fails first decides
        ({0.6: (0.5, 0.3), 0.8: GOOD, 0.9: GOOD}, (0.75, 0.9)),
        # the limits themselves are allowed
        ({0.6: (0.2, 0.4), 0.7: (0.2, 0.4)}, (0.6, 0.7)),
        ({0.6: (0.21, 0.4), 0.7: (0.2, 0.4), 0.8: (0.2, 0.39)}, None),  # one level, which is no range
        # one level that will do between two that will not
        ({0.6: FEW_MIXED, 0.7: GOOD, 0.8: FEW_MIXED}, (0.65, 0.75)),
        # of two ranges the wider, of equal ones the lower
        ({0.5: GOOD, 0.6: GOOD, 0.7: FEW_MIXED, 0.8: GOOD, 0.95: GOOD}, (0.75, 0.95)),
        ({0.5: GOOD, 0.6: GOOD, 0.7: FEW_MIXED, 0.8: GOOD, 0.9: GOOD}, (0.5, 0.65)),
    ],
)
def test_the_widest_range_that_keeps_the_rule(
    shares: Mapping[float, tuple[float, float]], range_: tuple[float, float] | None
) -> None:
    assert propose(levels(shares)) == (pytest.approx(range_) if range_ else None)


def test_free_takes_are_no_level_of_a_range() -> None:
    shares = {0.8: FEW_MIXED, 0.9: FEW_MIXED, 1.0: GOOD}
    assert propose(levels(shares)) is None
    assert propose(levels({0.8: GOOD, 0.9: GOOD, 1.0: GOOD})) == (0.8, 0.9)


def test_ends_are_rounded_into_the_range() -> None:
    low, high = propose(levels({0.6: (0.1, 0.1), 0.7: GOOD, 0.8: (0.1, 0.37)})) or (0.0, 0.0)
    assert (low, high) == (0.68, 0.77)  # from 0.675 and 0.7769


@pytest.mark.parametrize(("judged", "there"), [(7, False), (8, True)])
def test_under_eight_clips_nothing_is_proposed(judged: int, there: bool) -> None:
    found = [level(eta, *GOOD, judged=judged) for eta in (0.6, 0.7)]
    proposed = propose(found)
    assert (proposed is not None) == there
    assert there or "7 judged pairs per level are too few" in warnings_of(found, proposed)[0]


def test_one_level_with_too_few_is_enough_to_say_nothing() -> None:
    assert propose([level(0.6, *GOOD), level(0.7, *GOOD, judged=3)]) is None


def test_what_speaks_against_a_range_is_said_of_its_levels_alone() -> None:
    found = [
        level(0.5, 0.6, 0.1, motion=0.2, faults=0.1),
        level(0.6, *GOOD, motion=0.97, faults=0.6),
        level(0.7, *GOOD, motion=0.93, faults=0.8),
    ]
    assert warnings_of(found, (0.6, 0.7)) == []
    found[1] = level(0.6, *GOOD, motion=0.97, faults=0.49)
    found[2] = level(0.7, *GOOD, motion=0.89, faults=0.8)
    motion, faults = warnings_of(found, (0.6, 0.7))
    assert "falls to 0.89 at eta 0.7" in motion and "at eta 0.6 49%" in faults
    (nothing,) = warnings_of(levels({0.6: FEW_MIXED, 0.7: (0.1, 0.35)}), None)
    assert "eta 0.7 is nearest with 10% and 35%" in nothing


def test_measures_of_a_level() -> None:
    labels = [MIXED, MIXED, DECIDED, TIED]
    free = [PairFacts(f"c{k}", 1.0, 0.1, MIXED, faults) for k, faults in enumerate((0.5, 0.25, 0.3, 0.15))]
    pairs = [
        PairFacts(f"c{k}", 0.7, motion, labels[k], faults)
        for k, (motion, faults) in enumerate([(0.9, 0.1), (0.7, 0.1), (math.nan, 0.05), (0.8, 0.05)])
    ]
    found, baseline = summarise([*free, *pairs])
    assert (found.eta, baseline.eta, found.judged) == (0.7, 1.0, 4)
    assert found.motion_agreement and found.motion_agreement.value == pytest.approx(0.8)
    assert found.motion_agreement.n == 3  # where nothing moves there is no agreement
    assert found.faults_left and found.faults_left.value == pytest.approx(0.3 / 1.2)
    assert found.faults_left.low < 0.25 < found.faults_left.high
    assert (found.tied_pairs, found.mixed_pairs) == (wilson(1, 4), wilson(2, 4))  # of all pairs, tied ones included
    assert baseline.faults_left and baseline.faults_left.value == baseline.faults_left.low == 1.0


def test_where_free_takes_are_as_good_as_real_clips_no_faults_can_be_left() -> None:
    free = [PairFacts(f"c{k}", 1.0, 0.1, MIXED, faults) for k, faults in enumerate((0.1, -0.1, 0.05, -0.06))]
    pairs = [PairFacts(f"c{k}", 0.7, 0.9, MIXED, 0.01) for k in range(4)]
    found = summarise([*free, *pairs])
    assert [each.faults_left for each in found] == [None, None]
    assert "faults left is unknown" in warnings_of(found, (0.6, 0.8))[0]


def test_clips_whose_faults_are_not_known_are_left_out_on_both_sides() -> None:
    free = [PairFacts(f"c{k}", 1.0, faults=f) for k, f in enumerate((0.4, 0.5, 0.45, 0.45, math.nan, 9.0))]
    pairs = [PairFacts(f"c{k}", 0.7, faults=f) for k, f in enumerate((0.2, 0.25, 0.2, 0.25, 7.0, math.nan))]
    (found, _) = summarise([*free, *pairs])
    assert found.faults_left and (found.faults_left.value, found.faults_left.n) == pytest.approx((0.5, 4))


def test_what_people_have_not_labelled_is_unknown() -> None:
    (found,) = summarise([PairFacts(f"c{k}", 0.7, 0.9 + 0.01 * k) for k in range(9)])
    assert (found.tied_pairs, found.mixed_pairs, found.faults_left, found.judged) == (None, None, None, 0)
    assert propose([found]) is None
    assert found.motion_agreement and found.motion_agreement.value > 0.9


def test_one_clip_has_an_interval_without_ends() -> None:
    (found,) = summarise([PairFacts("c", 0.7, 0.9, MIXED)])
    assert found.motion_agreement and math.isinf(found.motion_agreement.high)
