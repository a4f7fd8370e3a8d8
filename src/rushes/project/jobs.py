"""A run that is prepared: what each of the processes that train it needs, and how it sets itself up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from rushes.backbones.adapters import is_adapter
from rushes.backbones.base import MAIN_MEMORY, Backbone, Precision
from rushes.backbones.offload import is_offloaded
from rushes.config.tables import Settings
from rushes.generate import negative_prompt
from rushes.noise.draws import TimeDraw
from rushes.progress import Bar
from rushes.records import BASE
from rushes.store.latents import LatentStore
from rushes.training.activations import place_of
from rushes.training.batches import EMPTY, NoiseSampler, one_of_each_shape, read_views
from rushes.training.comparison import Comparison
from rushes.training.continuation import RunIdentity
from rushes.training.determinism import deterministic
from rushes.training.gradients import measured_strategy
from rushes.training.loop import TrainingData
from rushes.training.parallel import Ranks, whole
from rushes.training.reference_cache import fill, needs_reference, open_cache
from rushes.training.unconditional import asked_under


@dataclass(frozen=True)
class TrainingJob:
    """A run that is prepared: all that a process needs to train it without the project's database."""

    settings: Settings
    name: str
    base: str  # fingerprint of the weights of the base
    origin: str  # of those that training starts from
    latents: str  # of the latents
    identity: RunIdentity
    dtype: Precision  # of the network
    times: TimeDraw
    comparisons: tuple[Comparison, ...]
    held_out: tuple[Comparison, ...]


def read_texts(job: TrainingJob, folder: Path, backbone: Backbone, ranks: Ranks) -> None:
    """Have captions read, each process its share, before there is a network: what reads may be as large."""
    train = job.settings.train
    views = [view for comparison in (*job.comparisons, *job.held_out) for view in comparison.every_view()]
    if train.caption_dropout:
        views += [replace(view, caption=EMPTY) for view in views]
    away = negative_prompt(job.settings.generate, backbone.spec)  # also of samples
    views += [view for _, other in asked_under(away, job.held_out) for view in other.views]
    captions = [*(view.caption for view in views), *([] if away is None else [away])]
    read_captions(backbone, list(dict.fromkeys(captions)), ranks)
    read_views(backbone, views, LatentStore(folder / "latents", job.latents))


def set_up(
    job: TrainingJob, folder: Path, backbone: Backbone, ranks: Ranks, timed: Bar
) -> tuple[Backbone, TrainingData]:
    """Model and data of a run, the same in all processes; fills the reference cache, each process its share."""
    train, seed = job.settings.train, job.settings.project.seed
    read_texts(job, folder, backbone, ranks)  # which a model of diffusers' has read by now
    latents = LatentStore(folder / "latents", job.latents)
    sharded = train.parallel == "shard" and ranks.size > 1
    if not sharded and not is_offloaded(backbone.network):
        backbone.network.to(ranks.device)
    # Only the first process has the runs that training starts from, whose adapters may be merged into frozen weights.
    ranks.match(backbone.network, frozen=train.init_from != BASE)
    if sharded:  # from main memory, block by block
        ranks.shard(backbone.network)
    away = negative_prompt(job.settings.generate, backbone.spec)
    data = TrainingData(job.comparisons, job.held_out, latents, job.times, negative_prompt=away)
    if not train.reference_cache or not any(map(needs_reference, job.comparisons)):
        return backbone, data
    draws = NoiseSampler(seed, job.times, train.caption_dropout, train.first_frame_noise)
    cache = open_cache(
        folder / "bank",
        train.reference_cache,
        weights=job.origin + ("-mixed" if job.dtype == "mixed" else ""),  # the same weights as in float32
        latents=latents,
        backbone=backbone,
        draws=draws,
    )
    missing = ranks.send(cache.missing(job.comparisons) if ranks.first else None)  # before any process adds to it
    cache.entries.look_again()  # and without what the first found damaged
    if missing:
        backbone.network.eval()
        with place_of(backbone.network, train.activations)():
            first = one_of_each_shape(missing, latents, backbone, NoiseSampler(seed, job.times), ranks.device)
            strategy = measured_strategy(backbone, first, train.gradients, train.memory_mb)
        if sharded:
            strategy = replace(strategy, most=ranks.most, boundary=backbone.spec.boundary)
        total = len(missing) * train.reference_cache
        with timed("train: reference cache", total) as tick, deterministic(train.deterministic):

            def all_of(count: int) -> None:
                tick(count * ranks.size)

            mine = ranks.share(missing)
            fill(cache, mine, backbone, latents, draws=draws, strategy=strategy, stand_in=missing[0], tick=all_of)
        ranks.wait()
        cache.entries.look_again()
    return backbone, replace(data, reference_cache=cache)


def read_captions(backbone: Backbone, captions: Sequence[str], ranks: Ranks) -> None:
    """Have captions read: each process reads its share, and finds that of the others on the disk."""
    backbone.prepare(ranks.share(captions))
    ranks.wait()
    backbone.prepare(captions)


def whole_weights(backbone: Backbone) -> Iterator[tuple[str, Tensor]]:
    """What a run writes, by name: weights that were trained, and all adapters, of which one expert's may have been left
    as a run before made it. Sharded ones are put together; all processes must then take them all. They are in main
    memory, one after the other: together they may be more than a GPU holds.
    """
    for name, p in backbone.network.named_parameters():
        if p.requires_grad or is_adapter(name):
            yield name, whole(p.detach()).to(MAIN_MEMORY).contiguous()
