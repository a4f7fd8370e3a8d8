"""Activations in main memory and blocks that come one by one: the closed form of the gradient, and who holds what."""

from __future__ import annotations

import gc
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from rushes.backbones.offload import offload_blocks
from rushes.training.activations import MainMemoryActivations, SyncOffload, place_of

WIDTH, DEPTH, TOKENS = 12, 4, 20
CPU = torch.device("cpu")


class Block(nn.Module):
    """x -> x (1 + A) B, of which A is trained and B is not."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Parameter(torch.randn(WIDTH, WIDTH, dtype=torch.float64) / WIDTH**0.5, False)
        self.trained = nn.Parameter(torch.randn(WIDTH, WIDTH, dtype=torch.float64) / WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return (x + x @ self.trained) @ self.frozen


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block() for _ in range(DEPTH))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = checkpoint(block.__call__, x, use_reentrant=False)
        return x


def closed_form(network: Network, x: Tensor) -> list[Tensor]:
    """Gradients of half the sum of squares: inputs to the left of A, and what comes back from the right of B."""
    states, unit = [x], torch.eye(WIDTH, dtype=torch.float64)
    blocks: list[Any] = list(network.blocks)
    for block in blocks:
        states.append(states[-1] @ (unit + block.trained) @ block.frozen)
    back, out = states[-1], []
    for block, state in zip(reversed(blocks), reversed(states[:-1]), strict=True):
        back = back @ block.frozen.T
        out.append(state.T @ back)
        back = back @ (unit + block.trained).T
    return out[::-1]


class Counted(SyncOffload):
    """Notes what is out, and what is on its way back before it is asked for."""

    def __init__(self) -> None:
        super().__init__(CPU)
        self.order: list[str] = []

    def out(self, tensor: Tensor) -> Tensor:
        self.order.append("out")
        return super().out(tensor)

    def begin(self, copy: Tensor) -> Tensor:
        self.order.append("begin")
        return super().begin(copy)

    def end(self, begun: Tensor) -> Tensor:
        self.order.append("end")
        return super().end(begun)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("where", ["keep", "offload"])
def test_the_gradient_is_the_closed_form(streamed: bool, where: str) -> None:
    torch.manual_seed(0)
    network, x = Network(), torch.randn(TOKENS, WIDTH, dtype=torch.float64)
    with torch.no_grad():
        exact = closed_form(network, x)
    if streamed:
        offload_blocks(network, CPU)
    transport = Counted()
    place = MainMemoryActivations(network, transport, least=1) if where == "offload" else None
    for _ in range(2):  # views, one after the other
        network.zero_grad()
        with place.waiting() if place else place_of(network, "keep")():
            network(x).pow(2).sum().div(2).backward()
        for block, gradient in zip(network.blocks, exact, strict=True):
            assert isinstance(block, Block) and block.trained.grad is not None
            assert (block.trained.grad - gradient).norm() <= 1e-13 * gradient.norm()
    if place:
        count = DEPTH + 1  # the inputs of the blocks, and the answer that is squared
        assert transport.order[:count] == ["out"] * count
        assert transport.order[count : count + 4] == ["begin", "begin", "end", "begin"], "one is on its way ahead"
        assert transport.order.count("begin") == transport.order.count("end") == 2 * count


def test_what_waits_is_not_held_twice_and_goes_with_the_graph() -> None:
    torch.manual_seed(0)
    network, x = Network(), torch.randn(TOKENS, WIDTH, dtype=torch.float64)
    place = MainMemoryActivations(network, SyncOffload(CPU), least=1)
    with place.waiting():
        out = network(x)
        waiting = sum(type(thing).__name__ == "_Waiting" for thing in gc.get_objects())
        out.sum().backward()
    del out
    gc.collect()
    assert waiting == DEPTH
    assert not any(type(thing).__name__ == "_Waiting" for thing in gc.get_objects())


def test_weights_views_and_what_is_small_stay() -> None:
    network = nn.Sequential(nn.Linear(64, 64, dtype=torch.float64))
    transport = Counted()
    x = torch.randn(8, 64, dtype=torch.float64, requires_grad=True)
    with MainMemoryActivations(network, transport, least=8 * 64 * 8 + 1).waiting():
        network(x).sum().backward()
        (torch.randn(1000, 64, dtype=torch.float64)[:100] * x[:1]).sum().backward()
    assert transport.order == []


def test_a_second_pass_backward_finds_it_again() -> None:
    """The gradient of what pushes errors up is taken apart from the other, over the same graph."""
    network, x = Network(), torch.randn(TOKENS, WIDTH, dtype=torch.float64)
    with MainMemoryActivations(network, SyncOffload(CPU), least=1).waiting():
        loss = network(x).pow(2).sum()
        loss.backward(retain_graph=True)
        first = [p.grad.clone() for p in network.parameters() if p.grad is not None]
        network.zero_grad()
        loss.backward()
    again = [p.grad for p in network.parameters() if p.grad is not None]
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
