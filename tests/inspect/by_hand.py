"""Operations of a network by hand, from the shapes that its layers and its attention meet; without the meter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

import pytest
import torch
from torch import Tensor, nn


@dataclass
class Count:
    """Operations of forward passes, and of the backward pass that follows what was first gone through."""

    forward: float = 0.0
    backward: float = 0.0
    going_back: bool = False  # set by whoever starts the backward pass: what runs again is a forward pass then

    def add(self, operations: float, out: Tensor, backward: float) -> None:
        """Count a forward pass now and a backward pass when a gradient comes to what it gave, which it may never."""
        self.forward += operations
        if out.requires_grad and not self.going_back:
            out.register_hook(lambda gradient: self._back(backward))

    def _back(self, operations: float) -> None:
        self.backward += operations


@contextmanager
def by_hand(network: nn.Module, patch: pytest.MonkeyPatch) -> Iterator[Count]:
    """Count while it is entered."""
    count = Count()

    def after(layer: Any, inputs: tuple[Tensor, ...], named: dict[str, Tensor], out: Tensor) -> None:
        given = [*inputs, *named.values()][0]
        if isinstance(layer, nn.Linear):
            operations = 2.0 * out.numel() * layer.in_features
        else:  # a convolution
            operations = 2.0 * out.numel() * prod(layer.weight.shape[1:])
        sides = int(given.requires_grad) + int(layer.weight.requires_grad)
        count.add(operations, out, operations * sides)

    real = torch.nn.functional.scaled_dot_product_attention

    def attention(query: Tensor, key: Tensor, value: Tensor, *more: Any, **named: Any) -> Tensor:
        scores = 2.0 * prod(query.shape[:-1]) * key.shape[-2] * query.shape[-1]
        out: Tensor = real(query, key, value, *more, **named)
        count.add(2 * scores, out, 5 * scores)  # backward: the scores again, and two products for each of the two
        return out

    patch.setattr(torch.nn.functional, "scaled_dot_product_attention", attention)
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    layers = [layer for layer in network.modules() if isinstance(layer, kinds)]
    hooks = [layer.register_forward_hook(after, with_kwargs=True) for layer in layers]
    try:
        yield count
    finally:
        for hook in hooks:
            hook.remove()
        patch.undo()
