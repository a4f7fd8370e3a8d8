"""Figures of a step by the expert that its comparisons went to, of a model that has two."""

from __future__ import annotations

from torch import Tensor

from rushes.objectives.diagnostics import diagnose
from rushes.objectives.losses import ViewErrors, loss
from rushes.objectives.terms import TermBatch
from rushes.training.health import EXPERT

HIGH, LOW = "high_noise", "low_noise"  # the expert that answers from the boundary up, and the one below; as in exports
FIGURES = ("loss", "accuracy", "margin", "winner_relative_error", "loser_relative_error")


def by_expert(errors: ViewErrors, terms: TermBatch, t_B: Tensor, boundary: float) -> dict[str, float]:
    """Of each expert that was asked, `expert/NAME/...`: `comparisons`, `loss`, and of each level that compares FIGURES.

    All views of a comparison share a time, so one expert answers all of them. NAME is high_noise, which answers from
    the boundary up, or low_noise, as in an export.

    Args:
        errors: of B comparisons.
        terms: of the same.
        t_B: their times.
        boundary: of `BackboneSpec`.
    """
    out: dict[str, float] = {}
    for name, asked_B in ((HIGH, t_B >= boundary), (LOW, t_B < boundary)):
        rows = asked_B.nonzero().flatten()
        if not len(rows):
            continue
        own, of = ViewErrors(errors.policy_BVF[rows], errors.reference_BVF[rows]), terms[rows]
        found = {"comparisons": float(len(rows)), "loss": float(loss(own, of))}
        found |= {key: value for key, value in diagnose(own, of).items() if key.rpartition("/")[2] in FIGURES}
        out |= {f"{EXPERT}{name}/{key}": value for key, value in found.items()}
    return out
