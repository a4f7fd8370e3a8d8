from __future__ import annotations

import pytest
import torch
from torch import nn

from rushes.backbones.adapters import add_lora
from rushes.objectives.terms import Term
from rushes.training.gradients import row_errors
from rushes.training.loop import reference_errors
from rushes.training.reference import Reference

from .conftest import Rows, Small

PAIR = [Term("clip", (1.0, -1.0), (1, 1, 1, 1), 3.0)]


def weights(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in network.named_parameters()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def jolt(network: nn.Module) -> None:
    for p in network.parameters():
        p.data.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(3)).to(p.dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_frozen_stays_bit_identical(dtype: torch.dtype, small: Small) -> None:
    network = small().network.to(dtype)
    start = weights(network)
    reference = Reference(network, "frozen")
    for step in range(1, 4):
        jolt(network)
        reference.update(step)
    moved = weights(network)
    with reference.applied():
        assert same(start, weights(network)) and not torch.is_grad_enabled()
    assert torch.is_grad_enabled()
    assert same(moved, weights(network)) and not same(start, moved)


def test_ema_moves_one_thousandth_of_the_way_where_realdpos_moves_none() -> None:
    """RealDPO blends its reference in the model's bfloat16, which has 8 bits: 0.1 % of the way rounds to no way."""
    network = nn.Linear(64, 64).bfloat16()
    reference = Reference(network, "ema", ema=0.999)
    start = {name: value.clone() for name, value in reference.values.items()}
    before = weights(network)
    for p in network.parameters():  # a policy within some percent of its reference, as after many steps
        p.data.mul_(1.03)
    policy = weights(network)
    blend = {name: 0.999 * before[name] + (1 - 0.999) * policy[name] for name in before}
    assert all(value.dtype == torch.bfloat16 for value in blend.values())
    changed = sum(int((blend[name] != before[name]).sum()) for name in before)
    assert changed == 0 and not same(before, policy)

    reference.update(1)
    for name, value in reference.values.items():
        assert value.dtype == torch.float32
        way = policy[name].double() - start[name].double()
        torch.testing.assert_close(value.double() - start[name].double(), 0.001 * way, rtol=1e-3, atol=1e-9)
    for step in range(2, 1001):
        reference.update(step)
    for name, value in reference.values.items():
        way = policy[name].double() - start[name].double()
        torch.testing.assert_close(value.double() - start[name].double(), (1 - 0.999**1000) * way, rtol=1e-3, atol=1e-6)


def test_ema_is_exact_in_float32(small: Small) -> None:
    network = small().network
    reference = Reference(network, "ema", ema=0.75)
    start = {name: value.clone() for name, value in reference.values.items()}
    jolt(network)
    reference.update(1)
    for name, p in network.named_parameters():
        expected = start[name].double() + 0.25 * (p.detach().double() - start[name].double())
        torch.testing.assert_close(reference.values[name].double(), expected, rtol=1e-6, atol=1e-7)


def test_hard_copies_every_so_many_steps(small: Small) -> None:
    network = small().network
    reference = Reference(network, "hard", every=3)
    start = weights(network)
    for step in range(1, 4):
        jolt(network)
        reference.update(step)
        assert same(reference.values, start if step < 3 else weights(network))


def test_policy_is_back_after_an_exception(small: Small) -> None:
    network = small().network
    reference = Reference(network)
    jolt(network)
    policy = weights(network)
    places = {name: p.data_ptr() for name, p in network.named_parameters()}
    with pytest.raises(RuntimeError, match="out of memory"), reference.applied():
        assert not same(policy, weights(network))
        raise RuntimeError("out of memory")
    assert same(policy, weights(network)) and torch.is_grad_enabled()
    assert places == {name: p.data_ptr() for name, p in network.named_parameters()}  # no copy either


def test_the_reference_receives_no_gradient(small: Small, rows: Rows) -> None:
    backbone, batch = small(), rows([PAIR], torch.float32)
    reference = Reference(backbone.network)
    before = {name: value.clone() for name, value in reference.values.items()}
    jolt(backbone.network)
    errors = reference_errors(backbone, batch, reference)
    assert not errors.requires_grad
    assert all(p.grad is None for p in backbone.network.parameters())
    assert all(not value.requires_grad for value in reference.values.values()) and same(before, reference.values)
    assert not torch.equal(errors, batch.scatter(row_errors(backbone, batch).detach()))


def test_without_need_the_reference_does_not_run(small: Small, rows: Rows) -> None:
    backbone = small()
    batch = rows([[Term("supervised", (1.0,), (1, 1, 1, 1), loss_type="error")]], torch.float32)
    reference = Reference(backbone.network)
    reference.values.clear()  # would fail if it were applied
    assert not reference_errors(backbone, batch, reference).any()


def test_adapter_off_is_the_base_bit_for_bit(small: Small, rows: Rows) -> None:
    backbone, batch = small(), rows([PAIR], torch.float32)
    backbone.network.requires_grad_(False)  # torch multiplies by frozen weights in another order, with other rounding
    base = row_errors(backbone, batch)
    add_lora(backbone.network, backbone.spec.lora_targets, rank=3, alpha=6)
    reference = Reference(backbone.network)
    assert reference.values and all("lora" in name for name in reference.values)
    for p in backbone.network.parameters():
        if p.requires_grad:
            p.data.add_(0.5)
    assert not torch.equal(row_errors(backbone, batch).detach(), base)
    with reference.applied():
        assert torch.equal(row_errors(backbone, batch), base)


def test_saved_values_come_back(small: Small) -> None:
    network = small().network
    saved = {name: value + 1 for name, value in Reference(network).values.items()}
    reference = Reference(network)
    reference.load(saved)
    assert same(reference.values, saved)
