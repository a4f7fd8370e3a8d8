"""The second opinion: smooth paths of whatever stands out from the stage, without caption, colours or dynamics.

It shares no code and no threshold with `rushes.world.verify` and never labels anything. What training gained by
learning the first judge's taste, and not the world's rules, it does not see.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from rushes.arrays import Floats

STANDS_OUT = 45.0  # grey levels off the stage, summed over the channels; codec noise stays below
LEAST_PX = 6  # pixels of the smallest piece that counts
AREA_SHARE = 0.35  # of the first frame's area by which a frame may differ: two balls that meet hide a part of it
REACH_PX = 12.0  # farthest that a piece is followed in a frame: a jump must stay one path to count as rough
WINDOW = 5  # frames that a parabola is fitted to
QUANTILE = 0.8  # of windows: the roughest ones hold impacts, which no parabola fits


@dataclass(frozen=True)
class Fit:
    """What the paths of a clip say; both are better when lower."""

    lost: float  # share of frames whose area of standing-out pixels is not that of the first frame, 0..1
    # px, root mean square distance of a piece's path from parabolas over five frames, a quantile over windows; NaN
    # where no piece lasts five frames
    roughness: float


def fit(frames_FHWC: NDArray[np.uint8]) -> Fit:
    """Measure one clip [F, H, W, 3] of uint8 RGB whose first frame is given, at any size near 32 x 32 pixels.

    Raises:
        ValueError: fewer than five frames.
    """
    if len(frames_FHWC) < WINDOW:
        raise ValueError(f"the fit of paths needs {WINDOW} frames or more, got {len(frames_FHWC)}")
    masks = stands_out(frames_FHWC)
    lost = lost_frames(masks)
    windows = [_off_parabola(path[at : at + WINDOW]) for path in _paths(masks) for at in range(len(path) - WINDOW + 1)]
    return Fit(float(lost.mean()), float(np.quantile(windows, QUANTILE)) if windows else float("nan"))


def lost_frames(masks_FHW: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Frames [F] whose area of standing-out pixels is not that of the first frame."""
    area = masks_FHW.sum((1, 2)).astype(float)
    return np.asarray(np.abs(area - area[0]) > AREA_SHARE * max(area[0], 1.0))


def stands_out(frames_FHWC: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pixels [F, H, W] off the stage, which is the median of each row and channel in each frame."""
    frames = frames_FHWC.astype(float)
    return np.asarray(np.abs(frames - np.median(frames, axis=2, keepdims=True)).sum(-1) > STANDS_OUT)


def _paths(masks_FHW: NDArray[np.bool_]) -> list[Floats]:
    """Centres [L, 2] in px of pieces followed from frame to frame, each to the nearest one within reach."""
    open_paths: list[list[Floats]] = []
    closed: list[list[Floats]] = []
    for mask in masks_FHW:
        _, _, stats, centres = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
        pieces = [np.asarray(c) for c, s in zip(centres[1:], stats[1:], strict=True) if s[cv2.CC_STAT_AREA] >= LEAST_PX]
        followed = []
        for path in open_paths:
            near = min(pieces, key=lambda piece: float(np.linalg.norm(piece - path[-1])), default=None)
            if near is not None and np.linalg.norm(near - path[-1]) <= REACH_PX:
                path.append(near)
                pieces = [piece for piece in pieces if piece is not near]
                followed.append(path)
            else:
                closed.append(path)
        open_paths = followed + [[piece] for piece in pieces]
    return [np.array(path) for path in closed + open_paths]


def _off_parabola(path_TD: Floats) -> float:
    design = np.vander(np.arange(len(path_TD), dtype=float), 3)
    left = path_TD - design @ np.linalg.lstsq(design, path_TD, rcond=None)[0]
    return float(np.sqrt((left**2).sum(1).mean()))
