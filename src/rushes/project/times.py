"""Training times of a run, out of its settings, its recipe and the model; and how they are shared out over experts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from rushes.backbones.base import BackboneSpec
from rushes.config.clip_shapes import ClipShape
from rushes.config.tables import Settings
from rushes.noise.draws import TimeDraw
from rushes.noise.paths import VariancePreserving
from rushes.training.probe import HIGH, LOW
from rushes.training.recipe import chosen_recipe, drawn_times

LEAST_SHARE = 0.05  # of the draws; an expert with fewer is hardly trained, and takes show it


def training_times(settings: Settings, spec: BackboneSpec) -> TimeDraw:
    """The distribution of training times: the recipe's, as far as `[train]` names no other.

    Raises:
        ValueError: settings that do not suit the model, one a line.
    """
    if problems := list(_problems(settings, spec)):
        raise ValueError("\n".join(problems))
    train = settings.train
    drawn = drawn_times(*chosen_recipe(train))
    least, most = _range_of(train.expert, spec)
    low, high = max(drawn.low, train.t_low, least), min(drawn.high, train.t_high, most)
    if low >= high:
        of = f" at which the {train.expert}-noise expert answers, {least:g} to {most:.6g}," if least or most < 1 else ""
        raise ValueError(
            f"train.t_low, t_high: there is no noise level{of} between {train.t_low:g} and {train.t_high:g}; widen the "
            "range"
        )
    size = settings.backbone
    own = {size.name_of(shape): _shift(settings, spec, drawn.shift, shape) for shape in size.shapes}
    shift = own.pop("")
    shifts = tuple((name, each) for name, each in own.items() if each != shift)
    return replace(drawn, kind=train.times or drawn.kind, low=low, high=high, shift=shift, shifts=shifts)


def _problems(settings: Settings, spec: BackboneSpec) -> Iterator[str]:
    train = settings.train
    if isinstance(spec.path, VariancePreserving):
        for where, shift in (("train.shift", train.shift), ("generate.shift", settings.generate.shift)):
            if shift not in (0.0, 1.0):
                yield (
                    f"{where}: {spec.name} has a variance-preserving schedule, which has no shift; set it to 0, got "
                    f"{shift:g}"
                )
    if train.expert != "both" and spec.boundary is None:
        yield (f"train.expert: {spec.name} has one network and no {train.expert}-noise expert; set it to both")


def _range_of(expert: str, spec: BackboneSpec) -> tuple[float, float]:
    """Noise levels at which an expert answers, of float32 times."""
    if spec.boundary is None or expert == "both":
        return 0.0, 1.0
    return (spec.boundary, 1.0) if expert == "high" else (0.0, float(np.nextafter(np.float32(spec.boundary), 0)))


def _shift(settings: Settings, spec: BackboneSpec, recipes: float, shape: ClipShape) -> float:
    """The shift of training times of clips of a shape; `recipes` is the recipe's own, 1 where it has none."""
    if isinstance(spec.path, VariancePreserving):
        return 1.0
    return settings.train.shift or (recipes if recipes != 1.0 else clip_shift(settings, spec, shape))


def clip_shift(settings: Settings, spec: BackboneSpec, shape: ClipShape) -> float:
    """The shift of the schedule on which takes of clips of a shape are sampled."""
    size = spec.latent_size(shape.frames, shape.height_px, shape.width_px)
    return settings.generate.shift or spec.sampling_shift(size)


def expert_shares(times: TimeDraw, spec: BackboneSpec) -> dict[str, float]:
    """Share of the draws that each of two experts gets, in closed form; empty where the model has one network."""
    if spec.boundary is None:
        return {}
    high = times.share(float(np.float32(spec.boundary)), 1.0)
    return {HIGH: round(high, 6), LOW: round(1.0 - high, 6)}


def times_in_words(settings: Settings, spec: BackboneSpec, times: TimeDraw) -> list[str]:
    """How the draws are shared out over experts, with a warning where one gets few; nothing for a single network."""
    shares = expert_shares(times, spec)
    if not shares:
        return []
    high, low = shares[HIGH], shares[LOW]
    lines = [f"train: high-noise expert {_percent(high)} of draws, low-noise {_percent(low)}"]
    few, other, least = ("high", "low", high) if high < low else ("low", "high", low)
    if settings.train.expert != "both" or least >= LEAST_SHARE:
        return lines
    if few == "high" and times.high <= (spec.boundary or 0.0):
        return [
            *lines,
            f"warning: train.t_high is {times.high:g}, but the high-noise expert works from {spec.boundary:g} up, so "
            "it is not trained; set train.t_high to 1",
        ]
    own = clip_shift(settings, spec, settings.backbone.shape)
    mend = f"set train.shift to 0, which is {own:g} here, as takes are sampled, or " if times.shift != own else "set "
    return [
        *lines,
        f"warning: the {few}-noise expert gets {_percent(least)} of draws, so it is hardly trained; {mend}train.expert "
        f'to "{other}" in one run and to "{few}" in a second that starts from it (train.init_from)',
    ]


def _percent(share: float) -> str:
    return f"{share:.1%}".replace(".0%", "%").replace("%", " %")


@dataclass(frozen=True)
class TimesResult:
    """Which noise levels a run is trained at."""

    kind: str  # base distribution: "uniform" or "logit_normal"
    low: float  # lowest noise level, 0 to 1
    high: float  # highest noise level, 0 to 1
    shift: float  # shift of the schedule; 1 = none
