"""What a metric is: a shot goes in, one number for the clip and one per second come out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from rushes.arrays import Frames
from rushes.config.clip_shapes import segment_count, segment_of_frames
from rushes.metrics.flow import OpticalFlow, dense_flow

if TYPE_CHECKING:  # edits, which recipes' terms need, read this file, and the statistics need SciPy
    from rushes.stats import Better

SharedProperty = Literal["frame rate", "size"]

ANALYSED_PX = 256  # short side at which everything but sharpness is measured; smaller frames stay as they are
THUMBNAIL_PX = 32
SMALLEST_PX = 16  # optical flow cannot work below


@dataclass(frozen=True, eq=False)
class Shot:
    """One clip to measure. What several metrics need (small frames, optical flow) is computed once and kept with it.

    A flow takes 14 bytes per analysed pixel and frame: 95 MB for 49 frames of 720 x 480.
    """

    frames_FHWC: Frames  # [F,H,W,3] uint8 RGB
    fps: float
    caption: str = ""
    first_frame_HWC: Frames | None = None  # the still that the clip should start from
    media: str = ""  # content hash of the file that it was read from; "" = none

    def __post_init__(self) -> None:
        stills = () if self.first_frame_HWC is None else (self.first_frame_HWC[None],)
        for frames in (self.frames_FHWC, *stills):
            if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or not len(frames):
                raise ValueError(f"frames must be [F,H,W,3] uint8 RGB, got {frames.dtype} {list(frames.shape)}")
            if min(frames.shape[1:3]) < SMALLEST_PX:
                raise ValueError(
                    f"frames must be at least {SMALLEST_PX} px on each side, got {frames.shape[1:3]}; enlarge them"
                )
        if not 0 < self.fps < math.inf:
            raise ValueError(f"fps must be a positive number of frames per second, got {self.fps}")

    @cached_property
    def seconds(self) -> int:
        """How many values per second there are: the full seconds of the clip, at least one."""
        return segment_count(len(self.frames_FHWC), self.fps)

    @cached_property
    def second_F(self) -> NDArray[np.int64]:
        """Which second each frame belongs to; frames past the last full second join it."""
        return np.array(segment_of_frames(len(self.frames_FHWC), self.fps))

    @cached_property
    def small_FHWC(self) -> Frames:
        """The frames with a short side of at most ANALYSED_PX."""
        return np.stack([shrink(frame, ANALYSED_PX) for frame in self.frames_FHWC])

    @cached_property
    def luma_FHW(self) -> Frames:
        """Brightness of the small frames, 0..255."""
        return np.stack([luma(frame) for frame in self.small_FHWC])

    @cached_property
    def thumbnails_FHW(self) -> NDArray[np.float32]:
        """Brightness at a short side of THUMBNAIL_PX, where neither noise nor texture counts, 0..255."""
        return np.stack([shrink(frame, THUMBNAIL_PX) for frame in self.luma_FHW]).astype(np.float32)

    @cached_property
    def flow(self) -> OpticalFlow:
        """Where every pixel of the small frames goes, and comes from, between neighbouring frames."""
        return dense_flow(self.luma_FHW)


@dataclass(frozen=True)
class Measurement:
    """A clip's value and its values per second; NaN where nothing could be measured."""

    value: float
    per_second: tuple[float, ...]


@dataclass(frozen=True)
class Metric:
    """A number that can be taken of any clip, and how far to trust it."""

    name: str
    measure: Callable[[Shot], Measurement]
    better: Better
    unit: str
    high: float  # largest possible value
    cost_ms: float  # own, per frame of 256 x 256 px on one core; the flow that most of them share takes 9 ms
    doc: str
    fooled_by: str
    low: float = 0.0  # smallest possible value
    equal: Sequence[SharedProperty] = ()  # what two clips must share for their values to be compared
    version: int = 1  # raise it when the values change: clips that were measured before are measured again


def pool(
    shot: Shot, values: ArrayLike, at: ArrayLike, reduce: Callable[[NDArray[Any]], float] = np.mean
) -> Measurement:
    """Reduce `values`, [N] or [N, K], over the clip and over each second; `at` [N] says which frame each belongs to.

    What holds a NaN is left out; where nothing is left the result is NaN.
    """
    rows = np.asarray(values, np.float64)
    finite: NDArray[np.bool_] = np.isfinite(rows if rows.ndim == 1 else rows.sum(1))
    second = shot.second_F[np.asarray(at, np.int64)]

    def over(chosen: NDArray[np.bool_]) -> float:
        return float(reduce(rows[chosen])) if chosen.any() else math.nan

    return Measurement(over(finite), tuple(over(finite & (second == s)) for s in range(shot.seconds)))


def shrink(frame: Frames, short_px: int) -> Frames:
    """Bring the short side of [H,W,3] or [H,W] down to `short_px` by area averaging; never enlarges."""
    height, width = frame.shape[:2]
    if min(height, width) <= short_px:
        return frame
    scale = short_px / min(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)


def luma(frame_HWC: Frames) -> Frames:
    """Brightness 0..255 (Rec. 601 weights) of an RGB frame."""
    return np.asarray(cv2.cvtColor(frame_HWC, cv2.COLOR_RGB2GRAY), np.uint8)
