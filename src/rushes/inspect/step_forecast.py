"""`rushes plan`: memory and seconds of a training step before any weight is loaded, and what to change to make it fit.

Operations and activations come from a dry run (`rushes.inspect.dry_run`), memory of what is trained from the trainer's
own habits: AdamW with two moments in the weights' dtype, a reference in float32, a stash of one gradient.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from math import ceil
from pathlib import Path

from rushes.backbones.base import LoadOptions
from rushes.backbones.folders import Folder, open_folder, read_folder
from rushes.backbones.model_defaults import all_models, released
from rushes.config.clip_shapes import ClipShape
from rushes.inspect.dry_run import Cost, dry_run, find_family
from rushes.project.settings_checks import unknown
from rushes.training.activations import Where
from rushes.training.optimisers import MOMENTS, OptimiserName


@dataclass(frozen=True)
class Gpu:
    """One kind."""

    memory_gb: float  # 2^30 bytes each
    tflops: float  # 10^12 dense bfloat16 operations a second, added up in float32
    source: str  # of these


_TABLE = tomllib.loads(resources.files("rushes.inspect").joinpath("gpus.toml").read_text("utf-8"))
KINDS = {name: Gpu(**row) for name, row in _TABLE.items()}
GIB = 2**30
SHARE_OF_PEAK = 0.4  # of the data sheet's operations that the network is taken to reach; not measured on a GPU
USABLE = 0.95  # of a GPU's memory; the driver and fragments take the rest
# What tests measure on a CPU against these forecasts, as a share. On a GPU kernels need workspace besides.
CHUNK = 4096  # tokens that feed-forward layers take at once on small cards
ERRORS = {"activations": 0.02, "operations": 0.001}


def gpu_named(text: str) -> str:
    """The kind of GPU that a user means, such as rtx4090 by "RTX 4090" or "4090".

    Raises ValueError: none, with those that there are.
    """
    plain = text.lower().replace(" ", "")
    for kind in KINDS:
        if plain in (kind, kind.removeprefix("rtx")):
            return kind
    raise ValueError(f"--gpu: {unknown('GPU', text, KINDS)}")


def gpu_seen(name: str, memory_gib: float) -> str:
    """The kind of a GPU that torch calls so, "" where none fits: of several that with the nearest memory."""
    plain = name.lower().replace(" ", "").replace("-", "")
    fits = [kind for kind in KINDS if kind.partition("-")[0] in plain]
    return min(fits, key=lambda kind: (abs(KINDS[kind].memory_gb - memory_gib), -len(kind)), default="")


@dataclass(frozen=True)
class ForecastRequest:
    """What a forecast is wanted for."""

    clip: ClipShape
    options: LoadOptions
    tune: str
    rank: int
    views: int  # of a comparison; each goes through the network once
    batch: int  # comparisons in a step on one GPU
    reference_cache: bool  # whether the reference's errors are looked up
    gpu_memory_gb: float  # 2^30 bytes each
    tflops: float  # 10^12 operations a second that a step reaches
    first_frame: bool = False  # whether a model that may be given a first frame is given one
    waiting: int = 1  # views of a comparison that two_pass takes once more
    reference: bool = True  # whether the recipe compares with the reference
    activations: Where = "keep"  # where they wait for the backward pass
    optimizer: OptimiserName = "adamw"  # by `train.optimizer`
    average: bool = False  # whether an average of the trained weights is kept (`train.weights_ema`)
    losers: bool = False  # whether losers' gradients are kept apart (`train.objective.safe_dpo`)
    shards: int = 1  # GPUs that the weights and what belongs to them are spread over (`train.parallel`)


@dataclass(frozen=True)
class ModeForecast:
    """A step with gradients taken in one way."""

    memory_gb: float  # 2^30 bytes
    fits: bool  # the GPU
    step_s: float  # seconds


@dataclass(frozen=True)
class StepForecast:
    """A training step, before anything is loaded; memory in 2^30 bytes."""

    parameters: int  # parameters of the network
    trained: int  # parameters that are trained
    latents: tuple[int, ...]  # channels, frames, height, width of a clip
    memory_gb: Mapping[str, float]  # by what holds it
    modes: Mapping[str, ModeForecast]  # by how gradients are taken
    fits: bool  # whether a step fits in one of the modes
    mode: str  # mode that training would use
    step_tflop: float  # 10^12 operations
    step_s: float  # seconds
    tflops: float  # 10^12 operations a second, assumed
    gpu_memory_gb: float  # memory of one GPU
    remedies: tuple[str, ...]  # what to change where nothing fits, most useful first
    errors: Mapping[str, float]  # share by which a CPU's measurements differ from such forecasts
    main_memory_gb: Mapping[str, float] = field(default_factory=dict)  # main memory by what holds it, 2^30 bytes


def model_folder(model: str) -> Folder:
    """A released model by its name, or the one in a folder, whose weights are looked at and not loaded.

    Raises ValueError: neither; a folder that is not a model, is not whole, or of a family without a forecast.
    """
    folder = Path(model)
    if model in list(all_models()) or not folder.is_dir():
        try:
            return released(model)
        except ValueError as error:
            raise ValueError(f"--model: {error}; or give the folder of a model in diffusers' layout") from None
    family = find_family(read_folder(model).pipeline)
    return open_folder(model, family.name, family.pipelines)


def forecast(model: Folder, ask: ForecastRequest) -> StepForecast:
    """Memory, seconds, which ways to take gradients fit, and remedies where none does.

    Raises ValueError: see `rushes.inspect.dry_run.dry_run`.
    """
    return forecast_of(
        dry_run(model, ask.options, ask.clip, ask.tune, ask.rank, ask.first_frame, activations=ask.activations), ask
    )


def forecast_of(cost: Cost, ask: ForecastRequest) -> StepForecast:
    """The same from a cost that was found."""
    memory = {name: size // ask.shards for name, size in static_memory(cost, ask).items()}
    modes = _modes(cost, ask, sum(memory.values()))
    fitting = [name for name, row in modes.items() if row.fits]
    taken = fitting[0] if fitting else "stash"
    return StepForecast(
        parameters=cost.parameters,
        trained=cost.trained,
        latents=tuple(cost.latents),
        memory_gb={name: round(size / GIB, 3) for name, size in memory.items()}
        | {"activations of a view": round(cost.activations / GIB, 3)},
        modes=modes,
        fits=bool(fitting),
        mode=taken,
        step_tflop=round(operations(cost, ask, taken) / 1e12, 1),
        step_s=round(operations(cost, ask, taken) / 1e12 / ask.tflops, 2),
        tflops=ask.tflops,
        gpu_memory_gb=ask.gpu_memory_gb,
        remedies=() if fitting else tuple(remedies(cost, ask)),
        errors=ERRORS,
        main_memory_gb={name: round(size / GIB, 3) for name, size in main_memory(cost, ask).items()},
    )


def static_memory(cost: Cost, ask: ForecastRequest) -> dict[str, int]:
    """Bytes that are held on the GPU all the time, by what holds them."""
    return {
        "weights": weights_there(cost, ask.options),
        "gradients": cost.trained_bytes,
        "optimiser": round(MOMENTS[ask.optimizer] * cost.trained_bytes),
        "reference": 4 * cost.trained,
        **({"average": cost.trained_bytes} if ask.average else {}),
        **({"losers' gradients": cost.trained_bytes} if ask.losers else {}),
    }


def weights_there(cost: Cost, options: LoadOptions) -> int:
    """Bytes of the weights that are on the GPU at once."""
    if options.offload is True:
        return cost.resident
    return cost.weights // cost.networks if options.offload else cost.weights


def main_memory(cost: Cost, ask: ForecastRequest) -> dict[str, int]:
    """Bytes of main memory by what holds them: weights that come and go, activations that wait."""
    away = (
        cost.weights - cost.trained_bytes
        if ask.options.offload is True
        else cost.weights - weights_there(cost, ask.options)
    )
    return {"weights": away, "activations": cost.main_memory}


def activations_of(cost: Cost, together: int) -> dict[str, int]:
    """Bytes that activations take by how gradients are taken, where so many views are in one graph."""
    view = cost.activations + cost.unpacked
    return {
        "joint": together * cost.activations + cost.unpacked,
        "stash": view + cost.trained_bytes,
        "two_pass": view,
    }


def _modes(cost: Cost, ask: ForecastRequest, static: int) -> Mapping[str, ModeForecast]:
    activations = activations_of(cost, ask.views * ask.batch)
    if ask.views * ask.batch == 1:  # then all are one
        activations = {"joint": activations["joint"]}
    return {
        name: ModeForecast(
            memory_gb=round((static + size) / GIB, 2),
            fits=static + size <= USABLE * ask.gpu_memory_gb * GIB,
            step_s=round(operations(cost, ask, name) / 1e12 / ask.tflops, 2),
        )
        for name, size in activations.items()
    }


def operations(cost: Cost, ask: ForecastRequest, mode: str) -> float:
    """Operations of a step: each view forward and backward, what is computed again among it; in the reference unless
    that is looked up; and by two_pass those views once more that wait for others.
    """
    beside = 0.0 if ask.reference_cache or ask.views == 1 or not ask.reference else ask.views * cost.forward
    again = ask.waiting * cost.forward if mode == "two_pass" else 0.0
    return ask.batch * (ask.views * cost.both + beside + again)


def remedies(cost: Cost, ask: ForecastRequest) -> Iterator[str]:
    """What to change where no way to take gradients fits, most useful first."""
    room, static = USABLE * ask.gpu_memory_gb * GIB, sum(static_memory(cost, ask).values())
    if not ask.options.checkpointing:
        yield (
            "set backbone.gradient_checkpointing to true: activations need a small part of the memory, for a third "
            "more operations"
        )
    if ask.tune == "full":
        yield "train an adapter (train.trainable lora): gradients, optimiser and reference need almost no memory"
    if ask.options.checkpointing and ask.activations == "keep":
        yield "move activations to main memory (train.activations offload): the inputs of all blocks leave the GPU"
    if not ask.options.feed_forward_chunk:
        yield (
            f"set backbone.chunk_size_feed_forward to {CHUNK}: a block's widest activations shrink, for 5 % more "
            "operations"
        )
    if ask.tune == "lora" and ask.options.quantize == "none" and not ask.options.offload:
        yield "move blocks to the GPU one by one (backbone.offload true), if main memory can hold the weights"
    if ask.tune == "full" and ask.optimizer == "adamw":
        yield "store the optimiser's moments in 8 bits (train.optimizer adamw_8bit): a quarter of their memory"
    if ask.options.dtype in ("float32", "mixed"):
        yield "set backbone.dtype to bfloat16: weights and activations use half the memory"
    if ask.tune == "lora" and ask.options.quantize == "none":
        yield "store the frozen weights in 4 bits (backbone.quantize 4bit): a quarter of their memory, with rounding"
    if ask.shards == 1 and cost.activations < room and static > room - cost.activations:
        count = ceil(static / (room - cost.activations))
        yield f'share the weights among {count} GPUs (train.parallel "shard", under torchrun)'
    if cost.activations > max(room - static, 0):
        yield "use fewer frames or a smaller size: activations shrink with the number of tokens"


def in_words(step: StepForecast) -> list[str]:
    """The forecast as lines."""
    memory = ", ".join(f"{name} {size:.2f}" for name, size in step.memory_gb.items())
    main = ", ".join(f"{name} {size:.2f}" for name, size in step.main_memory_gb.items() if size)
    lines = [
        f"{step.parameters / 1e9:.2f} billion weights, {step.trained / 1e6:.1f} million trained; latents "
        + " x ".join(str(n) for n in step.latents),
        f"memory in GB: {memory}",
    ]
    for name, row in step.modes.items():
        fits = "fits" if row.fits else "does not fit"
        lines.append(
            f"gradients {name}: {row.memory_gb:.1f} GB, which {fits} {step.gpu_memory_gb:g} GB; {row.step_s:.2f} s per "
            f"step at {step.tflops:g} TFLOP/s"
        )
    lines += [f"main memory in GB: {main}"] if main else []
    lines += [f"to make the step fit: {words}" for words in step.remedies]
    errors = ", ".join(f"{name} within {share:.1%}".replace(".0%", "%") for name, share in step.errors.items())
    return [*lines, f"a forecast; measured on a CPU: {errors}; seconds and GPU workspace were not measured"]
