"""`dpo_loss` against closed forms in float64, and against the terms that it stands for."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rushes.objectives import ViewErrors, backward_by_view, collate, diagnose, dpo_loss, loss, one_against_each
from rushes.objectives.terms import Reduction, TermBatch

BETA = 3.0
FORMS: dict[str, Callable[[float], float]] = {
    "sigmoid": lambda x: math.log1p(math.exp(-x)),
    "hinge": lambda x: max(0.0, 1 - x),
    "ipo": lambda x: (x - 0.5) ** 2,
}


@pytest.fixture
def errors(make_errors: Callable[..., ViewErrors]) -> ViewErrors:
    return make_errors(3, 2, 4)


def margins(errors: ViewErrors) -> Any:
    d = errors.relative_BVF.detach().numpy()
    return d[:, 0] - d[:, 1]


@pytest.mark.parametrize("loss_type", FORMS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_each_loss_by_hand(loss_type: Any, smoothing: float, errors: ViewErrors) -> None:
    """(1 - s) f(x) + s f(-x) at x = -(beta / 2) label (D_0 - D_1), the mean over comparisons."""
    labels, form = (1, -1, 1), FORMS[loss_type]
    x = -BETA / 2 * np.array(labels) * margins(errors).mean(-1)
    expected = np.mean([(1 - smoothing) * form(each) + smoothing * form(-each) for each in x])
    value = dpo_loss(
        errors.policy_BVF,
        errors.reference_BVF,
        beta=BETA,
        labels=labels,
        loss_type=loss_type,
        label_smoothing=smoothing,
    )
    assert value.item() == pytest.approx(expected, rel=1e-12)


def test_the_gradient_by_hand(errors: ViewErrors) -> None:
    """Of -log sigmoid: -(beta / 2) sigmoid(-x) (-1 for the winner, +1 for the loser) over frames and comparisons."""
    dpo_loss(errors.policy_BVF, errors.reference_BVF, beta=BETA).backward()
    x = -BETA / 2 * margins(errors).mean(-1)
    factor = BETA / 2 / (1 + np.exp(x)) / (3 * 4)
    expected = np.stack([factor, -factor], 1)[..., None].repeat(4, -1)
    assert errors.policy_BVF.grad is not None
    assert np.allclose(errors.policy_BVF.grad.numpy(), expected, rtol=1e-12, atol=0)


def test_labels_of_frames_and_reductions_by_hand(errors: ViewErrors) -> None:
    """Frames that are not scored count nowhere: in "segment" the mean is over the others."""
    labels = np.array([(1, -1, 0, 1), (0, 0, 0, 0), (0, 0, -1, 0)])
    signed = -BETA / 2 * labels * margins(errors)
    rows, form = [0, 2], FORMS["sigmoid"]
    expected = {
        "clip": np.mean([form(signed[b].sum() / (labels[b] != 0).sum()) for b in rows]),
        "sum_inside": np.mean([form(signed[b].sum()) for b in rows]),
        "segment": np.mean([form(x) for x in signed[labels != 0]]),
    }
    for reduction, value in expected.items():
        mine = dpo_loss(*both(errors), beta=BETA, labels=torch.tensor(labels), reduction=reduction)  # type: ignore[arg-type]
        assert mine.item() == pytest.approx(value, rel=1e-12), reduction


def both(errors: ViewErrors) -> tuple[Tensor, Tensor]:
    return errors.policy_BVF, errors.reference_BVF


@pytest.mark.parametrize("reduction", ["clip", "segment", "sum_inside"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_the_loss_of_the_terms_it_stands_for(
    reduction: Reduction, dtype: torch.dtype, make_errors: Callable[..., ViewErrors]
) -> None:
    """Of three losers too; the terms are collated in float32 and taken to the errors' precision."""
    policy, reference = (errors.detach().to(dtype) for errors in both(make_errors(2, 4, 3)))
    terms = one_against_each(3, (0, 1, -1), BETA)
    batch = collate([[*terms]] * 2, 4, 3)
    forms = tuple((level, loss_type, reduction) for level, loss_type, _ in batch.forms)
    batch = TermBatch(forms, *(value for name, value in vars(batch).items() if name != "forms"))
    mine = dpo_loss(policy, reference, beta=BETA, labels=[(0, 1, -1)] * 2, reduction=reduction)
    assert mine.dtype == dtype
    assert mine.item() == pytest.approx(loss(ViewErrors(policy, reference), batch).item(), rel=1e-6)


def test_errors_without_frames_are_of_one_frame(errors: ViewErrors) -> None:
    policy, reference = (each.detach()[..., :1] for each in both(errors))
    flat = dpo_loss(policy[..., 0], reference[..., 0], beta=BETA, labels=(1, 0, -1))
    assert torch.equal(flat, dpo_loss(policy, reference, beta=BETA, labels=[[1], [0], [-1]]))


def test_without_a_reference_margins_are_of_the_policy(errors: ViewErrors) -> None:
    policy, _ = both(errors)
    assert torch.equal(dpo_loss(policy, None, beta=BETA), dpo_loss(policy, torch.zeros_like(policy), beta=BETA))


def test_where_nothing_is_scored_a_zero_is_connected(errors: ViewErrors) -> None:
    value = dpo_loss(*both(errors), beta=BETA, labels=[0, 0, 0])
    value.backward()
    assert value.item() == 0 and errors.policy_BVF.grad is not None and not errors.policy_BVF.grad.any()


