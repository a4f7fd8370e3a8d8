"""`rushes plan` for a whole job: hours and GiB of each stage, from the passes that it takes and what each costs.

Seconds are operations over an assumed speed: nothing here was measured on a GPU. Reading and writing of videos,
metrics, labels, hashing and loading are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil, prod
from typing import Literal

import numpy as np
import torch

from rushes.backbones.base import Backbone, BackboneSpec, LoadOptions
from rushes.backbones.folders import Folder
from rushes.backbones.loading import load_model, load_options
from rushes.backbones.pipeline import DiffusersBackbone
from rushes.config.tables import Settings
from rushes.inspect.dry_run import Cost, dry_run, find_family, latent_size, measured_passes
from rushes.inspect.part_costs import CodecCost, ReaderCost, codec_cost, reader_cost
from rushes.inspect.step_forecast import (
    GIB,
    USABLE,
    ForecastRequest,
    StepForecast,
    activations_of,
    forecast_of,
    static_memory,
    weights_there,
)
from rushes.inspect.workload import SHARES, ClipComparisons, JobSize, StageWork, clip_comparisons, workload
from rushes.project.networks import make_trainable
from rushes.records import INLINE
from rushes.text_reader import counted
from rushes.training.cost_counter import CostCounter
from rushes.training.gradients import waiting_views
from rushes.training.memory import SHARE_GPU, GradientMode
from rushes.training.optimisers import MOMENTS
from rushes.training.probe import POSITIONS

CODEC_SHARE = 0.5  # of the network's operations a second: the codec works in float32, on tensor cores as TF32


@dataclass(frozen=True)
class Machine:
    """GPUs of one kind."""

    memory_gb: float  # of each, 2^30 bytes each
    tflops: float  # 10^12 operations a second that the network reaches
    gpus: int = 1  # how many


@dataclass(frozen=True)
class ModelCosts:
    """What one clip costs in each part of a model, and its facts."""

    spec: BackboneSpec
    cost: Cost
    codec: CodecCost
    reader: ReaderCost


@dataclass(frozen=True)
class ShapeForecast:
    """What of a job falls to clips of one size and length."""

    clips: int  # trained on
    prompts: int  # held out
    hours: float  # hours of all stages


@dataclass(frozen=True)
class HalfSize:
    """The same job at half the height and width, or the nearest to it that the model takes."""

    height_px: int
    width_px: int
    hours: float  # hours of all stages
    gib: float  # 2^30 bytes on the GPU that needs most, in the stage that needs most


@dataclass(frozen=True)
class JobForecast:
    """A whole job before anything is loaded, by stage."""

    step: StepForecast = field(metadata=INLINE)
    clips: int  # trained on, or pairs that came in their place
    prompts: int  # held out, that evaluation takes
    takes: int  # takes of each clip; 0 = the recipe needs none
    gpus: int
    hours: Mapping[str, float]  # by stage
    total_hours: float
    gib: Mapping[str, float]  # 2^30 bytes on the GPU that needs most, by stage
    forwards: Mapping[str, tuple[int, ...]]  # clips that go through the network, by stage, a number for each GPU
    backwards: Mapping[str, tuple[int, ...]]  # clips of these that go back through it
    too_large: tuple[str, ...]  # stages whose memory is not there
    shapes: Mapping[str, ShapeForecast] | None = None  # by size and length; null where all clips have one
    unit: Literal["clip", "pair"] = "clip"  # what `clips` counts
    half: HalfSize | None = None  # null where clips have several sizes, or the model takes no smaller one
    # 2^30 bytes on the disk: `checkpoints` of a run, its `weights`, and `latents`; videos come on top
    disk_gb: Mapping[str, float] = field(default_factory=dict)


def options_of(settings: Settings) -> LoadOptions:
    """How a project's model is held on a GPU."""
    size = settings.backbone
    dtype = size.dtype
    if dtype == "auto":  # an adapter is float32 over bfloat16 weights; all weights are trained in float32
        dtype = "bfloat16" if settings.train.trainable == "lora" else "mixed"
    return load_options(size, dtype)


