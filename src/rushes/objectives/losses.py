"""Errors and terms -> loss, as pure functions of tensors.

`ViewErrors` is all that a loss may know of networks. The loss depends on them only through these few numbers, which is
what makes view-by-view backpropagation exact (see `rushes.training.gradients`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from rushes.objectives.loss_types import smoothed
from rushes.objectives.terms import ALONE, LossType, Reduction, TermBatch, check_beta, check_smoothing, check_word


@dataclass(frozen=True)
class ViewErrors:
    """Mean squared prediction errors per view and latent frame, float32; lower fits better."""

    policy_BVF: Tensor
    reference_BVF: Tensor

    def among(self, rows: Sequence[int], shape: Sequence[int]) -> ViewErrors:
        """The same in some rows of a larger [B, V, F]; zero elsewhere."""
        if [*rows] == [*range(shape[0])] and self.policy_BVF.shape == (*shape,):
            return self
        _, views, frames = self.policy_BVF.shape
        wide = [errors.new_zeros(*shape) for errors in (self.policy_BVF, self.reference_BVF)]
        for out, errors in zip(wide, (self.policy_BVF, self.reference_BVF), strict=True):
            out[[*rows], :views, :frames] = errors
        return ViewErrors(*wide)

    @property
    def relative_BVF(self) -> Tensor:
        """Policy minus reference: negative where the policy fits better than the reference does."""
        return self.policy_BVF - self.reference_BVF


def joined(parts: Sequence[ViewErrors]) -> ViewErrors:
    """Errors of parts of one [B, V, F], each of which is zero where the others are not."""
    first, *others = parts
    for other in others:
        first = ViewErrors(first.policy_BVF + other.policy_BVF, first.reference_BVF + other.reference_BVF)
    return first


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
    _, loss_type, _ = terms.forms[k]
    if loss_type not in ALONE:
        logit, scored = term_logits(errors, terms, k)
        return smoothed(loss_type, logit, terms.smoothing_BK[:, k]), scored
    scored_BF = terms.scored_BKF[:, k]
    if loss_type == "error":
        own_BF = torch.einsum("bv,bvf->bf", terms.coefficients_BKV[:, k], errors.policy_BVF)
    else:
        own_BF = _weighted(errors, terms)[:, k]
    mean_B = torch.where(scored_BF, own_BF, 0.0).sum(-1) / scored_BF.sum(-1).clamp(min=1)
    return (mean_B if loss_type == "error" else torch.relu(mean_B)), scored_BF.any(-1)


def loss(errors: ViewErrors, terms: TermBatch, counts: Mapping[str, Tensor] | None = None) -> Tensor:
    """The comparisons' loss: per level the weighted sum of its scored losses over the level's count; levels add up.

    Args:
        errors: of the policy (with gradient) and the reference (without), on any device.
        terms: of the same comparisons; they are taken to the errors' device and precision.
        counts: what each level is divided by; default the batch's own. Give the sum over ranks or micro-batches to
            average exactly over all of them, whatever each holds.

    A batch in which nothing is scored gives a zero that is connected to the graph.

    Raises ValueError: errors of other comparisons, views or frames than the terms, or counts that lack a level.
    """
    _check_batch(errors, terms)
    terms = terms.to(errors.policy_BVF.device, errors.policy_BVF.dtype)
    counts = terms.counts() if counts is None else counts
    if lacking := [level for level in terms.levels if level not in counts]:
        raise ValueError(f"loss: counts have no level {lacking[0]!r}; sum `counts()` of all batches")
    total = errors.policy_BVF.new_zeros(())
    for k, (level, _, _) in enumerate(terms.forms):
        value, scored = term_loss(errors, terms, k)
        weight = terms.weight_BK[:, k].reshape(-1, *[1] * (value.ndim - 1))
        total = total + torch.where(scored, weight * value, 0.0).sum() / counts[level].clamp(min=1)
    return total


def _check_batch(errors: ViewErrors, terms: TermBatch) -> None:
    """Raises ValueError: shapes that torch would broadcast, or refuse in words of its own."""
    expected = (len(terms.labels_BKF), terms.coefficients_BKV.shape[-1], terms.labels_BKF.shape[-1])
    for each in (errors.policy_BVF, errors.reference_BVF):
        if each.shape != expected:
            raise ValueError(f"loss: errors must be {[*expected]}, as the terms are, got {[*each.shape]}")


def dpo_loss(
    policy_errors: Tensor,
    reference_errors: Tensor | None,
    *,
    beta: float,
    labels: Tensor | Sequence[int] | Sequence[Sequence[int]] | None = None,
    loss_type: LossType = "sigmoid",
    label_smoothing: float = 0.0,
    reduction: Reduction = "clip",
) -> Tensor:
    """Diffusion-DPO (arXiv 2311.12908, equation 14) of a winner against one loser or the mean over several.

    The logit of each loser k is -(beta / 2) label (D_0 - D_k), with D the policy's error minus the reference's; above
    zero the winner fits better. All views of a comparison should share noise and time.

    Args:
        policy_errors: mean squared errors of the prediction, [B, V] or by latent frame [B, V, F], with gradient. View 0
            is the winner, V >= 2. On any device; below float32 they are widened.
        reference_errors: the same of the frozen model; None = margins of the policy's errors alone.
        beta: strength, above 0. For means over all elements of a latent the papers take 50 to 5000.
        labels: [B] or [B, F]: +1 where view 0 wins, -1 where it loses, 0 where nothing is scored; None = all +1.
        loss_type: in trl's words, of the logit x: "sigmoid" -log sigmoid(x), "hinge" max(0, 1 - x), "ipo" (x - 1/2)^2.
        label_smoothing: probability in [0, 1/2) that a label is wrong.
        reduction: "clip" averages a clip's scored frames before the loss; "segment" has a loss for each frame
            (DenseDPO); "sum_inside" sums them before the loss.

    Returns:
        A scalar: the mean over comparisons, or with "segment" over frames, that are scored. With "sigmoid" it is ln 2
        where policy and reference agree.

    Raises ValueError: shapes that do not fit together, or an argument out of its range.
    """
    wide = torch.promote_types(policy_errors.dtype, torch.float32)
    policy_BVF = (policy_errors[..., None] if policy_errors.ndim == 2 else policy_errors).to(wide)
    _check_dpo(policy_errors, reference_errors, beta, loss_type, label_smoothing, reduction)
    B, V, F = policy_BVF.shape
    reference_BVF = (
        torch.zeros_like(policy_BVF) if reference_errors is None else reference_errors.reshape(B, V, F).to(wide)
    )
    row = policy_BVF.new_ones(B, V - 1)
    eye = torch.eye(V - 1, dtype=wide, device=row.device)
    terms = TermBatch(
        forms=(("clip", loss_type, reduction),) * (V - 1),
        coefficients_BKV=torch.cat([torch.ones_like(eye[:, :1]), -eye], 1).expand(B, V - 1, V),
        labels_BKF=_labels(labels, policy_BVF)[:, None].expand(B, V - 1, F),
        beta_BK=row * beta,
        weight_BK=row / (V - 1),
        smoothing_BK=row * label_smoothing,
        reference_BK=row * (reference_errors is not None),
    )
    return loss(ViewErrors(policy_BVF, reference_BVF), terms)


def _check_dpo(
    policy: Tensor, reference: Tensor | None, beta: float, loss_type: str, label_smoothing: float, reduction: str
) -> None:
    shape = list(policy.shape)
    if len(shape) not in (2, 3) or shape[1] < 2:
        raise ValueError(f"dpo_loss: policy_errors must be [B, V] or [B, V, F] with two views or more, got {shape}")
    if reference is not None and reference.shape != policy.shape:
        raise ValueError(
            f"dpo_loss: reference_errors {list(reference.shape)} must have the shape of policy_errors, {shape}"
        )
    for name, value, words in (
        ("loss_type", loss_type, get_args(LossType)),
        ("reduction", reduction, get_args(Reduction)),
    ):
        check_word(f"dpo_loss: {name}", value, words)
    check_beta("dpo_loss: beta", beta)
    check_smoothing("dpo_loss: label_smoothing", label_smoothing)


def _labels(labels: Tensor | Sequence[int] | Sequence[Sequence[int]] | None, errors_BVF: Tensor) -> Tensor:
    """Labels [B, F] beside the errors."""
    B, _, F = errors_BVF.shape
    if labels is None:
        return errors_BVF.new_ones(B, F)
    given = torch.as_tensor(labels)
    if given.shape not in ((B,), (B, F)):
        raise ValueError(f"dpo_loss: labels must be [{B}] or [{B}, {F}], got {list(given.shape)}")
    if not given.is_meta and not ((given == 0) | (given.abs() == 1)).all():
        raise ValueError("dpo_loss: labels must be +1 (view 0 wins), -1 (it loses) or 0 (not scored)")
    return given.to(errors_BVF).reshape(B, -1).expand(B, F)