def test_narrow_errors_are_widened() -> None:
    policy = torch.full((1, 2), 1.0, dtype=torch.bfloat16)
    value = dpo_loss(policy, policy, beta=1000.0)
    assert value.dtype == torch.float32 and value.item() == pytest.approx(math.log(2))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"policy_errors": torch.ones(2, 1, 3)}, r"with two views or more, got \[2, 1, 3\]"),
        ({"policy_errors": torch.ones(4)}, r"must be \[B, V\] or \[B, V, F\]"),
        ({"reference_errors": torch.ones(2, 2)}, r"\[2, 2\] must have the shape of policy_errors, \[2, 2, 3\]"),
        ({"beta": 0.0}, "beta must be above 0, got 0.0"),
        ({"beta": math.nan}, "beta must be above 0, got nan"),
        ({"label_smoothing": 0.5}, r"label_smoothing must be in \[0, 0.5\), got 0.5"),
        ({"loss_type": "logit"}, "loss_type must be one of sigmoid, ipo, hinge, got 'logit'"),
        ({"reduction": "mean"}, "reduction must be one of clip, segment, sum_inside, got 'mean'"),
        ({"labels": (1, 1, 1)}, r"labels must be \[2\] or \[2, 3\], got \[3\]"),
        ({"labels": (1, 2)}, r"labels must be \+1"),
    ],
)
def test_a_wrong_argument_is_named(changes: dict[str, Any], words: str) -> None:
    asked = {"policy_errors": torch.ones(2, 2, 3), "reference_errors": torch.ones(2, 2, 3), "beta": 1.0, **changes}
    with pytest.raises(ValueError, match=f"^dpo_loss: .*{words}"):
        dpo_loss(**asked)


# --- devices ---------------------------------------------------------------------------------------------------------


def on_meta(errors: ViewErrors) -> ViewErrors:
    return ViewErrors(*(each.detach().to("meta").requires_grad_(v == 0) for v, each in enumerate(both(errors))))


@pytest.mark.parametrize("reduction", ["clip", "segment", "sum_inside"])
def test_errors_of_another_device_keep_it(reduction: Reduction, errors: ViewErrors) -> None:
    """A device that raises where a tensor of the processor joins in, or where a value is asked for."""
    away = on_meta(errors)
    terms = collate([[*one_against_each(1, 4, BETA)]] * 3, 2, 4)
    assert terms.labels_BKF.device.type == "cpu" and terms.to("meta").labels_BKF.is_meta
    for value in (
        loss(away, terms),
        loss(away, terms, terms.counts()),
        dpo_loss(*both(away), beta=BETA, labels=(1, 0, -1), reduction=reduction, label_smoothing=0.1),
    ):
        assert value.is_meta and value.shape == ()
        (gradient,) = torch.autograd.grad(value, away.policy_BVF)
        assert gradient.is_meta and gradient.shape == away.policy_BVF.shape


def test_diagnoses_take_terms_of_another_precision(errors: ViewErrors) -> None:
    terms = collate([[*one_against_each(1, 4, BETA)]] * 3, 2, 4)
    assert diagnose(errors, terms) == diagnose(errors, terms.to(dtype=torch.float64))


# --- one view at a time ----------------------------------------------------------------------------------------------


class Curve(torch.nn.Module):
    """A network whose errors are not linear in its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.linspace(-1, 1, 6, dtype=torch.float64))

    def forward(self, x_BF: Tensor) -> Tensor:
        return ((x_BF[..., None] * self.weight).tanh() ** 2).mean(-1)


@pytest.mark.parametrize("views", [2, 4])
def test_one_view_at_a_time_gives_the_joint_gradient(views: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x_VBF = torch.randn(views, 3, 5, generator=generator, dtype=torch.float64)
    network, calls = Curve(), []
    reference = torch.rand(3, views, 5, generator=generator, dtype=torch.float64)

    def loss_of(errors: Tensor) -> Tensor:
        return dpo_loss(errors, reference, beta=BETA)

    def view_errors(v: int) -> Tensor:
        calls.append((v, torch.is_grad_enabled()))
        errors: Tensor = network(x_VBF[v])
        return errors

    joint = loss_of(torch.stack([network(x) for x in x_VBF], 1))
    (expected,) = torch.autograd.grad(joint, network.weight)
    value, errors = backward_by_view(view_errors, views, loss_of)
    assert torch.equal(value, joint.detach()) and not errors.requires_grad
    assert network.weight.grad is not None and torch.allclose(network.weight.grad, expected, rtol=1e-12)
    first = [(v, False) for v in range(views - 1)]
    assert calls == [*first, (views - 1, True), *((v, True) for v, _ in first)]


def test_a_view_that_differs_in_its_second_pass_is_refused() -> None:
    network, passes = Curve(), iter(range(9))

    def view_errors(v: int) -> Tensor:
        errors: Tensor = network(torch.full((1, 2), 1.0 + next(passes), dtype=torch.float64))
        return errors

    with pytest.raises(ValueError, match="errors of view 0 differ in its second pass"):
        backward_by_view(view_errors, 2, lambda errors: dpo_loss(errors, None, beta=BETA))


def rows(terms: Sequence[Any]) -> list[tuple[float, ...]]:
    return [term.coefficients for term in terms]


def test_one_against_each() -> None:
    terms = one_against_each(2, 3, 5.0)
    assert rows(terms) == [(1, -1, 0), (1, 0, -1)]
    assert {(term.level, term.labels, term.beta, term.weight) for term in terms} == {("clip", (1, 1, 1), 5.0, 0.5)}
    assert str(one_against_each(2, (0, 1), 5.0, unused=-0.0)[0].coefficients) == "(1.0, -1.0, -0.0)"
