"""Edits in time, where every pixel is true and the order of frames is not; and the mirror."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rushes.arrays import Frames


def swap_ends(frames_THWC: Frames, count: int) -> Frames:
    """The first and the last `count` frames change places, each block in its own order (PhysHPO, state level).

    Raises ValueError: the clip is shorter than both blocks.
    """
    if not 1 <= count <= len(frames_THWC) // 2:
        raise ValueError(
            f"{count} frames at each end cannot be swapped in a clip of {len(frames_THWC)} frames; swap 1 to "
            f"{len(frames_THWC) // 2}"
        )
    return np.concatenate([frames_THWC[-count:], frames_THWC[count:-count], frames_THWC[:count]])


def reverse(frames_THWC: Frames) -> Frames:
    """The clip from its end to its beginning."""
    return frames_THWC[::-1].copy()


def shuffle(frames_THWC: Frames, seed: int) -> Frames:
    """The frames after the first in another order. Raises ValueError: fewer than three frames."""
    if len(frames_THWC) < 3:
        raise ValueError(f"a clip of {len(frames_THWC)} frames cannot be shuffled; use clips of three frames or more")
    return frames_THWC[[0, *other_order(len(frames_THWC) - 1, seed) + 1]]


def freeze(frames_THWC: Frames, seed: int) -> Frames:
    """From somewhere between a quarter and half of the clip on, everything stands still."""
    total = len(frames_THWC)
    start = int(np.random.default_rng(seed).integers(total // 4, max(total // 4, total // 2) + 1))
    return frames_THWC[np.minimum(np.arange(total), start)]


def other_order(count: int, seed: int) -> NDArray[np.int64]:
    """The numbers 0 .. count - 1 in an order that is not theirs; count is at least 2."""
    rng, order = np.random.default_rng(seed), np.arange(count)
    while (order == np.arange(count)).all():
        order = rng.permutation(count)
    return order


def mirror(frames_THWC: Frames) -> Frames:
    """Every frame seen in a mirror, left for right."""
    return frames_THWC[:, :, ::-1].copy()
