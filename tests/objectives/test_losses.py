from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from rushes.objectives.diagnostics import diagnose
from rushes.objectives.losses import ViewErrors, frame_logits, loss, term_logits, term_loss
from rushes.objectives.terms import Reduction, Term, TermBatch, one_against_each

from .conftest import MakeBatch, MakeErrors

REDUCTIONS: tuple[Reduction, ...] = ("clip", "segment", "sum_inside")
LN2 = math.log(2)


def pair(labels: tuple[int, ...], reduction: Reduction = "clip", beta: float = 10.0, weight: float = 1.0) -> Term:
    return Term(reduction, (1.0, -1.0), labels, beta, weight, reduction=reduction)


def gradient(errors: ViewErrors, terms: TermBatch) -> Tensor:
    (g,) = torch.autograd.grad(loss(errors, terms), errors.policy_BVF)
    return g


def log_sigmoid(x: float) -> float:
    return -math.log1p(math.exp(-x))


# --- arithmetic by hand ----------------------------------------------------------------------------------------------


def test_clip_by_hand(make_batch: MakeBatch, make_errors: MakeErrors) -> None:
    """-log sigmoid(-(beta / 2) mean over labelled frames of l (D0 - D1)), the mean over comparisons."""
    labels = [(1, 1, 1), (-1, 0, -1)]
    errors = make_errors(2, 2, 3)
    p, r = errors.policy_BVF.detach().numpy(), errors.reference_BVF.numpy()
    expected = []
    for b, row in enumerate(labels):
        scored = [f for f in range(3) if row[f]]
        margin = sum(row[f] * ((p[b, 0, f] - r[b, 0, f]) - (p[b, 1, f] - r[b, 1, f])) for f in scored) / len(scored)
        expected.append(-log_sigmoid(-0.5 * 10 * margin))
    value = loss(errors, make_batch([[pair(row)] for row in labels], 2))
    assert value.item() == pytest.approx(np.mean(expected), rel=1e-12)


def test_segment_by_hand(make_batch: MakeBatch, make_errors: MakeErrors) -> None:
    """The mean over all labelled frames of the batch, not first over each clip (DenseDPO's listing)."""
    labels = [(1, -1, 0, 1), (0, 0, -1, 0)]
    errors = make_errors(2, 2, 4)
    p, r = errors.policy_BVF.detach().numpy(), errors.reference_BVF.numpy()
    d = p - r
    each = [
        -log_sigmoid(-0.5 * 10 * row[f] * (d[b, 0, f] - d[b, 1, f]))
        for b, row in enumerate(labels)
        for f in range(4)
        if row[f]
    ]
    assert len(each) == 4
    value = loss(errors, make_batch([[pair(row, "segment")] for row in labels], 2))
    assert value.item() == pytest.approx(sum(each) / 4, rel=1e-12)


def test_sum_inside_by_hand(make_batch: MakeBatch, make_errors: MakeErrors) -> None:
    """One sigmoid on the sum over frames (DenseDPO, equation 7, with the one-half)."""
    labels = (1, -1, 0, 1)
    errors = make_errors(1, 2, 4)
    d = (errors.policy_BVF - errors.reference_BVF).detach().numpy()[0]
    inside = -0.5 * 10 * np.dot(labels, d[0] - d[1])
    value = loss(errors, make_batch([[pair(labels, "sum_inside")]], 2))
    assert value.item() == pytest.approx(-log_sigmoid(inside), rel=1e-12)


def test_n_losers_are_averaged(make_batch: MakeBatch, make_errors: MakeErrors) -> None:
    errors = make_errors(1, 4, 3)
    d = (errors.policy_BVF - errors.reference_BVF).detach().numpy()[0].mean(-1)
    expected = np.mean([-log_sigmoid(-0.5 * 10 * (d[0] - d[k])) for k in (1, 2, 3)])
    value = loss(errors, make_batch([one_against_each(3, (1, 1, 1), 10.0)], 4))
    assert value.item() == pytest.approx(expected, rel=1e-12)


