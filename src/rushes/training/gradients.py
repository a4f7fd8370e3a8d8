"""From a batch to gradients: one graph for all views, or one view's activations at a time with the same gradient.

The loss depends on the network only through the errors e[v, f], so its gradient is the sum over views of c[v, f] times
the gradient of e[v, f], with c = dL/de. Three ways to get it, equal up to rounding:

- joint: one graph over all views.
- stash: view by view. A view whose c depends on errors not yet known is backpropagated along the direction of its
  frames, its gradient is kept, and added times one number once that is known. No extra pass; one stash of the size of
  the trainable weights per waiting view. With the winner first, a pair or N losers have one.
- two_pass: view by view. A view whose c is not yet known runs without a graph, and again with one when it is.

`stash` falls back to a second pass for views whose frames may get different signs (labels per segment).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor

from rushes.backbones.base import Backbone
from rushes.noise.paths import NoisePath
from rushes.objectives.losses import ViewErrors, loss
from rushes.objectives.terms import TermBatch
from rushes.training.batches import Batch

Mode = Literal["auto", "joint", "stash", "two_pass"]
# Latent positions in a step up to which one graph is taken: a few hundred MB on the tiny backbone.
JOINT_POSITIONS = 32_768


def row_errors(backbone: Backbone, batch: Batch, rows: slice = slice(None)) -> Tensor:
    """Mean squared error [R, F] of the prediction over C, H and W, in float32 or finer whatever the model's dtype."""
    path: NoisePath = backbone.spec.path
    clean, noise, t = batch.clean_RCFHW[rows], batch.noise_RCFHW[rows], batch.t_RF[rows]
    prediction = backbone.predict(path.mix(clean, noise, t), t, batch.condition[rows])
    wide = torch.promote_types(prediction.dtype, torch.float32)
    return ((prediction.to(wide) - path.target(clean, noise, t).to(wide)) ** 2).mean(dim=(1, 3, 4))


@torch.no_grad()
def plain_errors(backbone: Backbone, batch: Batch, mode: Mode = "auto") -> Tensor:
    """Errors [B, V, F] without a graph, by the same forwards as `backward` takes: equal weights give equal bits."""
    if choose(mode, batch) == "joint":
        return batch.scatter(row_errors(backbone, batch))
    each = [row_errors(backbone, batch, slice(row, row + 1)) for row in range(len(batch.place))]
    return batch.scatter(torch.cat(each))


def choose(mode: Mode, batch: Batch) -> Mode:
    """What "auto" means for a batch: one graph while that is small, else view by view."""
    if mode != "auto":
        return mode
    rows, _, f, h, w = batch.clean_RCFHW.shape
    if rows * f * h * w <= JOINT_POSITIONS:
        return "joint"
    by_segment = any(reduction == "segment" for _, _, reduction in batch.terms.forms)
    return "two_pass" if by_segment else "stash"


def backward(
    backbone: Backbone,
    batch: Batch,
    reference_BVF: Tensor,
    mode: Mode = "auto",
    counts: Mapping[str, Tensor] | None = None,
) -> tuple[Tensor, ViewErrors]:
    """Add the gradient of the batch's loss to the trainable weights.

    Args:
        backbone: the policy.
        batch: views and terms.
        reference_BVF: errors of the reference; zeros where no term asks for them.
        mode: how; see the module.
        counts: see `rushes.objectives.losses.loss`.

    Returns:
        The loss and the errors, detached.
    """
    counts = batch.terms.counts() if counts is None else counts
    if choose(mode, batch) == "joint":
        errors = ViewErrors(batch.scatter(row_errors(backbone, batch)), reference_BVF)
        value = loss(errors, batch.terms, counts)
        torch.autograd.backward(value)
        return value.detach(), ViewErrors(errors.policy_BVF.detach(), reference_BVF)
    return _ViewByView(backbone, batch, reference_BVF, counts, stash=choose(mode, batch) == "stash").run()


