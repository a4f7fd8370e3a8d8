"""A project that is open: its store, settings and model, and what each stage took."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from rushes.backbones.adapters import add_lora, merge_lora
from rushes.backbones.base import Backbone, How
from rushes.backbones.loading import load_backbone
from rushes.backbones.offload import check_not_offloaded
from rushes.config.tables import Backbone as Size
from rushes.config.tables import Settings, Train
from rushes.encode import open_latents
from rushes.evaluate.meters import Meter, general_meter, world_meter
from rushes.media.files import whole_file
from rushes.pipeline.checks import check_settings, unknown
from rushes.pipeline.defaults import in_words, left_out, model_of, with_model_defaults
from rushes.records import Run
from rushes.store.database import Store
from rushes.store.latents import LatentStore
from rushes.training.comparison import LatentGrid

Bar = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
BASE = "base"
WEIGHTS = "weights.safetensors"
TEXTS = "texts"
SECONDS = "seconds.json"


@contextmanager
def no_bar(name: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar that shows nothing."""
    yield lambda count: None


def load_model(size: Size, project: Path | None = None) -> Backbone:
    """A fresh copy of the model that the `[backbone]` settings name.

    Args:
        size: those settings.
        project: folder of the project in which what captions are read as is kept; None = nowhere.

    Raises:
        ValueError: no such backbone, or weights that it cannot read.
    """
    texts = project / TEXTS if project else None
    how = How(size.dtype, size.checkpointing, size.tiling, size.fps, size.quantize, size.offload, texts)
    return load_backbone(size.name, size.path, how)


@dataclass
class Project:
    """A project folder, its settings, and the model; the seconds that each stage has taken in it, all runs together."""

    store: Store
    settings: Settings
    bar: Bar = no_bar
    seconds: dict[str, float] = field(default_factory=dict)
    say: Callable[[str], None] = lambda line: None  # what a user should read while a stage runs

    @cached_property
    def base(self) -> Backbone:
        """The model before training, after its size was checked.

        Raises:
            ValueError: weights that cannot be read, or a size or frame count that the model cannot take.
        """
        size = self.settings.backbone
        backbone = load_model(size, self.store.project)
        problems = []
        for where, check in (
            ("backbone.frames", lambda: backbone.spec.latent_frames(size.frames)),
            ("backbone.height_px, width_px", lambda: backbone.spec.check_size(size.height_px, size.width_px)),
        ):
            try:
                check()
            except ValueError as error:
                problems.append(f"{where}: {error}")
        tune, groups = self.settings.train.tune, ("full", "lora", *backbone.spec.tunable)
        if tune not in groups:
            problems.append(f"train.tune: {unknown('group of weights', tune, groups)}")
        if size.first_frame and "first_frame" not in backbone.spec.modes:
            problems.append(f"backbone.first_frame: this {size.name!r} takes no first frame; set it to false")
        if not size.first_frame and "text" not in backbone.spec.modes:
            problems.append(f"backbone.first_frame: this {size.name!r} starts from a first frame; set it to true")
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
        return LatentGrid(
            spec.latent_frames(size.frames),
            spec.temporal_ratio,
            size.fps,
            size.first_frame,
            self.settings.train.start,
            clean=spec.first_frame == "clean",
            lead=spec.lead,
        )

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


def open_project(
    folder: Path, settings: Settings, bar: Bar = no_bar, say: Callable[[str], None] = lambda line: None
) -> Project:
    """The project in a folder, made if it is not there yet.

    Settings that were left out are the released model's own where the backbone is one of docs/models.md.

    Raises:
        ValueError: settings that no stage could work with, all of them named; a project of a newer Rushes.
    """
    given = left_out(settings)
    if given:
        match = model_of(settings)
        say(in_words(given, match.model.name if match else settings.backbone.name))
        settings = with_model_defaults(settings)
    check_settings(settings)
    path = folder / SECONDS
    seconds = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return Project(Store.create(folder), settings, bar, seconds, say)


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
    """Let the weights that are trained require gradients, and no others; in place.

    These are a fresh adapter's, all, or a group that the backbone names.
    """
    if settings.tune == "lora":
        add_lora(backbone.network, backbone.spec.lora_targets, settings.rank, settings.alpha)
        return
    patterns = {"full": ("*",), **backbone.spec.tunable}[settings.tune]
    for name, p in backbone.network.named_parameters():
        p.requires_grad_(any(fnmatchcase(name, pattern) for pattern in patterns))


def load_start(project: Project) -> Backbone:
    """What training starts from, its weights that are trained requiring gradients: the base, or a finished run.

    Where the run trained the same weights, an adapter's among them, these go on. Where it trained others, its adapter
    is merged, and an adapter of this run is a new one.

    Raises:
        ValueError: as `load_run` does, or a network that is offloaded.
    """
    check_not_offloaded(project.settings.backbone.offload)
    settings = project.settings.train
    if settings.start != BASE and _tuned(settings) == _tuned(_train_of(find_run(project, settings.start))):
        return _load_trainable(project, settings.start)
    return _untrained(project, settings)


def _untrained(project: Project, settings: Train) -> Backbone:
    """The model before any run of a chain trained the weights that a run with these settings trains."""
    while settings.start != BASE:
        before = _train_of(find_run(project, settings.start))
        if _tuned(before) != _tuned(settings):
            break
        settings = settings.model_copy(update={"start": before.start})
    if settings.start == BASE:
        backbone = load_model(project.settings.backbone, project.store.project)
    else:
        backbone = _load_trainable(project, settings.start)
        merge_lora(backbone.network)
    make_trainable(backbone, settings)
    return backbone


def _tuned(settings: Train) -> tuple[object, ...]:
    """What is trained: settings that are equal for runs that train the same weights."""
    return (settings.tune, settings.rank, settings.alpha) if settings.tune == "lora" else (settings.tune,)


def _train_of(run: Run) -> Train:
    return Settings.model_validate(run.settings).train


def load_run(project: Project, name: str) -> Backbone:
    """A fresh copy of the base with the weights of a finished run.

    Raises:
        ValueError: no such run, another base than it started from, or weights that are not those it ended with.
    """
    backbone = _load_trainable(project, name)
    backbone.network.requires_grad_(False)
    return backbone


def _load_trainable(project: Project, name: str) -> Backbone:
    run = find_run(project, name)
    path = run_folder(project, name) / WEIGHTS
    if project.base.fingerprint != run.base:
        raise ValueError(
            f"run {name!r} started from other weights than [backbone] names now; set backbone.name and backbone.path "
            "to what they were"
        )
    backbone = _untrained(project, _train_of(run))
    try:
        backbone.network.load_state_dict(load_file(path), strict=False)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ValueError(f"{path}: cannot be read ({error}); {_AGAIN}") from error
    if backbone.fingerprint != run.made_by:
        raise ValueError(f"{path}: not the weights that run {name!r} ended with; {_AGAIN}")
    return backbone


_AGAIN = "run `rushes train` again, which writes them from the last checkpoint"
