"""Which pairs are shown."""

from __future__ import annotations

import numpy as np

from rushes.report.cases import choose, faults, most_different


def test_worst_and_best_are_by_gain_and_no_pair_comes_twice() -> None:
    gains = [0.1, -0.5, None, 0.4, 0.0, -0.2, 0.3, 0.2]
    chosen = choose(gains, 2, seed=1)
    kinds = {kind: [at for other, at in chosen if other == kind] for kind in ("random", "worst", "best")}
    assert kinds["worst"] == [1, 5] and kinds["best"] == [3, 6]
    assert len({at for _, at in chosen}) == len(chosen) == 6
    assert choose(gains, 2, seed=1) == chosen


def test_none_asked_none_shown_and_few_are_not_repeated() -> None:
    assert choose([0.1, 0.2, 0.3], 0, seed=0) == []
    assert sorted(at for _, at in choose([0.1], 4, seed=0)) == [0]
    assert [kind for kind, _ in choose([None, None], 4, seed=0)] == ["random", "random"]


def test_the_frame_that_is_shown_is_where_two_clips_differ_most() -> None:
    first = np.zeros((6, 2, 3, 3), np.uint8)
    second = first.copy()
    second[2], second[4] = 255, 10  # a difference of 255 must not wrap round
    first[4] = 250
    assert most_different(first, second) == 2 and most_different(second, first[:3]) == 2
    assert most_different(first, first) == 0


def test_faults_are_shares_of_the_worst_second_of_the_case() -> None:
    assert faults([(0.0, 0.25), (0.5, 0.0)], "lower") == [(0.0, 0.5), (1.0, 0.0)]
    assert faults([(2.0, 4.0), (3.0,)], "higher") == [(1.0, 0.0), (0.5,)]
    assert faults([(0.0,), (0.0,)], "lower") == [(0.0,), (0.0,)]
    assert faults([(), ()], "lower") == faults([(1.0,), (2.0,)], "neutral") == [(), ()]
