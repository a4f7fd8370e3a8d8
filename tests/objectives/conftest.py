"""Batches for the losses, in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import pytest
import torch

from rushes.objectives.losses import ViewErrors
from rushes.objectives.terms import Term, TermBatch, collate

MakeBatch = Callable[[Sequence[Sequence[Term]], int], TermBatch]


class MakeErrors(Protocol):
    """Errors of `b` comparisons, `v` views and `f` latent frames."""

    def __call__(self, b: int, v: int, f: int, seed: int = 0) -> ViewErrors: ...


def batch_of(terms: Sequence[Sequence[Term]], views: int) -> TermBatch:
    """`collate`, in float64 from the start."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        made = collate(terms, views, len(terms[0][0].labels))
    finally:
        torch.set_default_dtype(before)
    return made


def errors_of(b: int, v: int, f: int, seed: int = 0) -> ViewErrors:
    """Errors near 1, the policy's with gradient; at beta 10 the logits are of size 1."""
    g = torch.Generator().manual_seed(seed)
    policy = 1 + 0.3 * torch.randn(b, v, f, generator=g, dtype=torch.float64)
    reference = 1 + 0.3 * torch.randn(b, v, f, generator=g, dtype=torch.float64)
    return ViewErrors(policy.requires_grad_(), reference)


@pytest.fixture
def make_batch() -> MakeBatch:
    return batch_of


@pytest.fixture
def make_errors() -> MakeErrors:
    return errors_of