def test_levels_with_mixtures_and_weights_by_hand(make_batch: MakeBatch, make_errors: MakeErrors) -> None:
    """PhysHPO's four levels over seven views, each level's loss times its weight."""
    rows = {
        "instance": ((1, -0.7, -0.3, 0, 0, 0, 0), 1.0),
        "state": ((1, 0, 0, -1, 0, 0, 0), 0.4),
        "motion": ((0, 0, 0, 0, 1, -1, 0), 0.3),
        "semantic": ((1, 0, 0, 0, 0, 0, -1), 0.2),
    }
    terms = [Term(level, tuple(map(float, a)), (1, 1), 10.0, w) for level, (a, w) in rows.items()]
    errors = make_errors(1, 7, 2)
    d = (errors.policy_BVF - errors.reference_BVF).detach().numpy()[0].mean(-1)
    expected = sum(-w * log_sigmoid(-0.5 * 10 * np.dot(a, d)) for a, w in rows.values())
    assert loss(errors, make_batch([terms], 7)).item() == pytest.approx(expected, rel=1e-12)
    at_start = ViewErrors(errors.reference_BVF, errors.reference_BVF)
    assert loss(at_start, make_batch([terms], 7)).item() == pytest.approx(1.9 * LN2, rel=1e-12)


def test_supervised_by_hand(make_batch: MakeBatch, make_errors: MakeErrors) -> None:
    """The policy's own mean error over scored frames; the reference is not looked at."""
    errors = make_errors(2, 2, 3)
    terms = make_batch([[Term("sft", (1.0, 0.0), (0, 1, 1), weight=0.5, loss_type="error")]] * 2, 2)
    expected = 0.5 * errors.policy_BVF.detach().numpy()[:, 0, 1:].mean()
    assert loss(errors, terms).item() == pytest.approx(expected, rel=1e-12)
    elsewhere = ViewErrors(errors.policy_BVF, errors.reference_BVF * 3)
    assert torch.equal(loss(elsewhere, terms), loss(errors, terms))


def test_beta_and_weight_are_those_of_each_term(make_batch: MakeBatch, make_errors: MakeErrors) -> None:
    errors = make_errors(2, 2, 2)
    terms = make_batch([[pair((1, 1), beta=4.0, weight=0.3)], [pair((1, 1), beta=40.0, weight=2.0)]], 2)
    m = (errors.policy_BVF - errors.reference_BVF).detach().numpy().mean(-1) @ np.array([1, -1])
    expected = (-0.3 * log_sigmoid(-2 * m[0]) - 2.0 * log_sigmoid(-20 * m[1])) / 2
    assert loss(errors, terms).item() == pytest.approx(expected, rel=1e-12)


# --- what must always hold -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("labels", [(1, 1, 1), (-1, 0, 1), (0, 0, -1)])
def test_ln_2_at_the_start(
    reduction: Reduction, labels: tuple[int, ...], make_batch: MakeBatch, make_errors: MakeErrors
) -> None:
    reference = make_errors(3, 2, 3).reference_BVF
    value = loss(ViewErrors(reference.clone(), reference), make_batch([[pair(labels, reduction, 5000.0)]] * 3, 2))
    assert value.item() == pytest.approx(LN2, rel=1e-12)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_swapping_views_and_labels_changes_nothing(
    reduction: Reduction, make_batch: MakeBatch, make_errors: MakeErrors
) -> None:
    errors = make_errors(2, 2, 3)
    swapped = ViewErrors(errors.policy_BVF.flip(1), errors.reference_BVF.flip(1))
    rows = [(1, -1, 0), (1, 1, 1)]
    terms = make_batch([[pair(row, reduction)] for row in rows], 2)
    flipped = make_batch([[pair(tuple(-x for x in row), reduction)] for row in rows], 2)
    assert loss(swapped, flipped).item() == pytest.approx(loss(errors, terms).item(), rel=1e-12)
    torch.testing.assert_close(frame_logits(swapped, terms), -frame_logits(errors, terms))


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_a_batch_of_ties_is_a_zero_with_a_graph(
    reduction: Reduction, make_batch: MakeBatch, make_errors: MakeErrors
) -> None:
    errors = make_errors(2, 2, 3)
    terms = make_batch([[pair((0, 0, 0), reduction)]] * 2, 2)
    value = loss(errors, terms)
    assert value.item() == 0 and value.requires_grad
    assert torch.equal(gradient(errors, terms), torch.zeros_like(errors.policy_BVF))
    assert diagnose(errors, terms) == {}


