"""Settings of a project on a released model: the model's own, and those of the recipe's paper."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rushes import plugins
from rushes.backbones.base import BackboneSpec, LoadOptions
from rushes.backbones.distilled import check_not_distilled
from rushes.backbones.folders import HUB, Folder, at_commit, open_folder
from rushes.backbones.loading import load_backbone
from rushes.backbones.model_defaults import ModelMatch, Sourced, all_models, find_model, released, settings_of, shift_at
from rushes.backbones.pipeline import Family
from rushes.config.held_defaults import GIVEN
from rushes.config.settings_files import SettingsError, flat
from rushes.config.tables import Settings, TrainSettings
from rushes.project.defaults import model_of, with_values
from rushes.project.presets import Source, checked_recipe, people_note, preset, scores_of, with_stages
from rushes.project.settings_checks import backbone_problems, spec_problems
from rushes.training.recipe import Recipe, published

IN_TWO_REPOSITORIES = ("animatediff-sd1.5",)  # the hub has its adapter and its image model apart
DEFAULT = "default (docs/settings.md)"
MISSING = "still to be given"
MEMORY = (
    "gradients",
    "memory_mb",
    "activations",
    "parallel",
)  # of [train]: how a run fits the GPUs, whatever is trained


@dataclass(frozen=True)
class Preset:
    """Settings, the source of each by its dotted path, the released model they are of, and what to say of it."""

    settings: Settings
    sources: Mapping[str, str]
    model: str
    notes: tuple[str, ...]


def with_weights(model: str) -> str:
    """`hub:OWNER/NAME` for the name of a released model; a folder or repository as it is."""
    return f"{HUB}{all_models()[model].repository}" if model in all_models() else model


def model_preset(
    model: str, recipe: str, footage: Source = None, size: tuple[int, int] | None = None, frames: int = 0
) -> Preset:
    """Settings of a project that runs a recipe on a released model.

    Args:
        model: folder in diffusers' layout, or `hub:OWNER/NAME`.
        recipe: name or dotted path; its settings are those of its paper.
        footage: folder, tar or table of clips, or pairs; None = still to be set.
        size: height and width in place of the model's own, in pixels.
        frames: of a clip in place of the model's own; 0 = the model's own.

    Raises:
        ValueError: no such model, recipe or footage; a size or length that the model cannot take, with the nearest that
            it can; or a recipe that needs a first frame on a model that takes none.
    """
    checked_recipe(recipe, footage)
    if model != (where := with_weights(model)):
        raise ValueError(f"--model: {model} is only a name, but the weights are needed; give their folder, or {where}")
    match = find_model(model)
    folder = folder_of(model, match)
    path = at_commit(model, folder.path) if model.startswith(HUB) else str(Path(model).resolve())
    check_not_distilled(folder, match.model.family, model)
    if model.startswith(HUB) and match.model.name in IN_TWO_REPOSITORIES:
        raise ValueError(
            f"--model: {model} is an adapter, not a whole model; combine it with its image model, as docs/backbones.md "
            "shows, and give the new folder"
        )
    return folder_preset(match, folder, path, recipe, footage, size, frames)


def folder_preset(
    match: ModelMatch,
    folder: Folder,
    path: str,
    recipe: str,
    footage: Source = None,
    size: tuple[int, int] | None = None,
    frames: int = 0,
) -> Preset:
    """The same for configurations that were read; `path` is `backbone.path`. Raises as `model_preset` does."""
    module = checked_recipe(recipe, footage)
    spec = family_of(match).spec(folder, LoadOptions())
    rows = _rows(match, module)
    rows["backbone.path"] = Sourced(path, GIVEN)
    if "first_frame" in module.NEEDS:
        _check_takes_first_frame(recipe, match, spec)
        rows["backbone.first_frame"] = Sourced(True, module.PAPER)
    other = dict(_clip(rows, size, frames, spec, folder)) | dict(_both_experts(rows, spec))
    notes = [match.note, match.model.difference]
    notes += [f"{name}: {row.source}" for name, row in other.items() if row.source != GIVEN]
    if size and (shift := shift_at(match.model, size)) != rows["generate.shift"]:
        notes.append(f"generate.shift: {shift.value:g} at this size; {shift.source}")
        other["generate.shift"] = shift
    rows |= other
    base = with_stages(recipe, module, footage or Path.cwd(), TrainSettings(recipe=recipe))
    settings = with_values(base, {name: row.value for name, row in rows.items()})
    notes += people_note(settings)
    sources = _of_stages(base) | {name: row.source for name, row in rows.items()}
    chosen = {"train.recipe": GIVEN, "footage.path": GIVEN if footage else MISSING}
    return Preset(settings, {**sources, **chosen}, match.model.name, tuple(note for note in notes if note))


def _rows(match: ModelMatch, recipe: Recipe) -> dict[str, Sourced]:
    """What the table and a recipe's published run say of a model."""
    rows = settings_of(match.model) | {path: Sourced(*each) for path, each in published(recipe).items()}
    if own := match.model.settings.get("train.times"):  # what the release was trained with; a paper's is of its model
        rows["train.times"] = own
    return rows


