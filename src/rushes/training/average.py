"""A moving average of the trained weights: what samples are made with and what a run writes, where it is on."""

from __future__ import annotations

import torch
from torch import nn

from rushes.training.reference import Values, wide_part


class Average(Values):
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
