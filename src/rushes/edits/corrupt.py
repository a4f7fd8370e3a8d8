"""Edits of pixels: grain over the whole clip, or a fault within a box of space and time."""

from __future__ import annotations

import cv2
import numpy as np

from rushes.arrays import Frames
from rushes.edits.rearrange import other_order

Box = tuple[slice, slice, slice]

_PLACES = 8  # boxes that are looked at; the one in which most happens is taken


def noise(frames_THWC: Frames, level: float, seed: int) -> Frames:
    """Gaussian grain of standard deviation `level` in grey levels of 255, another in every frame."""
    grain = np.random.default_rng(seed).standard_normal(frames_THWC.shape, np.float32)
    return np.asarray(np.clip(frames_THWC + level * grain, 0, 255).round(), np.uint8)


def unscaled(frames_THWC: Frames) -> Frames:
    """What a codec that expects -1..1 sees where it is given 0..1: half the contrast, upwards of mid-grey."""
    return np.asarray(128 + frames_THWC // 2, np.uint8)


def blur_box(frames_THWC: Frames, seed: int) -> Frames:
    """What is in a box is blurred."""
    box = place_box(frames_THWC, seed)
    edited = frames_THWC.copy()
    spread = max(1.0, min(edited[box].shape[1:3]) / 8)
    edited[box] = [cv2.GaussianBlur(frame, (0, 0), spread) for frame in edited[box]]
    return edited


def shuffle_box(frames_THWC: Frames, seed: int) -> Frames:
    """What is in a box happens in another order."""
    box = place_box(frames_THWC, seed)
    edited = frames_THWC.copy()
    edited[box] = edited[box][other_order(len(edited[box]), seed)]
    return edited


def freeze_box(frames_THWC: Frames, seed: int) -> Frames:
    """What is in a box stands still."""
    box = place_box(frames_THWC, seed)
    edited = frames_THWC.copy()
    edited[box] = edited[box][:1]
    return edited


def place_box(frames_THWC: Frames, seed: int) -> Box:
    """A third to two thirds of each side, half of the time or more, never the first frame, there where most changes.

    Raises ValueError: fewer than three frames.
    """
    total, *size = frames_THWC.shape[:3]
    if total < 3:
        raise ValueError(f"a clip of {total} frames is too short for a fault; use clips of three frames or more")
    rng = np.random.default_rng(seed)

    def span(length: int, low: float, high: float, first: int = 0) -> slice:
        count = max(2, round(length * rng.uniform(low, high)))
        begin = int(rng.integers(first, max(first, length - count) + 1))
        return slice(begin, min(begin + count, length))

    boxes = [(span(total, 0.5, 0.9, first=1), *(span(side, 1 / 3, 2 / 3) for side in size)) for _ in range(_PLACES)]
    change_THW = np.abs(np.diff(frames_THWC.astype(np.int16), axis=0, prepend=frames_THWC[:1])).sum(-1)
    time, rows, columns = max(boxes, key=lambda box: float(change_THW[box].sum()))
    return time, rows, columns
