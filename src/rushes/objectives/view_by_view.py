"""Gradients with the memory of one view, for any network: the loss depends on it through a few errors only.

The gradient of the loss is the sum over views of dL/de_v times the gradient of e_v, so each view can be backpropagated
alone once dL/de is known (as GradCache does for contrastive losses, arXiv 2101.06983). `rushes.training.gradients` does
the same for the models of this package, and spares passes where terms allow it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def backward_by_view(
    view_errors: Callable[[int], Tensor], views: int, loss_of: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """Add the gradient of `loss_of(errors)` to the weights, with the activations of one view at a time.

    Every view but the last goes through the network twice, first without a graph.

    Args:
        view_errors: view -> its errors [B, F] or [B]. The same each time it is called: noise and times are drawn
            beforehand, and dropout is off.
        views: V.
        loss_of: errors [B, V, F] or [B, V] -> the loss, such as `dpo_loss` with the reference's errors.

    Returns:
        The loss and the errors, detached.

    Raises ValueError: a view whose errors differ in its second pass.
    """
    with torch.no_grad():
        first = [view_errors(v) for v in range(views - 1)]
    last = view_errors(views - 1)
    errors = torch.stack([*first, last.detach()], 1).requires_grad_()
    value = loss_of(errors)
    (gradient,) = torch.autograd.grad(value, errors)
    last.backward(gradient[:, -1])
    del last  # with its graph, before the next one grows
    for v, before in enumerate(first):
        again = view_errors(v)
        if not torch.allclose(again.detach(), before, rtol=1e-2):
            raise ValueError(
                f"backward_by_view: the errors of view {v} differ in its second pass; draw noise and times before the "
                "call, and turn dropout off"
            )
        again.backward(gradient[:, v])
    return value.detach(), errors.detach()
