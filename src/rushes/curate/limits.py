"""Thresholds: a value that lies outside of one is a reason in words, with the value and the threshold."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Values = Mapping[str, float]


@dataclass(frozen=True)
class Threshold:
    """What a value must lie within, ends included; `missing` is the reason for a clip without it, "" = it passes.

    The value is the one of this name, or what `of` makes of all values (None = it cannot).
    """

    name: str
    words: str  # what the value is, as a reason says it
    low: float = -math.inf
    high: float = math.inf
    missing: str = ""
    of: Callable[[Values], float | None] | None = None

    def value(self, values: Values) -> float | None:
        """The value of a clip that was measured so; None = it has none."""
        return self.of(values) if self.of else values.get(self.name)


def first_reason(values: Values, limits: Sequence[Threshold]) -> str:
    """Why the first limit that is not kept is not, such as "blur 0.81, at most 0.7"; "" where all are kept."""
    for limit in limits:
        value = limit.value(values)
        if value is None:
            if limit.missing:
                return limit.missing
        elif value < limit.low:
            return f"{limit.words} {value:.4g}, at least {limit.low:g}"
        elif value > limit.high:
            return f"{limit.words} {value:.4g}, at most {limit.high:g}"
    return ""
