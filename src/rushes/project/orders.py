"""A process that helps the first with what it is sent: an order, a function with what it needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rushes.backbones.adapters import is_adapter
from rushes.backbones.base import Backbone, Precision
from rushes.config.tables import BackboneSettings, TrainSettings
from rushes.project.model_loading import load_model, make_trainable
from rushes.store.latents import LatentStore
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
        match_weights(self.ranks, backbone, network)
        return backbone

    def forget(self) -> None:
        """Give the memory of the model back."""
        self._model = None

    def latents(self, name: str) -> LatentStore:
        """The latents of this name, as they are now."""
        return LatentStore(self.folder / "latents", name)


Order = Callable[[Helper], None]


def follow(folder: Path) -> None:
    """What a process that is not the first does: one order after the other, until there is none."""
    with joined() as ranks:
        helper = Helper(folder, ranks)
        while True:
            order: Order | None = ranks.send(None)
            if order is None:
                return
            order(helper)


def match_weights(ranks: Ranks, backbone: Backbone, network: NetworkOrder) -> None:
    """A run's weights from the first process into all; those of the base are read from its files by each."""
    if network.train is None:
        return
    for name, p in backbone.network.named_parameters():
        p.requires_grad_(is_adapter(name))
    ranks.match(backbone.network, frozen=not network.adapter)
    backbone.network.requires_grad_(False)
