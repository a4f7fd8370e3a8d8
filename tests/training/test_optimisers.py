from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from torch import nn

from rushes.training import checkpoint
from rushes.training.optimisers import MOMENTS, OptimiserName, check_optimiser, make_optimiser, state_of
from rushes.training.reference import Reference


def network() -> nn.Module:
    """Weights with moments in 8 bits, and biases too small for them."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(96, 128), nn.GELU(), nn.Linear(128, 64))


def trained(
    name: OptimiserName, steps: int, model: nn.Module, optimiser: torch.optim.Optimizer | None = None
) -> torch.optim.Optimizer:
    """Steps towards a fixed map, from batches that follow from the step."""
    done = int(state_of(optimiser, next(model.parameters()))["step"]) if optimiser else 0
    optimiser = optimiser or make_optimiser(name, list(model.parameters()), 1e-3, 0.01)
    target = torch.randn(96, 64, generator=torch.Generator().manual_seed(7)) / 10
    for step in range(done, steps):
        x = torch.randn(32, 96, generator=torch.Generator().manual_seed(step))
        optimiser.zero_grad()
        (model(x) - x @ target).pow(2).mean().backward()
        optimiser.step()
    return optimiser


def flat(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_after_fifty_steps_weights_are_those_of_plain_adamw() -> None:
    plain, bits8 = network(), network()
    start = flat(plain)
    trained("adamw", 50, plain)
    optimiser = trained("adamw_8bit", 50, bits8)
    assert (flat(plain) - start).norm() > 0.1 * start.norm(), "something was learned"
    assert (flat(bits8) - flat(plain)).norm() < 0.02 * flat(plain).norm()
    assert not torch.equal(flat(bits8), flat(plain))
    weights = list(bits8.parameters())
    assert {state_of(optimiser, p)["state1"].dtype for p in weights} == {torch.uint8, torch.float32}
    large = [p for p in weights if p.numel() >= 4096]
    states = [state for p in large for name, state in state_of(optimiser, p).items() if name != "step"]
    held = sum(state.numel() * state.element_size() for state in states)
    assert held == pytest.approx(MOMENTS["adamw_8bit"] * 4 * sum(p.numel() for p in large), rel=0.01)


@pytest.mark.parametrize("name", ["adamw", "adamw_8bit"])
def test_a_run_goes_on_bit_by_bit(name: OptimiserName, tmp_path: Path) -> None:
    whole, part, other = network(), network(), network()
    trained(name, 9, whole)
    optimiser = trained(name, 5, part)
    tensors = checkpoint.capture(part, Reference(part), optimiser)
    checkpoint.save(tmp_path, 5, tensors, {})
    state = checkpoint.latest(tmp_path)
    assert state is not None
    fresh = make_optimiser(name, list(other.parameters()), 1e-3, 0.01)
    checkpoint.restore(state, other, Reference(other), fresh)
    trained(name, 9, other, fresh)
    assert torch.equal(flat(other), flat(whole))


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    check_optimiser("adamw")
    with pytest.raises(ValueError, match=r"train\.optimizer: adamw_8bit needs bitsandbytes.*EXTRAS=quantize"):
        check_optimiser("adamw_8bit")
