"""What only the rest of the program can judge of settings: names of recipes, backbones, scenes and metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from functools import partial
from pathlib import Path

from rushes.backbones.base import BackboneSpec
from rushes.backbones.offload import check_answers_offloaded
from rushes.backbones.sampling import refused
from rushes.backbones.table import backbone_names
from rushes.config.model_endpoint import EndpointSettings
from rushes.config.settings_files import SettingsError
from rushes.config.tables import LabelSettings, Settings, TrainSettings, run_name
from rushes.judges.build import metric_judge
from rushes.metrics.catalogue import all_metrics
from rushes.project.defaults import with_sizes
from rushes.records import BASE
from rushes.training.optimisers import check_optimiser
from rushes.training.recipe import chosen_recipe, needs_of, recipe_names
from rushes.world.mechanics import FPS
from rushes.world.scenes import KINDS


def check_settings(settings: Settings) -> None:
    """Refuse settings that no stage could work with, before the first is begun.

    Raises:
        SettingsError: with every error, one a line, each with its dotted path.
    """
    labels = _label(settings.label, settings.endpoint)
    problems = [*_backbone(settings), *_footage(settings), *labels, *_train(settings.train)]
    if problems:
        raise SettingsError("\n".join(problems))


def check_kind(settings: Settings) -> None:
    """Refuse takes of a kind that the recipe, in its mode, compares none of; for what makes and trains on them.

    Raises:
        SettingsError: with the kind that it compares.
    """
    needs, kind = set(needs_of(settings.train)), settings.generate.kind
    wanted = "guided" if "guided" in needs else "take" if "takes" in needs else kind
    if kind != wanted:
        mode = settings.train.options.get("mode", "")
        what = f"recipe {settings.train.recipe!r}" + (f" in mode {mode!r}" if mode else "")
        raise SettingsError(f"generate.kind: {what} does not use takes of kind {kind!r}; set it to {wanted}")


def _backbone(settings: Settings) -> Iterator[str]:
    name = settings.backbone.name
    if "." not in name and name not in backbone_names():
        yield f"backbone.name: {unknown('backbone', name, backbone_names())}, or the dotted path of a module"
    if settings.backbone.text_offload and settings.backbone.text_quantize != "none":
        yield "backbone.text_offload: quantized layers cannot be offloaded; set it to false, or text_quantize to none"
    try:
        check_answers_offloaded(settings.backbone.offload, settings.backbone.compile)
    except ValueError as error:
        yield str(error)
    bits = settings.backbone.quantize
    if bits == "none":
        return
    if settings.backbone.offload is True or (settings.backbone.offload and bits == "8bit"):
        yield f"backbone.offload: blocks in {bits} cannot be offloaded; set it to false, or backbone.quantize to none"
    if settings.train.trainable != "lora":
        yield f"train.trainable: a network in {bits} stays frozen; set it to lora, or backbone.quantize to none"
    if settings.train.parallel == "shard":
        yield f"train.parallel: a network in {bits} cannot be sharded; set train.parallel to replicate"
    if settings.backbone.dtype == "mixed":
        yield f"backbone.dtype: mixed is for trained weights, but weights in {bits} are frozen; set it to auto"


def backbone_problems(settings: Settings) -> list[str]:
    """What is wrong with the name of the model and with how it is loaded, each with its dotted path."""
    return list(_backbone(settings))


def spec_problems(settings: Settings, spec: BackboneSpec) -> list[str]:
    """What a model cannot do of what is set, each with its dotted path: sizes, first frames, sampling, training."""
    size, ask, problems = with_sizes(settings).backbone, settings.generate, list[str]()
    whole, lengths = (size.height_px, size.width_px), dict.fromkeys(shape.frames for shape in size.shapes)
    sizes = dict.fromkeys((shape.height_px, shape.width_px) for shape in size.shapes)
    checks: list[tuple[str, Callable[[], object]]] = [
        *(("backbone.frames" if frames == size.frames else "backbone.lengths", partial(spec.latent_frames, frames))
          for frames in lengths),
        *(("backbone.height_px, width_px" if each == whole else "backbone.sizes", partial(spec.check_size, *each))
          for each in sizes),
    ]  # fmt: skip
    if spec.only_px and len(sizes) > 1:
        only = "{} x {} px".format(*spec.only_px)
        problems.append(f"backbone.sizes: this {size.name} supports only {only}; leave sizes out")
        checks = checks[: -len(sizes)]
    for where, check in checks:
        try:
            check()
        except ValueError as error:
            problems.append(f"{where}: {error}")
    if size.rates and not spec.told_rate:
        problems.append(
            f"backbone.rates: this {size.name} has no frame rate as input; set it to [], and fps to a number"
        )
    scale = ask.image_cond_noise_scale
    sampling = refused(spec, ask.guidance_scale_2, None if scale < 0 else scale, ask.adain_share)
    if scale > 0 and not size.first_frame and not sampling:
        sampling.append("generate.image_cond_noise_scale: no first frame is given (backbone.first_frame); set it to -1")
    problems += [*sampling, *_first_frame_noise(settings, spec)]
    tune, groups = settings.train.trainable, ("full", "lora", *spec.tunable)
    if tune not in groups:
        problems.append(f"train.trainable: {unknown('group of weights', tune, groups)}")
    if size.first_frame and "first_frame" not in spec.modes:
        problems.append(f"backbone.first_frame: this {size.name!r} cannot start from a first frame; set it to false")
    if not size.first_frame and "text" not in spec.modes:
        problems.append(f"backbone.first_frame: this {size.name!r} needs a first frame; set it to true")
    return problems


def _first_frame_noise(settings: Settings, spec: BackboneSpec) -> Iterator[str]:
    """What is wrong with noise on first frames for this model."""
    if not settings.train.first_frame_noise:
        return
    if not settings.backbone.first_frame:
        yield "train.first_frame_noise: no first frame is given (backbone.first_frame); set it to []"
    elif spec.first_frame != "channels":
        yield (
            f"train.first_frame_noise: this {spec.name} has the first frame, without noise, among its latents, and the "
            "setting is for models that get it as extra channels; set it to []"
        )


def _footage(settings: Settings) -> Iterator[str]:
    footage, backbone = settings.footage, settings.backbone
    for scene in footage.scenes:
        if scene not in KINDS:
            yield f"footage.scenes: {unknown('scene', scene, KINDS)}"
    if footage.kind == "world" and backbone.fps != FPS:
        yield f"backbone.fps: the embedded world is rendered at {FPS:g} fps, got {backbone.fps:g}; set it to {FPS:g}"
    if footage.windows > 1 and (footage.kind != "folder" or footage.cut != "none"):
        yield "footage.windows: works only with whole files (footage.kind folder, footage.cut none); set it to 1"
    if footage.kind == "pairs" and footage.bench:
        yield (
            "footage.bench: with footage.kind pairs, held-out prompts come from the pairs (footage.eval_fraction), "
            "not from a bench; set it to ''"
        )
    if footage.kind != "world" and settings.label.by == "world":
        yield "label.by: the world's verifier knows only the embedded world; set it to human or vlm"


def _label(label: LabelSettings, endpoint: EndpointSettings) -> Iterator[str]:
    if label.by == "vlm" and not endpoint.model:
        yield "endpoint.model: labels by a vision-language model need its name; set it, and endpoint.url"
    if label.by == "reward" and not (label.reward and Path(label.reward).is_dir()):
        yield (
            f"label.reward: {label.reward or 'empty'} is not a folder; set it to the folder of the reward model or "
            "of its scores"
        )
    if label.by != "metric":
        return
    if label.metric not in all_metrics():
        yield f"label.metric: {unknown('metric', label.metric, all_metrics())}"
        return
    try:
        metric_judge(label.metric, label.margin)
    except ValueError as error:
        yield f"label.metric: {error}"
    if label.segment_s != 1.0 and not label.whole:
        yield f"label.segment_s: metrics measure whole seconds; set it to 1.0 (got {label.segment_s:g})"


def _train(train: TrainSettings) -> Iterator[str]:
    if run_name(train) == BASE:
        yield f"train.name: {BASE!r} is the name of the model before training; choose another name for the run"
    if train.reference_cache and train.reference != "frozen":
        moving = f"train.reference is {train.reference!r}"
        yield (
            f"train.reference_cache: {moving}, and a reference that changes has no fixed errors to store; change one "
            "of them"
        )
    if train.parallel == "shard" and train.objective.safe_dpo:
        yield "train.objective.safe_dpo: it needs the whole gradient in one process; set train.parallel to replicate"
    if train.parallel == "shard" and train.sample_every:
        yield "train.sample_every: clips are made by one process; set it to 0, or train.parallel to replicate"
    if train.parallel == "shard" and train.optimizer == "adamw_8bit":
        yield "train.optimizer: moments in 8 bits cannot be sharded; set it to adamw, or train.parallel to replicate"
    try:
        check_optimiser(train.optimizer)
    except ValueError as error:
        yield str(error)
    if train.t_low >= train.t_high:
        yield f"train.t_low: the lowest noise level, {train.t_low:g}, must be below train.t_high, {train.t_high:g}"
    if "." not in train.recipe and train.recipe not in recipe_names():
        yield f"train.recipe: {unknown('recipe', train.recipe, recipe_names())}, or the dotted path of a module"
        return
    try:
        chosen_recipe(train)
    except SettingsError as error:
        yield str(error)
    except ValueError as error:
        yield f"train.recipe: {error}"


def unknown(what: str, name: str, names: Iterable[str]) -> str:
    """That there is no such thing, what was perhaps meant, and what there is."""
    near = get_close_matches(name, list(names), n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"no {what} {name!r}; {hint}choose one of {', '.join(names)}"