def test_dense_equals_clip_where_there_is_one_latent_frame(make_batch: MakeBatch, make_errors: MakeErrors) -> None:
    errors = make_errors(4, 2, 1)
    rows = [(1,), (-1,), (0,), (1,)]
    values = [loss(errors, make_batch([[pair(row, red)] for row in rows], 2)).item() for red in REDUCTIONS]
    assert values == pytest.approx([values[0]] * 3, rel=1e-12)


def test_dense_is_above_clip_and_equal_where_frames_agree(make_batch: MakeBatch, make_errors: MakeErrors) -> None:
    """-log sigmoid is convex: the mean of the losses of equally labelled frames is at least the loss of their mean."""
    errors = make_errors(1, 2, 5)
    clip, dense = (make_batch([[pair((1,) * 5, red)]], 2) for red in ("clip", "segment"))
    assert loss(errors, dense).item() > loss(errors, clip).item()
    same = ViewErrors(errors.policy_BVF[..., :1].expand(1, 2, 5), errors.reference_BVF[..., :1].expand(1, 2, 5))
    assert loss(same, dense).item() == pytest.approx(loss(same, clip).item(), rel=1e-12)


def test_sum_inside_is_clip_with_beta_times_the_labelled_frames(make_batch: MakeBatch, make_errors: MakeErrors) -> None:
    errors, labels = make_errors(1, 2, 4), (1, 0, -1, 1)
    inside = loss(errors, make_batch([[pair(labels, "sum_inside", 2.0)]], 2))
    clip = loss(errors, make_batch([[pair(labels, "clip", 6.0)]], 2))
    assert inside.item() == pytest.approx(clip.item(), rel=1e-12)


def mixed_batch(make_batch: MakeBatch) -> TermBatch:
    """Every link and reduction, unequal labels, an unequal number of terms."""
    sft = Term("sft", (1.0, 0.0, 0.0), (0, 1, 1, 1), weight=0.2, loss_type="error")
    clip = [Term("clip", a, (0, 1, 1, 1), 7.0, 0.5) for a in ((1.0, -1.0, 0.0), (1.0, 0.0, -1.0))]

    def segment(*labels: int) -> Term:
        return Term("seg", (1.0, -0.7, -0.3), labels, 9.0, 0.4, reduction="segment")

    inside = Term("in", (0.0, 1.0, -1.0), (1, 0, -1, 1), 3.0, reduction="sum_inside")
    first = [sft, *clip, segment(1, -1, 0, 1), inside]
    return make_batch([first, [sft, *clip, segment(0, 0, -1, 0)], [sft]], 3)


def test_gradient_check(make_batch: MakeBatch, make_errors: MakeErrors) -> None:
    errors, terms = make_errors(3, 3, 4), mixed_batch(make_batch)

    def of_policy(policy_BVF: Tensor) -> Tensor:
        return loss(ViewErrors(policy_BVF, errors.reference_BVF), terms)

    assert torch.autograd.gradcheck(of_policy, (errors.policy_BVF,))


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_masked_frames_padded_terms_and_views_have_exactly_zero_gradient(
    reduction: Reduction, make_batch: MakeBatch, make_errors: MakeErrors
) -> None:
    errors = make_errors(2, 3, 3)
    two = [Term("x", a, (0, 1, -1), 5.0, 0.5, reduction=reduction) for a in ((1.0, -1.0, 0.0), (1.0, 0.0, -1.0))]
    g = gradient(errors, make_batch([two, [Term("x", (1.0, -1.0), (1, 0, 0), 5.0, reduction=reduction)]], 3))
    nonzero = [[[0, 1, 1]] * 3, [[1, 0, 0], [1, 0, 0], [0, 0, 0]]]
    assert (g != 0).int().tolist() == nonzero


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_what_is_not_scored_may_be_anything(
    reduction: Reduction, make_batch: MakeBatch, make_errors: MakeErrors
) -> None:
    """An infinite error in a masked frame reaches neither the loss nor the gradient."""
    errors = make_errors(2, 3, 2)
    terms = make_batch([[Term("x", (1.0, -1.0, 0.0), (1, 0), 5.0, reduction=reduction)]] * 2, 3)
    value, g = loss(errors, terms), gradient(errors, terms)
    wild = errors.policy_BVF.detach().clone()
    wild[..., 1] = torch.inf
    wild.requires_grad_()
    other = ViewErrors(wild, errors.reference_BVF)
    assert torch.equal(loss(other, terms), value) and torch.equal(gradient(other, terms), g)


