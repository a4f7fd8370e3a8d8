"""Draws of the training time t, each a pure function of a generator."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, fields, replace
from typing import Literal

import torch
from torch import Tensor

from rushes.noise.paths import shifted

TimeDistribution = Literal["uniform", "logit_normal"]


def seeded(*parts: object) -> torch.Generator:
    """A generator that depends on the text of the parts alone: the same on every machine, in every order of calls."""
    digest = hashlib.sha256("\x1f".join(str(part) for part in parts).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


@dataclass(frozen=True)
class TimeDraw:
    """Distribution of t in [0, 1], one number of the generator for each draw.

    A base distribution goes through the shift t' = s t / (1 + (s - 1) t) (SD3, eq. 23) and is then truncated to the
    noise levels [low, high], by its inverse distribution function. RealDPO's code draws uniformly in the low-noise
    half: `TimeDraw("uniform", high=0.5)`.
    """

    # base distribution: `uniform` in [0, 1], or `logit_normal`, sigmoid(N(mean, std)) (SD3, section 3.1)
    kind: TimeDistribution = "logit_normal"
    low: float = 0.0  # lowest noise level that is drawn, after the shift
    high: float = 1.0  # highest noise level that is drawn, after the shift
    mean: float = 0.0  # of the logit, before the shift
    std: float = 1.0  # of the logit
    shift: float = 1.0  # s > 0; 1 = none. Sampling schedules of flow models are shifted the same way
    shifts: tuple[tuple[str, float], ...] = ()  # of clips of other shapes than the project's default, by their names

    def __repr__(self) -> str:
        """All fields, as runs and caches are named; `shifts` only where there are any, as before there were shapes."""
        shown = (each.name for each in fields(self) if each.name != "shifts" or self.shifts)
        return f"TimeDraw({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high <= 1:
            raise ValueError(f"times need 0 <= low < high <= 1, got low={self.low}, high={self.high}")
        if not (self.shift > 0 and math.isfinite(self.shift)):
            raise ValueError(f"times need a shift above 0, got {self.shift}; 1 is none")
        if not self._mass(self.low, self.high) > 0:
            raise ValueError(f"no time can be drawn from [{self.low}, {self.high}]; widen the range")

    def __call__(self, count: int, generator: torch.Generator) -> Tensor:
        """`count` times [count], float32, within [low, high] as float32 has them."""
        if self.kind == "uniform":
            drawn = self._uniform(torch.rand(count, generator=generator))
        else:
            drawn = self._logit_normal(torch.randn(count, generator=generator))
        return drawn.float().clamp(torch.tensor(self.low), torch.tensor(self.high))

    def of(self, shape: str) -> TimeDraw:
        """The draw for clips of a shape, by its name; "" = the default."""
        return replace(self, shift=dict(self.shifts).get(shape, self.shift), shifts=())

    def share(self, low: float, high: float) -> float:
        """Share of the draws that fall into [low, high], in closed form."""
        low, high = (min(max(t, self.low), self.high) for t in (low, high))
        return max(0.0, self._mass(low, high) / self._mass(self.low, self.high))

    def _uniform(self, unit: Tensor) -> Tensor:
        if self.shift == 1:
            return self.low + (self.high - self.low) * unit
        low, high = self._unshifted(self.low), self._unshifted(self.high)
        return shifted(low + (high - low) * unit.double(), self.shift)

    def _logit_normal(self, normal: Tensor) -> Tensor:
        mean = self.mean + math.log(self.shift)  # a shifted logit-normal is one whose mean is moved by log s
        if (self.low, self.high) == (0.0, 1.0):
            return torch.sigmoid(mean + self.std * normal)
        low, high = self._standard(self.low), self._standard(self.high)
        # Above the middle the distribution function is so near 1 that its last digits are lost; mirrored, it is not.
        sign = -1.0 if low > 0 else 1.0
        start, end = (_phi(z) for z in sorted((sign * low, sign * high)))
        unit = torch.special.ndtr(sign * normal.double())
        return torch.sigmoid(mean + self.std * sign * torch.special.ndtri(start + (end - start) * unit))

    def _mass(self, low: float, high: float) -> float:
        """Probability of [low, high] before truncation."""
        if self.kind == "uniform":
            return self._unshifted(high) - self._unshifted(low)
        a, b = self._standard(low), self._standard(high)
        return _phi(-a) - _phi(-b) if a > 0 else _phi(b) - _phi(a)

    def _unshifted(self, t: float) -> float:
        """The inverse of the shift: u with t = s u / (1 + (s - 1) u)."""
        return t / (self.shift - (self.shift - 1) * t)

    def _standard(self, t: float) -> float:
        """How many standard deviations the logit of a noise level lies above its mean after the shift."""
        if t in (0.0, 1.0):
            return -math.inf if t == 0.0 else math.inf
        return (math.log(t / (1 - t)) - self.mean - math.log(self.shift)) / self.std


def _phi(z: float) -> float:
    """Distribution function of the standard normal."""
    return 0.5 * math.erfc(-z / math.sqrt(2))
