"""How far a run moves the prediction under the empty caption, beside that under captions.

Guidance adds a multiple of the difference of the two, and comparisons train the one under captions alone. What the
unconditional prediction does meanwhile shows in guided clips and in no figure of the loss.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from typing import Protocol

import torch
from torch import Tensor

from rushes.backbones.base import Backbone
from rushes.training.batches import EMPTY, Batch
from rushes.training.comparison import Comparison
from rushes.training.gradients import predictions
from rushes.training.reference import Reference

COMPARISONS, DRAWS = (
    4,
    2,
)  # held-out comparisons that are asked about, and draws of each: eight predictions of each kind


class MakeBatch(Protocol):
    """Comparisons at their visits -> their tensors, a share of the comparisons under the empty caption."""

    def __call__(self, chosen: Sequence[tuple[Comparison, int]], caption_dropout: float = 0.0) -> Batch: ...


class UnconditionalProbe:
    """Predictions of policy and reference with captions and without, of the first view of a few comparisons.

    A frozen reference is asked once; its predictions are then kept, on the processor.
    """

    def __init__(self, backbone: Backbone, reference: Reference, held_out: Sequence[Comparison]) -> None:
        self.backbone, self.reference = backbone, reference
        prompts = {c.group: c for c in held_out if c.views[0].caption != EMPTY}  # one comparison of each prompt
        self.chosen = [(c, -1 - draw) for c in list(prompts.values())[:COMPARISONS] for draw in range(DRAWS)]
        self._frozen: tuple[Tensor, ...] = ()

    def figures(self, make: MakeBatch) -> dict[str, float]:
        """`conditional_drift` and `unconditional_drift`: mean squared gaps between policy and reference.

        Empty where no held-out comparison has a caption.
        """
        if not self.chosen:
            return {}
        theirs = self._frozen or tuple(self._predictions(make, reference=True))
        if self.reference.mode == "frozen":
            self._frozen = theirs
        ours = self._predictions(make, reference=False)
        squares = torch.tensor([float(((a - b) ** 2).mean()) for a, b in zip(ours, theirs, strict=True)])
        conditional, unconditional = squares.view(-1, 2).mean(0).tolist()
        return {"conditional_drift": conditional, "unconditional_drift": unconditional}

    @torch.no_grad()
    def _predictions(self, make: MakeBatch, reference: bool) -> Iterable[Tensor]:
        """[C, F, H, W] of each chosen comparison, with its caption and without, one at a time."""
        for each in self.chosen:
            for dropped in (0.0, 1.0):
                batch = make([each], caption_dropout=dropped)
                with self.reference.applied() if reference else nullcontext():
                    predicted, _ = predictions(self.backbone, batch, slice(0, 1))
                yield predicted[0].cpu()
