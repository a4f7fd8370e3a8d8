"""Dense optical flow between neighbouring frames, and which part of it may be believed.

DIS flow (Kroeger et al. 2016, as in OpenCV). It answers everywhere, also where there is nothing to see: on noise, on
flicker and in a cross-fade it makes up motion of a pixel or more. So every pixel's motion has to pass two tests:
- confirmed: following the flow there and back ends where it began (Sundaram et al. 2010); fails where something is
  covered or leaves the frame;
- seen: confirmed, and following the flow removes at least 40 % of the change around the pixel. True motion removes
  most of it even at a fifth of a pixel; on noise, flicker and fades nothing passes.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache, cached_property
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rushes.arrays import Float32s, Mask

TOP_SHARE = 0.05  # speed is the mean over the fastest twentieth of the pixels, as in VBench
_NONE: Any = None  # which OpenCV takes where its stubs know of none
_FAR_PX = 1e4  # stands for a flow that comes from outside the frame: never confirmed
_AROUND_PX = 9
_LEFT_OVER = 0.6


@dataclass(frozen=True, eq=False)
class OpticalFlow:
    """Flow of P = F - 1 pairs of frames, in analysed pixels as (x, y)."""

    forward_PHWC: NDArray[np.float16]  # pixel x of frame p lies at x + forward in frame p + 1
    backward_PHWC: NDArray[np.float16]  # pixel x of frame p + 1 lay at x + backward in frame p
    confirmed_PHW: Mask  # of forward, on frame p
    confirmed_back_PHW: Mask  # of backward, on frame p + 1
    seen_PHW: Mask  # of forward, on frame p
    left_P: Float32s  # mean change of confirmed pixels after motion compensation, grey levels; NaN where there are none

    @cached_property
    def seen_px_P(self) -> Float32s:
        """Speed per pair: mean over the fastest twentieth of all pixels, the unseen counting as still."""
        pairs = zip(self.forward_PHWC, self.seen_PHW, strict=True)
        return np.array([top_mean(speed(forward) * seen) for forward, seen in pairs], np.float32)

    @cached_property
    def raw_px_P(self) -> Float32s:
        """The same with everything that the flow claims."""
        return np.array([top_mean(speed(forward)) for forward in self.forward_PHWC], np.float32)


def dense_flow(luma_FHW: NDArray[np.uint8]) -> OpticalFlow:
    """Flow there and back between neighbouring frames; a single frame gives no pairs."""
    pairs = [_pair(first, second) for first, second in pairwise(luma_FHW)]
    if not pairs:
        none, masks = np.zeros((0, *luma_FHW.shape[1:], 2), np.float16), np.zeros((0, *luma_FHW.shape[1:]), np.bool_)
        return OpticalFlow(none, none, masks, confirmed_back_PHW=masks, seen_PHW=masks, left_P=np.zeros(0, np.float32))
    names = (field.name for field in fields(OpticalFlow))
    return OpticalFlow(**{name: np.stack(parts) for name, *parts in zip(names, *pairs, strict=True)})


def displacement(first_HW: NDArray[np.uint8], second_HW: NDArray[np.uint8]) -> Float32s:
    """[H,W,2] flow (x, y) in px from one frame to another: as exact as the preset MEDIUM, at two thirds of its time."""
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    dis.setFinestScale(1 if min(first_HW.shape) >= 128 else 0)
    return np.asarray(dis.calc(first_HW, second_HW, _NONE), np.float32)


def carry(image: NDArray[np.integer | np.floating], flow_HWC: Float32s, outside: float | None = None) -> Float32s:
    """Sample `image` at x + flow, bilinearly; beyond the frame its border goes on, or `outside` is taken."""
    places = _grid(*flow_HWC.shape[:2]) + flow_HWC
    border = cv2.BORDER_REPLICATE if outside is None else cv2.BORDER_CONSTANT
    value = (outside or 0.0,) * 4
    moved = cv2.remap(image, places, _NONE, cv2.INTER_LINEAR, borderMode=border, borderValue=value)
    return np.asarray(moved, np.float32)


def speed(flow_HWC: NDArray[np.floating]) -> Float32s:
    """Length of the flow vectors, px per pair."""
    return np.asarray(cv2.magnitude(*cv2.split(flow_HWC.astype(np.float32))), np.float32)


def top_mean(values: Float32s) -> float:
    """Mean of the largest TOP_SHARE of the values."""
    count = max(1, int(values.size * TOP_SHARE))
    return float(np.partition(values, -count, axis=None)[-count:].mean())


def _pair(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> tuple[NDArray[Any], ...]:
    forward, backward = displacement(first, second), displacement(second, first)
    confirmed = _confirmed(forward, backward)
    carried = carry(second, forward)
    left = cv2.absdiff(first.astype(np.float32), carried)
    change = cv2.absdiff(first, second).astype(np.float32)
    around = (_AROUND_PX, _AROUND_PX)
    explained = cv2.blur(left, around) < _LEFT_OVER * cv2.blur(change, around)
    return (
        forward.astype(np.float16),
        backward.astype(np.float16),
        confirmed,
        _confirmed(backward, forward),
        confirmed & explained,
        np.array(left[confirmed].mean() if confirmed.any() else np.nan, np.float32),
    )


def _confirmed(there: Float32s, back: Float32s) -> Mask:
    returned = carry(back, there, outside=_FAR_PX)
    gap = _squared(there + returned)
    return np.asarray(gap < 0.01 * (_squared(there) + _squared(returned)) + 0.5, np.bool_)


def _squared(flow_HWC: Float32s) -> Float32s:
    x, y = cv2.split(flow_HWC)
    return np.asarray(x * x + y * y, np.float32)


@cache
def _grid(height: int, width: int) -> Float32s:
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    return np.stack([columns, rows], -1)
