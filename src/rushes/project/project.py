"""A project that is open: its store, settings and model, and what each stage took."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from rushes.backbones.adapters import add_lora, is_adapter, merge_lora
from rushes.backbones.base import Backbone, Precision, trained_precision
from rushes.backbones.loading import load_backbone
from rushes.backbones.offload import check_trains_offloaded, settle
from rushes.backbones.pipeline import DiffusersBackbone
from rushes.config.settings_files import stored_settings
from rushes.config.tables import BackboneSettings, Settings, TrainSettings
from rushes.devices import default_device
from rushes.encode import open_latents
from rushes.evaluate.stored import finished_run
from rushes.evaluate.suites import MetricSuite, meter_of
from rushes.files import sweep, whole_file
from rushes.generate import load_options
from rushes.progress import Bar, Tick, no_bar, waiting
from rushes.project.defaults import in_words, left_out, model_of, with_model_defaults, with_sizes
from rushes.project.held_settings import changed_in_words, changed_since, keep_commit
from rushes.project.settings import check_database
from rushes.project.settings_checks import check_settings, spec_problems
from rushes.project.times import training_times
from rushes.records import BASE
from rushes.store.database import Store
from rushes.store.latents import LatentStore
from rushes.text_reader import parse_json, read_text
from rushes.training.comparison import LatentGrid
from rushes.training.history import WEIGHTS
from rushes.training.parallel import ALONE, Ranks

TEXTS = "texts"
SECONDS = "seconds.json"


def load_model(
    size: BackboneSettings, project: Path | None = None, dtype: Precision | None = None, parked: bool = False
) -> Backbone:
    """A fresh copy of the model that the `[backbone]` settings name.

    Args:
        size: those settings.
        project: folder of the project in which what captions are read as is kept; None = nowhere.
        dtype: in place of the settings', see `precision_of`.
        parked: its network stays in main memory until `brought`.

    Raises:
        ValueError: no such backbone, or weights that it cannot read.
    """
    options = replace(
        load_options(size, dtype or size.dtype),
        attention=size.attention,
        compile=size.compile,
        parked=parked,
        texts=project / TEXTS if project else None,
        decode_timestep=size.decode_timestep,
        decode_noise_scale=size.decode_noise_scale if size.decode_noise_scale >= 0 else None,
    )
    return load_backbone(size.name, size.path, options)


@dataclass
class OpenProject:
    """A project folder, its settings, and the model; the seconds that each stage has taken in it, all runs together."""

    store: Store
    settings: Settings
    bar: Bar = no_bar
    seconds: dict[str, float] = field(default_factory=dict)
    say: Callable[[str], None] = lambda line: None  # what a user should read while a stage runs
    ranks: Ranks = ALONE  # processes that share the work, of which this is the first
    most_files: int = 0  # of the footage that are looked at, evenly spread over it; 0 = all

    @cached_property
    def base(self) -> Backbone:
        """The model before training, after its size was checked.

        Raises:
            ValueError: weights that cannot be read, or a size or frame count that the model cannot take.
        """
        size = self.settings.backbone
        with waiting(f"reading the model ({size.name})", self.say):
            backbone = load_model(size, self.store.project)
        if isinstance(backbone, DiffusersBackbone):
            path = keep_commit(self.store.project, size.path, backbone.folder.path)
            if path != size.path:
                self.say(f"backbone.path is {path} from now on, the commit that was fetched")
        problems = spec_problems(self.settings, backbone.spec)
        if not problems:
            training_times(self.settings, backbone.spec)  # which says what of the settings does not suit the model
        if problems:
            raise ValueError("\n".join(problems))
        return backbone

    @cached_property
    def latents(self) -> LatentStore:
        """Latents of this codec, size and preprocessing."""
        return open_latents(self.store, self.base, self.settings.backbone, self.settings.footage.fit)

    def make_room(self) -> None:
        """Let a network that made takes leave memory before a judge comes, which may be a network as well."""
        if "base" in vars(self):
            without_network(self)

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
            self.settings.train.init_from,
            clean=spec.first_frame == "clean",
            lead=spec.lead,
            size=size,
        )

    @property
    def meter(self) -> MetricSuite:
        """What evaluation measures."""
        return meter_of(self.settings.footage)

    @contextmanager
    def timed(self, name: str, total: int) -> Iterator[Tick]:
        """A progress bar under `name`; its seconds go to the stage, which is what stands before the colon."""
        began, stage = time.perf_counter(), name.partition(":")[0]
        try:
            with self.bar(name, total) as advance:
                yield advance
        finally:
            self.seconds[stage] = round(self.seconds.get(stage, 0.0) + time.perf_counter() - began, 3)
            # A full disk is reported by the stage itself.
            with suppress(OSError), whole_file(self.store.project / SECONDS) as partial:
                partial.write_text(json.dumps(self.seconds) + "\n", encoding="utf-8")


def open_project(
    folder: Path,
    settings: Settings,
    bar: Bar = no_bar,
    say: Callable[[str], None] = lambda line: None,
    ranks: Ranks = ALONE,
) -> OpenProject:
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
    settings = with_sizes(settings)
    if changes := changed_since(folder, settings):
        say(changed_in_words(folder, changes))
    check_settings(settings)
    check_database(folder)
    return OpenProject(Store.create(folder), settings, bar, _seconds(folder / SECONDS, say), say=say, ranks=ranks)


def _seconds(path: Path, say: Callable[[str], None]) -> dict[str, float]:
    """What stages have taken so far; from nothing where the file cannot be read, as it holds clocks alone."""
    with suppress(OSError):  # a stage that was killed with all but its clocks done never writes the file again
        sweep(path)
    if not path.is_file():
        return {}
    with suppress(ValueError):
        seconds = parse_json(read_text(path), path)
        if isinstance(seconds, dict) and all(isinstance(value, int | float) for value in seconds.values()):
            return seconds
    say(f"{path}: was damaged; it holds the stages' times, which are collected anew")
    return {}


def run_folder(project: OpenProject, run: str) -> Path:
    """Where a run's weights and curves lie."""
    return project.store.project / "runs" / run


