from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rushes.backbones.adapters import add_lora
from rushes.backbones.base import Backbone
from rushes.backbones.tiny import TinyBackbone
from rushes.objectives.losses import ViewErrors, loss
from rushes.objectives.safeguards import guarded
from rushes.objectives.terms import Reduction, Term, one_against_each
from rushes.training.batches import Batch
from rushes.training.gradients import backward, plain_errors, row_errors
from rushes.training.memory import GradientMode

from .conftest import Referenced, Rows, Small

BETA = 3.0
ONES, MIXED, OTHER, TIE = (1, 1, 1, 1), (0, 1, -1, 1), (1, 1, 0, -1), (0, 0, 0, 0)


def against(losers: int) -> tuple[Term, ...]:
    """The first view against each of `losers` others, RealDPO's form."""
    return one_against_each(losers, ONES, BETA)


def pair(labels: tuple[int, ...], reduction: Reduction = "clip", **more: Any) -> list[Term]:
    return [Term("level", (1.0, -1.0), labels, BETA, reduction=reduction, **more)]


CASES: dict[str, Sequence[Sequence[Term]]] = {
    "pair": [pair(ONES), pair((-1, -1, -1, -1))],
    "clip label without a given first frame": [pair((0, 1, 1, 1))],
    "three losers": [against(3)],
    "labels per segment": [pair(MIXED, "segment"), pair(OTHER, "segment"), pair(ONES, "segment")],
    "sum inside": [pair(MIXED, "sum_inside"), pair(ONES, "sum_inside")],
    "unequal losers": [against(3), against(1), against(2)],
    "supervised term": [
        [Term("supervised", (1.0, 0.0, 0.0), ONES, weight=0.5, loss_type="error"), *against(2)],
        [Term("supervised", (1.0, 0.0), ONES, weight=0.5, loss_type="error"), *against(1)],
    ],
    "supervised alone": [[Term("supervised", (1.0,), (0, 1, 1, 1), loss_type="error")]] * 2,
    "supervised under other signs": [
        [Term("supervised", (1.0, 0.0), MIXED, loss_type="error"), Term("clip", (1.0, -1.0), MIXED, BETA)]
    ],
    "a tie among pairs": [pair(ONES), pair(TIE), pair(ONES)],
    "a tie among segments": [pair(TIE, "segment"), pair(MIXED, "segment")],
    "ipo": [pair(ONES, loss_type="ipo"), pair((0, 1, 1, 1), loss_type="ipo")],
    "smoothed hinge per segment": [
        pair(MIXED, "segment", loss_type="hinge", smoothing=0.1),
        pair(TIE, "segment", loss_type="hinge"),
    ],
    "without a reference": [pair(ONES, reference=False), pair(MIXED, reference=False)],
    "guarded losers": [guarded(against(n), sft_weight=0.3, dpop_weight=0.9) for n in (3, 1)],
    "guarded labels per segment": [
        guarded(pair(labels, "segment"), label_smoothing=0.2, sft_weight=0.3, dpop_weight=0.9)
        for labels in (MIXED, OTHER, TIE)
    ],
    "guarded sum inside": [guarded(pair(MIXED, "sum_inside"), sft_weight=0.3, dpop_weight=0.9)],
    "three views in one term": [
        [Term("instance", (1.0, -0.7, -0.3), ONES, BETA), Term("state", (1.0, -1.0, 0.0), MIXED, BETA)]
    ],
}


def gradient(
    backbone: Backbone, batch: Batch, reference_BVF: Tensor, mode: GradientMode
) -> tuple[dict[str, Tensor], Tensor]:
    backbone.network.zero_grad(set_to_none=True)
    value, _ = backward(backbone, batch, reference_BVF, mode)
    return {name: p.grad.clone() for name, p in backbone.network.named_parameters() if p.grad is not None}, value


def check_equal(one: dict[str, Tensor], other: dict[str, Tensor], relative: float) -> None:
    """Each weight's gradient is as close as `relative` of its size, or of a thousandth of the largest."""
    assert one.keys() == other.keys()
    largest = max(float(g.norm()) for g in one.values())
    for name in one:
        apart = float((one[name] - other[name]).norm())
        assert apart <= relative * max(float(one[name].norm()), 1e-3 * largest), (name, apart)


@pytest.mark.parametrize("mode", ["stash", "two_pass"])
@pytest.mark.parametrize("case", CASES)
def test_view_by_view_equals_joint_in_float64(
    case: str, mode: GradientMode, small: Small, rows: Rows, reference_of: Referenced
) -> None:
    backbone, batch = small(), rows(CASES[case], torch.float64)
    backbone.network.double()
    reference = reference_of(batch)
    expected, loss_joint = gradient(backbone, batch, reference, "joint")
    got, loss_apart = gradient(backbone, batch, reference, mode)
    check_equal(expected, got, 1e-10)
    torch.testing.assert_close(loss_apart, loss_joint, rtol=1e-12, atol=0)
    # it could not fail if most of the gradient were zero; `first` serves given frames, which these batches lack
    silent = {
        name for name, p in backbone.network.named_parameters() if name not in expected or not expected[name].any()
    }
    assert silent == {"first.weight", "first.bias"}


