"""The reference: the weights that training started from, or a copy that follows the policy slowly.

One mechanism serves adapters and full fine-tuning: the reference is another set of values for the trainable weights.
For a fresh adapter these are the adapter switched off, since its second factor starts at zero. The values are float32
or finer whatever the model's dtype: in bfloat16 a blend of 0.1 % changes nothing (RealDPO's released reference never
moved).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from rushes.training.parallel import own_part

ReferenceMode = Literal["frozen", "ema", "hard"]


class WeightSnapshot:
    """Other values of the trainable weights of `network`, at first those that they have now, to be applied later.

    Each process of sharded weights has the values of its part.
    """

    def __init__(self, network: nn.Module) -> None:
        self.trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
        self.values = {name: wide_part(p).clone() for name, p in self.trained.items()}

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within it the network answers with these values, without gradients; after it, come what may, as before."""
        policy = {name: _out(p) for name, p in self.trained.items()}
        try:
            for name, p in self.trained.items():
                _put(p, self.values[name].to(p.dtype))
            with torch.no_grad():
                yield
        finally:
            for name, p in self.trained.items():
                _put(p, policy[name])

    @torch.no_grad()
    def adopt(self) -> None:
        """Make these the weights of the network, for good."""
        for name, p in self.trained.items():
            own_part(p).copy_(self.values[name])

    def load(self, values: Mapping[str, Tensor]) -> None:
        """Take over saved values."""
        for name, value in values.items():
            self.values[name].copy_(value)


class Reference(WeightSnapshot):
    """Values of the trainable weights that margins are relative to."""

    def __init__(self, network: nn.Module, mode: ReferenceMode = "frozen", ema: float = 0.999, every: int = 1) -> None:
        super().__init__(network)
        self.mode, self.ema, self.every = mode, ema, every

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Follow the policy after optimiser step number `step` (the first is 1), if it is time."""
        if self.mode == "frozen" or step % self.every:
            return
        keep = self.ema if self.mode == "ema" else 0.0
        for name, p in self.trained.items():
            self.values[name].lerp_(wide_part(p), 1 - keep)


def _out(p: nn.Parameter) -> Tensor:
    return own_part(p).clone() if isinstance(p, DTensor) else p.data


def _put(p: nn.Parameter, value: Tensor) -> None:
    """No copy, but where a weight is sharded: there the memory itself is what is gathered."""
    if isinstance(p, DTensor):
        own_part(p).copy_(value)
    else:
        p.data = value


def wide_part(p: Tensor) -> Tensor:
    """The part of a weight that lies in this process, in float32 or finer."""
    return own_part(p).to(torch.promote_types(p.dtype, torch.float32))


class EmaWeights(WeightSnapshot):
    """Float32 averages of the trainable weights of `network`, from the values that they have now.

    After update n (the first is 1) an average keeps min(decay, (1 + n) / (10 + n)) of itself, so that where training
    started does not stay in it for hundreds of steps (the warm-up of diffusers' EMAModel).
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__(network)
        self.decay = decay

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after optimiser step number `step` (the first is 1)."""
        keep = min(self.decay, (1 + step) / (10 + step))
        for name, p in self.trained.items():
            self.values[name].lerp_(wide_part(p), 1 - keep)
