"""A project that is open: its store, settings and model, and what each stage took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from safetensors.torch import load_file

from rushes.backbones.adapters import add_lora
from rushes.backbones.base import Backbone
from rushes.backbones.loading import load_backbone
from rushes.config.tables import Settings, Train
from rushes.encode import open_latents
from rushes.evaluate import Meter, general_meter, world_meter
from rushes.store.database import Store
from rushes.store.latents import LatentStore
from rushes.training.comparison import LatentGrid

Bar = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
BASE = "base"
WEIGHTS = "weights.safetensors"


@contextmanager
def no_bar(name: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar that shows nothing."""
    yield lambda count: None


@dataclass
class Project:
    """A project folder, its settings, and the model; the seconds that each stage took here."""

    store: Store
    settings: Settings
    bar: Bar = no_bar
    seconds: dict[str, float] = field(default_factory=dict)

    @cached_property
    def base(self) -> Backbone:
        """The model before training, after its size was checked."""
        size = self.settings.backbone
        backbone = load_backbone(size.name, size.path)
        backbone.spec.latent_frames(size.frames)
        backbone.spec.check_size(size.height_px, size.width_px)
        if size.first_frame and "first_frame" not in backbone.spec.modes:
            raise ValueError(f"backbone {size.name!r} takes no first frame; set backbone.first_frame to false")
        return backbone

    @cached_property
    def latents(self) -> LatentStore:
        """Latents of this codec, size and preprocessing."""
        return open_latents(self.store, self.base, self.settings.backbone, self.settings.footage.fit)

    @property
    def grid(self) -> LatentGrid:
        """How clips lie in time."""
        size = self.settings.backbone
        spec = self.base.spec
        return LatentGrid(spec.latent_frames(size.frames), spec.temporal_ratio, size.fps, size.first_frame)

    @property
    def meter(self) -> Meter:
        """What evaluation measures: the world's verifier on its own clips, general metrics on all others."""
        return world_meter() if self.settings.footage.kind == "world" else general_meter()

    @contextmanager
    def timed(self, name: str, total: int) -> Iterator[Callable[[int], None]]:
        """A progress bar under `name`, and the seconds of the stage: what stands before the colon."""
        began, stage = time.perf_counter(), name.partition(":")[0]
        try:
            with self.bar(name, total) as advance:
                yield advance
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - began


def open_project(folder: Path, settings: Settings, bar: Bar = no_bar) -> Project:
    """The project in a folder, made if it is not there yet."""
    return Project(Store.create(folder), settings, bar)


def run_folder(project: Project, run: str) -> Path:
    """Where a run's weights and curves lie."""
    return project.store.project / "runs" / run


def make_trainable(backbone: Backbone, settings: Train) -> None:
    """Let all weights require gradients, or a fresh adapter alone; in place."""
    if settings.tune == "lora":
        add_lora(backbone.network, backbone.spec.lora_targets, settings.rank, settings.alpha)
    else:
        backbone.network.requires_grad_(True)


def load_run(project: Project, run: str, settings: Train) -> Backbone:
    """A fresh copy of the base with the weights of a finished run.

    Raises:
        ValueError: the run has not finished.
    """
    path = run_folder(project, run) / WEIGHTS
    if not path.is_file():
        raise ValueError(f"run {run!r} has no weights at {path}; run `rushes train` to its end first")
    backbone = load_backbone(project.settings.backbone.name, project.settings.backbone.path)
    make_trainable(backbone, settings)
    _, unexpected = backbone.network.load_state_dict(load_file(path), strict=False)
    if unexpected:
        raise ValueError(f"{path} holds weights that this backbone lacks ({unexpected[0]}); was it trained on another?")
    backbone.network.requires_grad_(False)
    return backbone
