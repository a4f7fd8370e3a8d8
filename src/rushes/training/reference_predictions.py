"""What a frozen reference predicts of the held-out comparisons, asked once and used by every later probe.

Draws of held-out comparisons never change, nor does a frozen reference, so half of all passes of a probe would give
what they gave before. Predictions and not errors are kept, as the drift of the policy is measured against them. They
are in main memory as far as they are small, and beyond that beside the run, where a run that goes on finds them.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from rushes.records import stable_hash
from rushes.store.latents import LatentStore
from rushes.training.batches import Batch
from rushes.training.comparison import Comparison

IN_MEMORY = 256 * 2**20  # bytes; at 14B and 81 x 480 x 832 in bfloat16 a prediction is 4 MiB


class ReferencePredictions:
    """Predictions [C, F, H, W] by comparison, draw and view."""

    def __init__(self, folder: Path | None = None, made_from: str = "") -> None:
        """Nothing is read.

        Args:
            folder: for those that are not small; None = all are kept in memory.
            made_from: hash of all that they depend on beside the comparison, its draw and the view.
        """
        self._folder, self._name = folder, stable_hash(["held out 1", made_from])
        self._memory: dict[str, Tensor] = {}
        self._bytes = 0
        self._disk = LatentStore(folder, self._name) if folder is not None and folder.is_dir() else None

    def get(self, batch: Batch, chosen: Sequence[tuple[Comparison, int]]) -> Tensor | None:
        """[R, C, F, H, W] of the rows of a batch of comparisons at their draws; None where one is missing."""
        rows = []
        for key in _keys(batch, chosen):
            row = self._memory.get(key)
            if row is None and self._disk is not None:
                self._disk.mend([key])
                row = self._disk.get(key)
            if row is None:
                return None
            rows.append(row)
        return torch.stack(rows)

    def put(self, batch: Batch, chosen: Sequence[tuple[Comparison, int]], predicted_RCFHW: Tensor) -> None:
        """Keep them, in half the bytes where no bit is lost by that; what is not finite is asked for again."""
        if not predicted_RCFHW.isfinite().all():
            return
        half = predicted_RCFHW.bfloat16()
        exact = half if torch.equal(half.to(predicted_RCFHW.dtype), predicted_RCFHW) else predicted_RCFHW
        rows = dict(zip(_keys(batch, chosen), exact.cpu(), strict=True))
        if self._folder is None or self._bytes + exact.nbytes <= IN_MEMORY:
            self._memory |= {key: row.clone() for key, row in rows.items()}
            self._bytes += exact.nbytes
            return
        self._disk = self._disk or LatentStore(self._folder, self._name)
        self._disk.put(rows)

    def clear(self) -> None:
        """Give memory and disk back."""
        self._memory, self._disk = {}, None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def _keys(batch: Batch, chosen: Sequence[tuple[Comparison, int]]) -> list[str]:
    return [stable_hash([chosen[b][0].id, chosen[b][1], v]) for b, v in batch.place]
