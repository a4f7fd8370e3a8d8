"""What a clip looks like over time in a few hundred numbers, and which clips are alike by them. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from rushes.metrics.base import Frames

Floats = NDArray[np.float64]

MOMENTS = 8
SIZE = 248  # numbers in a fingerprint: 31 a moment
UNIT = 1000  # a fingerprint's root mean square over moments
INNER = 0.05  # share of each side that the inner fingerprint leaves out, half of it at each end
_PX = 16
_LUMA, _CHROMA = 4, 3  # lowest frequencies in each direction
_CHROMA_WEIGHT = 2.0
_STILL_PART = 0.15
_SHORT = 12  # directions in which candidates are looked for
_SAMPLE = 4096
_SLACK = 1e-6 * UNIT  # rounding of the projection


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
    across = [
        np.tile((-1.0) ** np.arange(side), side)[1:]  # row by row: the frequency across runs fastest
        for side in (_LUMA, _CHROMA, _CHROMA)
    ]
    return np.asarray(prints_NS * np.tile(np.concatenate(across), MOMENTS))


def backwards(prints_NS: Floats) -> Floats:
    """Fingerprints of the clips played from their end."""
    return prints_NS.reshape(len(prints_NS), MOMENTS, -1)[:, ::-1].reshape(prints_NS.shape)


def scales(prints_NS: Floats) -> Floats:
    """[N] how much there is to tell clips apart by: their change over time, and a part of what stays.

    Two clips of one still camera differ in what moves alone, so that the difference must be small beside that. Above 0
    also for a clip of one colour.
    """
    rows = prints_NS.reshape(len(prints_NS), MOMENTS, -1)
    moving = np.linalg.norm((rows - rows.mean(1, keepdims=True)).reshape(prints_NS.shape), axis=1)
    return np.asarray(moving + _STILL_PART * np.linalg.norm(prints_NS, axis=1) + _SLACK)


class Index:
    """Fingerprints to be searched: a tree over their first few principal directions, which never loses a neighbour.

    Distances do not grow when vectors are projected, so what is near in full is near there; few others are.
    """

    def __init__(self, prints_NS: Floats) -> None:
        self.prints_NS = prints_NS
        sample = prints_NS[:: max(1, len(prints_NS) // _SAMPLE)]
        self._middle = sample.mean(0)
        spread = np.cov((sample - self._middle).T) if len(sample) > 1 else np.eye(SIZE)
        values, vectors = np.linalg.eigh(spread)
        self._directions_SK = vectors[:, np.argsort(values)[::-1][:_SHORT]]
        self._tree = cKDTree(self._short(prints_NS))

    def _short(self, prints_NS: Floats) -> Floats:
        return np.asarray((prints_NS - self._middle) @ self._directions_SK)

    def counts(self, prints_MS: Floats, reach_M: Floats) -> NDArray[np.int64]:
        """[M] how many fingerprints may lie within the reach of each; never too few."""
        found = self._tree.query_ball_point(self._short(prints_MS), reach_M + _SLACK, return_length=True)
        return np.asarray(found, np.int64)

    def near(self, print_S: Floats, reach: float) -> list[tuple[int, float]]:
        """Place of each fingerprint within `reach`, in order, and how far away it is."""
        found = np.sort(self._tree.query_ball_point(self._short(print_S[None])[0], reach + _SLACK)).astype(np.int64)
        apart = np.linalg.norm(self.prints_NS[found] - print_S, axis=1)
        return [(int(at), float(gap)) for at, gap in zip(found, apart, strict=True) if gap <= reach]
