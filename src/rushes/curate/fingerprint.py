"""What a clip looks like over time in a few hundred numbers, and which clips are alike by them. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from rushes.arrays import Floats, Frames

Prints = NDArray[np.float64] | NDArray[np.int16]

MOMENTS = 8
SIZE = 248  # numbers in a fingerprint: 31 a moment
UNIT = 1000  # a fingerprint's root mean square over moments
INNER = 0.05  # share of each side that the inner fingerprint leaves out, half of it at each end
_PX = 16
_LUMA, _CHROMA = 4, 3  # lowest frequencies in each direction
_CHROMA_WEIGHT = 2.0
_STILL_PART = 0.15
_SHORT = 8  # directions in which candidates are looked for
_SAMPLE = 4096
_LEAF = 32  # of the tree; found to be the fastest
_SLACK = 1e-6 * UNIT  # rounding of the projection
_ACROSS = np.tile(  # row by row: the frequency across runs fastest
    np.concatenate([np.tile((-1.0) ** np.arange(side), side)[1:] for side in (_LUMA, _CHROMA, _CHROMA)]), MOMENTS
)


def fingerprint(frames: Sequence[Frames], cropped: float = 0.0) -> Floats:
    """[SIZE] of MOMENTS frames [H,W,3] uint8 RGB, without the share `cropped` of each side, centred.

    Lowest spatial frequencies (DCT, as in perceptual hashes of pictures) of brightness and colour at 16 x 16 px,
    without their means, whole numbers. Brightness, contrast, size and aspect ratio do not count; coding noise hardly.
    """
    rows = np.stack([_low_frequencies(_inner(frame, cropped)) for frame in frames])
    level = np.sqrt(np.square(rows).sum(1).mean())
    return np.asarray(np.rint(UNIT * rows.ravel() / max(level, 1.0)), np.float64)


def _inner(frame_HWC: Frames, cropped: float) -> Frames:
    height, width = frame_HWC.shape[:2]
    top, left = round(height * cropped / 2), round(width * cropped / 2)
    return frame_HWC[top : height - top, left : width - left]


def _low_frequencies(frame_HWC: Frames) -> Floats:
    small = cv2.resize(frame_HWC, (_PX, _PX), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    planes = cv2.split(cv2.cvtColor(small, cv2.COLOR_RGB2YCrCb))
    sides, weights = (_LUMA, _CHROMA, _CHROMA), (1.0, _CHROMA_WEIGHT, _CHROMA_WEIGHT)
    parts = [
        255 / _PX * weight * cv2.dct(plane)[:side, :side].ravel()[1:]
        for plane, side, weight in zip(planes, sides, weights, strict=True)
    ]
    return np.concatenate(parts).astype(np.float64)


def mirrored(prints_NS: Floats) -> Floats:
    """Fingerprints of the clips with left and right exchanged: odd frequencies across change their sign."""
    return np.asarray(prints_NS * _ACROSS)


def backwards(prints_NS: Floats) -> Floats:
    """Fingerprints of the clips played from their end."""
    return prints_NS.reshape(len(prints_NS), MOMENTS, -1)[:, ::-1].reshape(prints_NS.shape)


def scales(prints_NS: Prints) -> Floats:
    """[N] how much there is to distinguish clips by: their change over time, and a part of what stays.

    Two clips of one still camera differ in what moves alone, so that the difference must be small beside that. Above 0
    also for a clip of one colour.
    """
    parts = [_scales(np.asarray(prints_NS[at : at + _SAMPLE], np.float64)) for at in range(0, len(prints_NS), _SAMPLE)]
    return np.concatenate([np.zeros(0), *parts])


def _scales(prints_NS: Floats) -> Floats:
    rows = prints_NS.reshape(len(prints_NS), MOMENTS, -1)
    moving = np.linalg.norm((rows - rows.mean(1, keepdims=True)).reshape(prints_NS.shape), axis=1)
    return np.asarray(moving + _STILL_PART * np.linalg.norm(prints_NS, axis=1) + _SLACK)


class Index:
    """Fingerprints to be searched, whichever way round a clip is: a tree that never loses a neighbour.

    Mirroring and playing backwards change the sign of some components and of no others. Along a few principal
    directions that either changes wholly or not at all, a clip has a place that is the same whichever way round it is:
    its coordinate, or the size of that. Places are no farther apart than the fingerprints, however one of these is
    turned, so what is near in full is near there; few others are.
    """

    def __init__(self, prints_NS: Prints) -> None:
        self._prints_NS = prints_NS
        sample = np.asarray(prints_NS[:: max(1, len(prints_NS) // _SAMPLE)], np.float64)
        self._directions_SK, self._changes_K = _directions(sample)
        self.places_NK = self.places(prints_NS)
        self._tree = cKDTree(self.places_NK, leafsize=_LEAF)

    def places(self, prints_MS: Prints) -> Floats:
        """[M, K] places of fingerprints, in blocks: they may be whole numbers of few bytes."""
        parts = [np.asarray(prints_MS[at : at + _SAMPLE], np.float64) @ self._directions_SK
                 for at in range(0, len(prints_MS), _SAMPLE)]  # fmt: skip
        places = np.concatenate([np.zeros((0, len(self._changes_K))), *parts])
        return np.where(self._changes_K, np.abs(places), places)

    def counts(self, places_MK: Floats, reach_M: Floats) -> NDArray[np.int64]:
        """[M] how many fingerprints may lie within the reach of each; never too few."""
        counts_M = self._tree.query_ball_point(places_MK, reach_M + _SLACK, return_length=True)
        return np.asarray(counts_M, np.int64)

    def candidates(self, place_K: Floats, reach: float) -> NDArray[np.int64]:
        """Which fingerprints may lie within the reach, rising."""
        return np.sort(self._tree.query_ball_point(place_K, reach + _SLACK)).astype(np.int64)

    def apart(self, print_S: Floats, among: NDArray[np.int64]) -> Floats:
        """[len(among)] how far the fingerprints `among` are from one."""
        return np.asarray(np.linalg.norm(self._prints_NS[among] - print_S, axis=1), np.float64)


def _directions(prints_NS: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """[S, K] orthonormal directions in which places vary most, and [K] whether turning a clip changes their sign."""
    directions: list[tuple[float, Floats, bool]] = []
    for across, back in product((1, -1), (1, -1)):
        changes = (across, back) != (1, 1)
        basis_SD = _turning(across, back)
        part_ND = prints_NS @ basis_SD
        part_ND = part_ND if changes else part_ND - part_ND.mean(0)
        ways_SK = basis_SD @ np.linalg.eigh(part_ND.T @ part_ND)[1][:, ::-1][:, :_SHORT]
        along_NK = prints_NS @ ways_SK
        spread_K = (np.abs(along_NK) if changes else along_NK).std(0)
        directions += [
            (float(spread), direction, changes) for spread, direction in zip(spread_K, ways_SK.T, strict=True)
        ]
    best = sorted(directions, key=lambda each: -each[0])[:_SHORT]
    return np.stack([direction for _, direction, _ in best], 1), np.array([changes for _, _, changes in best])


def _turning(across: int, back: int) -> Floats:
    """[S, D] orthonormal basis of what mirroring multiplies by `across` and playing backwards by `back`, each +-1."""
    own = np.eye(SIZE)
    flipped = mirrored(own)
    projection = (own + across * flipped + back * backwards(own) + across * back * backwards(flipped)) / 4
    values, vectors = np.linalg.eigh(projection)
    return np.asarray(vectors[:, values > 0.5], np.float64)
