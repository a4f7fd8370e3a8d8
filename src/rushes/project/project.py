"""A project that is open: its store, settings and model, and what each stage took."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from rushes.backbones.base import Backbone
from rushes.backbones.loading import load_model
from rushes.backbones.pipeline import DiffusersBackbone
from rushes.config.tables import Settings
from rushes.encode import open_latents
from rushes.evaluate.suites import MetricSuite, suite_of
from rushes.files import sweep, whole_file
from rushes.progress import Bar, Tick, no_bar, waiting
from rushes.project.defaults import in_words, left_out, model_of, with_model_defaults, with_sizes
from rushes.project.held_settings import changed_in_words, changed_since, keep_commit
from rushes.project.settings import check_database
from rushes.project.settings_checks import check_settings, spec_problems
from rushes.project.times import training_times
from rushes.store.database import Store
from rushes.store.latents import LatentStore
from rushes.text_reader import parse_json, read_text
from rushes.training.comparison import LatentGrid
from rushes.training.parallel import ALONE, Ranks

TEXTS = "texts"
SECONDS = "seconds.json"


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
            backbone = load_model(size, self.store.project / TEXTS)
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
    def suite(self) -> MetricSuite:
        """What evaluation measures."""
        return suite_of(self.settings.footage)

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


def without_network(project: OpenProject) -> Backbone:
    """The base, whose network has left memory: what comes next needs the room, or has a network of its own."""
    if isinstance(project.base, DiffusersBackbone):
        project.base.release()
    return project.base
