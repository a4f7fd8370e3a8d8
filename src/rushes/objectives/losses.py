"""Errors and terms -> loss, as pure functions of tensors.

`ViewErrors` is all that a loss may know of networks. The loss depends on them only through these few numbers, which is
what makes view-by-view backpropagation exact (see `rushes.training.gradients`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from rushes.objectives.terms import TermBatch


@dataclass(frozen=True)
class ViewErrors:
    """Mean squared prediction errors per view and latent frame, float32; lower fits better."""

    policy_BVF: Tensor
    reference_BVF: Tensor

    @property
    def relative_BVF(self) -> Tensor:
        """Policy minus reference: negative where the policy fits better than the reference does."""
        return self.policy_BVF - self.reference_BVF


def frame_logits(errors: ViewErrors, terms: TermBatch) -> Tensor:
    """-(beta / 2) label sum_v a_v D_v per term and latent frame, [B, K, F] (Flow-DPO with one-half; DenseDPO, A)."""
    margin_BKF = torch.einsum("bkv,bvf->bkf", terms.coefficients_BKV, errors.relative_BVF)
    return -0.5 * terms.beta_BK[..., None] * terms.labels_BKF * margin_BKF


def term_logits(errors: ViewErrors, terms: TermBatch, k: int) -> tuple[Tensor, Tensor]:
    """Logits of term k and which of them are scored: [B, F] for "segment", else [B].

    An unscored logit is exactly zero and carries no gradient, whatever its errors are.
    """
    scored_BF = terms.scored_BKF[:, k]
    inside_BF = frame_logits(errors, terms)[:, k]
    inside_BF = torch.where(scored_BF, inside_BF, 0.0)
    _, _, reduction = terms.forms[k]
    if reduction == "segment":
        return inside_BF, scored_BF
    total = inside_BF.sum(-1)
    if reduction == "clip":
        total = total / scored_BF.sum(-1).clamp(min=1)
    return total, scored_BF.any(-1)


def term_loss(errors: ViewErrors, terms: TermBatch, k: int) -> tuple[Tensor, Tensor]:
    """Unreduced loss of term k and which of it is scored."""
    _, link, _ = terms.forms[k]
    if link == "error":
        scored_BF = terms.scored_BKF[:, k]
        own_BF = torch.einsum("bv,bvf->bf", terms.coefficients_BKV[:, k], errors.policy_BVF)
        own_BF = torch.where(scored_BF, own_BF, 0.0)
        return own_BF.sum(-1) / scored_BF.sum(-1).clamp(min=1), scored_BF.any(-1)
    logit, scored = term_logits(errors, terms, k)
    return -functional.logsigmoid(logit), scored


def loss(errors: ViewErrors, terms: TermBatch, counts: Mapping[str, Tensor] | None = None) -> Tensor:
    """The comparisons' loss: per level the weighted sum of its scored losses over the level's count; levels add up.

    Args:
        errors: of the policy (with gradient) and the reference (without).
        terms: of the same comparisons.
        counts: what each level is divided by; default the batch's own. Give the sum over ranks or micro-batches to
            average exactly over all of them, whatever each holds.

    A batch in which nothing is scored gives a zero that is connected to the graph.
    """
    counts = terms.counts() if counts is None else counts
    total = errors.policy_BVF.new_zeros(())
    for k, (level, _, _) in enumerate(terms.forms):
        value, scored = term_loss(errors, terms, k)
        weight = terms.weight_BK[:, k].reshape(-1, *[1] * (value.ndim - 1))
        total = total + torch.where(scored, weight * value, 0.0).sum() / counts[level].clamp(min=1)
    return total