@pytest.mark.parametrize("mode", ["stash", "two_pass"])
@pytest.mark.parametrize("case", CASES)
def test_view_by_view_equals_joint_in_float32(
    case: str, mode: GradientMode, small: Small, rows: Rows, reference_of: Referenced
) -> None:
    backbone, batch = small(), rows(CASES[case], torch.float32)
    reference = reference_of(batch)
    expected, _ = gradient(backbone, batch, reference, "joint")
    got, _ = gradient(backbone, batch, reference, mode)
    whole = [torch.cat([g.flatten() for g in part.values()]) for part in (expected, got)]
    assert (whole[0] - whole[1]).norm() <= 1e-5 * whole[0].norm()


@pytest.mark.parametrize("case", ["three losers", "labels per segment", "supervised term"])
@pytest.mark.parametrize("mode", ["stash", "two_pass"])
def test_adapters_get_the_same_gradient(
    case: str, mode: GradientMode, small: Small, rows: Rows, reference_of: Referenced
) -> None:
    backbone, batch = small(), rows(CASES[case], torch.float64)
    backbone.network.double()
    add_lora(backbone.network, backbone.spec.lora_targets, rank=2, alpha=4)
    adapters = {n: p for n, p in backbone.network.named_parameters() if p.requires_grad}
    for name, p in adapters.items():  # the second factor starts at zero, and the first then gets no gradient
        assert "lora" in name and p.dtype == torch.float64
        p.data = 0.3 * torch.randn(p.shape, generator=torch.Generator().manual_seed(len(name)), dtype=p.dtype)
    reference = reference_of(batch)
    expected, _ = gradient(backbone, batch, reference, "joint")
    got, _ = gradient(backbone, batch, reference, mode)
    assert expected.keys() == adapters.keys() and all(g.any() for g in expected.values())
    check_equal(expected, got, 1e-10)


@pytest.mark.parametrize("mode", ["joint", "stash", "two_pass"])
def test_a_gradient_is_added_to_what_is_there(
    mode: GradientMode, small: Small, rows: Rows, reference_of: Referenced
) -> None:
    backbone, batch = small(), rows(CASES["pair"], torch.float32)
    reference = reference_of(batch)
    once, _ = gradient(backbone, batch, reference, mode)
    backward(backbone, batch, reference, mode)
    twice = {name: p.grad for name, p in backbone.network.named_parameters() if p.grad is not None}
    for name, g in once.items():
        torch.testing.assert_close(twice[name], 2 * g)


@pytest.mark.parametrize("mode", ["joint", "stash", "two_pass"])
def test_counts_of_all_ranks_average_over_all_comparisons(
    mode: GradientMode, small: Small, rows: Rows, reference_of: Referenced
) -> None:
    """Two parts of a batch, each divided by the whole's counts, add up to the whole's gradient."""
    backbone = small()
    backbone.network.double()
    batch = rows([pair(MIXED, "segment"), pair(ONES, "segment")], torch.float64)
    reference = reference_of(batch)
    expected, _ = gradient(backbone, batch, reference, "joint")
    counts = batch.terms.counts()
    backbone.network.zero_grad(set_to_none=True)
    for b in range(2):
        span = slice(2 * b, 2 * b + 2)
        place = ((0, 0), (0, 1))
        part = Batch(
            batch.clean_RCFHW[span],
            batch.noise_RCFHW[span],
            batch.t_RF[span],
            batch.condition[span],
            place,
            batch.terms[b : b + 1],
        )
        backward(backbone, part, reference[b : b + 1], mode, counts)
    check_equal(expected, {n: p.grad for n, p in backbone.network.named_parameters() if p.grad is not None}, 1e-10)


class _Counted:
    """Counts the clips that go through the network, with and without a graph."""

    def __init__(self, backbone: TinyBackbone) -> None:
        self.backbone, self.spec, self.network = backbone, backbone.spec, backbone.network
        self.with_graph = self.without = 0

    def predict(self, noised_BCFHW: Tensor, t_BF: Tensor, condition: Any) -> Tensor:
        if torch.is_grad_enabled():
            self.with_graph += len(noised_BCFHW)
        else:
            self.without += len(noised_BCFHW)
        return self.backbone.predict(noised_BCFHW, t_BF, condition)


