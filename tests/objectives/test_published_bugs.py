"""Bugs of published code, each as it was and as it must not come back.

Every test compares the right loss with what the buggy code would give on the same errors, so it fails on an
implementation that has the bug, and it checks that the two differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from rushes.objectives.diagnostics import diagnose
from rushes.objectives.losses import ViewErrors, loss
from rushes.objectives.terms import Term, TermBatch

from .conftest import MakeBatch, MakeErrors

BETA = 10.0


def tells_apart(ours: Tensor, right: Tensor, buggy: Tensor) -> None:
    assert ours.item() == pytest.approx(right.item(), rel=1e-12)
    assert abs(buggy.item() - right.item()) > 0.01, "this case does not show the bug"


def pairs(labels: Sequence[Sequence[int]], make_batch: MakeBatch, beta: float = BETA) -> TermBatch:
    return make_batch([[Term("segment", (1.0, -1.0), tuple(row), beta, reduction="segment")] for row in labels], 2)


def clips(b: int, f: int, make_batch: MakeBatch, beta: float = BETA) -> TermBatch:
    return make_batch([[Term("clip", (1.0, -1.0), (1,) * f, beta)]] * b, 2)


def test_loser_list_not_indexed(make_batch: MakeBatch) -> None:
    """RealDPO before 17 December 2025: the prediction for loser k was compared with the stack of all N losers."""
    g = torch.Generator().manual_seed(5)
    clean_VC = torch.randn(4, 6, generator=g, dtype=torch.float64)  # the real clip and three losers
    policy_VC, reference_VC = (clean_VC + 0.4 * torch.randn(4, 6, generator=g, dtype=torch.float64) for _ in range(2))

    def mean_over_losers(target_of: Callable[[int], Tensor]) -> Tensor:
        def d(v: int, target: Tensor) -> Tensor:
            return ((policy_VC[v] - target) ** 2).mean() - ((reference_VC[v] - target) ** 2).mean()

        real = d(0, clean_VC[0])
        return torch.stack([-logsigmoid(-0.5 * BETA * (real - d(k, target_of(k)))) for k in (1, 2, 3)]).mean()

    errors = ViewErrors(*(((p - clean_VC) ** 2).mean(-1)[None, :, None] for p in (policy_VC, reference_VC)))
    coefficients = ((1.0, -1.0, 0.0, 0.0), (1.0, 0.0, -1.0, 0.0), (1.0, 0.0, 0.0, -1.0))
    terms = make_batch([[Term("clip", a, (1,), BETA, 1 / 3) for a in coefficients]], 4)
    tells_apart(loss(errors, terms), mean_over_losers(lambda k: clean_VC[k]), mean_over_losers(lambda k: clean_VC[1:]))


def test_one_logit_per_latent_column(make_batch: MakeBatch) -> None:
    """VideoDPO: the width survives the mean over axes, so the sigmoid acts on each column of the latent apart.

    An error here is a number per latent frame: the mean over channels, height and width comes before any logit.
    """
    g = torch.Generator().manual_seed(3)
    squares = 1 + 0.5 * torch.randn(
        2, 2, 1, 4, 6, generator=g, dtype=torch.float64
    )  # policy or reference, view, F, H, W
    errors = ViewErrors(squares[0].mean((-2, -1))[None], squares[1].mean((-2, -1))[None])
    d_VFHW = squares[0] - squares[1]
    right = -logsigmoid(-0.5 * BETA * (d_VFHW[0].mean() - d_VFHW[1].mean()))
    per_column = d_VFHW.mean((1, 2))
    buggy = -logsigmoid(-0.5 * BETA * (per_column[0] - per_column[1])).mean()
    tells_apart(loss(errors, clips(1, 1, make_batch)), right, buggy)


def test_batch_mean_inside_the_sigmoid(make_batch: MakeBatch, make_errors: MakeErrors) -> None:
    """huggingface/diffusers#6702: errors averaged over the batch before the sigmoid tie the pairs to each other."""
    errors = make_errors(3, 2, 2)
    margin_B = (errors.relative_BVF[:, 0] - errors.relative_BVF[:, 1]).mean(-1)
    right, buggy = -logsigmoid(-0.5 * BETA * margin_B).mean(), -logsigmoid(-0.5 * BETA * margin_B.mean())
    tells_apart(loss(errors, clips(3, 2, make_batch)), right, buggy)

    # What happens to the third pair does not reach the others.
    terms, elsewhere = clips(3, 2, make_batch), torch.zeros_like(errors.policy_BVF)
    elsewhere[2, 0] = 0.5
    (g,) = torch.autograd.grad(loss(errors, terms), errors.policy_BVF)
    moved = ViewErrors(errors.policy_BVF + elsewhere, errors.reference_BVF)
    (other,) = torch.autograd.grad(loss(moved, terms), errors.policy_BVF)
    assert torch.equal(other[:2], g[:2]) and not torch.equal(other[2], g[2])