def test_a_padded_term_does_not_change_the_loss(make_batch: MakeBatch, make_errors: MakeErrors) -> None:
    errors = make_errors(2, 4, 3)
    both = loss(errors, make_batch([one_against_each(3, (1, 1, 1), 10.0), one_against_each(1, (1, 1, 1), 10.0)], 4))
    apart = [
        loss(ViewErrors(errors.policy_BVF[b : b + 1], errors.reference_BVF[b : b + 1]), make_batch([row], 4))
        for b, row in enumerate([one_against_each(3, (1, 1, 1), 10.0), one_against_each(1, (1, 1, 1), 10.0)])
    ]
    assert both.item() == pytest.approx((apart[0] + apart[1]).item() / 2, rel=1e-12)


def test_the_reference_gets_no_gradient(make_batch: MakeBatch, make_errors: MakeErrors) -> None:
    errors, terms = make_errors(3, 3, 4), mixed_batch(make_batch)
    loss(errors, terms).backward()
    assert errors.policy_BVF.grad is not None and errors.reference_BVF.grad is None
    assert not loss(ViewErrors(errors.policy_BVF.detach(), errors.reference_BVF), terms).requires_grad


def test_micro_batches_with_shared_counts_sum_to_the_whole(make_batch: MakeBatch, make_errors: MakeErrors) -> None:
    errors, terms = make_errors(3, 3, 4), mixed_batch(make_batch)
    whole, counts = loss(errors, terms), terms.counts()
    rows = (slice(0, 1), slice(1, 3))
    parts = [ViewErrors(errors.policy_BVF[r], errors.reference_BVF[r]) for r in rows]
    split = [loss(part, terms[r], counts) for part, r in zip(parts, rows, strict=True)]
    assert sum(split).item() == pytest.approx(whole.item(), rel=1e-12)  # type: ignore[union-attr]
    summed = {level: sum(terms[r].counts()[level] for r in rows) for level in terms.levels}
    assert summed == counts
    # Without shared counts a micro-batch of few labels weighs as much as one of many.
    own = sum(loss(part, terms[r]) for part, r in zip(parts, rows, strict=True)) / 2
    assert abs(own.item() - whole.item()) > 0.01  # type: ignore[union-attr]


def test_an_extreme_logit_stays_finite(make_batch: MakeBatch) -> None:
    policy = torch.tensor([[[9.0], [1.0]]], requires_grad=True)
    terms = make_batch([[pair((1,), beta=5000.0)]], 2)
    errors = ViewErrors(policy.double(), torch.ones(1, 2, 1).double())
    value = loss(errors, terms)
    (g,) = torch.autograd.grad(value, policy)
    assert value.item() == pytest.approx(20_000) and g.flatten().tolist() == pytest.approx([2500, -2500])


# --- pieces and diagnostics ------------------------------------------------------------------------------------------


def test_unscored_logits_are_zero(make_batch: MakeBatch, make_errors: MakeErrors) -> None:
    terms = make_batch([[pair((1, 0, -1), "segment")], [pair((0, 0, 0), "segment")]], 2)
    logits, scored = term_logits(make_errors(2, 2, 3), terms, 0)
    assert scored.tolist() == [[True, False, True], [False] * 3]
    assert (logits != 0).tolist() == scored.tolist()
    value, _ = term_loss(make_errors(2, 2, 3), terms, 0)
    assert value[~scored].tolist() == pytest.approx([LN2] * 4)