class _ViewByView:
    """One comparison after the other, one view after the other."""

    def __init__(
        self, backbone: Backbone, batch: Batch, reference_BVF: Tensor, counts: Mapping[str, Tensor], stash: bool
    ) -> None:
        self.backbone, self.batch, self.counts, self.stash = backbone, batch, counts, stash
        self.reference_BVF = reference_BVF
        self.policy_BVF = torch.zeros_like(reference_BVF)
        self.trained = [p for p in backbone.network.parameters() if p.requires_grad]

    def run(self) -> tuple[Tensor, ViewErrors]:
        for b in range(len(self.reference_BVF)):
            self._comparison(b, [r for r, place in enumerate(self.batch.place) if place[0] == b])
        errors = ViewErrors(self.policy_BVF, self.reference_BVF)
        return loss(errors, self.batch.terms, self.counts), errors

    def _comparison(self, b: int, rows: list[int]) -> None:
        terms = self.batch.terms[b : b + 1]
        partners = _partners(terms)
        seen: set[int] = set()
        waiting: list[tuple[int, Callable[[Tensor], None]]] = []
        for row in rows:
            v = self.batch.place[row][1]
            seen.add(v)
            if partners[v] <= seen:
                errors_F = self._errors(b, v, row)
                torch.autograd.backward(errors_F, self._coefficients(b)[v])
                continue
            direction_F = _direction(terms, v) if self.stash else None
            finish = self._later(b, v, row) if direction_F is None else self._stash(b, v, row, direction_F)
            waiting.append((v, finish))
        for v, finish in waiting:
            finish(self._coefficients(b)[v])

    def _errors(self, b: int, v: int, row: int) -> Tensor:
        errors_F = row_errors(self.backbone, self.batch, slice(row, row + 1))[0]
        self.policy_BVF[b, v] = errors_F.detach()
        return errors_F

    def _coefficients(self, b: int) -> Tensor:
        """dL/de of comparison b at the errors known so far, [V, F]."""
        policy = self.policy_BVF[b : b + 1].clone().requires_grad_()
        value = loss(ViewErrors(policy, self.reference_BVF[b : b + 1]), self.batch.terms[b : b + 1], self.counts)
        (gradient,) = torch.autograd.grad(value, policy)
        return gradient[0]

    def _stash(self, b: int, v: int, row: int, direction_F: Tensor) -> Callable[[Tensor], None]:
        along = (self._errors(b, v, row) * direction_F).sum()
        kept = torch.autograd.grad(along, self.trained, allow_unused=True)

        def finish(coefficients_F: Tensor) -> None:
            scale = (coefficients_F * direction_F).sum() / (direction_F**2).sum()
            for p, g in zip(self.trained, kept, strict=True):
                if g is not None:
                    p.grad = g * scale if p.grad is None else p.grad.add_(g * scale)

        return finish

    def _later(self, b: int, v: int, row: int) -> Callable[[Tensor], None]:
        with torch.no_grad():
            self._errors(b, v, row)

        def finish(coefficients_F: Tensor) -> None:
            errors_F = row_errors(self.backbone, self.batch, slice(row, row + 1))[0]
            torch.autograd.backward(errors_F, coefficients_F)

        return finish


def _partners(terms: TermBatch) -> list[set[int]]:
    """For each view the views that share a term with it, itself included; of a batch of one comparison."""
    together = [set(row.nonzero().flatten().tolist()) for row in terms.coefficients_BKV[0]]
    return [set().union({v}, *(t for t in together if v in t)) for v in range(terms.coefficients_BKV.shape[-1])]


def _direction(terms: TermBatch, v: int) -> Tensor | None:
    """The frames through which view v enters, if it enters every term through one and the same number; else None."""
    columns = terms.coefficients_BKV[0, :, v].nonzero().flatten().tolist()
    if any(terms.forms[k][2] == "segment" for k in columns):
        return None
    labels_KF = terms.labels_BKF[0, columns]
    unsigned = torch.tensor([terms.forms[k][1] == "error" for k in columns])  # an own error has no other way round
    labels_KF = torch.where(unsigned[:, None], labels_KF.abs(), labels_KF)
    labels_KF = labels_KF[labels_KF.abs().sum(-1) > 0]
    if not len(labels_KF):
        return torch.ones(terms.labels_BKF.shape[-1])
    first = labels_KF[0]
    same = all(torch.equal(row, first) or torch.equal(row, -first) for row in labels_KF)
    return first if same else None
