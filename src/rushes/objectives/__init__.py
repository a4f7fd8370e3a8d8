"""Errors and terms -> loss, with torch alone: what every method here is made of, for any training loop.

`dpo_loss` is the short way. The long one is a `Term` for each contrast between views, `collate` for a batch of them,
and `loss` of the views' errors under them; `guarded` adds losses that hold the winner, `diagnose` has the
figures of a batch.
"""

from rushes.objectives.diagnostics import diagnose as diagnose
from rushes.objectives.losses import ViewErrors as ViewErrors
from rushes.objectives.losses import dpo_loss as dpo_loss
from rushes.objectives.losses import frame_logits as frame_logits
from rushes.objectives.losses import loss as loss
from rushes.objectives.losses import term_logits as term_logits
from rushes.objectives.safeguards import guarded as guarded
from rushes.objectives.segments import latent_labels as latent_labels
from rushes.objectives.terms import Term as Term
from rushes.objectives.terms import TermBatch as TermBatch
from rushes.objectives.terms import collate as collate
from rushes.objectives.terms import one_against_each as one_against_each
from rushes.objectives.view_by_view import backward_by_view as backward_by_view