@pytest.mark.parametrize("literal", [5000.0, 1.0])
def test_beta_of_the_settings_ignored(literal: float, make_batch: MakeBatch, make_errors: MakeErrors) -> None:
    """Vchitect/RealDPO#4: the loss holds a literal 5000 whatever the flag says."""
    errors = make_errors(2, 2, 2)
    margin_B = (errors.relative_BVF[:, 0] - errors.relative_BVF[:, 1]).mean(-1)
    for beta in (BETA, 50.0):
        right = -logsigmoid(-0.5 * beta * margin_B).mean()
        buggy = -logsigmoid(-0.5 * literal * margin_B).mean()
        tells_apart(loss(errors, clips(2, 2, make_batch, beta)), right, buggy)


def test_the_one_half_lost(make_batch: MakeBatch, make_errors: MakeErrors) -> None:
    """DenseDPO's equations have no one-half and its listing has: beta 500 of the listing is what beta means here."""
    errors = make_errors(2, 2, 2)
    margin_B = (errors.relative_BVF[:, 0] - errors.relative_BVF[:, 1]).mean(-1)
    right, buggy = -logsigmoid(-0.5 * BETA * margin_B).mean(), -logsigmoid(-BETA * margin_B).mean()
    tells_apart(loss(errors, clips(2, 2, make_batch)), right, buggy)


def test_ties_counted_for_one_side(make_batch: MakeBatch, make_errors: MakeErrors) -> None:
    """UnifiedReward's miner reads "equally good" as a win of the first video; a strict > gives ties to the second."""
    errors, labels = make_errors(2, 2, 3), [(1, 0, -1), (0, 0, 1)]
    sign = torch.tensor(labels, dtype=torch.float64)
    margin_BF = errors.relative_BVF[:, 0] - errors.relative_BVF[:, 1]

    def over(sign_BF: Tensor) -> Tensor:
        kept = sign_BF != 0
        return -logsigmoid(-0.5 * BETA * sign_BF * margin_BF)[kept].mean()

    for side in (1.0, -1.0):
        buggy = over(torch.where(sign == 0, side, sign))
        tells_apart(loss(errors, pairs(labels, make_batch)), over(sign), buggy)


def test_ties_as_ln_2(make_batch: MakeBatch, make_errors: MakeErrors) -> None:
    """A tie that is only multiplied by its label adds ln 2 to the sum and one to the count, and thins the gradient."""
    errors, labels = make_errors(2, 2, 3), [(1, 0, -1), (0, 0, 1)]
    sign = torch.tensor(labels, dtype=torch.float64)
    inside = -0.5 * BETA * sign * (errors.relative_BVF[:, 0] - errors.relative_BVF[:, 1])
    right, buggy = -logsigmoid(inside)[sign != 0].mean(), -logsigmoid(inside).mean()
    tells_apart(loss(errors, pairs(labels, make_batch)), right, buggy)


def test_a_mean_over_no_label(make_batch: MakeBatch, make_errors: MakeErrors) -> None:
    """DenseDPO's listing averages over kept positions: where there is none, NaN reaches every weight."""
    errors = make_errors(2, 2, 3)
    kept = errors.relative_BVF[:, 0][torch.zeros(2, 3, dtype=torch.bool)]
    assert (-logsigmoid(kept)).mean().isnan()
    value = loss(errors, pairs([(0, 0, 0), (0, 0, 0)], make_batch))
    value.backward()
    assert value.item() == 0 and errors.policy_BVF.grad is not None and not errors.policy_BVF.grad.any()


def test_accuracy_at_the_start(make_batch: MakeBatch, make_errors: MakeErrors) -> None:
    """DiffusionDPO counts with a strict comparison: at the first step, where all is equal, accuracy reads 0."""
    reference = make_errors(4, 2, 2).reference_BVF
    made = diagnose(ViewErrors(reference, reference), clips(4, 2, make_batch))
    assert made["clip/accuracy"] == 0.5 and made["clip/gradient"] == 0.5


MIXTURE = (1.0, -0.7, -0.3)


def mixtures(make_batch: MakeBatch) -> TermBatch:
    return make_batch([[Term("instance", MIXTURE, (1,), BETA)]] * 2, 3)