def _of_stages(base: Settings) -> dict[str, str]:
    """Sources of settings that are not at their defaults, as stages before training make what a recipe needs."""
    ours, defaults = (dict(flat(each.model_dump(mode="json"))) for each in (base, Settings()))
    return {
        path: f"what {base.train.recipe} needs of the stages before training"
        for path, value in ours.items()
        if value != defaults.get(path)
    }


@dataclass(frozen=True)
class InitResult:
    """A new project of the embedded world or of footage."""

    project: Path
    settings: Path  # its rushes.toml
    next: str  # command
    notes: tuple[str, ...] = ()  # what to know of the model and of who labels


@dataclass(frozen=True)
class ModelInitResult:
    """A new project on a model of yours; without a folder its settings alone, and no file is written."""

    model: str  # what the folder holds
    notes: tuple[str, ...]  # what was assumed
    settings: Mapping[str, Sourced]  # by their dotted paths
    project: Path | None = None
    file: Path | None = None  # its rushes.toml
    next: str | None = None  # command


def sourced(preset: Preset, settings: Settings, overrides: Sequence[str]) -> dict[str, Sourced]:
    """Each setting's value and source, by its dotted path, after overrides."""
    rows = dict(flat(settings.model_dump(mode="json")))
    return {
        path: Sourced(value, GIVEN if given(overrides, path) else preset.sources.get(path, DEFAULT))
        for path, value in rows.items()
    }


def given(overrides: Sequence[str], path: str) -> bool:
    """Whether one of the overrides sets this setting, or the table that it stands in."""
    names = {text.partition("=")[0].strip() for text in overrides}
    return any(path == name or path.startswith(f"{name}.") for name in names)


def check_model(settings: Settings) -> None:
    """Refuse settings that the model cannot take, before anything but its configurations is read.

    Raises:
        SettingsError: no such family or folder, another family's folder, or sizes, lengths, first frames and sampling
            that the model does not have, with the nearest that it has.
    """
    size = settings.backbone
    problems = backbone_problems(settings)
    if not problems and "." not in size.name:
        try:
            problems += spec_problems(settings, _spec_of(size.name, size.path))
        except ValueError as error:
            problems.append(f"backbone.path: {error}")
    if problems:
        raise SettingsError("\n".join(problems))


def _spec_of(name: str, path: str) -> BackboneSpec:
    """What a model of a family can take. Raises ValueError: none in the folder, or one of another family."""
    if name == "tiny":
        return load_backbone(name, path).spec
    if not path:
        raise ValueError(
            f"Rushes ships no weights for a {name}; set backbone.path to their folder, or use `rushes init --model`"
        )
    match = find_model(path)
    if match.model.family != name:
        raise ValueError(f"{path} holds a {match.model.family}; set backbone.name to {match.model.family}")
    return family_of(match).spec(folder_of(path, match), LoadOptions())


