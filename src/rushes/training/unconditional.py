"""How far a run moves the prediction under the empty caption, beside that under captions.

Guidance adds a multiple of the difference of the two, and comparisons train the one under captions alone. What the
unconditional prediction does meanwhile shows in guided clips and in no figure of the loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Protocol

import torch
from torch import Tensor

from rushes.backbones.base import Backbone
from rushes.training.batches import EMPTY, Batch
from rushes.training.comparison import Comparison
from rushes.training.gradients import predictions
from rushes.training.parallel import ALONE, Ranks
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

    def __init__(
        self, backbone: Backbone, reference: Reference, held_out: Sequence[Comparison], ranks: Ranks = ALONE
    ) -> None:
        self.backbone, self.reference, self.ranks = backbone, reference, ranks
        prompts = {c.group: c for c in held_out if c.views[0].caption != EMPTY}  # one comparison of each prompt
        self.chosen = [(c, -1 - draw) for c in list(prompts.values())[:COMPARISONS] for draw in range(DRAWS)]
        self._frozen: dict[int, list[Tensor]] = {}

    def figures(self, make: MakeBatch) -> dict[str, float]:
        """`conditional_drift` and `unconditional_drift`: mean squared gaps between policy and reference.

        Empty where no held-out comparison has a caption, and in processes that merely help.
        """

        def gaps(at: int) -> tuple[float, ...]:
            theirs = self._frozen.get(at) or self._predictions(make, at, reference=True)
            if self.reference.mode == "frozen":
                self._frozen[at] = theirs
            ours = self._predictions(make, at, reference=False)
            return tuple(float(((a - b) ** 2).mean()) for a, b in zip(ours, theirs, strict=True))

        squares = [pair for _, pair in self.ranks.in_rounds(range(len(self.chosen)), gaps)]
        if not squares:
            return {}
        conditional, unconditional = torch.tensor(squares).mean(0).tolist()
        return {"conditional_drift": conditional, "unconditional_drift": unconditional}

    @torch.no_grad()
    def _predictions(self, make: MakeBatch, at: int, reference: bool) -> list[Tensor]:
        """[C, F, H, W] of a chosen comparison with its caption, and without."""
        out = []
        for dropped in (0.0, 1.0):
            batch = make([self.chosen[at]], caption_dropout=dropped)
            with self.reference.applied() if reference else nullcontext():
                predicted, _ = predictions(self.backbone, batch, slice(0, 1))
            out.append(predicted[0].cpu())
        return out
