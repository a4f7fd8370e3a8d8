"""How far a run moves the prediction that guidance leads away from, beside that under captions.

Guidance adds a multiple of the difference of the two, and comparisons train the one under captions alone. What the
prediction under the negative prompt does meanwhile shows in guided clips and in no figure of the loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace

import torch
from torch import Tensor

from rushes.backbones.base import Backbone
from rushes.training.batches import MakeBatch
from rushes.training.comparison import Comparison
from rushes.training.gradients import predictions
from rushes.training.parallel import ALONE, Ranks
from rushes.training.reference import Reference

COMPARISONS = 4  # held-out comparisons that are asked about
DRAWS = 2  # of each: eight predictions of each kind


def asked_under(negative_prompt: str | None, held_out: Sequence[Comparison]) -> list[tuple[Comparison, Comparison]]:
    """A comparison of each of a few prompts, as it is and with the negative prompt as the caption of all its views.

    None where guidance leads away from nothing, that is where there is no negative prompt (None; "" is one).
    """
    if negative_prompt is None:
        return []
    prompts = {c.group: c for c in held_out if c.views[0].caption != negative_prompt}
    return [
        (c, replace(c, views=tuple(replace(view, caption=negative_prompt) for view in c.views), captions=()))
        for c in list(prompts.values())[:COMPARISONS]
    ]


class UnconditionalProbe:
    """Predictions of policy and reference for the first view of a few comparisons, under both captions that
    `asked_under` gives.

    A frozen reference is asked once; its predictions are then kept, on the CPU.
    """

    def __init__(
        self,
        backbone: Backbone,
        reference: Reference,
        chosen: Sequence[tuple[Comparison, Comparison]],
        ranks: Ranks = ALONE,
    ) -> None:
        self.backbone, self.reference, self.ranks = backbone, reference, ranks
        self.chosen = [(both, -1 - draw) for both in chosen for draw in range(DRAWS)]
        self._frozen: dict[int, list[Tensor]] = {}

    def figures(self, make: MakeBatch) -> dict[str, float]:
        """`conditional_drift` and `unconditional_drift`: mean squared gaps between policy and reference.

        Empty where nothing is asked about, and in processes that merely help.
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
        """[C, F, H, W] of a chosen comparison under its caption, and under the negative prompt."""
        (both, visit), out = self.chosen[at], []
        for comparison in both:
            batch = make([(comparison, visit)])
            with self.reference.applied() if reference else nullcontext():
                predicted, _ = predictions(self.backbone, batch, slice(0, 1))
            out.append(predicted[0].cpu())
        return out
