"""Motion: how much, how smooth, and whether it is there at all."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from rushes.arrays import Mask
from rushes.metrics.base import Measurement, Shot, pool
from rushes.metrics.flow import carry, displacement, speed, top_mean

STILL_PX = 0.1  # seen motion below this many analysed pixels per frame is none; a coded still shows under 0.01
_CUT_CHANGE, _CUT_STANDS_OUT, _CUT_SEEN = 0.25, 4.0, 0.08
_TWIN_STEPS, _AWAY_STEPS, _AWAY_S = 0.5, 2.0, 0.5


def moving(shot: Shot) -> Mask:
    """[P] whether something is seen to move between frames p and p + 1."""
    return np.asarray(shot.flow.seen_px_P >= STILL_PX, np.bool_)


def cut_pairs(shot: Shot) -> Mask:
    """[P] whether the picture changes at once between frames p and p + 1.

    One minus the correlation of the two thumbnails, blind to brightness and contrast, must be above 0.25 and four times
    the median of the pairs within half a second, and motion must be seen on less than 8 % of the picture. On 72 joins
    of 18 generated clips it finds 71, and nothing else; a jump within one scene often passes for motion.
    """
    thumbnails = shot.thumbnails_FHW.reshape(len(shot.thumbnails_FHW), -1)
    spread = np.maximum(thumbnails.std(1, keepdims=True), 1.0)
    change_P = np.square(np.diff((thumbnails - thumbnails.mean(1, keepdims=True)) / spread, axis=0)).mean(1) / 2
    reach = max(2, round(shot.fps / 2))
    cuts = np.zeros(len(change_P), np.bool_)
    for pair in np.flatnonzero((change_P > _CUT_CHANGE) & (shot.flow.seen_PHW.mean((1, 2)) < _CUT_SEEN)):
        near = np.r_[change_P[max(0, pair - reach) : pair], change_P[pair + 1 : pair + 1 + reach]]
        cuts[pair] = not near.size or change_P[pair] > _CUT_STANDS_OUT * np.median(near)
    return cuts


def dynamic_degree(shot: Shot) -> Measurement:
    """VBench's rule with DIS flow for RAFT: 1 if enough pairs of frames move fast enough, else 0.

    Frames are taken every round(fps / 8); in a pair the fastest 5 % of pixels must average more than 6 px at a short
    side of 256; of F frames, round(F / 4) pairs are needed, and at least one (VBench asks none of two frames).
    Source: Vchitect/VBench, dynamic_degree.py.
    """
    stride = max(1, round(shot.fps / 8))
    taken = shot.luma_FHW[::stride]
    if stride == 1:
        top_P = shot.flow.raw_px_P
    else:
        top_P = np.array([top_mean(speed(displacement(*pair))) for pair in pairwise(taken)], np.float32)
    fast_P = top_P > 6.0 * min(taken.shape[1:]) / 256

    def rule(fast: NDArray[np.float64]) -> float:
        return float(fast.sum() >= max(1, round((len(fast) + 1) / 4)))

    return pool(shot, fast_P, stride * np.arange(1, len(taken)), rule)


def motion_speed(shot: Shot) -> Measurement:
    """Mean over pairs of the speed of the fastest 5 % of pixels, in short sides per second.

    Only motion that is seen (see `flow`) counts, the rest of the picture counts as still. Pairs at a cut are left out.
    """
    speed_P = shot.flow.seen_px_P * shot.fps / min(shot.luma_FHW.shape[1:])
    return _of_pairs(shot, np.where(cut_pairs(shot), np.nan, speed_P))


def freeze_share(shot: Shot) -> Measurement:
    """Share of pairs of frames between which nothing is seen to move, cuts left out."""
    return _of_pairs(shot, np.where(cut_pairs(shot), np.nan, ~moving(shot)))


def jerk(shot: Shot) -> Measurement:
    """How shaky the motion is, as the frequency of the swing that would be as shaky, in Hz.

    Along each seen path the third difference of position is divided by the speed; for a swing of f Hz that ratio is
    (2 pi f)^2. Slow motion has no advantage: the error of the flow, some 0.1 px a frame, weighs more in it. Needs four
    frames; NaN where nothing moves.
    """
    flow, moves, cuts = shot.flow, moving(shot), cut_pairs(shot)
    rows = np.full((max(0, len(moves) - 2), 2), np.nan)
    for frame in range(1, len(moves) - 1):
        if not moves[frame] or cuts[frame - 1 : frame + 2].any():
            continue
        there = flow.forward_PHWC[frame].astype(np.float32)
        bend = there + flow.backward_PHWC[frame - 1]
        next_bend = flow.forward_PHWC[frame + 1].astype(np.float32) + flow.backward_PHWC[frame]
        next_confirmed = (flow.confirmed_PHW[frame + 1] & flow.confirmed_back_PHW[frame]).astype(np.float32)
        confirmed = (
            flow.seen_PHW[frame] & flow.confirmed_back_PHW[frame - 1] & (carry(next_confirmed, there, 0.0) == 1.0)
        )
        if confirmed.any():
            rows[frame - 1] = speed(carry(next_bend, there) - bend)[confirmed].sum(), speed(there)[confirmed].sum()

    def frequency(sums: NDArray[np.float64]) -> float:
        shaken, moved = sums.sum(0)
        return math.sqrt(shaken / moved) * shot.fps / (2 * math.pi) if moved else math.nan

    return pool(shot, rows, np.arange(2, 2 + len(rows)), frequency)


def cuts(shot: Shot) -> Measurement:
    """Number of hard cuts, see `cut_pairs`."""
    return _of_pairs(shot, cut_pairs(shot), np.sum)


def loop_share(shot: Shot) -> Measurement:
    """Share of frames that the clip shows again: loops, and footage played there and back.

    A frame has a twin if another one, half a second away or more, differs by at most half a median step between
    neighbouring frames (in thumbnails), and in between the picture went more than two such steps away. NaN where
    nothing moves.
    """
    moves = moving(shot)
    thumbnails = shot.thumbnails_FHW.reshape(len(shot.thumbnails_FHW), -1)
    distance_FF = cdist(thumbnails, thumbnails, "cityblock")
    if not moves.any():
        return pool(shot, np.full(len(thumbnails), np.nan), np.arange(len(thumbnails)))
    step = np.median(np.diagonal(distance_FF, 1)[moves])
    apart = max(2, math.ceil(_AWAY_S * shot.fps))
    twin = np.zeros(len(thumbnails), np.bool_)
    for first, second in np.argwhere(np.triu(distance_FF <= _TWIN_STEPS * step, apart)):
        if distance_FF[first, first:second].max() > _AWAY_STEPS * step:
            twin[[first, second]] = True
    return pool(shot, twin, np.arange(len(twin)))


def _of_pairs(shot: Shot, values_P: NDArray[Any], reduce: Callable[..., float] = np.mean) -> Measurement:
    return pool(shot, values_P, np.arange(1, len(values_P) + 1), reduce)
