"""Stages over several processes: the first leads and has the database, and the others help with what it sends them.

What it sends is an order: a function of this package with what it needs. Helpers see the project's folder, its media,
latents and captions, and nothing else, so they may be on other machines. Parts of a work are cut as one process cuts
them, and results come back in order: what is stored is what one process stores.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from rushes import encode, generate
from rushes.arrays import Frames
from rushes.backbones.adapters import is_adapter
from rushes.backbones.base import Backbone
from rushes.backbones.loading import load_model
from rushes.config.tables import FootageSettings, GenerateSettings
from rushes.evaluate.stored import measure_each
from rushes.evaluate.suites import suite_of
from rushes.media.read import read_still
from rushes.media.resize import FitMode
from rushes.progress import ParallelMap, in_turn
from rushes.project.jobs import read_captions
from rushes.project.networks import Network, make_trainable
from rushes.project.project import TEXTS, OpenProject
from rushes.records import Candidate
from rushes.store.latents import LatentKey, LatentStore
from rushes.store.media import MediaFolder
from rushes.training.parallel import Ranks, joined


class WorkerProcess:
    """A process that is not the first: the project's folder, who is there, and the model that it worked with last."""

    def __init__(self, folder: Path, ranks: Ranks) -> None:
        self.folder, self.ranks = folder, ranks
        self.media = MediaFolder(folder / "media")
        self._model: tuple[Network, Backbone] | None = None

    def model(self, network: Network, read: Callable[[Backbone], None] | None = None) -> Backbone:
        """The model of an order; one at a time is in memory, and what has to be read is read before it."""
        if self._model is None or self._model[0] != network or read:
            self.forget()
            backbone = load_model(network.size, self.folder / TEXTS, network.dtype)
            if read:
                read(backbone)
            if network.train is not None:
                make_trainable(backbone, network.train)
            self._model = network, backbone
        backbone = self._model[1]
        match_network(self.ranks, backbone, network)
        return backbone

    def forget(self) -> None:
        """Give the memory of the model back."""
        self._model = None

    def latents(self, name: str) -> LatentStore:
        """The latents of this name, as they are now."""
        return LatentStore(self.folder / "latents", name)


Order = Callable[[WorkerProcess], object]


def follow(folder: Path) -> None:
    """What a process that is not the first does: one order after the other, until there is none."""
    with joined() as ranks:
        worker = WorkerProcess(folder, ranks)
        while True:
            order: Order | None = ranks.send(None)
            if order is None:
                return
            order(worker)


def share_encoding(project: OpenProject) -> ParallelMap:
    """Who encodes batches of clips and first frames; each process writes its latents."""
    size = project.settings.backbone
    network = Network(size, size.dtype)
    return project.ranks.sharing(partial(_encode, network, project.settings.footage.fit, project.latents.fingerprint))


def _encode(network: Network, fit: FitMode, latents: str, worker: WorkerProcess) -> None:
    nothing: Sequence[LatentKey] = ()  # the first process sends what is to be encoded
    spread = worker.ranks.in_rounds
    backbone = worker.model(network)
    encode.encode(worker.media, worker.latents(latents), backbone, network.size, fit, nothing, spread=spread)


def share_takes(
    ranks: Ranks, network: Network, context: generate.GenerationContext, wanted: Sequence[generate.Request]
) -> ParallelMap:
    """Who makes batches of takes with a network, once all have read the captions."""
    if ranks.size == 1 or not wanted:
        return in_turn
    spread = ranks.sharing(partial(_takes, network, context.settings, context.latents.fingerprint, wanted))
    read_captions(context.backbone, generate.captions_of(context, wanted), ranks)
    return spread


def match_network(ranks: Ranks, backbone: Backbone, network: Network) -> None:
    """A run's weights from the first process into all; those of the base are read from its files by each.

    The first sends them once the others have read what `share_takes` sent them.
    """
    if ranks.size == 1 or not network.chain:
        return
    for name, p in backbone.network.named_parameters():
        p.requires_grad_(is_adapter(name))
    ranks.match(backbone.network, frozen=not network.adapter_alone)
    backbone.network.requires_grad_(False)


def _takes(
    network: Network,
    settings: GenerateSettings,
    latents: str,
    wanted: Sequence[generate.Request],
    worker: WorkerProcess,
) -> None:

    def context_of(backbone: Backbone) -> generate.TakeContext:
        return generate.TakeContext(worker.latents(latents), backbone, network.size, settings)

    def read(backbone: Backbone) -> None:
        context = context_of(backbone)
        read_captions(backbone, generate.captions_of(context, wanted), worker.ranks)
        generate.read(context, wanted)

    context = context_of(worker.model(network, read))
    deque(generate.make_clips(context, wanted, worker.ranks.in_rounds), maxlen=0)


def share_measuring(project: OpenProject, firsts: Mapping[str, str]) -> ParallelMap:
    """Who measures candidates. `firsts` has the media of first frames by candidate."""
    return project.ranks.sharing(partial(_measure, project.settings.footage, firsts), on_gpu=False)


def _measure(footage: FootageSettings, firsts: Mapping[str, str], worker: WorkerProcess) -> None:
    still = partial(still_of, worker.media, firsts)
    deque(measure_each(worker.media, (), suite_of(footage), still, worker.ranks.in_rounds), maxlen=0)


def still_of(media: MediaFolder, firsts: Mapping[str, str], candidate: Candidate) -> Frames | None:
    """The frame [H, W, 3] that a candidate was given to start from, where there is one."""
    first = firsts.get(candidate.id)
    return None if first is None else read_still(media.path(first))
