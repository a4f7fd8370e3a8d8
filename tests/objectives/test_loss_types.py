"""Each link by hand, in plain Python floats, and what all links share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from rushes.config.tables import ObjectiveSettings
from rushes.objectives.diagnostics import diagnose
from rushes.objectives.loss_types import LOSS_TYPES
from rushes.objectives.losses import ViewErrors, loss
from rushes.objectives.terms import LossType, Reduction, Term

from .conftest import MakeBatch, MakeErrors

BETA = 10.0
REDUCTIONS: tuple[Reduction, ...] = ("clip", "segment", "sum_inside")
BY_HAND: dict[str, Callable[[float], float]] = {
    "sigmoid": lambda x: math.log1p(math.exp(-x)),
    "ipo": lambda x: x * x - x + 0.25,
    "hinge": lambda x: 1 - x if x < 1 else 0.0,
}
AT_START = {"sigmoid": math.log(2), "ipo": 0.25, "hinge": 1.0}

every_loss_type = pytest.mark.parametrize("loss_type", sorted(LOSS_TYPES))
every_reduction = pytest.mark.parametrize("reduction", REDUCTIONS)


def pair(labels: tuple[int, ...], loss_type: LossType, reduction: Reduction = "clip", **more: Any) -> Term:
    return Term("level", (1.0, -1.0), labels, BETA, loss_type=loss_type, reduction=reduction, **more)


def logits_by_hand(errors: ViewErrors, labels: Sequence[Sequence[int]], reduction: Reduction, own: bool) -> list[float]:
    """What enters the link: all labelled frames of the batch, or one number per comparison."""
    d = errors.policy_BVF.detach().numpy() - (0 if own else errors.reference_BVF.numpy())
    inside = [
        [-0.5 * BETA * label * (d[b, 0, f] - d[b, 1, f]) for f, label in enumerate(row) if label]
        for b, row in enumerate(labels)
    ]
    if reduction == "segment":
        return [x for row in inside for x in row]
    return [sum(row) / (len(row) if reduction == "clip" else 1) for row in inside if row]


def test_settings_offer_these_links() -> None:
    offered = get_args(ObjectiveSettings.model_fields["loss"].annotation)
    assert set(offered) == set(LOSS_TYPES) == set(get_args(LossType)) == set(BY_HAND)


def test_each_link_says_where_it_is_from_and_what_is_known_on_video() -> None:
    for loss_type in LOSS_TYPES.values():
        assert loss_type.__doc__ and "arXiv" in loss_type.__doc__ and "Evidence for video" in loss_type.__doc__


@every_loss_type
@every_reduction
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("own", [False, True])
def test_by_hand(
    loss_type: LossType,
    reduction: Reduction,
    smoothing: float,
    own: bool,
    make_batch: MakeBatch,
    make_errors: MakeErrors,
) -> None:
    """Every link, reduction and form of the margin; a fifth of the labels wrong."""
    labels = [(1, -1, 0, 1), (0, 0, -1, 0), (0, 0, 0, 0), (1, 1, 1, 1)] * 3
    errors = make_errors(12, 2, 4)
    f = BY_HAND[loss_type]
    logits = logits_by_hand(errors, labels, reduction, own)
    assert min(logits) < -0.2 and max(logits) > 1  # both sides of each link's bend are seen
    expected = sum((1 - smoothing) * f(x) + smoothing * f(-x) for x in logits) / len(logits)
    terms = make_batch([[pair(row, loss_type, reduction, smoothing=smoothing, reference=not own)] for row in labels], 2)
    assert loss(errors, terms).item() == pytest.approx(expected, rel=1e-12)


@every_loss_type
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.4])
@every_reduction
def test_value_at_the_start(
    loss_type: LossType, reduction: Reduction, smoothing: float, make_batch: MakeBatch, make_errors: MakeErrors
) -> None:
    """Whatever beta is, as all logits are 0; smoothing changes nothing there."""
    reference = make_errors(3, 2, 3).reference_BVF
    term = replace(pair((1, 0, -1), loss_type, reduction, smoothing=smoothing), beta=5000.0)
    value = loss(ViewErrors(reference.clone(), reference), make_batch([[term]] * 3, 2))
    assert value.item() == pytest.approx(AT_START[loss_type], rel=1e-12)


@every_loss_type
def test_gradient_by_hand(loss_type: LossType, make_batch: MakeBatch, make_errors: MakeErrors) -> None:
    errors, labels = make_errors(3, 2, 3), (1, 1, -1)
    terms = make_batch([[pair(labels, loss_type, smoothing=0.1)]] * 3, 2)
    (g,) = torch.autograd.grad(loss(errors, terms), errors.policy_BVF)
    slopes: dict[str, Callable[[float], float]] = {
        "sigmoid": lambda x: -1 / (1 + math.exp(x)),
        "ipo": lambda x: 2 * x - 1,
        "hinge": lambda x: -1.0 if x < 1 else 0.0,
    }
    slope = slopes[loss_type]
    for b, x in enumerate(logits_by_hand(errors, [labels] * 3, "clip", own=False)):
        expected = (0.9 * slope(x) - 0.1 * slope(-x)) / 3 * np.outer([1, -1], labels) * (-BETA / 2 / 3)
        np.testing.assert_allclose(g[b].numpy(), expected, rtol=1e-12)


@every_loss_type
@every_reduction
@pytest.mark.parametrize("reference", [True, False])
def test_gradients_are_true_and_zero_where_nothing_is_scored(
    loss_type: LossType, reduction: Reduction, reference: bool, make_batch: MakeBatch, make_errors: MakeErrors
) -> None:
    errors = make_errors(2, 3, 3)
    both = [
        Term("x", a, (0, 1, -1), 5.0, 0.5, loss_type, reduction, 0.1, reference)
        for a in ((1.0, -1.0, 0.0), (1.0, 0.0, -1.0))
    ]
    terms = make_batch([both, [Term("x", (1.0, -1.0), (1, 0, 0), 5.0, 1.0, loss_type, reduction, 0.1, reference)]], 3)

    def of_policy(policy_BVF: Tensor) -> Tensor:
        return loss(ViewErrors(policy_BVF, errors.reference_BVF), terms)

    assert torch.autograd.gradcheck(of_policy, (errors.policy_BVF,))
    (g,) = torch.autograd.grad(loss(errors, terms), errors.policy_BVF)
    assert (g != 0).int().tolist() == [[[0, 1, 1]] * 3, [[1, 0, 0], [1, 0, 0], [0, 0, 0]]]
    assert not loss(ViewErrors(errors.policy_BVF.detach(), errors.reference_BVF), terms).requires_grad


@every_loss_type
def test_a_batch_of_ties_is_a_zero_with_a_graph(
    loss_type: LossType, make_batch: MakeBatch, make_errors: MakeErrors
) -> None:
    errors = make_errors(2, 2, 3)
    for reduction in REDUCTIONS:
        value = loss(errors, make_batch([[pair((0, 0, 0), loss_type, reduction, smoothing=0.2)]] * 2, 2))
        (g,) = torch.autograd.grad(value, errors.policy_BVF)
        assert value.item() == 0 and not g.any()


def test_smoothed_logistic_is_least_at_its_own_odds() -> None:
    logit = torch.tensor([math.log(0.8 / 0.2)], dtype=torch.float64, requires_grad=True)
    from_link = LOSS_TYPES["sigmoid"]
    (0.8 * from_link(logit) + 0.2 * from_link(-logit)).sum().backward()
    assert logit.grad is not None and abs(logit.grad.item()) < 1e-12


def test_ipo_is_the_published_form_times_beta_squared() -> None:
    h = np.linspace(-0.3, 0.3, 7)
    ours = LOSS_TYPES["ipo"](torch.tensor(BETA * h)).numpy()
    np.testing.assert_allclose(ours, BETA**2 * (h - 1 / (2 * BETA)) ** 2, rtol=1e-12)


def test_without_a_reference_its_errors_do_not_matter(make_batch: MakeBatch, make_errors: MakeErrors) -> None:
    errors = make_errors(2, 2, 3)
    terms = make_batch([[pair((1, 1, 1), "sigmoid", reference=False)]] * 2, 2)
    moved = ViewErrors(errors.policy_BVF, 3 * errors.reference_BVF)
    assert torch.equal(loss(errors, terms), loss(moved, terms))
    kept = make_batch([[pair((1, 1, 1), "sigmoid")]] * 2, 2)
    assert abs(loss(errors, kept).item() - loss(moved, kept).item()) > 0.1


def test_excess_by_hand(make_batch: MakeBatch, make_errors: MakeErrors) -> None:
    """max(0, mean over scored frames of the winner's D), of the comparisons it is asked of."""
    errors = make_errors(6, 2, 3)
    d = (errors.policy_BVF.detach() - errors.reference_BVF).numpy()
    labels = (0, 1, 1)
    terms = make_batch([[Term("guard", (1.0, 0.0), labels, weight=0.5, loss_type="excess")]] * 6, 2)
    means = d[:, 0, 1:].mean(-1)
    assert (means > 0).any() and (means < 0).any()
    assert loss(errors, terms).item() == pytest.approx(0.5 * np.maximum(means, 0).mean(), rel=1e-12)
    (g,) = torch.autograd.grad(loss(errors, terms), errors.policy_BVF)
    expected = np.where(means > 0, 0.5 / 2 / 6, 0)[:, None] * np.array(labels)
    np.testing.assert_allclose(g[:, 0].numpy(), expected, rtol=1e-12)
    assert not g[:, 1].any()


def test_excess_is_silent_at_the_start(make_batch: MakeBatch, make_errors: MakeErrors) -> None:
    reference = make_errors(2, 2, 3).reference_BVF
    policy = reference.clone().requires_grad_()
    terms = make_batch([[Term("guard", (1.0, 0.0), (1, 1, 1), loss_type="excess")]] * 2, 2)
    value = loss(ViewErrors(policy, reference), terms)
    (g,) = torch.autograd.grad(value, policy)
    assert value.item() == 0 and not g.any()


@every_loss_type
def test_the_loss_that_is_logged_is_the_link_s(
    loss_type: LossType, make_batch: MakeBatch, make_errors: MakeErrors
) -> None:
    errors = make_errors(4, 2, 3)
    terms = make_batch([[pair((1, 1, 1), loss_type, smoothing=0.1)]] * 4, 2)
    assert diagnose(errors, terms)["level/loss"] == pytest.approx(loss(errors, terms).item(), rel=1e-6)


def test_an_excess_is_logged_as_one_number(make_batch: MakeBatch, make_errors: MakeErrors) -> None:
    errors = make_errors(6, 2, 3)
    terms = make_batch([[Term("guard", (1.0, 0.0), (1, 1, 1), loss_type="excess")]] * 6, 2)
    assert diagnose(errors, terms) == {"guard/excess": pytest.approx(loss(errors, terms).item())}