@pytest.mark.parametrize(
    ("case", "mode", "with_graph", "without"),
    [
        ("three losers", "joint", 4, 0),
        ("three losers", "stash", 4, 0),
        ("three losers", "two_pass", 4, 1),  # the winner waits for its losers
        ("supervised alone", "two_pass", 2, 0),  # nothing waits
        ("unequal losers", "stash", 9, 0),
        ("labels per segment", "stash", 6, 3),  # per segment there is no one number to scale a stash by
        ("labels per segment", "two_pass", 6, 3),
    ],
)
def test_every_view_goes_through_once(
    case: str, mode: GradientMode, with_graph: int, without: int, small: Small, rows: Rows, reference_of: Referenced
) -> None:
    """RealDPO's released loop runs the winner once for every loser."""
    counted: Any = _Counted(small())
    batch = rows(CASES[case], torch.float32)
    backward(counted, batch, reference_of(batch), mode)
    assert (counted.with_graph, counted.without) == (with_graph, without)


def activation_bytes(network: nn.Module, work: Callable[[], object]) -> int:
    """The most bytes that autograd keeps for a backward pass at any one time, weights aside."""
    held = peak = 0
    weights = {p.data_ptr() for p in network.parameters()}

    class Kept:
        def __init__(self, tensor: Tensor) -> None:
            self.tensor = tensor

    def pack(tensor: Tensor) -> Kept:
        nonlocal held, peak
        kept = Kept(tensor)
        if tensor.data_ptr() not in weights:
            held += tensor.nbytes
            peak = max(peak, held)
            weakref.finalize(kept, release, tensor.nbytes)
        return kept

    def release(size: int) -> None:
        nonlocal held
        held -= size

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept.tensor):
        work()
    assert held == 0
    return peak


@pytest.mark.parametrize("case", ["three losers", "labels per segment"])
@pytest.mark.parametrize("mode", ["stash", "two_pass"])
def test_one_view_is_in_memory_at_a_time(
    case: str, mode: GradientMode, small: Small, rows: Rows, reference_of: Referenced
) -> None:
    backbone, batch = small(), rows(CASES[case], torch.float32)
    reference = reference_of(batch)
    one = activation_bytes(backbone.network, lambda: row_errors(backbone, batch, slice(0, 1)).sum().backward())
    joint = activation_bytes(backbone.network, lambda: backward(backbone, batch, reference, "joint"))
    apart = activation_bytes(backbone.network, lambda: backward(backbone, batch, reference, mode))
    assert one > 100_000
    assert joint > 0.9 * len(batch.place) * one
    assert apart < 1.05 * one


def test_errors_are_float32_or_finer(small: Small, rows: Rows) -> None:
    backbone, batch = small(), rows(CASES["pair"], torch.float32)
    exact = row_errors(backbone, batch)

    class Coarse:
        spec, network = backbone.spec, backbone.network

        def predict(self, noised_BCFHW: Tensor, t_BF: Tensor, condition: Any) -> Tensor:
            return backbone.predict(noised_BCFHW, t_BF, condition).bfloat16()

    coarse: Any = Coarse()
    assert exact.dtype == row_errors(coarse, batch).dtype == torch.float32
    torch.testing.assert_close(row_errors(coarse, batch), exact, rtol=1e-2, atol=0)
    backbone.network.double()
    assert row_errors(backbone, rows(CASES["pair"], torch.float64)).dtype == torch.float64


@pytest.mark.parametrize("mode", ["joint", "stash", "two_pass"])
def test_errors_without_a_graph_are_those_of_backward(mode: GradientMode, small: Small, rows: Rows) -> None:
    """Bit for bit: at equal weights every margin must be exactly zero."""
    backbone, batch = small(), rows(CASES["unequal losers"], torch.float32)
    plain = plain_errors(backbone, batch, mode)
    assert not plain.requires_grad
    value, errors = backward(backbone, batch, plain, mode)
    assert torch.equal(errors.policy_BVF, plain)
    torch.testing.assert_close(value, torch.tensor(2.0).log())
    assert torch.equal(value, loss(ViewErrors(plain, plain), batch.terms))


@pytest.mark.parametrize("mode", ["joint", "stash", "two_pass"])
def test_what_a_saturated_pair_still_pulls_is_zero(mode: GradientMode, small: Small, rows: Rows) -> None:
    """And no number that is too small for float32's exponent, with which a processor is slow."""
    backbone, batch = small(), rows(CASES["pair"][:1], torch.float32)
    for lead, pulls in ((20.0, True), (60.0, False)):
        reference = torch.zeros(plain_errors(backbone, batch).shape)
        reference[:, 0] = lead  # the winner's error is that far below the reference's
        gradients, _ = gradient(backbone, batch, reference, mode)
        assert any(bool(g.any()) for g in gradients.values()) is pulls


def test_views_that_a_comparison_lacks_have_no_error(small: Small, rows: Rows) -> None:
    backbone, batch = small(), rows(CASES["unequal losers"], torch.float32)
    errors_BVF = plain_errors(backbone, batch)
    there = torch.zeros(errors_BVF.shape[:2], dtype=torch.bool)
    for b, v in batch.place:
        there[b, v] = True
    assert errors_BVF[there].min() > 0 and not errors_BVF[~there].any()
