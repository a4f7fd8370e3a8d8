"""Errors and terms -> the figures from which a run's health is read."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rushes.objectives.loss_types import smoothed
from rushes.objectives.losses import ViewErrors, term_logits, term_loss
from rushes.objectives.terms import ALONE, TermBatch

SATURATED = 5.0  # size of a logit from which the sigmoid link passes on less than one hundredth of a gradient


@dataclass(frozen=True)
class Decisions:
    """The scored logits of one level, and what each is about; a logit above zero is a pair classified correctly."""

    logits_N: Tensor
    comparison_N: Tensor
    term_N: Tensor
    label_N: Tensor  # +1 where the coefficients say who wins, -1 where it is the other way round


def decisions(errors: ViewErrors, terms: TermBatch, level: str) -> Decisions:
    """Logits of a level that compares: one per labelled frame for "segment", else one per comparison and term."""
    parts = []
    for k in _columns(terms, level):
        logits, scored = term_logits(errors, terms, k)
        label = terms.labels_BKF[:, k] if logits.ndim == 2 else terms.labels_BKF[:, k].sum(-1).sign()
        parts.append((logits[scored], scored.nonzero()[:, 0], torch.full_like(logits, k)[scored], label[scored]))
    logits_N, comparison_N, term_N, label_N = (torch.cat(part).detach() for part in zip(*parts, strict=True))
    return Decisions(logits_N, comparison_N, term_N.long(), label_N)


def side_errors(errors: ViewErrors, terms: TermBatch, level: str, sign: int) -> tuple[Tensor, Tensor]:
    """Relative errors of the winning (sign +1) or losing (-1) side: sum and weight per comparison, both [B].

    The sum over the weight is the mean of the policy's error minus the reference's over the frames that are scored.
    """
    columns = _columns(terms, level)
    labels_BKF = terms.labels_BKF[:, columns] * terms.scored_BKF[:, columns]
    share = (sign * terms.coefficients_BKV[:, columns][..., None] * labels_BKF[:, :, None]).clamp(min=0)
    total_B = (share * errors.relative_BVF.detach()[:, None]).sum((1, 2, 3))
    return total_B, share.sum((1, 2, 3))


def comparing(terms: TermBatch) -> list[str]:
    """The levels whose terms compare views."""
    return [level for level in terms.levels if _loss_type(terms, level) not in ALONE]


def diagnose(errors: ViewErrors, terms: TermBatch) -> dict[str, float]:
    """What a run's health is read from, per level; empty for levels without a scored frame.

    `LEVEL/winner_relative_error` and `LEVEL/loser_relative_error` are those of the two sides (below zero = better than
    the reference), `LEVEL/accuracy` counts a tie as half, `LEVEL/gradient` is the mean DPO gradient weight, minus
    the link's slope (for the sigmoid one sigmoid(-logit), one half at the start), `LEVEL/saturated` the share of
    logits beyond `SATURATED` in size. A level whose terms do not compare has `LEVEL/error` or `LEVEL/excess` alone.
    """
    terms = terms.to(errors.policy_BVF.device, errors.policy_BVF.dtype)
    out: dict[str, float] = {}
    for level in terms.levels:
        loss_type = _loss_type(terms, level)
        if loss_type in ALONE:
            own = [term_loss(errors, terms, k) for k in _columns(terms, level)]
            own_N = torch.cat([value.detach()[scored] for value, scored in own])
            if len(own_N):
                out[f"{level}/{loss_type}"] = float(own_N.mean())
            continue
        decided = decisions(errors, terms, level)
        if len(decided.logits_N):
            out |= {
                f"{level}/{name}": value for name, value in _of_level(decided, errors, terms, level, loss_type).items()
            }
    return out


def _of_level(decided: Decisions, errors: ViewErrors, terms: TermBatch, level: str, loss_type: str) -> dict[str, float]:
    logits = decided.logits_N
    smoothing = terms.smoothing_BK[decided.comparison_N, decided.term_N]
    with torch.enable_grad():
        at = logits.clone().requires_grad_()
        losses = smoothed(loss_type, at, smoothing)
        (slope,) = torch.autograd.grad(losses.sum(), at)
    out = {}
    for side, sign in (("winner", 1), ("loser", -1)):
        total, weight = side_errors(errors, terms, level, sign)
        out[f"{side}_relative_error"] = float(total.sum() / weight.sum().clamp(min=1e-9))
    return out | {
        "loss": float(losses.detach().mean()),
        "accuracy": float(((logits > 0).float() + 0.5 * (logits == 0).float()).mean()),
        "margin": float(logits.mean()),
        "spread": float(logits.std(correction=0)),
        "gradient": float(-slope.mean()),
        "saturated": float((logits.abs() > SATURATED).float().mean()),
        "beta": float(terms.beta_BK[decided.comparison_N, decided.term_N].mean()),
    }


def _columns(terms: TermBatch, level: str) -> list[int]:
    return [k for k, form in enumerate(terms.forms) if form[0] == level]


def _loss_type(terms: TermBatch, level: str) -> str:
    return next(loss_type for name, loss_type, _ in terms.forms if name == level)
