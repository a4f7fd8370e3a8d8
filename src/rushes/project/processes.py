"""Stages over several processes: the first leads and has the database, and the others help with what it sends them.

What it sends is an order: a function of this package with what it needs. Helpers see the project's folder, its media,
latents and captions, and nothing else, so they may be on other machines. Parts of a work are cut as one process cuts
them, and results come back in order: what is stored is what one process stores.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rushes import encode, generate
from rushes.arrays import Frames
from rushes.backbones.adapters import is_adapter
from rushes.backbones.base import Backbone, Precision
from rushes.config.tables import BackboneSettings, FootageSettings, GenerateSettings, TrainSettings
from rushes.evaluate.stored import measure_each
from rushes.evaluate.suites import meter_of
from rushes.media.resize import FitMode
from rushes.progress import Sharing, in_turn
from rushes.project.jobs import read_captions
from rushes.project.project import (
    OpenProject,
    adapts_base,
    load_model,
    make_trainable,
    precision_of,
    train_of,
)
from rushes.records import BASE, Candidate
from rushes.store.latents import LatentKey, LatentStore
from rushes.store.media import MediaFolder
from rushes.training.parallel import Ranks, joined


@dataclass(frozen=True)
class NetworkOrder:
    """Which network a helper is to have: the base's, or a run's, whose weights the first process sends."""

    size: BackboneSettings
    dtype: Precision
    train: TrainSettings | None = None  # of the run; None = the base
    adapter: bool = False  # is all in which the run differs from the base


class Helper:
    """A process that is not the first: the project's folder, who is there, and the model that it worked with last."""

    def __init__(self, folder: Path, ranks: Ranks) -> None:
        self.folder, self.ranks = folder, ranks
        self.media = MediaFolder(folder / "media")
        self._model: tuple[NetworkOrder, Backbone] | None = None

    def model(self, network: NetworkOrder, read: Callable[[Backbone], None] | None = None) -> Backbone:
        """The model of an order; one at a time is in memory, and what has to be read is read before it."""
        if self._model is None or self._model[0] != network or read:
            self.forget()
            backbone = load_model(network.size, self.folder, network.dtype)
            if read:
                read(backbone)
            if network.train is not None:
                make_trainable(backbone, network.train)
            self._model = network, backbone
        backbone = self._model[1]
        _match(self.ranks, backbone, network)
        return backbone

    def forget(self) -> None:
        """Give the memory of the model back."""
        self._model = None

    def latents(self, name: str) -> LatentStore:
        """The latents of this name, as they are now."""
        return LatentStore(self.folder / "latents", name)


Order = Callable[[Helper], object]


def follow(folder: Path) -> None:
    """What a process that is not the first does: one order after the other, until there is none."""
    with joined() as ranks:
        helper = Helper(folder, ranks)
        while True:
            order: Order | None = ranks.send(None)
            if order is None:
                return
            order(helper)


def share_encoding(project: OpenProject) -> Sharing:
    """Who encodes batches of clips and first frames; each process writes its latents."""
    size = project.settings.backbone
    network = NetworkOrder(size, size.dtype)
    return project.ranks.sharing(partial(_encode, network, project.settings.footage.fit, project.latents.fingerprint))


def _encode(network: NetworkOrder, fit: FitMode, latents: str, helper: Helper) -> None:
    nothing: Sequence[LatentKey] = ()  # the first process sends what is to be encoded
    spread = helper.ranks.in_rounds
    backbone = helper.model(network)
    encode.encode(helper.media, helper.latents(latents), backbone, network.size, fit, nothing, spread=spread)


def share_takes(
    project: OpenProject, studio: generate.GenerationContext, wanted: Sequence[generate.Request], beside: str = ""
) -> Sharing:
    """Who makes batches of takes, once all have read the captions.

    `beside` names the run that the base is compared with, for its precision.
    """
    if project.ranks.size == 1 or not wanted:
        return in_turn
    network = _network_of(project, studio.system, beside)
    spread = project.ranks.sharing(partial(_takes, network, studio.settings, studio.latents.fingerprint, wanted))
    read_captions(studio.backbone, generate.captions_of(studio, wanted), project.ranks)
    return spread


def match_takes(
    project: OpenProject, studio: generate.GenerationContext, wanted: Sequence[generate.Request], beside: str = ""
) -> None:
    """Send the others the weights that takes are made with, once they have read what `share_takes` sent them."""
    if project.ranks.size > 1 and wanted:
        _match(project.ranks, studio.backbone, _network_of(project, studio.system, beside))


def _network_of(project: OpenProject, system: str, beside: str) -> NetworkOrder:
    size, run = project.settings.backbone, beside if system == BASE else system
    if not run:
        return NetworkOrder(size, size.dtype)
    train = train_of(project, run)
    dtype = precision_of(project, train)
    if system == BASE:
        return NetworkOrder(size, dtype)
    return NetworkOrder(size, dtype, train, adapts_base(project, train))


def _match(ranks: Ranks, backbone: Backbone, network: NetworkOrder) -> None:
    """A run's weights from the first process into all; those of the base are read from its files by each."""
    if network.train is None:
        return
    for name, p in backbone.network.named_parameters():
        p.requires_grad_(is_adapter(name))
    ranks.match(backbone.network, frozen=not network.adapter)
    backbone.network.requires_grad_(False)


def _takes(
    network: NetworkOrder,
    settings: GenerateSettings,
    latents: str,
    wanted: Sequence[generate.Request],
    helper: Helper,
) -> None:

    def studio_of(backbone: Backbone) -> generate.TakeContext:
        return generate.TakeContext(helper.latents(latents), backbone, network.size, settings)

    def read(backbone: Backbone) -> None:
        studio = studio_of(backbone)
        read_captions(backbone, generate.captions_of(studio, wanted), helper.ranks)
        generate.read(studio, wanted)

    studio = studio_of(helper.model(network, read))
    deque(generate.make_clips(studio, wanted, helper.ranks.in_rounds), maxlen=0)


def share_measuring(project: OpenProject, firsts: Mapping[str, str]) -> Sharing:
    """Who measures candidates. `firsts` has the media of first frames by candidate."""
    return project.ranks.sharing(partial(_measure, project.settings.footage, firsts), on_gpu=False)


def _measure(footage: FootageSettings, firsts: Mapping[str, str], helper: Helper) -> None:
    still = partial(still_of, helper.media, firsts)
    deque(measure_each(helper.media, (), meter_of(footage), still, helper.ranks.in_rounds), maxlen=0)


def still_of(media: MediaFolder, firsts: Mapping[str, str], candidate: Candidate) -> Frames | None:
    """The frame [H, W, 3] that a candidate was given to start from, where there is one."""
    first = firsts.get(candidate.id)
    return None if first is None else encode.read_still(media.path(first))
