"""How the picture looks, how that drifts over the clip, and whether the clip starts from the still it was given."""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from rushes.arrays import Frames, Reals
from rushes.media.resize import resize_frame
from rushes.metrics.base import ANALYSED_PX, Measurement, Shot, luma, pool, shrink
from rushes.metrics.movement import moving

FrameLevels = Callable[[Shot], NDArray[np.float64]]

_GRID_PX = 8  # side of a coding block of JPEG and the MPEG family
_WINDOW_PX, _SIGMA_PX = 11, 1.5  # Wang et al. 2004


def sharpness_F(shot: Shot) -> NDArray[np.float64]:
    """log10(1 + variance of the Laplacian of brightness) per frame, at the clip's own size."""
    return np.array([math.log10(1 + cv2.Laplacian(luma(frame), cv2.CV_32F).var()) for frame in shot.frames_FHWC])


def saturation_F(shot: Shot) -> NDArray[np.float64]:
    """Largest minus smallest channel, summed over the frame, over the sum of the largest; dark noise weighs little."""
    return np.array([_saturation(frame) for frame in shot.small_FHWC])


def contrast_F(shot: Shot) -> NDArray[np.float64]:
    """Standard deviation of brightness per frame, black 0, white 1."""
    return np.asarray(shot.luma_FHW.std((1, 2)) / 255)


def brightness_F(shot: Shot) -> NDArray[np.float64]:
    """Mean brightness per frame, black 0, white 1."""
    return np.asarray(shot.luma_FHW.mean((1, 2)) / 255)


def level(levels: FrameLevels) -> Callable[[Shot], Measurement]:
    """The mean of a level over the frames."""
    return lambda shot: pool(shot, levels(shot), np.arange(len(shot.frames_FHWC)))


def drift(levels: FrameLevels) -> Callable[[Shot], Measurement]:
    """How far a level moves: its mean over the last quarter of the frames minus that over the first quarter, absolute.

    Per second, the same within the second. NaN where nothing moves, so that a frozen clip does not win.
    """

    def measure(shot: Shot) -> Measurement:
        moves = moving(shot)
        still_F = ~np.r_[moves[:1] if moves.size else False, moves]  # the first frame goes with the second
        rows = np.stack([levels(shot), still_F], 1)
        return pool(shot, rows, np.arange(len(rows)), _change)

    return measure


def first_frame_fidelity(shot: Shot) -> Measurement:
    """SSIM of the clip's first frame to the still it should start from, on brightness; NaN without a still.

    The still is brought to the frames' size as a backbone would: kept in its aspect ratio and cropped at the centre.
    """
    if shot.first_frame_HWC is None:
        return pool(shot, [math.nan], [0])
    height, width = shot.frames_FHWC.shape[1:3]
    still = resize_frame(shot.first_frame_HWC, (height, width), "crop")
    return pool(shot, [ssim(shot.luma_FHW[0], luma(shrink(still, ANALYSED_PX)))], [0])


def ssim(first_HW: NDArray[np.uint8], second_HW: NDArray[np.uint8]) -> float:
    """Structural similarity, -1..1, 1 for equal images (Wang et al. 2004: Gaussian window of 11 px, sigma 1.5).

    Only windows that lie inside the image count. Raises ValueError for unequal sizes.
    """
    if first_HW.shape != second_HW.shape:
        raise ValueError(f"ssim: images of {first_HW.shape} and {second_HW.shape} differ in size; resize one first")
    a, b = first_HW.astype(np.float64), second_HW.astype(np.float64)
    mean_a, mean_b = _window(a), _window(b)
    var_a, var_b = _window(a * a) - mean_a**2, _window(b * b) - mean_b**2
    together = _window(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    likeness = (2 * mean_a * mean_b + c1) * (2 * together + c2)
    likeness /= (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    return float(likeness.mean())


def blockiness(grey_HW: NDArray[np.uint8]) -> float:
    """How far the steps at the edges of 8-pixel blocks stand out of all others, as a factor; 1 = not at all.

    Mean step between neighbouring pixels, by place modulo 8; the strongest place against the second strongest, the
    lower of both directions. A grid that starts anywhere is found; one that was scaled to another size, or smoothed by
    the decoder as H.264 and later do, is not. Idea: Wang, Sheikh and Bovik 2002.
    """
    grey = grey_HW.astype(np.int16)
    return min(_stands_out(np.abs(np.diff(grey, axis=axis)).mean(1 - axis)) for axis in (0, 1))


def _stands_out(steps: Reals) -> float:
    if len(steps) < 2 * _GRID_PX:
        return 1.0
    by_place = sorted(float(steps[place::_GRID_PX].mean()) for place in range(_GRID_PX))
    return (by_place[-1] + 0.1) / (by_place[-2] + 0.1)  # a tenth of a grey level: flat pictures have no grid


def _window(image: Reals) -> Reals:
    edge = _WINDOW_PX // 2
    return np.asarray(cv2.GaussianBlur(image, (_WINDOW_PX,) * 2, _SIGMA_PX), np.float64)[edge:-edge, edge:-edge]


def _saturation(frame_HWC: Frames) -> float:
    red, green, blue = cv2.split(frame_HWC)
    largest = int(cv2.max(cv2.max(red, green), blue).sum(dtype=np.int64))
    smallest = int(cv2.min(cv2.min(red, green), blue).sum(dtype=np.int64))
    return (largest - smallest) / largest if largest else 0.0


def _change(rows: Reals) -> float:
    levels, still = rows[:, 0], rows[:, 1]
    if still.all() or len(levels) < 2:
        return math.nan
    quarter = max(1, len(levels) // 4)
    return float(abs(levels[-quarter:].mean() - levels[:quarter].mean()))


sharpness, sharpness_drift = level(sharpness_F), drift(sharpness_F)
saturation, saturation_drift = level(saturation_F), drift(saturation_F)
contrast, contrast_drift = level(contrast_F), drift(contrast_F)
brightness, brightness_drift = level(brightness_F), drift(brightness_F)