def train_of(project: OpenProject, run: str) -> TrainSettings:
    """The settings that a finished run was trained with."""
    return stored_settings(finished_run(project.store, run).settings).train


def precision_of(project: OpenProject, settings: TrainSettings) -> Precision:
    """The precision of the network that a run with these settings trains.

    Own weights change where the run, or one that it starts from, tunes them, or where it merges an adapter to begin
    with. The base alone, for takes and its fingerprint, keeps the precision of the settings.
    """
    chain = [settings]
    while chain[-1].init_from != BASE:
        chain.append(train_of(project, chain[-1].init_from))
    changes = settings.trainable != "lora" or len({_tuned(each) for each in chain}) > 1
    return trained_precision(project.settings.backbone.dtype, changes, default_device().type)


def base_beside(project: OpenProject, run: str) -> Backbone:
    """The base in the precision of a finished run, so that the two differ by their weights alone."""
    dtype = precision_of(project, train_of(project, run))
    return project.base if dtype == project.settings.backbone.dtype else _fresh(project, dtype)


def without_network(project: OpenProject) -> Backbone:
    """The base, whose network has left memory: what comes next needs the room, or has a network of its own."""
    if isinstance(project.base, DiffusersBackbone):
        project.base.release()
    return project.base


def brought(backbone: Backbone) -> Backbone:
    """The same, its network where it works."""
    if isinstance(backbone, DiffusersBackbone):
        backbone.unpark()
    return backbone


def _fresh(project: OpenProject, dtype: Precision, parked: bool = False) -> Backbone:
    """A copy of the base for weights or a precision of its own, so that there is one network at a time. It shares what
    the base has read."""
    base = without_network(project)
    model = load_model(project.settings.backbone, project.store.project, dtype, parked)
    if isinstance(base, DiffusersBackbone) and isinstance(model, DiffusersBackbone):
        model.read_with(base)
    return model


def make_trainable(backbone: Backbone, settings: TrainSettings) -> None:
    """Let the weights that are trained require gradients, and no others; in place.

    These are a fresh adapter's, all, or a group that the backbone names; of two experts those of both or of one.
    """
    if settings.trainable == "lora":
        add_lora(backbone.network, backbone.spec.lora_targets, settings.lora_rank, settings.lora_alpha)
    else:
        patterns = {"full": ("*",), **backbone.spec.tunable}[settings.trainable]
        for name, p in backbone.network.named_parameters():
            p.requires_grad_(any(fnmatchcase(name, pattern) for pattern in patterns))
    _train_expert(backbone, settings)
    settle(backbone.network)


