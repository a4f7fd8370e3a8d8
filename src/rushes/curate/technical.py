"""Is the recording good enough: size, blur, light, coding blocks, bars, lettering."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from rushes.arrays import Frames
from rushes.config.clip_shapes import Picture
from rushes.config.curate import TechnicalSettings
from rushes.config.tables import BackboneSettings, Settings
from rushes.curate.base import CurationFinding, MeasuredValues, Stage, Task, Threshold, within
from rushes.curate.frames import read_moments
from rushes.curate.picture import bars, blur, lettering, light
from rushes.files import MediaError
from rushes.media.resize import FitMode
from rushes.metrics.base import luma
from rushes.metrics.quality import blockiness

MOMENTS = 8


def make(settings: Settings, answers: Path) -> Stage:
    """The stage; its findings are `measures`."""
    thresholds = limits(settings.curate.technical, settings.backbone, settings.footage.fit)
    return Stage("technical", "technical.1", measure, within(thresholds), limits=thresholds)


def measure(task: Task) -> CurationFinding:
    """See `measures`, of a file. A file that does not decode to its end has a problem."""
    try:
        frames = read_moments(task.path, task.frames / task.fps, MOMENTS)
    except MediaError as error:
        return CurationFinding(problem=str(error))
    return CurationFinding(values={name: value for name, value in measures(frames).items() if np.isfinite(value)})


def measures(frames: Sequence[Frames]) -> dict[str, float]:
    """Values of a clip by moments of it, [H,W,3] uint8 RGB each. NaN where a picture has no edge at all.

    width_px, height_px: size as shown. blur, blockiness, brightness, crushed, blown: median over the moments, see
    `picture`. bars, text: shares of the picture, over all moments.
    """
    height, width = frames[0].shape[:2]
    lit = np.array([light(frame) for frame in frames])
    medians: Mapping[str, Callable[[Frames], float]] = {
        "blur": blur,
        "blockiness": lambda frame: blockiness(luma(frame)),
    }
    return {
        "width_px": float(width),
        "height_px": float(height),
        **{name: float(np.median([value_of(frame) for frame in frames])) for name, value_of in medians.items()},
        **dict(zip(("brightness", "crushed", "blown"), np.median(lit, 0).tolist(), strict=True)),
        "bars": bars(frames),
        "text": lettering(frames),
    }


def enlarged(values: MeasuredValues, size: BackboneSettings, fit: FitMode) -> float | None:
    """How many times a frame is enlarged to fill the backbone's size, the larger of both directions; None = unknown."""
    if not {"width_px", "height_px"} <= values.keys():
        return None
    shape = size.shape_of(Picture(int(values["width_px"]), int(values["height_px"])))  # sizes alone count here
    factors = shape.width_px / values["width_px"], shape.height_px / values["height_px"]
    return min(factors) if fit == "pad" else max(factors)


def limits(table: TechnicalSettings, size: BackboneSettings, fit: FitMode) -> tuple[Threshold, ...]:
    """The thresholds, in the order in which they are looked at."""
    grow = partial(enlarged, size=size, fit=fit)
    return (
        Threshold("enlarged", "enlargement to reach the model's size, times", high=table.max_enlarged, of=grow),
        Threshold("brightness", "brightness", low=table.min_brightness, high=table.max_brightness),
        Threshold("blown", "share blown out to white", high=table.max_blown),
        Threshold("bars", "share of the picture under bars", high=table.max_bars),
        Threshold("text", "share of the picture under text", high=table.max_text),
        Threshold("blockiness", "blockiness", high=table.max_blockiness),
        Threshold("blur", "blur", high=table.max_blur, missing="no edge in the picture"),
    )
