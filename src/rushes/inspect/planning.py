"""What `rushes plan` is asked on the command line -> settings, numbers and a machine, and the forecast of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from shlex import quote
from typing import Any, Literal

import torch

from rushes.backbones.base import BackboneSpec
from rushes.backbones.folders import Folder
from rushes.backbones.model_defaults import find_model
from rushes.config.clip_shapes import ClipShape
from rushes.config.tables import Settings
from rushes.config.uses import code
from rushes.footage.split import share_held_out
from rushes.formats.listing import find_footage
from rushes.inspect import step_forecast
from rushes.inspect.job_forecast import (
    HalfSize,
    JobForecast,
    Machine,
    ModelCosts,
    forecast_job,
    model_at_hand,
    model_of,
    together,
)
from rushes.inspect.workload import JobSize
from rushes.project.defaults import with_model_defaults, with_sizes, with_values
from rushes.project.model_presets import folder_of, folder_preset
from rushes.project.networks import check_offload
from rushes.project.presets import HELD_OUT
from rushes.project.settings import overridden, read_settings
from rushes.project.settings_checks import check_settings
from rushes.records import Candidate, Clip
from rushes.store.database import Store

ASSUMED = "h100"  # kind of GPU, where none is named or here
CLIPS = 60  # of footage, where nobody says how many
CACHED_DRAWS = 8  # where a reference cache is asked for
CostsAtSize = Callable[[Settings], ModelCosts]  # of the model at a project's size


@dataclass(frozen=True)
class PlanRequest:
    """Options of the command; 0, "" and None stand for what the project, the model or the recipe has."""

    model: str = ""
    size: str = ""
    frames: int = 0
    clips: int = 0
    takes: int = 0
    prompts: int = 0
    recipe: str = "realdpo"
    views: int = 0
    batch: int = 0
    trainable: Literal["lora", "full"] = "lora"
    lora_rank: int = 0
    precision: Literal["auto", "bfloat16", "mixed", "float32"] = "auto"
    quantize: Literal["none", "8bit", "4bit"] = "none"
    gradient_checkpointing: bool = True
    reference_cache: bool = False
    first_frame: bool | None = None


def gpu_here() -> str:
    """The kind of the GPU that torch sees first; "" where there is none, or none of the kinds that are known."""
    if not torch.cuda.is_available():
        return ""
    memory = torch.cuda.get_device_properties(0).total_memory / step_forecast.GIB
    return step_forecast.gpu_seen(torch.cuda.get_device_name(0), memory)


def machine(gpu: str, gpus: int = 1, memory_gb: float = 0.0, tflops: float = 0.0) -> Machine:
    """GPUs of a kind that is known, of the kind that is here or is assumed ("" as `gpu`), or of other memory and speed.

    Raises ValueError: no such kind, or fewer than one.
    """
    try:
        kind = step_forecast.KINDS[step_forecast.gpu_named(gpu or gpu_here() or ASSUMED)]
    except ValueError as error:
        raise ValueError(f"{error}; for another give --gpu-memory-gb and --tflops") from None
    if gpus < 1:
        raise ValueError(f"--gpus must be 1 or more, got {gpus}")
    return Machine(memory_gb or kind.memory_gb, tflops or round(step_forecast.SHARE_OF_PEAK * kind.tflops, 1), gpus)


def forecast(project: Path | None, asked: PlanRequest, machine: Machine, overrides: Sequence[str]) -> JobForecast:
    """The forecast of a step and of the whole job.

    Raises ValueError: both a project and a model or neither, options or settings that do not go together, no clips, or
    a model of which there is no forecast.
    """
    if (project is None) == (not asked.model):
        raise ValueError("give either a project's folder, or --model with the job's options")
    if project is not None:
        settings = with_model_defaults(read_settings(project, overrides, code))
        costs: CostsAtSize = model_for
        if asked.clips:
            by_shape = _shared(settings, numbers_of(settings, asked.clips, asked.prompts))
        else:
            by_shape = numbers_by_shape(project, settings, asked.prompts)
    else:
        settings, folder = settings_of(asked, machine.gpus, overrides)
        settings = with_sizes(settings)
        by_shape = _shared(settings, numbers_of(settings, asked.clips or CLIPS, asked.prompts))
        costs = partial(model_of, folder)
    check_settings(settings)
    check_offload(settings)
    if len(by_shape) > 1:
        return forecast_shapes(settings, by_shape, costs, machine, asked.views)
    ((shape, numbers),) = by_shape.items()
    own = _of_shape(settings, shape)
    model = costs(own)
    half = _half(own, numbers, model.spec, costs, machine)
    return replace(forecast_job(model, own, numbers, machine, asked.views), half=half)


def _half(
    settings: Settings, numbers: JobSize, spec: BackboneSpec, costs: CostsAtSize, machine: Machine
) -> HalfSize | None:
    """The job at half the size; None where the model has no smaller one."""
    size = settings.backbone
    height, width = spec.nearest_size(size.height_px // 2, size.width_px // 2)
    if height >= size.height_px or width >= size.width_px:
        return None
    smaller = size.model_copy(update={"height_px": height, "width_px": width})
    settings = settings.model_copy(update={"backbone": smaller})
    job = forecast_job(costs(settings), settings, numbers, machine)
    return HalfSize(height, width, job.total_hours, max(job.gib.values()))


def forecast_shapes(
    settings: Settings, by_shape: Mapping[ClipShape, JobSize], costs: CostsAtSize, machine: Machine, views: int = 0
) -> JobForecast:
    """The forecast of a job with so many clips and prompts of each shape; `views`: of a step, not the recipe's.

    Raises ValueError: a recipe that refuses the settings.
    """
    every = JobSize(sum(each.clips for each in by_shape.values()), sum(each.prompts for each in by_shape.values()))
    own = {shape.words: _of_shape(settings, shape) for shape in by_shape}
    jobs = {words: forecast_job(costs(each), each, every, machine, views) for words, each in own.items()}
    if len(jobs) == 1:
        return jobs.popitem()[1]
    return together(jobs, {shape.words: each for shape, each in by_shape.items()})


def _of_shape(settings: Settings, shape: ClipShape) -> Settings:
    """The settings of a job whose clips all have one shape."""
    size = settings.backbone
    return settings.model_copy(update={"backbone": size.at(size.name_of(shape))})


def settings_of(asked: PlanRequest, gpus: int, overrides: Sequence[str] = ()) -> tuple[Settings, Folder]:
    """Settings as `rushes init --model` would write them, with what was asked for in place, and the configurations.

    Raises ValueError: no such model or recipe, or options that do not go together.
    """
    if asked.quantize != "none" and asked.trainable != "lora":
        raise ValueError(
            f"--quantize {asked.quantize}: a quantized network stays frozen; set --trainable to lora, or "
            "--quantize to none"
        )
    counts = (asked.frames, asked.batch, asked.clips, asked.takes, asked.prompts, asked.lora_rank)
    if min(counts) < 0:
        raise ValueError("--frames, --batch, --clips, --takes, --prompts and --lora-rank must be 1 or more")
    folder = step_forecast.model_folder(asked.model)
    match = find_model(asked.model)
    preset = folder_preset(match, folder, str(folder.path), asked.recipe, None, _size(asked.size), asked.frames)
    train = preset.settings.train
    values: dict[str, Any] = {
        "backbone.dtype": asked.precision,
        "backbone.quantize": asked.quantize,
        "backbone.gradient_checkpointing": asked.gradient_checkpointing,
        "train.trainable": asked.trainable,
        "train.lora_rank": asked.lora_rank or train.lora_rank,
        "train.batch": asked.batch * gpus or max(train.batch, gpus),
        "train.reference_cache": CACHED_DRAWS if asked.reference_cache else train.reference_cache,
        "footage.eval_fraction": HELD_OUT,
    }
    if asked.reference_cache:
        values["train.reference"] = "frozen"  # a cache holds errors of one that stays
    values |= {"generate.takes": asked.takes} if asked.takes else {}
    values |= {} if asked.first_frame is None else {"backbone.first_frame": asked.first_frame}
    settings = with_values(preset.settings, values)
    return (overridden(settings, overrides) if overrides else settings), folder


def numbers_of(settings: Settings, clips: int, prompts: int = 0) -> JobSize:
    """How many of some clips are trained on, and how many prompts evaluation takes."""
    held_out = share_held_out(settings.footage.eval_fraction, clips)
    return JobSize(clips - held_out, prompts or min(held_out, settings.evaluate.prompts))


def _shared(settings: Settings, numbers: JobSize) -> dict[ClipShape, JobSize]:
    """Clips and prompts whose shapes are not known: as many of each."""
    shapes = settings.backbone.shapes

    def part(count: int, at: int) -> int:
        return len(range(at, count, len(shapes)))

    return {shape: JobSize(part(numbers.clips, at), part(numbers.prompts, at)) for at, shape in enumerate(shapes)}


def trained_on(store: Store) -> list[tuple[Clip | Candidate, ...]]:
    """What a project is trained on: its clips, or the labelled pairs that it has in their place."""
    clips = store.clips("train")
    if clips:
        return [(clip,) for clip in clips]
    imported = {row.id: row for row in store.candidates(split="train", kind="imported")}
    pairs = {frozenset((row.left, row.right)) for row in store.preferences()}
    return [tuple(imported[id] for id in sorted(pair)) for pair in pairs if pair <= imported.keys()]


def numbers_by_shape(project: Path, settings: Settings, prompts: int = 0) -> dict[ClipShape, JobSize]:
    """Clips and prompts of each shape, by a project's store or, before footage was imported, its settings and files.

    Raises ValueError: no footage, or none that can be counted without reading it.
    """
    trained, held_out, footage = 0, 0, settings.footage
    if (project / "rushes.db").is_file():
        with Store.open(project) as store:
            size, held = settings.backbone, store.clips("eval")
            train = trained_on(store)
            trained, held_out = len(train), len(held)
            asked = [(clip,) for clip in held[: prompts or settings.evaluate.prompts]]
            counts = [Counter(size.shape_of(*videos) for videos in side) for side in (train, asked)]
        if trained and len(size.shapes) > 1:
            return {s: JobSize(counts[0][s], counts[1][s]) for s in size.shapes if counts[0][s] or counts[1][s]}
    if not trained and footage.kind == "world":
        trained, held_out = footage.clips, footage.eval_prompts
    if not trained and footage.kind == "folder" and footage.path and footage.cut == "none":
        return _shared(settings, numbers_of(settings, len(find_footage(footage).footage), prompts))
    if not trained:
        what = "pairs" if footage.kind == "pairs" else "clips"
        raise ValueError(
            f"{project} has no {what} yet; run `rushes import {quote(str(project))}` first, or give --clips"
        )
    return _shared(settings, JobSize(trained, prompts or min(held_out, settings.evaluate.prompts)))


def model_for(settings: Settings) -> ModelCosts:
    """Costs of a project's model, whose weights are not loaded unless it is one of our own."""
    return model_of(folder_for(settings), settings) if settings.backbone.path else model_at_hand(settings)


def folder_for(settings: Settings) -> Folder:
    """The folder of a project's model, or of the release that it is; its weights are looked at and not loaded."""
    return folder_of(settings.backbone.path, find_model(settings.backbone.path))


def _size(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    height, _, width = text.partition("x")
    if not (height.isdigit() and width.isdigit()):
        raise ValueError(f"--size must be HEIGHTxWIDTH in pixels, such as 480x832; got {text!r}")
    return int(height), int(width)
