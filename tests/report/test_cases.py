"""Which pairs are shown."""

from __future__ import annotations

from rushes.report.cases import choose


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
