from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from rushes.lab.claims.base import Arm, Claim, Expects, Hypothesis
from rushes.lab.claims.verdict import Effect, agree, effect, moderated, outcome, p_value, refuting_p


def hypothesis(expects: Expects = "lower", margin: float = 0.01) -> Hypothesis:
    return Hypothesis("h", "it helps", "a", "b", "lost_dots", expects, margin)


def measured(values: dict[int, list[float]]) -> dict[int, dict[str, float]]:
    return {seed: {f"p{i}": v for i, v in enumerate(row)} for seed, row in values.items()}


def of(*per_seed: float) -> Effect:
    return effect(
        measured({s: [v] for s, v in enumerate(per_seed)}), measured({s: [0.0] for s in range(len(per_seed))})
    )


def test_effect_is_the_t_interval_over_seeds() -> None:
    rng = np.random.default_rng(0)
    arm = measured({s: rng.normal(size=7).tolist() for s in range(4)})
    other = measured({s: rng.normal(size=7).tolist() for s in range(4)})
    found = effect(arm, other)
    each = [np.mean([arm[s][p] - other[s][p] for p in arm[s]]) for s in range(4)]
    low, high = ttest_1samp(each, 0.0).confidence_interval()
    assert found.value == pytest.approx(np.mean(each))
    assert (found.low, found.high, found.prompts) == pytest.approx((low, high, 28))
    assert p_value(found, hypothesis()) == pytest.approx(ttest_1samp(each, 0.0).pvalue)


def test_only_prompts_of_both_sides_count() -> None:
    found = effect({0: {"p": 1.0, "q": 9.0}, 1: {"p": 3.0}}, {0: {"p": 0.5}, 1: {"p": 1.0}, 2: {"p": 0.0}})
    assert found.per_seed == (0.5, 2.0) and found.prompts == 2
    with pytest.raises(ValueError, match="no seed and prompt in common"):
        effect({0: {"p": 1.0}}, {0: {"q": 1.0}})


def test_one_seed_decides_nothing() -> None:
    found = of(-5.0)
    assert (found.low, found.high) == (-math.inf, math.inf)
    assert p_value(found, hypothesis()) == 1.0
    assert refuting_p(found, hypothesis()) == refuting_p(found, hypothesis("equal")) == 1.0
    assert outcome(found, hypothesis(), 1.0, 1.0) == "not decided"


@pytest.mark.parametrize(
    ("per_seed", "expects", "expected"),
    [
        ((-0.05, -0.06, -0.055), "lower", "reproduced"),
        ((-0.05, -0.06, -0.055), "higher", "not reproduced"),
        ((0.001, -0.001, 0.0), "lower", "not reproduced"),  # no effect of 0.01 is left
        ((-0.05, 0.02, -0.03), "lower", "not decided"),
        ((0.001, -0.001, 0.0), "equal", "reproduced"),
        ((-0.05, -0.06, -0.055), "equal", "not reproduced"),
        ((-0.05, 0.02, -0.03), "equal", "not decided"),
    ],
)
def test_outcomes(per_seed: tuple[float, ...], expects: Expects, expected: str) -> None:
    found, asked = of(*per_seed), hypothesis(expects)
    assert outcome(found, asked, p_value(found, asked), refuting_p(found, asked)) == expected


def test_correction_can_take_a_verdict_back() -> None:
    found = of(-0.05, -0.06, -0.055)
    assert outcome(found, hypothesis(), 0.06, 1.0) == "not decided"
    nothing = of(0.001, -0.001, 0.0)
    assert outcome(nothing, hypothesis(), 1.0, 0.04) == "not reproduced"
    assert outcome(nothing, hypothesis(), 1.0, 0.06) == "not decided"


@pytest.mark.parametrize(("expects", "beyond"), [("lower", "greater"), ("higher", "less")])
def test_a_refutation_rules_out_an_effect_that_would_matter(expects: Expects, beyond: str) -> None:
    per_seed, margin = (0.004, -0.003, 0.001, 0.002), 0.01
    against = -margin if expects == "lower" else margin
    expected = 2 * ttest_1samp(per_seed, against, alternative=beyond).pvalue
    observed = of(*per_seed)
    assert refuting_p(observed, hypothesis(expects, margin)) == pytest.approx(expected)
    # corrected for one alone it is what the interval says
    assert (expected < 0.05) == (observed.low > -margin if expects == "lower" else observed.high < margin)


def test_equality_is_refuted_by_a_difference_beyond_the_margin() -> None:
    per_seed = (0.05, 0.06, 0.045)
    expected = 2 * ttest_1samp(per_seed, 0.01, alternative="greater").pvalue
    assert refuting_p(of(*per_seed), hypothesis("equal")) == pytest.approx(expected)


def test_equal_seeds_have_no_spread() -> None:
    assert p_value(of(-0.2, -0.2), hypothesis()) == 0.0
    assert p_value(of(0.0, 0.0), hypothesis("equal")) == 0.0
    assert p_value(of(0.0, 0.0), hypothesis()) == 1.0


def test_the_verdict_is_right_as_often_as_it_says() -> None:
    """Where there is no difference, a direction is called reproduced in about one case of forty."""
    rng, asked = np.random.default_rng(1), hypothesis()
    called = sum(
        outcome(found, asked, p_value(found, asked), 1.0) == "reproduced"
        for found in (of(*rng.normal(0.0, 0.03, 3)) for _ in range(2000))
    )
    assert 0.012 < called / 2000 < 0.04


def test_spread_of_other_differences_decides_what_three_seeds_cannot() -> None:
    rng = np.random.default_rng(2)
    many = [of(*rng.normal(-0.02 * (at % 2), 0.008, 3)) for at in range(40)]
    found, asked = moderated(many), hypothesis()

    def decided(effects: list[Effect]) -> int:
        return sum(p_value(e, asked) < 0.001 for e in effects)

    assert decided(found) >= 8 > 2 >= decided(many)
    assert sum(p_value(e, asked) < 0.001 for at, e in enumerate(found) if not at % 2) == 0
    assert [e.value for e in found] == [e.value for e in many]


def test_arms_that_are_equal_by_construction_keep_their_own_spread() -> None:
    rng = np.random.default_rng(3)
    *others, equal = moderated([*(of(*rng.normal(0.0, 0.01, 3)) for _ in range(20)), of(0.0, 1e-12, 0.0)])
    assert all(effect.prior.df > 0 for effect in others) and equal.prior.df == 0
    assert p_value(equal, hypothesis("equal")) < 1e-9


def test_unequal_numbers_of_seeds_lend_nothing() -> None:
    several = [of(0.1, 0.2, 0.3), of(0.1, 0.2), of(0.3, 0.1, 0.2), of(0.0, 0.4, 0.2), of(0.1, 0.1, 0.4)]
    assert moderated(several) == several and moderated([of(0.1)] * 5) == [of(0.1)] * 5


def test_agreement_is_of_sides() -> None:
    assert agree([-0.1, -0.2], [-3.0, 1.0]) and not agree([-0.1], [0.1])


def test_a_claim_names_its_arms() -> None:
    with pytest.raises(AssertionError):
        Claim("c", "p", (Arm("a", "sft"),), (hypothesis(),))
    with pytest.raises(AssertionError):
        Claim("c", "p", (Arm("a", "sft", start="b"), Arm("b", "sft")), ())
