"""Is the recording good enough: size, blur, light, coding blocks, bars, lettering."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rushes.arrays import Frames, Reals
from rushes.config.clip_shapes import HasPictureShape
from rushes.config.curate import TechnicalSettings
from rushes.config.tables import BackboneSettings, Settings
from rushes.curate.base import CurationFinding, MeasuredValues, Stage, Task, Threshold, within
from rushes.curate.frames import read_moments
from rushes.files import MediaError
from rushes.media.resize import FitMode
from rushes.metrics.base import luma, shrink
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

    width_px, height_px: size as shown. blur, blockiness, brightness, crushed, blown: median over the moments, by the
    functions below. bars, text: shares of the picture, over all moments.
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
    shape = size.shape_of(HasPictureShape(int(values["width_px"]), int(values["height_px"])))  # sizes alone count here
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


BLUR_PX = 256  # short side at which blur is measured: what is softer than this size can show counts
_BLUR_WINDOW = 11  # Crete et al. 2007
_BLACK, _WHITE = 20, 235  # grey levels that a bar lies below or above, ringing included
_BAR_SPREAD = 4.0  # grey levels by which a bar's pixels may differ
_STEP, _MUCH = 8, 0.3
_CRUSHED, _BLOWN = 4, 251
LETTERS_PX = 480  # short side at which lettering is looked for
_STROKE = 1 / 30  # largest width of a stroke, in frame heights
_CONTRAST, _STEADY, _SHADE = 45, 40, 25  # grey levels
_LETTER_PX, _LETTER_HIGH = 5, 0.12  # height of a letter, px and frame heights
_LETTERS = 6  # in a row


def blur(frame_HWC: Frames) -> float:
    """How little a picture changes when it is blurred once more, 0 (sharp) to 1 (nothing to lose), at 256 px.

    The larger of both directions. Unlike the variance of an edge filter it depends little on how much detail the scene
    has. NaN for a picture without any edge. Source: Crete et al. 2007, "The blur effect", with Sobel's filter.
    """
    grey = luma(shrink(frame_HWC, BLUR_PX)).astype(np.float32) / 255
    lost = [_lost(grey, axis) for axis in (0, 1)]
    return max(lost) if np.isfinite(lost).all() else float("nan")


def _lost(grey_HW: Reals, axis: int) -> float:
    window = (1, _BLUR_WINDOW) if axis == 0 else (_BLUR_WINDOW, 1)
    along = (0, 1) if axis == 0 else (1, 0)
    sharp, soft = (
        np.abs(cv2.Sobel(image, cv2.CV_32F, *along))[2:-2, 2:-2] for image in (grey_HW, cv2.blur(grey_HW, window))
    )
    edges = float(sharp.sum(dtype=np.float64))
    return 1 - float(np.maximum(0, sharp - soft).sum(dtype=np.float64)) / edges if edges > 1e-3 else float("nan")


def bars(frames: Sequence[Frames]) -> float:
    """Share of the picture, 0..1, that black or white bars take on all of `frames`: letterbox, pillarbox, both.

    A bar is even, black or white, and does not change. Bars of another colour or with a blurred picture in them go
    unseen; a picture that is all black counts as bar.
    """
    planes = np.stack([luma(frame) for frame in frames])
    low, high = planes.min(0), planes.max(0)
    height, width = low.shape
    top, bottom = _bar_lines(low, high)
    left, right = _bar_lines(low[top : height - bottom].T, high[top : height - bottom].T)
    return float(1 - (height - top - bottom) * (width - left - right) / (height * width))


def _bar_lines(low_NM: Frames, high_NM: Frames) -> tuple[int, int]:
    """Lines at both ends that hold nothing but bar, where the picture begins at once behind them."""
    if not low_NM.size:
        return 0, 0
    darkest, brightest = (np.percentile(lines, q, axis=1) for lines, q in ((low_NM, 2), (high_NM, 98)))
    even = brightest - darkest <= _BAR_SPREAD
    bar = even & ((brightest <= _BLACK) | (darkest >= _WHITE))
    inner = np.flatnonzero(~bar)
    if not inner.size:
        return len(bar), 0
    ends = int(inner[0]), len(bar) - 1 - int(inner[-1])
    behind = slice(ends[0], ends[0] + 3), slice(max(0, len(bar) - ends[1] - 3), len(bar) - ends[1])
    top, bottom = (
        end if end and _begins(low_NM[lines], high_NM[lines], dark) else 0
        for end, lines, dark in zip(ends, behind, (brightest[0] <= _BLACK, brightest[-1] <= _BLACK), strict=True)
    )
    return top, bottom


def _begins(low_NM: Frames, high_NM: Frames, dark: bool) -> bool:
    """Whether three lines behind a bar show something over much of their length; a night sky fades into the scene."""
    differs = high_NM.max(0) > _BLACK + _STEP if dark else low_NM.min(0) < _WHITE - _STEP
    return bool(differs.mean() >= _MUCH)


def light(frame_HWC: Frames) -> tuple[float, float, float]:
    """Mean brightness (share of white), and the shares of pixels that are crushed to black and blown to white, 0..1."""
    grey = luma(shrink(frame_HWC, BLUR_PX))
    return float(grey.mean() / 255), float((grey <= _CRUSHED).mean()), float((grey >= _BLOWN).mean())


def lettering(frames: Sequence[Frames]) -> float:
    """Share of the picture, 0..1, under lines of text that stand still while the clip goes on; the most at any time.

    A letter is a spot of thin strokes in one shade that stand out by 45 grey levels and hold still over three
    neighbouring moments; six in a row on one line are text: subtitles, titles, a name in a corner. Signs and labels
    within a scene that a steady camera looks at are text too. Logos, joined scripts and text that moves go unseen.
    """
    grey = np.stack([luma(shrink(frame, LETTERS_PX)) for frame in frames])
    run = min(3, len(grey))
    starts = {*range(0, len(grey) - run, run - 1), len(grey) - run}
    return max(_lettered(grey[at : at + run]) for at in starts)


def _lettered(grey_FHW: Frames) -> float:
    low, high = grey_FHW.min(0), grey_FHW.max(0)
    steady = cv2.subtract(high, low) < _STEADY
    side = max(5, round(low.shape[0] * _STROKE))
    around = np.ones((side, side), np.uint8)
    covered = np.zeros(low.shape, np.bool_)
    for plane, operation in ((low, cv2.MORPH_TOPHAT), (high, cv2.MORPH_BLACKHAT)):
        stands_out = cv2.morphologyEx(plane, operation, around)
        # More than 0.6 of the strongest nearby, as letters that touch at their soft rims are one spot else.
        strokes = steady & (stands_out > _CONTRAST) & (stands_out > 0.6 * cv2.dilate(stands_out, around))
        for left, top, right, bottom in _rows_of(_letters(strokes, plane)):
            covered[top:bottom, left:right] = True
    return float(covered.mean())


def _letters(strokes_HW: NDArray[np.bool_], plane_HW: Frames) -> Reals:
    """[N,5] spots of the size of a letter: left, top, right, bottom in px, and their shade."""
    count, spots, stats, _ = cv2.connectedComponentsWithStats(strokes_HW.astype(np.uint8), connectivity=8)
    left, top, wide, tall, area = stats[1:count].T
    fits = (tall >= _LETTER_PX) & (tall <= _LETTER_HIGH * strokes_HW.shape[0]) & (wide <= 1.6 * tall)
    fits &= (area >= 0.15 * wide * tall) & (wide >= 0.08 * tall)
    shade, shade2 = (
        np.bincount(spots.ravel(), values.ravel(), count)[1:] / area
        for values in (plane_HW.astype(np.float64), plane_HW.astype(np.float64) ** 2)
    )
    fits &= shade2 - shade**2 <= _SHADE**2
    return np.stack([column[fits].astype(np.float64) for column in (left, top, left + wide, top + tall, shade)], 1)


def _rows_of(letters_N5: Reals) -> Iterator[tuple[int, int, int, int]]:
    """Boxes (left, top, right, bottom) around letters that share a line, a size and a shade, without large gaps."""
    letters = letters_N5[np.argsort(letters_N5[:, 0], kind="stable")]
    left, top, right, bottom, shade = letters.T
    tall = bottom - top
    for at in range(len(letters)):
        same = (np.abs(bottom - bottom[at]) <= np.maximum(1, 0.12 * tall[at])) & (np.abs(shade - shade[at]) <= _SHADE)
        same &= (tall <= 1.7 * tall[at]) & (tall[at] <= 1.7 * tall)
        row = np.flatnonzero(same)
        breaks = np.flatnonzero(left[row[1:]] - right[row[:-1]] > 1.2 * tall[at]) + 1
        for group in np.split(row, breaks):
            if group[0] == at and len(group) >= _LETTERS:
                yield int(left[at]), int(top[group].min()), int(right[group].max()), int(bottom[group].max())
