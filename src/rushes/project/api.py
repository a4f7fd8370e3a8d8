"""A project for Python: open its folder, then run its stages as methods, by the functions of the command line.

Stages do what is missing and can be stopped and called again, and the two doors can be used in turn.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import torch

from rushes.backbones.base import Backbone
from rushes.config.settings_files import flat
from rushes.evaluate.result import EvaluateResult
from rushes.footage.ingest import Imported
from rushes.progress import Bar, no_bar
from rushes.project import (
    captioning,
    curation,
    generation,
    intake,
    labels,
    negatives,
    reports,
    run_evaluation,
    runs,
    training,
)
from rushes.project.captioning import CaptionsResult
from rushes.project.curation import CurateResult
from rushes.project.generation import GenerateResult
from rushes.project.held_settings import begin_project
from rushes.project.intake import PreflightResult
from rushes.project.labels import LabelResult
from rushes.project.model_presets import model_preset
from rushes.project.negatives import CaptionResult
from rushes.project.networks import load_run
from rushes.project.presets import preset
from rushes.project.project import OpenProject, open_project
from rushes.project.reports import HealthResult, ReportResult
from rushes.project.runs import RunResult
from rushes.project.settings import check_new, overridden, read_settings
from rushes.project.training import EncodeResult, ReferenceCacheResult, TrainResult
from rushes.records import BASE
from rushes.training.determinism import check_workspace, set_workspace


class Project(OpenProject):
    """A project that is open. Close it, or open it in a `with` statement.

    Its parts are at hand: `store` (rows and media), `settings`, `base` (the model before training), `latents`, `grid`
    (how clips lie in time).
    """

    @classmethod
    def create(
        cls,
        folder: str | os.PathLike[str],
        recipe: str = "realdpo",
        *,
        model: str = "",
        footage: str | os.PathLike[str] | None = None,
        settings: Mapping[str, object] | None = None,
    ) -> Self:
        """Make a project folder with a short rushes.toml, and open it; `rushes init`.

        Args:
            recipe: name or dotted path; with a model its settings are those of its paper.
            model: folder of a video model in diffusers' layout, or hub:OWNER/NAME; "" = the embedded tiny one.
            footage: folder, tar or table of clips; None = the embedded world, which a model cannot take.
            settings: changes, such as {"train.steps": 500}.

        Raises:
            ValueError: a project that is there already; no such recipe, model or footage; settings that are wrong.
        """
        folder, clips = Path(folder), None if footage is None else Path(footage)
        check_new(folder)
        if model and clips is None:
            raise ValueError("Project.create: a model of your own needs clips; pass their folder as footage")
        changes, sources = _changes(settings), dict[str, str]()
        if model:
            released = model_preset(model, recipe, clips)
            table, sources = released.settings, dict(released.sources)
        else:
            table = preset(recipe, clips)
        begin_project(folder, overridden(table, changes), sources, changes)
        return cls.open(folder)

    @classmethod
    def open(
        cls, folder: str | os.PathLike[str], settings: Mapping[str, object] | None = None, *, bar: Bar = no_bar
    ) -> Self:
        """The project in a folder.

        Args:
            settings: changes for as long as it is open, such as {"train.steps": 500}.
            bar: progress bars of the stages (`rushes.progress.Bar`); by default none.

        Raises:
            ValueError: no project, one of a newer Rushes, or settings that are wrong, all of them named.
        """
        parts = open_project(Path(folder), read_settings(Path(folder), _changes(settings), warn=False), bar, print)
        if parts.settings.train.deterministic:  # before any stage uses a GPU
            set_workspace()
        return cls(**vars(parts))

    def preflight(self) -> PreflightResult:
        """What an import would take, trim, resample, crop and refuse, and why; nothing is imported.

        Raises:
            ValueError: no footage to look at, the embedded world or pairs, or settings that contradict.
        """
        result, _ = intake.preflight(self)
        return result

    def import_clips(self, *, add: bool = False) -> Imported:
        """Take real clips into the project, after all were looked at; what the footage no longer has is set aside.

        Args:
            add: leave in what earlier imports took, so that the set is the union.

        Raises:
            ValueError: what the footage or the settings lack; clips that cannot be used, each named, unless
                footage.on_refused is skip.
        """
        return intake.import_footage(self, add=add)

    def write_captions(self, by: Literal["vlm", "names"]) -> CaptionsResult:
        """Import the clips, and write captions for those without one; people write theirs on `rushes captions`' page.

        From now on the project admits clips without a caption.

        Args:
            by: "vlm", the model of [endpoint], which looks at the clip; or "names", the names of the files.

        Raises:
            ValueError: footage that comes with captions, what an import refuses, no model is named, or a project that
                was curated by other stages. EndpointError: the model is down.
        """
        admitting = captioning.admit_uncaptioned(self.settings)
        result = captioning.write_captions(replace(self, settings=admitting), by)
        self.settings = admitting
        return result

    def curate(self, *, dry_run: bool = False) -> CurateResult:
        """Choose the training set by the stages of `curate.stages`; import the clips first if there are none.

        How many clips are left is in `curation.set`.

        Args:
            dry_run: measure, but decide and write nothing.

        Raises:
            ValueError: what an import refuses, no stages, or settings that a stage cannot work with. EndpointError: a
                model is down.
        """
        result, _ = curation.curate_footage(self, dry_run=dry_run)
        return result

    def generate(self, system: str = "") -> GenerateResult:
        """Make the model's own takes of every training clip.

        Args:
            system: "base" or a finished run; "" = what training starts from.

        Raises:
            ValueError: there are no clips, or no such run.
        """
        return generation.generate_takes(self, system=system)

    def write_wrong_captions(self) -> CaptionResult:
        """Write captions that are wrong, which recipe `physhpo` compares with, for the training clips.

        Raises:
            ValueError: `caption.by` is none, or there is nothing to write about.
        """
        return negatives.wrong_captions(self)

    def label(self) -> LabelResult:
        """Label pairs of takes, or score takes, by what `label.by` names; of people, the labels that are there.

        Raises:
            ValueError: `label.by` is none, people have not labelled yet, or there is nothing to compare.
        """
        return labels.label_takes(self)

    def encode(self) -> EncodeResult:
        """Encode the clips and takes that a run trains on; `train` encodes what is missing.

        Raises:
            ValueError: nothing to compare.
        """
        return training.encode_run(self)

    def cache_reference(self) -> ReferenceCacheResult:
        """Compute the reference errors of a run in advance, or those still missing.

        Raises:
            ValueError: `train.reference_cache` is 0, the reference moves, or as `train` does.
        """
        return training.cache_reference(self)

    def train(self) -> TrainResult:
        """Train a run by the settings, or continue it where it was stopped.

        Raises:
            ValueError: nothing to compare, settings that do not go together, another process that trains this run, or
                `train.deterministic` in a process that used CUDA before cuBLAS was told, with the line to set.
        """
        if self.settings.train.deterministic and torch.cuda.is_initialized():
            check_workspace(os.environ)  # now, and not after clips were encoded
        return training.train_run(self)

    def health(self, run: str = "") -> HealthResult:
        """Whether a run is healthy, from its curves so far; it need not be finished.

        Args:
            run: a run; "" = the one that the settings name.

        Raises:
            ValueError: the run has no curves.
        """
        return reports.health_of_run(self.store.project, self.settings, run)

    def evaluate(self, run: str = "") -> EvaluateResult:
        """Held-out prompts by the base and a trained model: means, differences and intervals of each metric.

        Args:
            run: a finished run; "" = the one that the settings name.

        Raises:
            ValueError: the run is not finished, or nothing is held out.
        """
        result = run_evaluation.evaluate_run(self, run)
        return reports.write_summary(self.store, result, self.seconds, self.settings.project.seed)

    def report(self, run: str = "") -> ReportResult:
        """Write the report of an evaluated run: one HTML file that opens offline.

        Raises:
            ValueError: the run was not evaluated.
        """
        return reports.write_report(self.store, self.settings, run)

    def run(self) -> RunResult:
        """All stages in order, from clips to report.

        Raises:
            ValueError: as the stages do; what a late stage would lack is reported before the first long one.
        """
        return runs.run_all(self)

    def model(self, system: str = BASE) -> Backbone:
        """The base, or a fresh copy of it with the weights of a finished run.

        Raises:
            ValueError: no such run, another base than it started from, or weights that are not those it ended with.
        """
        return self.base if system == BASE else load_run(self, system)

    def close(self) -> None:
        """Close the database."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _changes(settings: Mapping[str, object] | None) -> tuple[str, ...]:
    """Overrides as the command line takes them; TOML reads what JSON writes of numbers, words and lists."""
    values = flat(settings or {})
    return tuple(f"{name}={json.dumps(value, ensure_ascii=False, default=str)}" for name, value in values)
