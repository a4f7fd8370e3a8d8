"""What arrays are called in signatures, and which frames of a clip are taken where a few stand for all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]
"""Frames of a clip [F,H,W,3], or one of them [H,W,3], RGB."""

Floats = NDArray[np.float64]
Float32s = NDArray[np.float32]
Indices = NDArray[np.int64]
Mask = NDArray[np.bool_]
Reals = NDArray[np.floating]
"""Floating point numbers of any precision."""


def middles(length: int, count: int) -> Indices:
    """Places in the middles of `count` equal parts of `length` frames: what models see, none of it an edge."""
    return ((np.arange(count) + 0.5) * length / count).astype(np.int64)


def first_to_last(length: int, count: int) -> Indices:
    """`count` places from the first of `length` frames to the last: where both ends count, as on a contact sheet."""
    return np.linspace(0, length - 1, count).round().astype(np.int64)
