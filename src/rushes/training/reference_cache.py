"""The reference cache: errors of a frozen reference at M seeded draws per comparison, computed once and looked up.

With it a preference step runs the policy alone. Visit v of a comparison takes draw v mod M, time and noise as they are
drawn without a cache, so training gives the numbers that it would give with the reference computed at these draws.

An entry is named by all that it depends on: the weights, the latents, the seed and the distribution of times in the
cache's name; the comparison's id, its views and M in the entry's key. What has changed is therefore not found, and
filled again; what no longer serves stays on the disk until it is deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from rushes.backbones.base import Backbone
from rushes.records import stable_hash
from rushes.store.latents import LatentStore
from rushes.training.batches import NoiseSampler, make_batch
from rushes.training.comparison import Comparison, by_shape, hashed_view
from rushes.training.gradients import plain_errors
from rushes.training.memory import GradientStrategy

AT_ONCE = 16  # comparisons that are computed together and stored in one file


@dataclass(frozen=True)
class ReferenceCache:
    """Errors of the reference by comparison.

    Attributes:
        entries: `[M, V, F, 1]` by key.
        draws: M.
    """

    entries: LatentStore
    draws: int

    def missing(self, comparisons: Sequence[Comparison]) -> list[Comparison]:
        """Comparisons that need the reference and whose errors are not there, or damaged, which are deleted."""
        keys = {c.id: self._key(c) for c in comparisons if needs_reference(c)}
        self.entries.mend(keys.values())
        return [c for c in comparisons if c.id in keys and keys[c.id] not in self.entries]

    def errors(self, chosen: Sequence[tuple[Comparison, int]], views: int) -> Tensor:
        """Errors [B, V, F] of comparisons at draws; views that a comparison lacks are zero."""
        entries = [self._entry(comparison)[draw, :, :, 0] for comparison, draw in chosen]
        out = entries[0].new_zeros(len(entries), views, entries[0].shape[-1])
        for b, errors_VF in enumerate(entries):
            out[b, : len(errors_VF)] = errors_VF
        return out

    def _entry(self, comparison: Comparison) -> Tensor:
        entry = self.entries.get(self._key(comparison))
        if entry is None:
            raise ValueError(
                f"the reference cache lacks comparison {comparison.id}; run `rushes cache reference`, which adds it"
            )
        return entry

    def _key(self, comparison: Comparison) -> str:
        views = [{k: v for k, v in hashed_view(asdict(view)).items() if k != "source"} for view in comparison.views]
        several = [comparison.captions] if comparison.captions else []
        return stable_hash([comparison.id, views, self.draws, *several])


def needs_reference(comparison: Comparison) -> bool:
    """Whether any term of it compares with the reference."""
    return any(term.reference and term.loss_type != "error" for term in comparison.terms)


def open_cache(
    folder: Path, count: int, *, weights: str, latents: LatentStore, backbone: Backbone, draws: NoiseSampler
) -> ReferenceCache:
    """The cache of one reference in `folder`.

    Args:
        folder: of all caches of a project.
        count: M, at least 1.
        weights: fingerprint of the reference's weights.
        latents: what the comparisons' views name.
        backbone: whose network will be run; its noise path and dtype count.
        draws: of times, noise and captions.
    """
    assert count >= 1, count
    dtype = next(backbone.network.parameters()).dtype
    # Caches without either keep their names.
    more = [value for value in (draws.caption_dropout, list(draws.first_frame_noise)) if value]
    name = stable_hash(
        ["bank 1", weights, latents.fingerprint, repr(backbone.spec), str(dtype), draws.seed, repr(draws.times), *more]
    )
    return ReferenceCache(LatentStore(folder, name), count)


def fill(
    cache: ReferenceCache,
    missing: Sequence[Comparison],
    backbone: Backbone,
    latents: LatentStore,
    *,
    draws: NoiseSampler,
    strategy: GradientStrategy,
    stand_in: Comparison | None = None,
    tick: Callable[[int], None] = lambda count: None,
) -> None:
    """Compute what is missing, with the network as it is now; each part is on the disk before the next is begun.

    To be called with the weights that the cache is named after: before training. `tick` is given numbers of draws.
    Where weights are sharded, all processes call it together: one that has no more to compute goes along with
    `stand_in`.
    """
    device = next(backbone.network.parameters()).device
    chunks = [[missing[at] for at in places] for places in by_shape(missing, AT_ONCE)]
    for at in range(strategy.most(len(chunks)) if strategy.most else len(chunks)):
        part = chunks[at] if at < len(chunks) else []
        errors = []
        for draw in range(cache.draws):
            chosen = [(comparison, draw) for comparison in part or ([stand_in] if stand_in else [])]
            batch = make_batch(chosen, latents, backbone, draws).to(device)
            errors.append(plain_errors(backbone, batch if part else batch.idle(), strategy))
            tick(len(part))
        if not part:
            continue
        errors_BMVF = torch.stack(errors, 1)
        cache.entries.put({cache._key(c): errors_BMVF[b, :, : len(c.views), :, None] for b, c in enumerate(part)})
