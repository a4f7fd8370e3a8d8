"""Losers' gradients kept apart, and scaled so that no step makes the winners worse to first order.

Let W be the gradient of all that a step pulls down and L that of all it pushes up, so that the loss has the gradient
W + L. A step against W + s L changes the weighted error of the winners by -<W, W + s L> times the rate. Diffusion-SDPO
(arXiv 2511.03317) asks that this be at most -share |W|^2, which holds for

    s = min(1, (1 - share) |W|^2 / -<W, L>)   where <W, L> < 0, else 1.

The paper's code takes inner products of the two errors' gradients by the network's *outputs* for those by its weights;
here they are those by the weights, over the whole step, so the bound is exact for a step of plain gradient descent. An
optimiser that rescales each weight, as AdamW does, turns the step, and the bound then holds about, not exactly.

Evidence for video: none known for this rule (images: Stable Diffusion 1.5 and XL). PG-DPO (arXiv 2511.19049) reports
gains on video from scaling the rejected side down by another rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor


class LoserGradients:
    """A second set of gradients of the weights in `trained`, as large as the first."""

    def __init__(self, trained: Sequence[Tensor]) -> None:
        self.trained = trained
        self.grads: list[Tensor | None] = [None] * len(trained)

    @contextmanager
    def filling(self) -> Iterator[None]:
        """Within it gradients are added here instead of to the weights' own."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for i, p in enumerate(self.trained):
            p.grad, self.grads[i] = self.grads[i], p.grad

    @torch.no_grad()
    def add(self, share: float) -> float:
        """Add these gradients to the weights' own, scaled by s; returns s.

        Over several ranks, sum both sets over the ranks before. `share`, in [0, 1], is what must be left of the
        winners' own descent; the published run has 0.9.
        """
        both = [(p.grad, g) for p, g in zip(self.trained, self.grads, strict=True) if g is not None]
        along = -sum(float((w * g).sum(dtype=torch.float64)) for w, g in both if w is not None)
        own = sum(float((p.grad**2).sum(dtype=torch.float64)) for p in self.trained if p.grad is not None)
        scale = min(1.0, (1 - share) * own / along) if along > 0 else 1.0
        for p, g in zip(self.trained, self.grads, strict=True):
            if g is not None:
                p.grad = scale * g if p.grad is None else p.grad.add_(g, alpha=scale)
        return scale