def model_of(folder: Folder, settings: Settings) -> ModelCosts:
    """Costs of the model whose configurations lie in `folder`, at a project's size.

    Raises ValueError: see `rushes.inspect.dry_run.dry_run`.
    """
    size, train, options = settings.backbone, settings.train, options_of(settings)
    spec = find_family(folder.pipeline).spec(folder, options)
    cost = dry_run(
        folder, options, size.shape, train.trainable, train.lora_rank, size.first_frame, activations=train.activations
    )
    return ModelCosts(spec, cost, codec_cost(folder, options, size.shape), reader_cost(folder, options))


def model_at_hand(settings: Settings) -> ModelCosts:
    """The same for a backbone that is in no folder of diffusers' layout: it is loaded and runs once on a CPU."""
    size = settings.backbone
    backbone = load_model(size)
    assert not isinstance(backbone, DiffusersBackbone)
    make_trainable(backbone, settings.train)
    latents = latent_size(backbone, size.shape)
    first = torch.zeros(1, latents[0], *latents[2:]) if size.first_frame else None
    weights = list(backbone.network.parameters())
    trained = [p for p in weights if p.requires_grad]
    cost = Cost(
        parameters=sum(p.numel() for p in weights),
        trained=sum(p.numel() for p in trained),
        trained_bytes=sum(p.numel() * p.element_size() for p in trained),
        weights=sum(p.numel() * p.element_size() for p in weights),
        latents=latents,
        **measured_passes(backbone, latents, backbone.condition(["a caption"], first)),
    )
    return ModelCosts(backbone.spec, cost, _codec_at_hand(backbone, settings, latents), ReaderCost())


def _codec_at_hand(backbone: Backbone, settings: Settings, latents: Sequence[int]) -> CodecCost:
    size = settings.backbone
    first = np.zeros((1, 1, size.height_px, size.width_px, 3), np.uint8)
    with CostCounter() as of_clip, torch.no_grad():
        backbone.encode(first.repeat(size.frames, 1))
    with CostCounter() as of_first, torch.no_grad():
        backbone.encode(first)
    with CostCounter() as decoded, torch.no_grad():
        backbone.decode(torch.zeros(1, *latents))
    return CodecCost.counted(0, of_clip, of_first, decoded)


def forecast_job(
    model: ModelCosts, settings: Settings, numbers: JobSize, machine: Machine, views: int = 0
) -> JobForecast:
    """The forecast of a step (`rushes.inspect.step_forecast.forecast`) and of the whole job, clips all of one shape.

    `views`: of the step, in place of what the recipe makes.

    Raises ValueError: a recipe that refuses the settings.
    """
    shape = clip_comparisons(settings)
    ask = ask_of(settings, machine, shape)
    mode = _mode(model.cost, ask, settings, shape)
    shared_by = replace(numbers, gpus=machine.gpus)
    stages = workload(settings, shape, shared_by, model.spec, model.cost.latents, mode=mode)
    shared = {name: machine.gpus if SHARES[name] == "shared" else 1 for name in stages}
    hours = {name: _seconds(model, stage, machine, shared[name]) / 3600 for name, stage in stages.items()}
    gib = {name: size / GIB for name, size in _memory(model, settings, ask, mode).items() if name in stages}
    step = replace(forecast_of(model.cost, ask), mode=mode)
    return JobForecast(
        step=forecast_of(model.cost, replace(ask, views=views)) if views else step,
        clips=numbers.clips,
        prompts=numbers.prompts,
        takes=settings.generate.takes if "generate" in stages else 0,
        gpus=machine.gpus,
        hours={name: round(value, 3) for name, value in hours.items()},
        total_hours=round(sum(hours.values()), 2),
        gib={name: round(value, 2) for name, value in gib.items()},
        forwards={name: _through(stage) for name, stage in stages.items() if any(_through(stage))},
        backwards={name: tuple(stage.backward) for name, stage in stages.items() if any(stage.backward)},
        too_large=tuple(name for name, value in gib.items() if value > USABLE * machine.memory_gb),
        unit="pair" if settings.footage.kind == "pairs" else "clip",
        disk_gb=_disk(model.cost, ask, settings, stages.get("encode")),
    )


