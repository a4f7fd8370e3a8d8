"""Strengths of several systems: oracle, clusters, cover."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rushes.stats import Match, bradley_terry, rank_systems

NAMES = "abc"


def played(rng: np.random.Generator, prompts: int, repeats: int, spread: float) -> list[Match]:
    """Davidson's model with strengths 0.5, 0, -0.5 that shift from prompt to prompt by `spread`."""
    found = []
    for prompt in range(prompts):
        strength = np.array([0.5, 0.0, -0.5]) + rng.normal(0, spread, 3)
        for i, j in ((0, 1), (0, 2), (1, 2)):
            odds = np.exp([strength[i], strength[j], (strength[i] + strength[j]) / 2 + math.log(0.5)])
            for outcome in rng.choice([1, -1, 0], repeats, p=odds / odds.sum()):
                found.append(Match(NAMES[i], NAMES[j], int(outcome), prompt))
    return found


def matrices(matches: list[Match]) -> tuple[np.ndarray, np.ndarray]:
    wins, ties = np.zeros((3, 3)), np.zeros((3, 3))
    for match in matches:
        a, b = NAMES.index(match.left), NAMES.index(match.right)
        if match.outcome:
            wins[(a, b) if match.outcome > 0 else (b, a)] += 1
        else:
            ties[a, b] += 1
            ties[b, a] += 1
    return wins, ties


def test_bradley_terry_of_two_systems_is_the_log_odds() -> None:
    first, second = bradley_terry([[0, 30], [10, 0]])
    assert first.value - second.value == pytest.approx(math.log(3))
    half = 1.959964 * math.sqrt(1 / 30 + 1 / 10) / 2  # the variance of a log odds, halved by centring
    assert first.high - first.value == pytest.approx(half, rel=1e-5)
    assert first.n == 40


def test_bradley_terry_with_ties_recovers_the_model() -> None:
    strength, nu, expected = np.array([0.8, 0.1, -0.9]), 0.7, np.zeros((3, 3))
    ties = np.zeros((3, 3))
    power = np.exp(strength)
    for i in range(3):
        for j in range(3):
            total = power[i] + power[j] + nu * math.sqrt(power[i] * power[j])
            expected[i, j] = 500 * power[i] / total * (i != j)
            ties[i, j] = 500 * nu * math.sqrt(power[i] * power[j]) / total * (i != j)
    found = bradley_terry(expected, ties)
    assert [x.value for x in found] == pytest.approx(strength.tolist(), abs=1e-8)


def test_bradley_terry_refuses_what_has_no_finite_answer() -> None:
    with pytest.raises(ValueError, match="never lost"):
        bradley_terry([[0, 5], [0, 0]])
    with pytest.raises(ValueError, match="all comparisons are ties"):
        bradley_terry(np.zeros((2, 2)), [[0, 4], [4, 0]])
    tied = bradley_terry([[0, 5], [0, 0]], [[0, 2], [2, 0]])
    assert tied[0].value > tied[1].value


def test_bradley_terry_of_lopsided_counts_converges() -> None:
    first, second = bradley_terry([[0, 10000], [1, 0]])
    assert first.value - second.value == pytest.approx(math.log(10000))


def test_strengths_are_those_of_the_counts_and_the_strongest_comes_first() -> None:
    matches = played(np.random.default_rng(0), 60, 1, 0.0)
    ranked = rank_systems(matches)
    expected = bradley_terry(*matrices(matches))
    for at, name in enumerate(NAMES):
        assert ranked[name].value == pytest.approx(expected[at].value)
        assert ranked[name].n == expected[at].n
        width, plain = (found.high - found.low for found in (ranked[name], expected[at]))
        assert width == pytest.approx(plain, rel=0.35)  # clusters of one: the sandwich is near the model's own
    assert list(ranked) == sorted(NAMES, key=lambda name: -ranked[name].value)


def test_strengths_agree_with_choix() -> None:
    choix = pytest.importorskip("choix")
    rng = np.random.default_rng(3)
    matches = [m for m in played(rng, 80, 2, 0.0) if m.outcome]
    data = [
        (NAMES.index(m.left), NAMES.index(m.right)) if m.outcome > 0 else (NAMES.index(m.right), NAMES.index(m.left))
        for m in matches
    ]
    oracle = choix.ilsr_pairwise(3, data)
    ranked = rank_systems(matches)
    assert [ranked[name].value for name in NAMES] == pytest.approx(oracle - oracle.mean(), abs=1e-6)


def test_repeats_of_a_prompt_add_no_certainty() -> None:
    once = [m for m in played(np.random.default_rng(1), 40, 1, 0.5)]
    often = [m for m in once for _ in range(5)]
    for name in NAMES:
        one, five = rank_systems(once)[name], rank_systems(often)[name]
        assert (five.low, five.high) == pytest.approx((one.low, one.high))
    wins, ties = matrices(often)
    assert bradley_terry(wins, ties)[0].high < rank_systems(often)["a"].high


def test_one_prompt_says_nothing_about_spread() -> None:
    matches = [Match("a", "b", outcome, "p") for outcome in (1, 1, -1)]
    assert [found.high for found in rank_systems(matches).values()] == [math.inf, math.inf]


def test_what_cannot_be_ranked_is_refused() -> None:
    with pytest.raises(ValueError, match="no comparisons"):
        rank_systems([])
    with pytest.raises(ValueError, match="never lost"):
        rank_systems([Match("a", "b", 1, k) for k in range(9)])
    with pytest.raises(ValueError, match="all comparisons are ties"):
        rank_systems([Match("a", "b", 0, k) for k in range(9)])


@pytest.mark.slow
@pytest.mark.parametrize("prompts", [12, 30])
def test_cover_of_clustered_strengths(prompts: int) -> None:
    rng, trials, hits = np.random.default_rng(prompts), 400, 0
    for _ in range(trials):
        found = rank_systems(played(rng, prompts, 2, 0.7))["b"]
        hits += found.low <= 0 <= found.high  # the middle one is average by symmetry
    assert 0.93 <= hits / trials <= 0.975
