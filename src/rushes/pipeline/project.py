"""A project that is open: its store, settings and model, and what each stage took."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from rushes.backbones.adapters import add_lora
from rushes.backbones.base import Backbone
from rushes.backbones.loading import load_backbone
from rushes.config.tables import Settings, Train
from rushes.encode import open_latents
from rushes.evaluate import Meter, general_meter, world_meter
from rushes.media.files import whole_file
from rushes.pipeline.checks import check_settings
from rushes.records import Run
from rushes.store.database import Store
from rushes.store.latents import LatentStore
from rushes.training.comparison import LatentGrid

Bar = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
BASE = "base"
WEIGHTS = "weights.safetensors"
SECONDS = "seconds.json"


@contextmanager
def no_bar(name: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar that shows nothing."""
    yield lambda count: None


@dataclass
class Project:
    """A project folder, its settings, and the model; the seconds that each stage has taken in it, all runs together."""

    store: Store
    settings: Settings
    bar: Bar = no_bar
    seconds: dict[str, float] = field(default_factory=dict)

    @cached_property
    def base(self) -> Backbone:
        """The model before training, after its size was checked.

        Raises:
            ValueError: weights that cannot be read, or a size or frame count that the model cannot take.
        """
        size = self.settings.backbone
        backbone = load_backbone(size.name, size.path)
        problems = []
        for where, check in (
            ("backbone.frames", lambda: backbone.spec.latent_frames(size.frames)),
            ("backbone.height_px, width_px", lambda: backbone.spec.check_size(size.height_px, size.width_px)),
        ):
            try:
                check()
            except ValueError as error:
                problems.append(f"{where}: {error}")
        if size.first_frame and "first_frame" not in backbone.spec.modes:
            problems.append(f"backbone.first_frame: {size.name!r} takes no first frame; set it to false")
        if problems:
            raise ValueError("\n".join(problems))
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
        """A progress bar under `name`; its seconds go to the stage, which is what stands before the colon."""
        began, stage = time.perf_counter(), name.partition(":")[0]
        try:
            with self.bar(name, total) as advance:
                yield advance
        finally:
            self.seconds[stage] = round(self.seconds.get(stage, 0.0) + time.perf_counter() - began, 3)
            # A full disk is said by the stage itself.
            with suppress(OSError), whole_file(self.store.project / SECONDS) as partial:
                partial.write_text(json.dumps(self.seconds) + "\n", encoding="utf-8")


def open_project(folder: Path, settings: Settings, bar: Bar = no_bar) -> Project:
    """The project in a folder, made if it is not there yet.

    Raises:
        ValueError: settings that no stage could work with, all of them named; a project of a newer Rushes.
    """
    check_settings(settings)
    path = folder / SECONDS
    seconds = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return Project(Store.create(folder), settings, bar, seconds)


def run_folder(project: Project, run: str) -> Path:
    """Where a run's weights and curves lie."""
    return project.store.project / "runs" / run


def find_run(project: Project, name: str) -> Run:
    """The finished run of this name; the latest, where its folder was deleted and it was trained again.

    Raises:
        ValueError: there is none.
    """
    runs = {run.name: run for run in project.store.runs()}
    if name not in runs:
        there = f"there is {', '.join(runs)}" if runs else "there is none yet"
        raise ValueError(
            f"no run {name!r} is finished in {project.store.project} ({there}); run `rushes train` to its end"
        )
    return runs[name]


def make_trainable(backbone: Backbone, settings: Train) -> None:
    """Let all weights require gradients, or a fresh adapter alone; in place."""
    if settings.tune == "lora":
        add_lora(backbone.network, backbone.spec.lora_targets, settings.rank, settings.alpha)
    else:
        backbone.network.requires_grad_(True)


def load_run(project: Project, name: str) -> Backbone:
    """A fresh copy of the base with the weights of a finished run.

    Raises:
        ValueError: no such run, another base than it started from, or weights that are not those it ended with.
    """
    run = find_run(project, name)
    path = run_folder(project, name) / WEIGHTS
    backbone = load_backbone(project.settings.backbone.name, project.settings.backbone.path)
    if backbone.fingerprint != run.base:
        raise ValueError(
            f"run {name!r} started from other weights than [backbone] names now; set backbone.name and backbone.path "
            "to what they were"
        )
    make_trainable(backbone, Settings.model_validate(run.settings).train)
    try:
        backbone.network.load_state_dict(load_file(path), strict=False)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ValueError(f"{path}: cannot be read ({error}); {_AGAIN}") from error
    if backbone.fingerprint != run.made_by:
        raise ValueError(f"{path}: not the weights that run {name!r} ended with; {_AGAIN}")
    backbone.network.requires_grad_(False)
    return backbone


_AGAIN = "run `rushes train` again, which writes them from the last checkpoint"