def _disk(cost: Cost, ask: ForecastRequest, settings: Settings, encode: StageWork | None) -> dict[str, float]:
    """GiB on the disk while a run trains: the two newest checkpoints, and the next one until it is whole."""
    state = 1 + MOMENTS[ask.optimizer] + ask.average + (settings.train.reference != "frozen")  # by trained weights
    sizes = {
        "checkpoints": 3 * state * cost.trained_bytes,
        "weights": cost.trained_bytes,
        "latents": 4 * (encode.encoded if encode else 0) * prod(cost.latents),
    }
    return {name: round(size / GIB, 3) for name, size in sizes.items()}


def together(jobs: Mapping[str, JobForecast], numbers: Mapping[str, JobSize]) -> JobForecast:
    """One job of clips of several shapes, from what it would be were all clips of each of them.

    A step has comparisons of every shape by their share of the clips, so hours and passes are means by these shares,
    those of evaluation by shares of the prompts. Memory is that of the shape which needs most, and the step is its.

    Args:
        jobs: by shape, in words.
        numbers: how many clips and prompts have that shape.
    """
    clips, prompts = sum(each.clips for each in numbers.values()), sum(each.prompts for each in numbers.values())
    stages = dict.fromkeys(name for job in jobs.values() for name in job.hours)

    def share(shape: str, stage: str) -> float:
        part, whole = (numbers[shape].prompts, prompts) if stage == "evaluate" else (numbers[shape].clips, clips)
        return part / whole if whole else 0.0

    hours = {
        shape: {stage: share(shape, stage) * job.hours[stage] for stage in stages if stage in job.hours}
        for shape, job in jobs.items()
    }
    largest = max(jobs.values(), key=lambda job: job.gib["train"])
    every = {stage: round(sum(of.get(stage, 0.0) for of in hours.values()), 3) for stage in stages}

    def passes(name: Literal["forwards", "backwards"], stage: str) -> tuple[int, ...]:
        by_gpu = [
            [share(shape, stage) * n for n in getattr(job, name).get(stage, (0,) * job.gpus)]
            for shape, job in jobs.items()
        ]
        return tuple(round(sum(column)) for column in zip(*by_gpu, strict=True))

    return replace(
        largest,
        hours=every,
        total_hours=round(sum(every.values()), 2),
        gib={stage: max(job.gib.get(stage, 0.0) for job in jobs.values()) for stage in stages},
        forwards={stage: passes("forwards", stage) for stage in largest.forwards},
        backwards={stage: passes("backwards", stage) for stage in largest.backwards},
        too_large=tuple(stage for stage in stages if any(stage in job.too_large for job in jobs.values())),
        shapes={
            shape: ShapeForecast(numbers[shape].clips, numbers[shape].prompts, round(sum(hours[shape].values()), 2))
            for shape in jobs
        },
    )


def ask_of(settings: Settings, machine: Machine, shape: ClipComparisons) -> ForecastRequest:
    """What the forecast of a step is asked for, where the recipe makes this of a clip."""
    size, train = settings.backbone, settings.train
    return ForecastRequest(
        size.shape,
        options_of(settings),
        train.trainable,
        rank=train.lora_rank,
        views=shape.widest,
        batch=ceil(train.batch / machine.gpus),
        reference_cache=bool(train.reference_cache),
        gpu_memory_gb=machine.memory_gb,
        tflops=machine.tflops,
        first_frame=size.first_frame,
        waiting=max(map(waiting_views, shape.comparisons), default=0),
        reference=shape.reference,
        activations=train.activations,
        optimizer=train.optimizer,
        average=bool(train.weights_ema),
        losers=train.objective.safe_dpo,
        shards=machine.gpus if train.parallel == "shard" else 1,
    )


def _mode(cost: Cost, ask: ForecastRequest, settings: Settings, shape: ClipComparisons) -> GradientMode:
    """How gradients are taken: as the settings say, or as `rushes.training.memory` chooses."""
    if settings.train.gradients != "auto":
        return settings.train.gradients
    room = SHARE_GPU * (ask.gpu_memory_gb * GIB - sum(static_memory(cost, ask).values()) / ask.shards)
    if settings.train.memory_mb:
        room = settings.train.memory_mb * 2**20
    if shape.widest * cost.activations <= room:
        return "joint"
    return "two_pass" if shape.by_segment else "stash"


