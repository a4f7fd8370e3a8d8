"""Errors and terms -> loss, with torch alone: what every method here is made of, for any training loop.

`dpo_loss` is the short way. The long one is a `Term` for each contrast between views, `collate` for a batch of them,
and `loss` of the views' errors under them; `guarded` adds anchors, `diagnose` says how a batch stands.
"""

from rushes.objectives.diagnostics import diagnose
from rushes.objectives.losses import ViewErrors, dpo_loss, frame_logits, loss, term_logits
from rushes.objectives.safeguards import guarded
from rushes.objectives.segments import latent_labels
from rushes.objectives.terms import Term, TermBatch, collate, one_against_each
from rushes.objectives.view_by_view import backward_by_view

__all__ = [
    "Term",
    "TermBatch",
    "ViewErrors",
    "backward_by_view",
    "collate",
    "diagnose",
    "dpo_loss",
    "frame_logits",
    "guarded",
    "latent_labels",
    "loss",
    "one_against_each",
    "term_logits",
]
