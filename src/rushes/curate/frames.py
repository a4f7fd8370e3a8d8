"""Reading a clip to be measured: a few whole frames spread over it, or all frames small, a window at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from rushes.arrays import Frames
from rushes.media.read import decode
from rushes.media.video_reader import VideoReader
from rushes.metrics.base import SMALLEST_PX, Shot, shrink

WINDOW_FRAMES = 128


def read_moments(path: Path, duration_s: float, count: int) -> list[Frames]:
    """`count` frames [H,W,3] uint8 RGB as stored, on screen at the middles of `count` equal parts of the clip.

    By time and not by number, so that a copy at another frame rate gives the same moments. The file is decoded to its
    end; a frame that is on screen at several of these moments is given several times.

    Raises MediaError: a file that is missing, damaged, cut short or no video.
    """
    due_s = [(k + 0.5) * duration_s / count for k in range(count)]
    taken: list[Frames] = []
    last: Frames | None = None
    with VideoReader(path) as footage:
        for shown in footage.shown():
            times = sum(at < float(shown.until_s) for at in due_s[len(taken) :])
            if times or last is None:
                last = footage.rgb(shown.frame)
                taken += [last] * times
        if len(taken) < count:  # the container says that the clip is longer than it is
            last = footage.rgb(shown.frame)
    assert last is not None, "a file without frames raises"
    return taken + [last] * (count - len(taken))


def windows(path: Path, fps: float, short_px: int) -> Iterator[Shot]:
    """All frames with a short side of at most `short_px`, in windows that share one frame with the one before.

    So that each pair of neighbouring frames lies in one window. Raises as `read_moments` does, and ValueError for
    frames too small to measure.
    """
    held: list[Frames] = []
    shared = 0
    for _, frame in decode(path):
        held.append(_small(frame, short_px, path))
        if len(held) == WINDOW_FRAMES:
            yield Shot(np.stack(held), fps)
            held, shared = held[-1:], 1
    if len(held) > shared:
        yield Shot(np.stack(held), fps)


def _small(frame_HWC: Frames, short_px: int, path: Path) -> Frames:
    if min(frame_HWC.shape[:2]) < SMALLEST_PX:
        height, width = frame_HWC.shape[:2]
        raise ValueError(f"{path}: frames of {width} x {height} px are too small to measure; leave the clip out")
    return shrink(frame_HWC, short_px)
