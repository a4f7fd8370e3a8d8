from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from rushes.objectives.terms import Term, collate

PAIR = Term("clip", (1.0, -1.0), (1, 1, 1), 500.0)


def test_coefficients_sum_to_zero_but_for_rounding() -> None:
    Term("instance", (1.0, -0.7, -0.3), (1,), 500.0)


def test_a_supervised_term_needs_neither_zero_sum_nor_beta() -> None:
    Term("supervised", (1.0, 0.0), (1, 1), loss_type="error")


def test_collate_pads_shorter_comparisons_with_terms_that_count_nothing() -> None:
    long = [Term("clip", (1.0, -1.0, 0.0), (1, 1), 5.0, 0.5), Term("clip", (1.0, 0.0, -1.0), (1, -1), 7.0, 0.5)]
    batch = collate([long, [Term("clip", (1.0, -1.0), (-1, 0), 9.0)]], views=3, frames=2)
    assert batch.coefficients_BKV.tolist() == [[[1, -1, 0], [1, 0, -1]], [[1, -1, 0], [0, 0, 0]]]
    assert batch.labels_BKF.tolist() == [[[1, 1], [1, -1]], [[-1, 0], [0, 0]]]
    assert batch.beta_BK.tolist() == [[5, 7], [9, 0]]
    assert batch.weight_BK.tolist() == [[0.5, 0.5], [1, 0]]
    assert batch.forms == (("clip", "sigmoid", "clip"),) * 2
    assert batch.scored_BKF.tolist() == [[[True, True], [True, True]], [[True, False], [False, False]]]


def test_collate_refuses_levels_of_two_forms() -> None:
    for other in (
        Term("clip", (1.0, -1.0), (1, 1, 1), 500.0, reduction="segment"),
        Term("clip", (1.0, -1.0), (1, 1, 1), 500.0, loss_type="ipo"),
    ):
        for rows in ([[PAIR], [other]], [[PAIR, other]]):
            with pytest.raises(ValueError, match="differ in loss_type or reduction"):
                collate(rows, 2, 3)


def test_a_comparison_may_lack_terms_of_any_level() -> None:
    """Columns go by level, so what is missing in the middle does not shift what follows."""
    state = Term("state", (0.0, 1.0), (1, 0, 1), loss_type="error", weight=0.3)
    batch = collate([[PAIR], [state, PAIR], [state, PAIR, PAIR]], 2, 3)
    assert [form[0] for form in batch.forms] == ["clip", "clip", "state"]
    torch.testing.assert_close(batch.weight_BK, torch.tensor([[1, 0, 0], [1, 0, 0.3], [1, 1, 0.3]]))
    assert {name: int(n) for name, n in batch.counts().items()} == {"clip": 3, "state": 2}


def test_levels_and_the_need_of_a_reference() -> None:
    supervised = Term("supervised", (1.0,), (1, 1, 1), loss_type="error")
    state = Term("state", (1.0, -1.0), (1, 1, 1), 500.0)
    batch = collate([[supervised, PAIR, PAIR, state]], 2, 3)
    assert batch.levels == ("supervised", "clip", "state")
    assert batch.needs_reference
    assert not collate([[supervised]], 1, 3).needs_reference
    assert not collate([[supervised, replace(PAIR, reference=False)]], 2, 3).needs_reference
    assert collate([[supervised], [replace(PAIR, reference=False), state]], 2, 3).needs_reference
    assert collate([[Term("guard", (1.0,), (1, 1, 1), loss_type="excess")]], 1, 3).needs_reference


def test_counts_are_of_comparisons_or_of_frames() -> None:
    def row(*labels: int) -> list[Term]:
        clip = Term("clip", (1.0, -1.0), labels, 5.0)
        segment = Term("segment", (1.0, -1.0), labels, 5.0, reduction="segment")
        inside = Term("inside", (1.0, -1.0), labels, 5.0, reduction="sum_inside")
        return [clip, segment, inside]

    counts = collate([row(1, 0, -1), row(0, 0, 0), row(0, 1, 0)], 2, 3).counts()
    assert {name: int(n) for name, n in counts.items()} == {"clip": 2, "segment": 3, "inside": 2}


def test_terms_that_share_a_comparison_count_it_once() -> None:
    """N losers have weight 1 / N each, in either reduction, so the divisor must not grow with N."""
    for reduction, expected in (("clip", 1), ("segment", 2)):
        losers = [
            Term("level", a, (1, 1, 0), 5.0, 0.5, reduction=reduction)  # type: ignore[arg-type]
            for a in ((1.0, -1.0, 0.0), (1.0, 0.0, -1.0))
        ]
        assert int(collate([losers], 3, 3).counts()["level"]) == expected


def test_a_weight_of_zero_is_not_counted() -> None:
    off = Term("clip", (1.0, -1.0), (1, 1, 1), 500.0, weight=0.0)
    assert int(collate([[off], [PAIR]], 2, 3).counts()["clip"]) == 1


def test_slices_keep_rows() -> None:
    batch = collate([[PAIR], [Term("clip", (1.0, -1.0), (-1, 0, 0), 7.0, 0.3)]], 2, 3)
    part = batch[1:2]
    assert part.forms == batch.forms
    assert part.labels_BKF.tolist() == [[[-1, 0, 0]]]
    assert part.beta_BK.tolist() == [[7]]
    assert torch.equal(part.weight_BK, batch.weight_BK[1:])
    assert part.coefficients_BKV.shape == (1, 1, 2)
