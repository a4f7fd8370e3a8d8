"""Change the size of frames: area averaging to shrink, bicubic to enlarge, exact repetition for whole factors."""

from __future__ import annotations

from typing import Literal, get_args

import cv2
import numpy as np

from rushes.arrays import Frames

FitMode = Literal["crop", "stretch", "pad"]


def resize_frame(frame_HWC: Frames, size_px: tuple[int, int], fit: FitMode = "crop") -> Frames:
    """Bring one RGB frame to `size_px` = (height, width).

    `crop` keeps the aspect ratio and cuts what hangs over, evenly on both sides; `pad` keeps it and fills the rest
    with black; `stretch` does not keep it. Raises ValueError for an unknown `fit` or a size below one pixel.
    """
    check_size(size_px, fit)
    height, width = frame_HWC.shape[:2]
    to_height, to_width = size_px
    if fit == "stretch" or (height, width) == size_px:
        return _stretch(frame_HWC, to_height, to_width)
    if fit == "crop":
        factor = max(to_height / height, to_width / width)
        keep_height = min(height, max(1, round(to_height / factor)))
        keep_width = min(width, max(1, round(to_width / factor)))
        top, left = (height - keep_height) // 2, (width - keep_width) // 2
        return _stretch(frame_HWC[top : top + keep_height, left : left + keep_width], to_height, to_width)
    factor = min(to_height / height, to_width / width)
    inner = _stretch(frame_HWC, max(1, round(height * factor)), max(1, round(width * factor)))
    top, left = (to_height - inner.shape[0]) // 2, (to_width - inner.shape[1]) // 2
    padded = np.zeros((to_height, to_width, 3), np.uint8)
    padded[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return padded


def enlarge(frames: Frames, scale: int) -> Frames:
    """Repeat every pixel `scale` times along H and W; takes [F,H,W,C] or [H,W,C]. Raises ValueError below 1."""
    if scale != int(scale) or scale < 1:
        raise ValueError(f"scale must be a whole number from 1 up, got {scale}")
    return frames if scale == 1 else frames.repeat(scale, axis=-3).repeat(scale, axis=-2)


def check_size(size_px: tuple[int, int], fit: str) -> None:
    """Raise ValueError unless `size_px` is two positive whole numbers and `fit` is a known way to fit."""
    if len(size_px) != 2 or any(side != int(side) or side < 1 for side in size_px):
        raise ValueError(f"size_px must be (height, width) in whole pixels from 1 up, got {size_px}")
    if fit not in get_args(FitMode):
        raise ValueError(f"fit must be one of {', '.join(get_args(FitMode))}, got {fit!r}")


def _stretch(frame_HWC: Frames, height: int, width: int) -> Frames:
    # Each axis goes its own way: an area average along a growing axis would be nearest neighbour.
    low_height, low_width = min(height, frame_HWC.shape[0]), min(width, frame_HWC.shape[1])
    if (low_height, low_width) != frame_HWC.shape[:2]:
        frame_HWC = _cv_resize(frame_HWC, low_height, low_width, cv2.INTER_AREA)
    if (height, width) != (low_height, low_width):
        frame_HWC = _cv_resize(frame_HWC, height, width, cv2.INTER_CUBIC)
    return frame_HWC


def _cv_resize(frame_HWC: Frames, height: int, width: int, interpolation: int) -> Frames:
    return np.asarray(cv2.resize(frame_HWC, (width, height), interpolation=interpolation), np.uint8)
