"""Whether a step of a project's training fits a kind of GPU and, where not, what would."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from rushes.backbones.base import BackboneSpec
from rushes.backbones.folders import Folder
from rushes.backbones.offload import UNETS
from rushes.config.clip_shapes import ClipShape
from rushes.config.tables import Settings
from rushes.inspect.dry_run import find_family
from rushes.inspect.job_forecast import JobForecast, ModelCosts, ask_of, forecast_job, model_of, options_of
from rushes.inspect.part_costs import reader_cost
from rushes.inspect.planning import folder_for, machine
from rushes.inspect.step_forecast import (
    CHUNK,
    GIB,
    KINDS,
    USABLE,
    StepForecast,
    forecast,
    gpu_named,
)
from rushes.inspect.workload import JobSize, clip_comparisons
from rushes.project.defaults import with_values

SIDES = (1.0, 0.71, 0.5)  # shares of a frame's sides that are tried: all, half and a quarter of its area
LENGTHS = (1.0, 0.8, 0.6, 0.4, 0.2)  # and of its length
OF_60 = JobSize(60, 12)  # the job that stages are forecast for: no stage's memory depends on how many clips there are
NOTHING_FITS = "none of the smaller clips tried fits either, so use a larger GPU or a smaller model"


@dataclass(frozen=True)
class MemorySavings:
    """What saves memory and changes no prediction; what is not set stays as the settings have it."""

    activations: Literal["", "offload"] = ""
    chunk_size_feed_forward: int = 0
    offload: Literal[False, True, "idle_expert"] = False
    text_offload: bool = False

    @property
    def values(self) -> dict[str, bool | int | str]:
        """The settings by their paths."""
        tables = {"activations": "train"}
        return {f"{tables.get(name, 'backbone')}.{name}": value for name, value in vars(self).items() if value}

    def applied(self, settings: Settings) -> Settings:
        """Settings with them in place."""
        return with_values(settings, self.values)


@dataclass(frozen=True)
class Change:
    """A clip, and how the model is held, that might fit."""

    clip: ClipShape
    quantize: Literal["none", "8bit", "4bit"]
    savings: MemorySavings = MemorySavings()

    def applied(self, settings: Settings) -> Settings:
        """Settings with it in place."""
        size = {f"backbone.{name}": getattr(self.clip, name) for name in ("height_px", "width_px", "frames")}
        return with_values(settings, {**size, "backbone.quantize": self.quantize, **self.savings.values})

    def flags(self, settings: Settings) -> str:
        """What to give to `rushes init` for it; nothing of the savings, as they are chosen by themselves."""
        size, words = settings.backbone, []
        if (self.clip.height_px, self.clip.width_px) != (size.height_px, size.width_px):
            words.append(f"--size {self.clip.height_px}x{self.clip.width_px}")
        if self.clip.frames != size.frames:
            words.append(f"--frames {self.clip.frames}")
        if self.quantize != size.quantize:
            words.append(f"--set backbone.quantize={self.quantize}")
        return " ".join(words)


def savings_for(settings: Settings) -> list[MemorySavings]:
    """Savings of a training step, from none to all that go with the other settings."""
    size, train = settings.backbone, settings.train
    steps = [MemorySavings()]
    if not size.gradient_checkpointing or size.name in UNETS:
        return steps
    steps += [MemorySavings("offload"), MemorySavings("offload", CHUNK)]
    if train.trainable == "lora" and train.parallel == "replicate" and size.quantize == "none":
        steps.append(replace(steps[-1], offload=True))
    elif size.quantize == "4bit" and size.name == "wan":  # which has models of two experts
        steps.append(replace(steps[-1], offload="idle_expert"))
    return steps


def fitted_to(settings: Settings, gpu: str) -> MemorySavings:
    """What one training step and what reads captions need to fit a kind of GPU: the least of `savings_for`, and layers
    of text encoders that come one by one.

    Raises ValueError: no such GPU, a model without a forecast, a step or text encoders that do not fit.
    """
    folder = folder_for(settings)
    savings = check_fits(folder, settings, gpu)
    return replace(savings, text_offload=reads_by_layers(folder, settings, gpu))


def reads_by_layers(folder: Folder, settings: Settings, gpu: str) -> bool:
    """Whether layers of the text encoders must come one by one to fit a kind of GPU; captions are read as they are.

    Raises ValueError: they do not fit in any way.
    """
    options, room = options_of(settings), KINDS[gpu].memory_gb
    taken = reader_cost(folder, options).weights / GIB
    if taken <= USABLE * room:
        return False
    by_layers = replace(options, text_offload=True)
    if options.text_quantize == "none" and reader_cost(folder, by_layers).weights / GIB <= USABLE * room:
        return True
    raise ValueError(f"--gpu {gpu}: the text encoders need {taken:.0f} GiB, but the GPU has {room}; use a larger GPU")


def too_large(settings: Settings, savings: MemorySavings, gpu: str) -> list[str]:
    """What to say of stages of a job of 60 clips that a kind of GPU has no memory for, with the least change of the
    clip for which all have; nothing where all fit.

    Args:
        settings: as they were asked for.
        savings: what `fitted_to` chose for them.

    Raises ValueError: a model without a forecast.
    """
    folder, fitted = folder_for(settings), savings.applied(settings)
    models = {fitted.backbone.quantize: model_of(folder, fitted)}
    job = _job(models[fitted.backbone.quantize], fitted, gpu)
    if not job.too_large:
        return []
    stages = ", ".join(f"{name.replace('_', ' ')} needs {job.gib[name]:.0f} GiB" for name in job.too_large)
    start = f"{stages} by forecast, but {gpu} has {KINDS[gpu].memory_gb}"
    settings = MemorySavings(text_offload=savings.text_offload).applied(settings)  # whatever the clip
    asked = _asked(settings)
    hopeless = asked.clip if "encode" in job.too_large else None  # as fewer bits leave the codec as it is
    for change in _changes(settings, asked, models[fitted.backbone.quantize].spec):
        if change.clip == hopeless:
            continue
        if change.quantize not in models:
            models[change.quantize] = model_of(folder, replace(change, clip=asked.clip).applied(settings))
        model = _smaller(models[change.quantize], _share(asked.clip, change.clip))
        estimate = _job(model, change.applied(settings), gpu).too_large
        hopeless = change.clip if "encode" in estimate else None
        if not estimate and _all_fit(folder, replace(change, savings=MemorySavings()).applied(settings), gpu):
            return [f"{start}; all stages fit with {change.flags(settings)}"]
    return [f"{start}; {NOTHING_FITS}"]


def _all_fit(folder: Folder, settings: Settings, gpu: str) -> bool:
    """Whether all stages fit with the first of the savings that a step fits with, which is what is chosen."""
    for savings in savings_for(settings):
        held = savings.applied(settings)
        job = _job(model_of(folder, held), held, gpu)
        if job.step.fits:
            return not job.too_large
    return False


def check_fits(folder: Folder, settings: Settings, gpu: str) -> MemorySavings:
    """The least of `savings_for` with which a step fits a kind of GPU; where none does, an error names a smaller clip.

    Raises ValueError: no such GPU, a model without a forecast, or a step that does not fit.
    """
    gpu = gpu_named(gpu)
    size, asked, facts = settings.backbone, _asked(settings), {}
    for savings in savings_for(settings):
        facts[asked.quantize] = _forecast(folder, savings.applied(settings), gpu)
        if facts[asked.quantize].fits:
            return savings
    clip = f"{size.height_px} x {size.width_px} px x {size.frames} frames"
    needed = _gib(facts[asked.quantize])
    step, room = f"a step of {settings.train.recipe} at {clip}", KINDS[gpu].memory_gb
    start = f"--gpu {gpu}: {step} needs {needed:.0f} GiB, but the GPU has {room}"
    spec = find_family(folder.pipeline).spec(folder, options_of(settings))
    for change in _changes(settings, asked, spec):
        if change.quantize not in facts:
            facts[change.quantize] = _forecast(folder, replace(change, clip=asked.clip).applied(settings), gpu)
        # A dry run of a large model takes seconds. Activations are in proportion to pixels: estimated, then made sure.
        if _estimate(facts[change.quantize], asked.clip, change.clip) > USABLE * room:
            continue
        if _forecast(folder, change.applied(settings), gpu).fits:
            raise ValueError(f"{start}; it fits with {change.flags(settings)}")
    raise ValueError(f"{start}; {NOTHING_FITS}")


def _asked(settings: Settings) -> Change:
    return Change(settings.backbone.shape, settings.backbone.quantize)


def _changes(settings: Settings, asked: Change, spec: BackboneSpec) -> Iterator[Change]:
    """From the least to the greatest: fewer bits, then shorter clips, then smaller ones."""
    clip = asked.clip
    bits: list[Literal["none", "8bit", "4bit"]] = [asked.quantize]
    if asked.quantize == "none" and settings.train.trainable == "lora" and settings.backbone.name != "inflated_sd":
        bits.append("4bit")
        yield Change(clip, "4bit", _most(settings, "4bit"))
    multiple = spec.multiple_px or spec.spatial_ratio
    sides = (1.0,) if spec.only_px else SIDES
    for height, width in ((_down(clip.height_px * s, multiple), _down(clip.width_px * s, multiple)) for s in sides):
        for frames in (spec.largest(1 + int((clip.frames - 1) * share)) for share in LENGTHS):
            smaller = ClipShape(height, width, frames)
            if smaller != clip and frames > 1:
                yield from (Change(smaller, each, _most(settings, each)) for each in bits)


def _most(settings: Settings, bits: Literal["none", "8bit", "4bit"]) -> MemorySavings:
    return savings_for(with_values(settings, {"backbone.quantize": bits}))[-1]


def _down(side: float, multiple: int) -> int:
    return max(int(side) // multiple, 1) * multiple


def _estimate(forecasted: StepForecast, clip: ClipShape, smaller: ClipShape) -> float:
    """GiB for a smaller clip, from the forecast for a larger one."""
    return _gib(forecasted) - (1 - _share(clip, smaller)) * float(forecasted.memory_gb["activations of a view"])


def _share(clip: ClipShape, smaller: ClipShape) -> float:
    return (smaller.height_px * smaller.width_px * smaller.frames) / (clip.height_px * clip.width_px * clip.frames)


def _smaller(model: ModelCosts, share: float) -> ModelCosts:
    """Costs for a share of the pixels, where what is alive while a part works is in proportion to them."""

    def scaled(cost: Any, *names: str) -> Any:
        return replace(cost, **{name: round(share * getattr(cost, name)) for name in names})

    return replace(
        model,
        cost=scaled(model.cost, "saved", "forward_peak", "backward_peak", "sampling"),
        codec=scaled(model.codec, "encode_bytes", "decode_bytes"),
    )


def _gib(forecasted: StepForecast) -> float:
    """GiB of the way to take gradients that needs least."""
    return float(min(row.memory_gb for row in forecasted.modes.values()))


def _forecast(folder: Folder, settings: Settings, gpu: str) -> StepForecast:
    return forecast(folder, ask_of(settings, machine(gpu), clip_comparisons(settings)))


def _job(model: ModelCosts, settings: Settings, gpu: str) -> JobForecast:
    return forecast_job(model, settings, OF_60, machine(gpu))
