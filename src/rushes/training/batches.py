"""Comparisons -> tensors, in an order and with draws that depend on the seed and the step alone.

Nothing here has state: a resumed run asks for step s and gets what the first one would have got.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rushes.backbones.base import Backbone, Condition
from rushes.noise.draws import TimeDraw, seeded
from rushes.objectives.terms import TermBatch, collate
from rushes.store.latents import LatentStore, first_frame_key
from rushes.training.comparison import Comparison


@dataclass(frozen=True)
class Batch:
    """Views of several comparisons as rows, comparison by comparison; R rows in all.

    All views of a comparison share its time and its noise.
    """

    clean_RCFHW: Tensor
    noise_RCFHW: Tensor
    t_RF: Tensor  # 0 where the frame is given
    condition: Condition
    place: tuple[tuple[int, int], ...]  # row -> (comparison b, view v)
    terms: TermBatch

    @property
    def views(self) -> int:
        """V of the widest comparison."""
        return self.terms.coefficients_BKV.shape[-1]

    def scatter(self, errors_RF: Tensor, rows: slice = slice(None)) -> Tensor:
        """Errors of rows -> [B, V, F]; views that a comparison lacks are zero."""
        b, v = torch.tensor(self.place[rows]).T
        shape = (len(self.terms.coefficients_BKV), self.views, errors_RF.shape[-1])
        return errors_RF.new_zeros(shape).index_put((b, v), errors_RF)


def schedule(count: int, batch: int, step: int, seed: int) -> list[tuple[int, int]]:
    """(index, visit) of the comparisons of a step: every comparison once a round, each round in its own order."""
    positions = range(step * batch, (step + 1) * batch)
    visits = range(positions[0] // count, positions[-1] // count + 1)
    orders = {visit: torch.randperm(count, generator=seeded(seed, "order", visit)) for visit in visits}
    return [(int(orders[position // count][position % count]), position // count) for position in positions]


def draw(shape: Sequence[int], comparison: Comparison, visit: int, seed: int, times: TimeDraw) -> tuple[Tensor, Tensor]:
    """Time [1] and noise of a comparison's visit."""
    generator = seeded(seed, comparison.id, visit)
    return times(1, generator), torch.randn(*shape, generator=generator)


def make_batch(
    chosen: Sequence[tuple[Comparison, int]], latents: LatentStore, backbone: Backbone, seed: int, times: TimeDraw
) -> Batch:
    """Tensors of some comparisons at their visits.

    Raises:
        ValueError: a latent is missing.
    """
    clean, noise, t, place, firsts, captions = [], [], [], [], [], []
    for b, (comparison, visit) in enumerate(chosen):
        shared: tuple[Tensor, Tensor] | None = None
        for v, view in enumerate(comparison.views):
            latent = _latent(latents, view.media)
            shared = shared or draw(latent.shape, comparison, visit, seed, times)
            time = shared[0].expand(latent.shape[1]).clone()
            if view.first_frame:
                first = _latent(latents, first_frame_key(view.first_frame))
                latent = torch.cat([first, latent[:, 1:]], 1)
                time[0] = 0.0
                firsts.append(first[:, 0])
            clean.append(latent)
            noise.append(shared[1])
            t.append(time)
            place.append((b, v))
            captions.append(view.caption)
    assert len(firsts) in (0, len(clean)), "either all views of a batch are given a first frame or none is"
    views = max(len(comparison.views) for comparison, _ in chosen)
    return Batch(
        torch.stack(clean),
        torch.stack(noise),
        torch.stack(t),
        backbone.condition(captions, torch.stack(firsts) if firsts else None),
        tuple(place),
        collate([comparison.terms for comparison, _ in chosen], views, clean[0].shape[1]),
    )


def _latent(latents: LatentStore, key: str) -> Tensor:
    latent = latents.get(key)
    if latent is None:
        raise ValueError(
            f"no latent for {key[:12]} in {latents.folder}; run `rushes train`, which encodes what is missing"
        )
    return latent.float()