def _train_expert(backbone: Backbone, settings: TrainSettings) -> None:
    """Keep trainable the weights of the expert that `[train]` names alone; in place."""
    for name, p in backbone.network.named_parameters():
        if settings.expert != "both" and not name.startswith(f"{settings.expert}."):
            p.requires_grad_(False)


def check_offload(settings: Settings) -> None:
    """Refuse to train a network whose blocks leave the GPU where that cannot be.

    Raises:
        ValueError: see `rushes.backbones.offload.check_trains_offloaded`.
    """
    size, train = settings.backbone, settings.train
    check_trains_offloaded(size.name, size.offload, size.gradient_checkpointing, train.trainable, train.parallel)


def load_start(project: OpenProject) -> Backbone:
    """What training starts from, its weights that are trained requiring gradients: the base, or a finished run.

    Where the run trained the same weights, an adapter's among them, these go on. Where it trained others, its adapter
    is merged, and an adapter of this run is a new one.

    Raises:
        ValueError: as `load_run` does, or a network that is offloaded and cannot be trained.
    """
    check_offload(project.settings)
    settings = project.settings.train
    if settings.init_from != BASE and _tuned(settings) == _tuned(train_of(project, settings.init_from)):
        backbone = _load_trainable(project, settings.init_from)
        for name, p in backbone.network.named_parameters():  # the run may have trained one of two experts alone
            p.requires_grad_(p.requires_grad or is_adapter(name))
        _train_expert(backbone, settings)
        return backbone
    return _untrained(project, settings, precision_of(project, settings))


def _untrained(project: OpenProject, settings: TrainSettings, dtype: Precision) -> Backbone:
    """The model before any run of a chain trained the weights that a run with these settings trains.

    Its network lies in main memory: where weights are sharded, no GPU need ever hold all of them.
    """
    while settings.init_from != BASE:
        before = train_of(project, settings.init_from)
        if _tuned(before) != _tuned(settings):
            break
        settings = settings.model_copy(update={"init_from": before.init_from})
    if settings.init_from == BASE:
        backbone = _fresh(project, dtype, parked=True)
    else:
        backbone = _load_trainable(project, settings.init_from, dtype)
        merge_lora(backbone.network)
    make_trainable(backbone, settings)
    return backbone


def _tuned(settings: TrainSettings) -> tuple[object, ...]:
    """What is trained: settings that are equal for runs of which one can go on with what the other wrote.

    Adapters of two experts are written both, whichever was trained; without adapters a run writes its expert's alone.
    """
    return (
        ("lora", settings.lora_rank, settings.lora_alpha)
        if settings.trainable == "lora"
        else (settings.trainable, settings.expert)
    )


def adapts_base(project: OpenProject, train: TrainSettings) -> bool:
    """Whether the adapter of a run with these settings is all in which it differs from the base.

    It started there, or went on with the adapter of a run of which the same holds.
    """
    while train.init_from != BASE:
        before = train_of(project, train.init_from)
        if _tuned(before) != _tuned(train):
            return False
        train = before
    return train.trainable == "lora"


def load_run(project: OpenProject, name: str) -> Backbone:
    """A fresh copy of the base with the weights of a finished run.

    Raises:
        ValueError: no such run, another base than it started from, or weights that are not those it ended with.
    """
    backbone = brought(_load_trainable(project, name))
    backbone.network.requires_grad_(False)
    return backbone


def _load_trainable(project: OpenProject, name: str, dtype: Precision | None = None) -> Backbone:
    """A finished run's weights, requiring gradients; in another precision than the run's where `dtype` says so."""
    run = finished_run(project.store, name)
    train = train_of(project, name)
    own = precision_of(project, train)
    path = run_folder(project, name) / WEIGHTS
    if project.base.fingerprint != run.base:
        raise ValueError(
            f"run {name!r} started from weights other than those that [backbone] names now; restore the old "
            "backbone.name and backbone.path"
        )
    backbone = _untrained(project, train, dtype or own)
    try:
        backbone.network.load_state_dict(load_file(path), strict=False)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ValueError(f"{path}: cannot be read ({error}); {_AGAIN}") from error
    if dtype in (None, own) and backbone.fingerprint != run.made_by:  # it is one of the weights as the run had them
        raise ValueError(f"{path}: not the final weights of run {name!r}; {_AGAIN}")
    return backbone


_AGAIN = "run `rushes train` again, which writes them from the last checkpoint"
