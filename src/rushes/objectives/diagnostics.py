"""Errors and terms -> the figures from which a run's health is read."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from rushes.objectives.losses import ViewErrors, term_logits, term_loss
from rushes.objectives.terms import TermBatch


def diagnose(errors: ViewErrors, terms: TermBatch) -> dict[str, float]:
    """What a run's health is read from, per level; empty for levels without a scored frame.

    `LEVEL/winner_relative_error` and `LEVEL/loser_relative_error` are those of the two sides (below zero = better than
    the reference), `LEVEL/accuracy` counts a tie as half, `LEVEL/gradient` is the mean factor sigmoid(-logit) on the
    gradient (one half at the start), `LEVEL/saturated` the share of logits beyond 5 in size. A supervised level has
    `LEVEL/error` alone.
    """
    out: dict[str, float] = {}
    relative_BVF = errors.relative_BVF.detach()
    for level in terms.levels:
        columns = [k for k, form in enumerate(terms.forms) if form[0] == level]
        if terms.forms[columns[0]][1] == "error":
            own = _scored([term_loss(errors, terms, k) for k in columns])
            if len(own):
                out[f"{level}/error"] = float(own.mean())
            continue
        logits = _scored([term_logits(errors, terms, k) for k in columns])
        if not len(logits):
            continue
        labels_BKF = terms.labels_BKF[:, columns] * terms.scored_BKF[:, columns]
        pull_BKVF = terms.coefficients_BKV[:, columns][..., None] * labels_BKF[:, :, None]
        for side, sign in (("winner", 1), ("loser", -1)):
            share = (sign * pull_BKVF).clamp(min=0)
            out[f"{level}/{side}_relative_error"] = float(
                (share * relative_BVF[:, None]).sum() / share.sum().clamp(min=1e-9)
            )
        out[f"{level}/loss"] = float(-functional.logsigmoid(logits).mean())
        out[f"{level}/accuracy"] = float(((logits > 0).float() + 0.5 * (logits == 0).float()).mean())
        out[f"{level}/margin"] = float(logits.mean())
        out[f"{level}/spread"] = float(logits.std(correction=0))
        out[f"{level}/gradient"] = float(torch.sigmoid(-logits).mean())
        out[f"{level}/saturated"] = float((logits.abs() > 5).float().mean())
    return out


def _scored(parts: list[tuple[Tensor, Tensor]]) -> Tensor:
    return torch.cat([value.detach()[scored] for value, scored in parts])
