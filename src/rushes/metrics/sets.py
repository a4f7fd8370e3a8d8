"""Numbers of several clips at once: spread across seeds, and the distance between two sets of clips."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import cv2
import numpy as np
from numpy.typing import NDArray

from rushes.arrays import Floats, first_to_last
from rushes.metrics.base import Shot, shrink
from rushes.metrics.flow import speed

_MOMENTS, _COARSE_PX = 8, 16
_SPEED_EDGES = (0.0, 0.03, 0.1, 0.3, 1.0, 1e9)  # short sides per second; the first bin is what is not seen to move
_DIRECTIONS = 8
COARSE_SHAPE = (_MOMENTS, _COARSE_PX, _COARSE_PX, 3)


def diversity(shots: Sequence[Shot]) -> float:
    """How much clips of one prompt differ across seeds: mean over pairs of their root mean square difference, 0..1.

    Clips are compared at 8 moments spread over their length, at 16 x 16 px, where noise and texture average out. Higher
    is more varied, not better: two unrelated clips differ by about 0.3. NaN for fewer than two clips. Cost: 0.1 ms per
    frame of 256 px. Fooled by a cut to anything, by a colour cast or a brightness that changes with the seed.
    """
    return spread([coarse(shot) for shot in shots])


def spread(clips: Sequence[Floats]) -> float:
    """`diversity` of clips that were made `coarse` before."""
    gaps = [math.sqrt(np.square(a - b).mean()) for a, b in combinations(clips, 2)]
    return float(np.mean(gaps)) if gaps else math.nan


@dataclass(frozen=True)
class FeatureDistance:
    """Frechet distance of two sets of clips on hand-made features, and what chance alone gives."""

    value: float
    chance: float  # median over random splits of the two sets together into sets of their sizes
    p_value: float  # share of the splits that lie at least as far apart, the real one counted


def feature_distance(
    shots: Sequence[Shot], reference: Sequence[Shot], *, paired: bool = False, splits: int = 199, seed: int = 0
) -> FeatureDistance:
    """Frechet distance between Gaussians fitted to the features of two sets of clips: an alarm for drift.

    Not FVD: no network, see `features`; the figure has no meaning outside one comparison. Each feature is scaled by its
    spread in both sets together. With few clips two samples of one source lie far apart too; `chance` says
    how far: it deals the clips out again at random, or, where clips at the same place answer the same prompt
    (`paired`), swaps them within their pair. Lower is nearer, 0 for equal sets, no upper bound. Cost: 1 ms per
    frame of 256 px beside the flow. Fooled by whatever leaves colour, edges and speed as they are, such as
    a broken limb.
    Raises ValueError for fewer than two clips in a set, and for pairs that do not come out even.
    """
    return features_apart(
        [features(shot) for shot in shots], [features(shot) for shot in reference], paired, splits, seed
    )


def features_apart(
    ours: Sequence[Floats], reference: Sequence[Floats], paired: bool = False, splits: int = 199, seed: int = 0
) -> FeatureDistance:
    """`feature_distance` of clips whose `features` are known. Raises as it does."""
    if min(len(ours), len(reference)) < 2:
        raise ValueError(f"feature_distance needs two clips in each set, got {len(ours)} and {len(reference)}")
    if paired and len(ours) != len(reference):
        raise ValueError(
            f"feature_distance: {len(ours)} and {len(reference)} clips cannot be paired; set paired to False"
        )
    clips = [*ours, *reference]
    scale = np.concatenate(clips).std(0)
    clips = [clip[:, scale > 1e-9] / scale[scale > 1e-9] for clip in clips]

    def apart(order: NDArray[np.int64]) -> float:
        left, right = order[: len(ours)], order[len(ours) :]
        return frechet(np.concatenate([clips[i] for i in left]), np.concatenate([clips[i] for i in right]))

    own = np.arange(len(clips))
    value = apart(own)
    generator = np.random.default_rng(seed)

    def dealt() -> NDArray[np.int64]:
        if not paired:
            return generator.permutation(own)
        swapped = np.tile(generator.random(len(ours)) < 0.5, 2)
        return np.where(swapped, (own + len(ours)) % len(clips), own)

    chance = np.array([apart(dealt()) for _ in range(splits)])
    return FeatureDistance(value, float(np.median(chance)), float((1 + (chance >= value).sum()) / (1 + splits)))


def features(shot: Shot) -> Floats:
    """[seconds, 27]: per second of clip, colour (6), edge directions (8), shares of speeds (5) and directions (8).

    Colour is mean and spread of each Lab channel; edges are gradients by direction, weighted by strength; directions of
    motion are weighted by speed in short sides per second.
    """
    looks = np.stack([_look(frame) for frame in shot.small_FHWC])
    moves = [_moves(shot, pair) for pair in range(len(shot.flow.seen_PHW))]
    moves_F = np.stack([moves[0], *moves]) if moves else np.zeros((1, len(_SPEED_EDGES) - 1 + _DIRECTIONS))
    rows = np.concatenate([looks, moves_F], 1)
    return np.stack([rows[shot.second_F == second].mean(0) for second in np.unique(shot.second_F)])


def as_rows(values: Sequence[Sequence[float]]) -> Floats:
    """`features` that were kept as plain numbers."""
    return np.asarray(values, np.float64)


def frechet(first_ND: Floats, second_ND: Floats) -> float:
    """Squared Frechet distance of the Gaussians fitted to two sets of N features (Dowson and Landau 1982)."""
    gap = np.square(first_ND.mean(0) - second_ND.mean(0)).sum()
    # The singular values of A'B are the square roots of the eigenvalues of the product of the two covariances.
    first, second = (_centred(rows) for rows in (first_ND, second_ND))
    shared = np.linalg.svd(first @ second.T, compute_uv=False).sum()
    return float(max(0.0, gap + np.square(first).sum() + np.square(second).sum() - 2 * shared))


def _centred(rows_ND: Floats) -> Floats:
    return np.asarray((rows_ND - rows_ND.mean(0)) / math.sqrt(max(1, len(rows_ND) - 1)))


def coarse(shot: Shot) -> Floats:
    """A clip at 8 moments spread over its length and 16 x 16 px, as COARSE_SHAPE, 0..1."""
    moments = first_to_last(len(shot.frames_FHWC), _MOMENTS)
    frames = (shot.small_FHWC[moment] for moment in moments)
    size = (_COARSE_PX, _COARSE_PX)
    return np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames]) / 255.0


def _look(frame_HWC: NDArray[np.uint8]) -> Floats:
    small = shrink(frame_HWC, 64)
    image = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2LAB)) / 255.0
    lab = image.reshape(-1, 3)
    down, across = np.gradient(image[..., 0])
    edges = _by_direction(across, down) / across.size
    return np.concatenate([lab.mean(0), lab.std(0), edges])


def _moves(shot: Shot, pair: int) -> Floats:
    flow = shot.flow.forward_PHWC[pair].astype(np.float32) * (shot.fps / min(shot.luma_FHW.shape[1:]))
    flow *= shot.flow.seen_PHW[pair][..., None]
    speeds = np.histogram(speed(flow), _SPEED_EDGES)[0]
    return np.asarray(np.concatenate([speeds, _by_direction(flow[..., 0], flow[..., 1])]) / len(flow.reshape(-1, 2)))


def _by_direction(x: NDArray[np.floating], y: NDArray[np.floating]) -> Floats:
    bins = np.round(np.arctan2(y, x) * (_DIRECTIONS / (2 * np.pi))).astype(np.int64) % _DIRECTIONS
    return np.asarray(np.bincount(bins.ravel(), np.hypot(x, y).ravel(), _DIRECTIONS), np.float64)
