"""Draws of the training time t, each a pure function of a generator."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor


def seeded(*parts: object) -> torch.Generator:
    """A generator that depends on the text of the parts alone: the same on every machine, in every order of calls."""
    digest = hashlib.sha256("\x1f".join(str(part) for part in parts).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


@dataclass(frozen=True)
class TimeDraw:
    """Distribution of t in (0, 1).

    `uniform` is uniform in [low, high]; `logit_normal` is sigmoid(N(mean, std)) (SD3, section 3.1), squeezed into
    [low, high]. RealDPO's code draws uniformly in the low-noise half: `TimeDraw("uniform", high=0.5)`.
    """

    kind: Literal["uniform", "logit_normal"] = "logit_normal"
    low: float = 0.0
    high: float = 1.0
    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high <= 1:
            raise ValueError(f"times need 0 <= low < high <= 1, got low={self.low}, high={self.high}")

    def __call__(self, count: int, generator: torch.Generator) -> Tensor:
        """`count` times, float32."""
        if self.kind == "uniform":
            unit = torch.rand(count, generator=generator)
        else:
            unit = torch.sigmoid(self.mean + self.std * torch.randn(count, generator=generator))
        return self.low + (self.high - self.low) * unit
