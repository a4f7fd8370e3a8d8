from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from rushes.config.tables import ObjectiveSettings
from rushes.objectives.losses import ViewErrors, loss
from rushes.objectives.safeguards import guarded
from rushes.objectives.terms import Term, one_against_each

from .conftest import MakeBatch, MakeErrors

CLIP = (0, 1, 1, 1)
DENSE = Term("segment", (1.0, -1.0), (1, -1, 0, 1), 9.0, reduction="segment")
PHYSICS = [
    Term("instance", (1.0, -0.7, -0.3, 0.0, 0.0, 0.0, 0.0), CLIP, 10.0),
    Term("state", (1.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0), CLIP, 10.0, 0.4),
    Term("motion", (0.0, 0.0, 0.0, 0.0, 1.0, -1.0, 0.0), CLIP, 10.0, 0.3),
]


def against(losers: int) -> list[Term]:
    return [*one_against_each(losers, CLIP, 10.0)]


def test_the_settings_are_the_arguments() -> None:
    asked = ObjectiveSettings().model_dump(exclude={"safe_dpo", "safe_dpo_share"})
    assert guarded(PHYSICS, **asked) == tuple(PHYSICS)
    assert guarded([DENSE], **asked) == (DENSE,)


@pytest.mark.parametrize("losers", [1, 3, 7])
def test_one_supervised_term_however_many_losers(losers: int) -> None:
    first, *others = guarded(against(losers), sft_weight=0.1)
    expected = Term("supervised", (1.0, *[0.0] * losers), CLIP, weight=0.1, loss_type="error")
    assert first == expected and others == against(losers)


def test_the_winner_is_that_of_the_first_level() -> None:
    first, second, *others = guarded(PHYSICS, sft_weight=0.5, dpop_weight=2.0)
    real = (1.0, *[0.0] * 6)
    assert first == Term("supervised", real, CLIP, weight=0.5, loss_type="error")
    assert second == Term("above_reference", real, CLIP, weight=2.0, loss_type="excess")
    assert others == PHYSICS


def test_the_winner_of_labels_per_frame_changes_with_them() -> None:
    one, other, last = guarded([DENSE], sft_weight=0.3)
    assert (one.weight, other.weight) == pytest.approx((0.2, 0.1))
    assert replace(one, weight=1.0) == Term("supervised", (1.0, 0.0), (1, 0, 0, 1), loss_type="error")
    assert replace(other, weight=1.0) == Term("supervised", (0.0, 1.0), (0, 1, 0, 0), loss_type="error")
    assert last == DENSE


def test_guards_by_hand(make_batch: MakeBatch, make_errors: MakeErrors) -> None:
    """Labels per frame: the mean over labelled frames of the better view's error, and each view's excess by its share.

    The third comparison is a tie throughout and has no winner to guard.
    """
    labels = [(1, -1, 0, 1), (0, 0, -1, 0), (0, 0, 0, 0)]
    errors = make_errors(3, 2, 4)
    p, r = errors.policy_BVF.detach().numpy(), errors.reference_BVF.numpy()
    frames, own, above = [], [], []
    for b, row in enumerate(labels):
        scored = [f for f in range(4) if row[f]]
        frames += [5 * row[f] * (p[b, 0, f] - r[b, 0, f] - p[b, 1, f] + r[b, 1, f]) for f in scored]
        for v, sign in ((0, 1), (1, -1)):
            won = [f for f in scored if row[f] == sign]
            if won:
                share = len(won) / len(scored)
                own.append(share * p[b, v, won].mean())
                above.append(share * max(0.0, (p[b, v, won] - r[b, v, won]).mean()))
    expected = np.mean(np.log1p(np.exp(frames))) + 0.3 * sum(own) / 2 + 0.7 * sum(above) / 2
    assert sum(above) > 0
    terms = [
        guarded([Term("s", (1.0, -1.0), row, 10.0, reduction="segment")], sft_weight=0.3, dpop_weight=0.7)
        for row in labels
    ]
    assert loss(errors, make_batch(terms, 2)).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    "changes", [{"loss": "ipo"}, {"loss": "hinge", "label_smoothing": 0.1}, {"reference_free": True}]
)
def test_all_that_compares_is_changed_and_nothing_else(changes: dict[str, Any]) -> None:
    recipe = [Term("supervised", (1.0, *[0.0] * 6), CLIP, loss_type="error"), *PHYSICS]
    own, *rest = guarded(recipe, **changes)
    assert own == recipe[0]
    for before, after in zip(PHYSICS, rest, strict=True):
        asked = (changes.get("loss", "sigmoid"), changes.get("label_smoothing", 0.0), "reference_free" not in changes)
        assert (after.loss_type, after.smoothing, after.reference) == asked
        assert (after.level, after.coefficients, after.labels, after.beta, after.weight, after.reduction) == (
            *(before.level, before.coefficients, before.labels),
            *(before.beta, before.weight, before.reduction),
        )


def test_comparisons_of_unequal_losers_and_ties_fit_one_batch(make_batch: MakeBatch, make_errors: MakeErrors) -> None:
    """Real clips with one and with three takes under a guard: the mean over both of what each gives alone."""
    rows = [guarded(against(3), sft_weight=0.5), guarded(against(1), sft_weight=0.5)]
    errors = make_errors(2, 4, 4)
    alone = [
        loss(ViewErrors(errors.policy_BVF[b : b + 1], errors.reference_BVF[b : b + 1]), make_batch([row], 4)).item()
        for b, row in enumerate(rows)
    ]
    assert loss(errors, make_batch(rows, 4)).item() == pytest.approx(sum(alone) / 2, rel=1e-12)


def test_without_a_comparison_there_is_nothing_to_guard() -> None:
    alone = [Term("supervised", (1.0,), CLIP, loss_type="error")]
    assert guarded(alone, sft_weight=1.0, dpop_weight=1.0, loss="ipo") == tuple(alone)


def test_the_clamp_bites_once_the_winner_is_worse_than_the_reference(make_batch: MakeBatch) -> None:
    """Both errors risen, the loser's more: the preference term is content and the clamp is not."""
    terms = make_batch([guarded([Term("clip", (1.0, -1.0), (1,), 200.0)], dpop_weight=50.0)], 2)
    policy = torch.tensor([[[1.1], [1.5]]], dtype=torch.float64, requires_grad=True)
    errors = ViewErrors(policy, torch.ones(1, 2, 1, dtype=torch.float64))
    (g,) = torch.autograd.grad(loss(errors, terms), policy)
    pull = 100 / (1 + math.exp(100 * 0.4))
    np.testing.assert_allclose(g.flatten().numpy(), [pull + 50, -pull], rtol=1e-9)
