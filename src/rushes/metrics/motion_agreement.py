"""How alike the motions of two clips are."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from rushes.metrics.base import Shot
from rushes.metrics.movement import moving

CELLS = 4  # along the short side
WINDOW_S = 0.5


def motion_agreement(first: Shot, second: Shot) -> float:
    """Agreement of what is seen to move where, when, which way and how far: 1 = the same, about 0 = unrelated motions.

    With u and v the optical flow of the two clips, averaged over square cells (`CELLS` to the short side) and added up
    over windows of `WINDOW_S` seconds, and all sums over cells, windows and both axes:

        agreement = 2 sum(u . v) / (sum(u . u) + sum(v . v)) = 1 - sum(|u - v|^2) / (sum(|u|^2) + sum(|v|^2))

    This is Lin's coefficient of concordance (1989) about a mean of zero. Unlike a correlation it also falls where one
    clip moves as the other does but slower: to 0.8 at half the speed, to 0 where it stands still. Flow that is not seen
    (see `rushes.metrics.flow`) counts as still. Without the cells and windows the error of the flow would decide: two
    clips of 32 x 32 px that differ by a trace of noise agree by 0.9 with them and by 0.7 frame by frame.

    Returns:
        A value in [-1, 1], -1 for opposite motions; NaN where neither clip moves.

    Raises ValueError: clips of unequal size, length or frame rate.
    """
    for ours, theirs in ((first.frames_FHWC.shape, second.frames_FHWC.shape), (first.fps, second.fps)):
        if ours != theirs:
            raise ValueError(
                f"clips of {ours} and {theirs} cannot be compared in their motion; give both the same shape"
            )
    if not (moving(first).any() or moving(second).any()):
        return math.nan
    u, v = _displacements(first), _displacements(second)
    return float(2 * (u * v).sum() / ((u * u).sum() + (v * v).sum()))


def _displacements(shot: Shot) -> NDArray[np.float64]:
    """[windows, cells down, cells across, 2] mean displacement of a cell during a window, in analysed pixels."""
    flow = shot.flow
    height, width = flow.seen_PHW.shape[1:]
    cell_px = min(height, width) / CELLS
    size = (max(1, round(width / cell_px)), max(1, round(height / cell_px)))
    seen = (f.astype(np.float32) * s[..., None] for f, s in zip(flow.forward_PHWC, flow.seen_PHW, strict=True))
    cells = np.stack([cv2.resize(field, size, interpolation=cv2.INTER_AREA) for field in seen]).astype(np.float64)
    begins = np.arange(0, len(cells), max(1, round(shot.fps * WINDOW_S)))
    return np.add.reduceat(cells, begins, axis=0)
