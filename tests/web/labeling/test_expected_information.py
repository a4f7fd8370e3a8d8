"""What one more label is worth: against the textbook, and by sampling."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from rushes.web.labeling.expected_information import gains


def counts(size: int, *played: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Wins and ties [1, K, K] of entries (i, j, outcome), outcome +1, 0 or -1 for i."""
    wins, ties = np.zeros((1, size, size)), np.zeros((1, size, size))
    for i, j, outcome in played:
        if outcome:
            wins[0, *((i, j) if outcome > 0 else (j, i))] += 1
        else:
            ties[0, i, j] += 1
            ties[0, j, i] += 1
    return wins, ties


def test_without_labels_all_pairs_are_worth_the_same_as_worked_out_by_hand() -> None:
    """At equal strengths a comparison has outcomes 1/3 each, so information 1/6 on a difference of variance 2."""
    found = gains(*counts(3))[0]
    assert found[~np.eye(3, dtype=bool)] == pytest.approx(np.log1p(2 / 6) / 2)
    assert np.diag(found) == pytest.approx(0)


def test_a_label_lowers_the_worth_of_its_own_pair_most() -> None:
    found = gains(*counts(3, (0, 1, 1)))[0]
    assert found[0, 1] < found[0, 2] and found[0, 1] < found[1, 2] < gains(*counts(3))[0][1, 2]


def test_close_clips_are_worth_more_than_distant_ones() -> None:
    close = gains(*counts(2, *[(0, 1, 1), (0, 1, -1)] * 3))[0, 0, 1]
    clear = gains(*counts(2, *[(0, 1, 1)] * 6))[0, 0, 1]
    assert clear < close


def test_a_tie_is_evidence_of_closeness() -> None:
    tied = gains(*counts(2, *[(0, 1, 0)] * 4))[0, 0, 1]
    untouched, split = gains(*counts(2))[0, 0, 1], gains(*counts(2, (0, 1, 1), (0, 1, -1)))[0, 0, 1]
    assert 0 < tied < untouched and split < untouched


@pytest.mark.parametrize("played", [[], [(0, 1, 1)], [(0, 1, 0), (0, 1, 1)], [(0, 1, -1)] * 3])
def test_gain_is_near_the_mutual_information_of_the_next_answer(played: list[tuple[int, int, int]]) -> None:
    """By brute force: weight draws of the prior by their likelihood, then entropy of the mean less the mean entropy."""
    strengths = np.random.default_rng(0).normal(size=(200_000, 2))
    d = strengths[:, 0] - strengths[:, 1]
    chance = np.stack([np.exp(-d / 2), np.ones_like(d), np.exp(d / 2)])
    chance /= chance.sum(0)
    weight = np.prod([chance[outcome + 1] for *_, outcome in played], axis=0) * np.ones_like(d)
    weight /= weight.sum()
    exact = entropy(chance @ weight) - entropy(chance) @ weight
    assert gains(*counts(2, *played))[0, 0, 1] == pytest.approx(exact, rel=0.2)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from([-1, 0, 1])), max_size=40))
def test_gains_are_finite_symmetric_and_blind_to_names(played: list[tuple[int, int, int]]) -> None:
    real = [entry for entry in played if entry[0] != entry[1]]
    found = gains(*counts(4, *real))[0]
    assert np.isfinite(found).all() and (found >= 0).all() and found == pytest.approx(found.T)
    order = [2, 0, 3, 1]
    renamed = gains(*counts(4, *[(order.index(i), order.index(j), k) for i, j, k in real]))[0]
    assert renamed == pytest.approx(found[np.ix_(order, order)], abs=1e-6)


def test_groups_do_not_touch_each_other() -> None:
    one, other = counts(3, (0, 1, 1), (1, 2, 0)), counts(3, (2, 0, 1))
    together = gains(np.concatenate([one[0], other[0]]), np.concatenate([one[1], other[1]]))
    assert together[0] == pytest.approx(gains(*one)[0]) and together[1] == pytest.approx(gains(*other)[0])