def _through(stage: StageWork) -> tuple[int, ...]:
    """Clips that go through the network, by GPU."""
    return tuple(there + back for there, back in zip(stage.forward, stage.backward, strict=False))


def _seconds(model: ModelCosts, stage: StageWork, machine: Machine, gpus: int) -> float:
    """Until the last GPU has done its part; so many share what the codec and the encoders of captions do."""
    codec, cost = model.codec, model.cost
    passes = zip(stage.forward, stage.backward, strict=False)
    network = max(there * cost.forward + back * cost.both for there, back in passes)
    coded = stage.encoded * codec.encode + stage.first_frames * codec.encode_first + stage.decoded * codec.decode
    read = stage.captions * model.reader.operations
    return (network + (read + coded / CODEC_SHARE) / gpus) / (1e12 * machine.tflops)


def _memory(model: ModelCosts, settings: Settings, ask: ForecastRequest, mode: GradientMode) -> dict[str, float]:
    """Bytes on the GPU that needs most, by stage."""
    cost, codec, static = model.cost, model.codec, static_memory(model.cost, ask)
    held = weights_there(cost, ask.options)
    coded = codec.weights + codec.decode_bytes  # beside the network, when it is done with its takes
    taken = max(settings.generate.batch * cost.sampling, coded)
    trained = sum(static.values()) / ask.shards
    room = SHARE_GPU * (ask.gpu_memory_gb * GIB - trained)
    views = ask.views * (ask.batch if ask.views * ask.batch * cost.activations <= room else 1)
    rows = min(max(1, POSITIONS // int(np.prod(cost.latents[1:]))), ask.views * ask.batch)
    # In bfloat16, which autocast keeps of trained weights.
    copies = 2 * cost.trained if ask.options.dtype == "mixed" else 0
    seen = rows * cost.sampling + copies
    sizes = {
        "read": float(model.reader.weights),
        "encode": float(codec.weights + codec.encode_bytes),
        "reference_cache": trained + cost.sampling + copies,
        "train": trained + activations_of(cost, views)[mode],
        "probes": trained + seen,
        "samples": trained + taken + copies,
    }
    makers = dict.fromkeys(("eta", "generate", "evaluate"), held + taken)  # one network at a time
    return {name: {**sizes, **makers}[name] for name in SHARES}


def _hours(hours: float, digits: int = 2) -> str:
    """Hours; so few that nothing would be left of them by their bound."""
    least = 10.0**-digits
    return f"{hours:.{digits}f} h" if hours >= least / 2 else f"under {least:g} h"


def in_words(job: JobForecast) -> list[str]:
    """The forecast of the job as lines, after those of the step."""
    takes = f", {job.takes} takes each" if job.unit == "clip" else ""
    size = f"{counted(job.clips, job.unit)}{takes}, {counted(job.prompts, 'held-out prompt')}"
    lines = [f"forecast of the whole job on {job.gpus} GPU{'s' * (job.gpus > 1)}: {size}"]
    for name, hours in job.hours.items():
        passes = job.forwards.get(name, (0,))
        through = f", {max(passes)} clips through the network" if max(passes) else ""
        lonely = SHARES[name] != "shared" and job.gpus > 1
        alone = {"first": ", on one GPU", "each": ", all of it on each GPU"}.get(SHARES[name], "") if lonely else ""
        room = " (too large)" if name in job.too_large else ""
        lines.append(f"{name.replace('_', ' ')}: {_hours(hours)}, {job.gib[name]:.1f} GiB{room}{through}{alone}")
    for name, part in (job.shapes or {}).items():
        lines.append(f"part {name}: {_hours(part.hours)}, {part.clips} clips, {part.prompts} prompts")
    if half := job.half:
        at = f"half size, {half.height_px} x {half.width_px} px"
        lines.append(f"{at}: {_hours(half.hours)} for all stages, {half.gib:.1f} GiB")
    sizes = ", ".join(f"{name} {size:.1f}" for name, size in job.disk_gb.items())
    lines.append(f"disk, GiB: {sizes}; videos come on top")
    return [*lines, f"all stages: {_hours(job.total_hours, 1)} at {job.step.tflops:g} TFLOP/s (an assumed speed)"]
