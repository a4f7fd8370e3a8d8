"""Read video: probe a file, sample it at chosen times, or stream it frame by frame."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np

from rushes.arrays import Frames
from rushes.files import MediaError
from rushes.media.images import STILL_SUFFIXES, read_image
from rushes.media.resize import FitMode, check_size, resize_frame
from rushes.media.video_reader import ShownFrame, VideoReader


@dataclass(frozen=True)
class VideoInfo:
    """What a video file holds. Sizes are as shown: upright, with square pixels."""

    path: str
    codec: str  # FFmpeg's name: h264, hevc, av1, ...
    width_px: int
    height_px: int
    frames: int  # counted by decoding, never the container's estimate
    fps: float  # average: frames / duration_s
    duration_s: float  # from the first frame's appearance to the last one's end
    rotation_deg: int  # clockwise turn that the reader applies, 0 to 359
    variable_frame_rate: bool  # some frame stays more than 10 % longer or shorter than the average
    treated: tuple[str, ...] = ()  # what the reader does to frames that the file leaves open, in words


@dataclass(frozen=True, eq=False)
class Video:
    """Decoded frames, [F,H,W,3] uint8 RGB, and their rate. Frame k belongs to k / fps seconds."""

    frames_FHWC: Frames
    fps: float


def probe(
    path: str | os.PathLike[str],
    *,
    allow_truncated: bool = False,
    each: Callable[[VideoReader, ShownFrame], None] = lambda footage, shown: None,
) -> VideoInfo:
    """Decode the whole file and say what it holds; `each` is called with every frame.

    Raises MediaError, a ValueError, for what is not a readable video: missing, empty, audio only, a still, damaged or
    truncated. With `allow_truncated` the last two are described as far as they decode.
    """
    starts_s: list[Fraction] = []
    with VideoReader(path, allow_truncated=allow_truncated) as footage:
        for shown in footage.shown():
            starts_s.append(shown.start_s)
            each(footage, shown)
            last = shown
        height, width = footage.size_px(last.frame)
        return VideoInfo(
            path=str(path),
            codec=footage.stream.codec.canonical_name,
            width_px=width,
            height_px=height,
            frames=len(starts_s),
            fps=_average_fps(footage, len(starts_s), last.end_s),
            duration_s=float(last.end_s),
            rotation_deg=-last.frame.rotation % 360,
            variable_frame_rate=_is_variable(starts_s, footage.tick_s),
            treated=tuple(footage.treated),
        )


def read_video(
    path: str | os.PathLike[str],
    *,
    fps: float | None = None,
    start_s: float = 0.0,
    frames: int | None = None,
    size_px: tuple[int, int] | None = None,
    fit: FitMode = "crop",
    allow_truncated: bool = False,
) -> Video:
    """Read [F,H,W,3] uint8 RGB, upright, from `start_s` seconds after the first frame on.

    With `fps`, output frame k is the one on screen at `start_s + k / fps`, whatever the file's own rate, up to the
    end of the last frame. Without, every frame from the one on screen at `start_s` is kept as stored; at a variable
    rate `Video.fps` is then only the average. `frames` asks for an exact count; what lies behind it is not decoded, so
    damage there goes unseen. `size_px` is (height, width), see `resize_frame`.

    Raises MediaError, a ValueError, like `probe`, and where there are fewer frames than asked for.
    """
    _check_request(fps, start_s, frames, size_px, fit)
    begin_s = exact(start_s)
    rate = None if fps is None else exact(fps)
    taken: list[Frames] = []
    first: ShownFrame | None = None
    with VideoReader(path, allow_truncated=allow_truncated) as footage:
        for shown in footage.shown(begin_s):
            times = _times_on_screen(shown, begin_s, rate, len(taken), frames)
            if times:
                first = first or shown
                image = footage.rgb(shown.frame)
                taken += [image if size_px is None else resize_frame(image, size_px, fit)] * times
            if len(taken) == frames:
                break
        if first is None or (frames is not None and len(taken) < frames):
            raise MediaError(_too_short(footage, shown, len(taken), fps, start_s, frames))
        own_fps = _average_fps(footage, len(taken), shown.end_s - first.start_s)
    if len({image.shape for image in taken}) > 1:
        raise MediaError(
            f"{path}: the frame size changes within the file; give size_px to scale all frames to one size"
        )
    return Video(np.stack(taken), own_fps if rate is None else float(rate))


def read_still(path: Path) -> Frames:
    """The first frame of a clip, or a still, as it is, [H, W, 3]. Raises MediaError: it cannot be read."""
    if path.suffix.lower() in STILL_SUFFIXES:
        return read_image(path)
    first: Frames = read_video(path, frames=1).frames_FHWC[0]
    return first


def decode(path: str | os.PathLike[str], *, allow_truncated: bool = False) -> Iterator[tuple[float, Frames]]:
    """Yield (seconds since the first frame, [H,W,3] uint8 RGB) for every frame, in memory that does not grow.

    Raises MediaError like `probe`; for a damaged file, after its last good frame.
    """
    with VideoReader(path, allow_truncated=allow_truncated) as footage:
        for shown in footage.shown():
            yield float(shown.start_s), footage.rgb(shown.frame)


def exact(value: float) -> Fraction:
    """The simple fraction that a rate or a time in floating point stands for: 29.97002997 is 30000/1001."""
    return Fraction(value).limit_denominator(10_000)


def _times_on_screen(shown: ShownFrame, begin_s: Fraction, rate: Fraction | None, done: int, frames: int | None) -> int:
    """How many output frames, after the `done` first ones, show this frame."""
    if rate is None:
        return int(shown.until_s > begin_s)
    due_before = max(0, math.ceil((shown.until_s - begin_s) * rate))
    return max(0, (due_before if frames is None else min(due_before, frames)) - done)


def _average_fps(footage: VideoReader, count: int, span_s: Fraction) -> float:
    """Frames per second; the container's own figure where it explains the length to within a tick."""
    nominal = footage.stream.average_rate or footage.stream.guessed_rate
    if nominal and abs(count / nominal - span_s) <= footage.tick_s:
        return float(nominal)
    return float(count / span_s)


def _is_variable(starts_s: list[Fraction], tick_s: Fraction) -> bool:
    mean = starts_s[-1] / (len(starts_s) - 1)
    rounding = min(tick_s, mean / 4)
    allowed = max(mean / 10, rounding)
    return any(abs(b - a - mean) > allowed for a, b in pairwise(starts_s))


def _too_short(
    footage: VideoReader, last: ShownFrame, have: int, fps: float | None, start_s: float, frames: int | None
) -> str:
    rate = "" if fps is None else f" at {fps:g} fps"
    wanted = "at least 1 is" if frames is None else f"{frames} are"
    return (
        f"{footage.path}: {have} frames{rate} from {start_s:g} s on, but {wanted} wanted; it lasts "
        f"{float(last.end_s):.2f} s: ask for fewer frames, a higher fps or an earlier start, or use a longer clip"
    )


def _check_request(
    fps: float | None, start_s: float, frames: int | None, size_px: tuple[int, int] | None, fit: str
) -> None:
    if fps is not None and not 0 < fps <= 1000:
        raise ValueError(f"fps must be above 0 and at most 1000 frames per second, got {fps}")
    if not 0 <= start_s < math.inf:
        raise ValueError(f"start_s must be seconds from 0 up, got {start_s}")
    if frames is not None and frames < 1:
        raise ValueError(f"frames must be 1 or more, got {frames}")
    if size_px is not None:
        check_size(size_px, fit)
