"""What arrays are called in signatures."""

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
