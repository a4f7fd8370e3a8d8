"""Errors and terms -> loss, as pure functions of tensors.

`ViewErrors` is all that a loss may know of networks. The loss depends on them only through these few numbers, which is
what makes view-by-view backpropagation exact (see `rushes.training.gradients`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from rushes.objectives.links import smoothed
from rushes.objectives.terms import ALONE, TermBatch


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
    """-(beta / 2) label sum_v a_v D_v per term and latent frame, [B, K, F] (Flow-DPO with one-half; DenseDPO, A).

    D_v is the policy's own error in terms without a reference (as SimPO does for language, arXiv 2405.14734, and MaPO
    for images, 2406.06424; for video no evidence is known). Such a term is not ln 2 at the start.
    """
    margin_BKF = _weighted(errors, terms)
    return -0.5 * terms.beta_BK[..., None] * terms.labels_BKF * margin_BKF


def _weighted(errors: ViewErrors, terms: TermBatch) -> Tensor:
    """sum_v a_v D_v per term and latent frame, [B, K, F]."""
    reference_BKVF = terms.reference_BK[..., None, None] * errors.reference_BVF[:, None]
    # First the difference: it is far smaller than the errors, and a sum of them would round it away.
    return torch.einsum("bkv,bkvf->bkf", terms.coefficients_BKV, errors.policy_BVF[:, None] - reference_BKVF)


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
    """Unreduced loss of term k and which of it is scored.

    An "excess" is max(0, mean over scored frames of D): zero while the policy fits no worse than the reference. DPOP
    (arXiv 2402.13228) has it inside the sigmoid, where it stops acting once the margin is large; here it is a loss of
    its own. Evidence for video: none known.
    """
    _, link, _ = terms.forms[k]
    if link not in ALONE:
        logit, scored = term_logits(errors, terms, k)
        return smoothed(link, logit, terms.smoothing_BK[:, k]), scored
    scored_BF = terms.scored_BKF[:, k]
    if link == "error":
        own_BF = torch.einsum("bv,bvf->bf", terms.coefficients_BKV[:, k], errors.policy_BVF)
    else:
        own_BF = _weighted(errors, terms)[:, k]
    mean_B = torch.where(scored_BF, own_BF, 0.0).sum(-1) / scored_BF.sum(-1).clamp(min=1)
    return (mean_B if link == "error" else torch.relu(mean_B)), scored_BF.any(-1)


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
