"""Chunks of tokens give what the whole gives, and less is there at once."""

from __future__ import annotations

import copy

import pytest
import torch
from diffusers.models.attention import FeedForward
from torch import Tensor, nn

from rushes.backbones.adapters import add_lora
from rushes.backbones.feed_forward import chunk_feed_forward
from rushes.training.cost_counter import CostCounter


def both(chunk: int) -> tuple[nn.Module, nn.Module]:
    """A layer whose tokens go through at once, and its copy, in float64."""
    torch.manual_seed(0)
    plain = nn.Sequential(FeedForward(16, inner_dim=256, activation_fn="gelu-approximate")).double()
    chunked = copy.deepcopy(plain)
    chunk_feed_forward(chunked, chunk)
    return plain, chunked


@pytest.mark.parametrize("chunk", [1, 7, 30, 31])
@pytest.mark.parametrize("lora", [False, True])
def test_gradients_are_those_of_the_whole(chunk: int, lora: bool) -> None:
    plain, chunked = both(chunk)
    found: list[list[Tensor]] = []
    x_BNC = torch.randn(2, 30, 16, dtype=torch.float64)
    for layer in (plain, chunked):
        if lora:
            torch.manual_seed(1)
            add_lora(layer, ("net.0.proj", "net.2"), rank=2, alpha=2)
            for p in layer.parameters():
                if p.requires_grad:
                    p.data = torch.randn(p.shape, dtype=torch.float64)
        x = x_BNC.clone().requires_grad_()
        out = layer(x)
        out.pow(2).sum().backward()
        grads = [p.grad for p in (x, *layer.parameters()) if p.grad is not None]
        found.append([out.detach(), *grads])
    assert len(found[0]) == len(found[1]) == 6
    for one, other in zip(*found, strict=True):
        assert (one - other).norm() <= 1e-13 * one.norm()


def test_what_is_widest_is_there_in_chunks() -> None:
    peaks = []
    for layer in both(64):
        x = torch.randn(1, 1024, 16, dtype=torch.float64, requires_grad=True)
        for p in layer.parameters():
            p.requires_grad_(False)
        with CostCounter([*layer.parameters(), x]) as counter:
            layer(x).sum().backward()
        peaks.append(counter.peak)
    wide = 1024 * 256 * 8
    assert peaks[0] > 2 * wide and peaks[1] < 0.7 * wide


def test_a_network_without_such_layers_is_named() -> None:
    with pytest.raises(ValueError, match=r"backbone\.chunk_size_feed_forward: a Linear has no feed-forward layers"):
        chunk_feed_forward(nn.Linear(1, 1), 8)
