"""What changes from frame to frame without having moved."""

from __future__ import annotations

import cv2
import numpy as np

from rushes.metrics.base import Measurement, Shot, pool
from rushes.metrics.flow import carry
from rushes.metrics.movement import cut_pairs, moving

_SOFT_PX = 2.0  # flicker is looked for above the scale of edges and texture, where a flow is never exact


def warping_error(shot: Shot) -> Measurement:
    """Mean change of brightness after motion compensation, in grey levels of 255.

    Frame p + 1 is carried back along the flow onto frame p; pixels that the backward flow does not confirm (covered,
    gone) are left out. Pairs without seen motion or at a cut are left out: a frozen clip has no warping error, not a
    perfect one. Source: Lai et al. 2018, equation 12, with absolute differences and DIS flow.
    """
    left_P = np.where(moving(shot) & ~cut_pairs(shot), shot.flow.left_P, np.nan)
    return pool(shot, left_P, np.arange(1, len(left_P) + 1))


def flicker(shot: Shot) -> Measurement:
    """How far a frame's brightness lies off the mean of its two neighbours' moved onto it, in grey levels of 255.

    Measured on softened frames where both neighbours are confirmed, and only in frames that move on both sides. A
    steady fade leaves nothing, an alternation of a levels leaves 2 a. Needs three frames; NaN where nothing moves.
    """
    flow, counts = shot.flow, moving(shot) & ~cut_pairs(shot)
    soft = [cv2.GaussianBlur(frame.astype(np.float32), (0, 0), _SOFT_PX) for frame in shot.luma_FHW]
    off = np.full(max(0, len(counts) - 1), np.nan)
    for frame in range(1, len(counts)):
        confirmed = flow.confirmed_PHW[frame] & flow.confirmed_back_PHW[frame - 1]
        if counts[frame - 1] and counts[frame] and confirmed.any():
            before = carry(soft[frame - 1], flow.backward_PHWC[frame - 1].astype(np.float32))
            after = carry(soft[frame + 1], flow.forward_PHWC[frame].astype(np.float32))
            off[frame - 1] = np.abs(soft[frame] - (before + after) / 2)[confirmed].mean()
    return pool(shot, off, np.arange(1, 1 + len(off)))
