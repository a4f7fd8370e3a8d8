"""Intervals that hold whenever one looks: false stops by simulation, and that a true winner is found."""

from __future__ import annotations

import numpy as np
import pytest

from rushes.stats import anytime_interval, watch, wilson

SHARES = {"even": (0.4, 0.2, 0.4), "won": (0.6, 0.1, 0.3), "lost": (0.25, 0.1, 0.65)}


def votes(rng: np.random.Generator, kind: str, n: int) -> np.ndarray:
    return rng.choice([1.0, 0.5, 0.0], n, p=SHARES[kind])


def test_looking_after_every_vote_stops_wrongly_in_at_most_one_study_in_twenty() -> None:
    rng, studies, n = np.random.default_rng(0), 200, 250
    wrong = naive = 0
    for _ in range(studies):
        x = votes(rng, "even", n)
        low, high = anytime_interval(x)
        wrong += bool((low > 0.5).any() or (high < 0.5).any())
        fixed = [wilson(float(x[:k].sum()), k) for k in range(20, n, 5)]
        naive += any(w.low > 0.5 or w.high < 0.5 for w in fixed)
    assert wrong / studies <= 0.06
    assert naive / studies > 0.1  # what peeking at ordinary intervals does


def test_winners_and_losers_are_found_and_the_first_look_is_named() -> None:
    rng = np.random.default_rng(1)
    won, lost = watch(votes(rng, "won", 900)), watch(votes(rng, "lost", 900))
    assert (won.decision, lost.decision) == ("better", "worse")
    assert 10 < won.after < 600 and won.rate.low > 0.5 and won.rate.n == 900
    again = watch(votes(np.random.default_rng(1), "won", 900)[: won.after])
    assert again.decision == "better" and again.after == won.after
    before = watch(votes(np.random.default_rng(1), "won", 900)[: won.after - 1])
    assert before.decision == "undecided" and before.after == 0


def test_equal_systems_end_as_equal() -> None:
    assert watch(np.tile([1.0, 0.0], 2500), margin=0.1).decision == "equal"
    assert watch(np.full(3000, 0.5), margin=0.05).decision == "equal"


def test_ends_only_move_inwards_and_hold_the_truth() -> None:
    low, high = anytime_interval(votes(np.random.default_rng(3), "won", 400))
    assert (np.diff(low) >= 0).all() and (np.diff(high) <= 0).all()
    assert low[-1] < 0.65 < high[-1] and high[-1] - low[-1] < 0.25
    assert low[0] == 0.0


def test_no_bet_uses_the_outcome_it_is_made_on() -> None:
    """The interval after n votes depends on those n alone."""
    x = votes(np.random.default_rng(4), "won", 60)
    low, high = anytime_interval(x)
    for n in (1, 7, 30):
        short = anytime_interval(x[:n])
        assert (short[0][-1], short[1][-1]) == (low[n - 1], high[n - 1])


@pytest.mark.parametrize("outcomes", [[], [0.5, 1.2], [-0.1], [float("nan")]])
def test_outcomes_are_checked(outcomes: list[float]) -> None:
    with pytest.raises(ValueError, match="from 0 \\(lost\\) to 1"):
        watch(outcomes)


def test_level_is_checked() -> None:
    with pytest.raises(ValueError, match="level"):
        anytime_interval([1.0], level=1.0)


@pytest.mark.slow
def test_cover_at_all_times_for_an_uneven_rate() -> None:
    rng, studies, missed = np.random.default_rng(5), 300, 0
    for _ in range(studies):
        low, high = anytime_interval(votes(rng, "won", 800))
        missed += bool(((low > 0.65) | (high < 0.65)).any())
    assert missed / studies <= 0.06