def recipe_train(settings: Settings, recipe: str) -> TrainSettings:
    """The `[train]` table of a recipe on a project's model: its paper's and the model's, or those of the tiny backbone.

    On a released model what fits a run to its GPUs stays the project's.

    Raises:
        ValueError: no such recipe.
    """
    match = model_of(settings)
    if match is None:
        return preset(recipe).train
    module = checked_recipe(recipe, None)
    rows = _rows(match, module)
    spec = family_of(match).spec(folder_of(settings.backbone.path, match), LoadOptions())
    rows |= dict(_both_experts(rows, spec))
    values = {f"train.{name}": getattr(settings.train, name) for name in MEMORY}
    values |= {path: row.value for path, row in rows.items() if path.startswith("train.")}
    if "scores" in module.NEEDS and settings.label.by != "none":
        values["train.options.metric"] = scores_of(settings.label)
    return with_values(Settings(train=TrainSettings(recipe=recipe)), values).train


def folder_of(model: str, match: ModelMatch) -> Folder:
    """Configurations of a model: those in its folder, whose weights are looked at, or those of the release.

    Raises:
        ValueError: weights that are not whole.
    """
    if match.model.is_at(model):
        return released(match.model.name)
    family = family_of(match)
    return open_folder(model, family.name, family.pipelines)


def family_of(match: ModelMatch) -> Family:
    """The family that reads a model."""
    family: Family = plugins.load("family", match.model.family, "backbones", ("FAMILY",)).FAMILY
    return family


def _check_takes_first_frame(recipe: str, match: ModelMatch, spec: BackboneSpec) -> None:
    if "first_frame" not in spec.modes:
        raise ValueError(
            f"--recipe: {recipe} needs a first frame, but {match.model.name} starts from captions alone; use a model "
            "that starts from an image (docs/models.md), or another recipe"
        )


def _both_experts(rows: Mapping[str, Sourced], spec: BackboneSpec) -> Iterator[tuple[str, Sourced]]:
    """A range of times that reaches both experts, where the paper's leaves one without a draw."""
    highest = rows.get("train.t_high", Sourced(1.0, DEFAULT))
    t_high = highest.value
    assert isinstance(t_high, int | float), highest
    if spec.boundary is not None and t_high <= spec.boundary:
        why = f"1, as {t_high:g} ({highest.source}) would leave the high-noise expert untrained"
        yield "train.t_high", Sourced(1.0, why)


def _clip(
    rows: Mapping[str, Sourced], size: tuple[int, int] | None, frames: int, spec: BackboneSpec, folder: Folder
) -> Iterator[tuple[str, Sourced]]:
    """Size and length where they are not the table's: given, or the nearest that an unreleased model can take."""
    own = (rows["backbone.height_px"].whole, rows["backbone.width_px"].whole)
    height, width = size or own
    fitting = spec.nearest_size(height, width)
    if size and fitting != size:
        raise ValueError(
            f"--size {height}x{width}: the model does not support this size; the nearest that it supports is "
            f"{fitting[0]}x{fitting[1]}"
        )
    source = GIVEN if size else f"the nearest to {own[0]} x {own[1]} that {folder.path} supports"
    if fitting != own:
        yield "backbone.height_px", Sourced(fitting[0], source)
        yield "backbone.width_px", Sourced(fitting[1], source)
    asked = frames or rows["backbone.frames"].whole
    length = nearest_length(spec, asked)
    if frames and length != frames:
        raise ValueError(
            f"--frames {frames}: the model does not support this length; the nearest that it supports is {length}"
        )
    if length != rows["backbone.frames"].whole:
        source = GIVEN if frames else f"the nearest to {asked} that {folder.path} supports"
        yield "backbone.frames", Sourced(length, source)


def nearest_length(spec: BackboneSpec, frames: int) -> int:
    """The number of frames nearest to that wanted that a model can take."""
    if spec.only_frames:
        return spec.only_frames
    most = spec.most_frames
    step = spec.temporal_ratio * (1 + spec.lead)
    below = spec.largest(max(frames, 1))
    nearer = 2 * (frames - below) <= step or (most and below + step > most)
    return below if nearer else below + step
