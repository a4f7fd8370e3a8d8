"""A fault of a run by name, and the form of the rows that it is read from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Rows = Sequence[Mapping[str, Any]]
Severity = Literal["warning", "severe"]  # it brings nothing, or it does harm


@dataclass(frozen=True)
class Diagnosis:
    """A fault by name.

    Attributes:
        name: stable, for programs.
        severity: "severe" where the model gets worse, "warning" where time is lost.
        evidence: one sentence with the figures that it rests on.
        remedy: one sentence.
        step: at which it was made.
    """

    name: str
    severity: Severity
    evidence: str
    remedy: str
    step: int