def test_the_mixture_of_losers_on_the_policy_s_side_alone(make_batch: MakeBatch, make_errors: MakeErrors) -> None:
    """VistaDPO: the reference's losers are not weighted 0.7 and 0.3, so the logit is not zero at the start."""
    errors = make_errors(2, 3, 1)
    a = torch.tensor(MIXTURE, dtype=torch.float64)

    def with_weights(policy_BV: Tensor, reference_BV: Tensor, of_reference: Tensor) -> Tensor:
        return -logsigmoid(-0.5 * BETA * (policy_BV @ a - reference_BV @ of_reference)).mean()

    both = errors.policy_BVF[..., 0], errors.reference_BVF[..., 0]
    plain = torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64)
    tells_apart(loss(errors, mixtures(make_batch)), with_weights(*both, a), with_weights(*both, plain))
    start = ViewErrors(errors.reference_BVF, errors.reference_BVF)
    ln2 = torch.tensor(2.0, dtype=torch.float64).log()
    tells_apart(loss(start, mixtures(make_batch)), ln2, with_weights(both[1], both[1], plain))


def test_losers_without_a_gradient(make_batch: MakeBatch, make_errors: MakeErrors) -> None:
    """VistaDPO: the second loser's log-probability is detached, so the loss is right and that loser is never pushed."""
    errors = make_errors(2, 3, 1)
    policy, a = errors.policy_BVF, torch.tensor(MIXTURE, dtype=torch.float64)

    def pushed(value: Tensor) -> bool:
        (g,) = torch.autograd.grad(value, policy)
        return bool((g[:, 0] > 0).all() and (g[:, 1:] < 0).all())

    detached = torch.cat([policy[:, :2], policy[:, 2:].detach()], 1)
    buggy = -logsigmoid(-0.5 * BETA * ((detached - errors.reference_BVF)[..., 0] @ a)).mean()
    assert buggy.item() == pytest.approx(loss(errors, mixtures(make_batch)).item(), rel=1e-12)
    assert pushed(loss(errors, mixtures(make_batch))) and not pushed(buggy)


def test_the_sum_over_losers(make_batch: MakeBatch, make_errors: MakeErrors) -> None:
    """RealDPO's loop calls backward per loser: the step grows with their number, and only the logged loss is a mean."""
    errors = make_errors(1, 4, 2)
    d = (errors.policy_BVF - errors.reference_BVF)[0].mean(-1)
    each = torch.stack([-logsigmoid(-0.5 * BETA * (d[0] - d[k])) for k in (1, 2, 3)])
    coefficients = ((1.0, -1.0, 0.0, 0.0), (1.0, 0.0, -1.0, 0.0), (1.0, 0.0, 0.0, -1.0))
    terms = make_batch([[Term("clip", a, (1, 1), BETA, 1 / 3) for a in coefficients]], 4)
    tells_apart(loss(errors, terms), each.mean(), each.sum())


def test_the_mean_of_the_ranks_means(make_batch: MakeBatch, make_errors: MakeErrors) -> None:
    """DenseDPO averages over labelled frames; where each rank divides by its own, a frame among few weighs more."""
    errors, labels = make_errors(2, 2, 3), [(1, -1, 1), (0, 0, 1)]
    terms = pairs(labels, make_batch)
    ranks = [(ViewErrors(errors.policy_BVF[r], errors.reference_BVF[r]), terms[r]) for r in (slice(0, 1), slice(1, 2))]
    buggy = torch.stack([loss(*rank) for rank in ranks]).mean()
    ours = torch.stack([loss(*rank, terms.counts()) for rank in ranks]).sum()
    sign = torch.tensor(labels, dtype=torch.float64)
    inside = -0.5 * BETA * sign * (errors.relative_BVF[:, 0] - errors.relative_BVF[:, 1])
    tells_apart(ours, -logsigmoid(inside)[sign != 0].mean(), buggy)


def test_labels_that_are_missing(make_batch: MakeBatch, make_errors: MakeErrors) -> None:
    """A missing label carried as NaN and only multiplied away reaches the whole batch; here it is a 0 in the row."""
    errors = make_errors(2, 2, 3)
    sign = torch.tensor([(1, torch.nan, -1), (1, 1, -1)], dtype=torch.float64)
    inside = -0.5 * BETA * sign * (errors.relative_BVF[:, 0] - errors.relative_BVF[:, 1])
    assert (-logsigmoid(inside) * sign.nan_to_num().abs()).mean().isnan()
    right = -logsigmoid(inside)[~sign.isnan()].mean()
    ours = loss(errors, pairs([(1, 0, -1), (1, 1, -1)], make_batch))
    assert ours.item() == pytest.approx(right.item(), rel=1e-12)
