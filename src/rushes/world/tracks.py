"""Objects found in pixels by colour and area.

No state of the scene is used, only frames and the colours to look for.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from rushes.arrays import Floats
from rushes.world.render import GREY, backdrop, disc
from rushes.world.scenes import COLOURS, FLOOR_PX, radius_px

_FAINT = 0.2  # coverage below this is noise of the codec; far from a disc it would count as spread
_GREY_KINDS = ("swing", "wave")

# A disc is bad when its area or spread leaves these shares of a true disc's.
AREA_SHARE = (0.62, 1.5)
SPREAD_SHARE = 1.35


@dataclass(frozen=True)
class Tracks:
    """F frames, K objects."""

    centres_FKD: Floats  # px; on the line between its neighbours where an object is not present
    present_FK: NDArray[np.bool_]  # area and spread are those of one whole object
    stray_F: Floats  # coverage outside the objects and the unexplained rest, root mean square in 0..1

    @property
    def whole_F(self) -> NDArray[np.bool_]:
        """Frames in which every object is present."""
        return np.asarray(self.present_FK.all(1))


@lru_cache(maxsize=256)
def _solver(colours: tuple[str, ...], grey: bool) -> Floats:
    """[H, W, K', 3]: per pixel, the least-squares map from colour difference to coverage."""
    paints = [COLOURS[c] for c in colours] + ([GREY] if grey else [])
    basis = np.array(paints, float)[None, None] - backdrop()[..., None, :]  # H W K' 3
    return np.asarray(np.linalg.pinv(np.swapaxes(basis, -1, -2), rcond=1e-3))


def _light(frames_FHWC: NDArray[np.uint8]) -> tuple[Floats, Floats]:
    """Gain and offset [F, 1, 1, 3] of each frame and channel against the empty stage, from its sky and its ground.

    Objects are looked for in frames freed of both, so that a dimmed object is still there: flicker is measured apart,
    and the level of grey that each trip through a video file costs is nobody's fault.
    """
    stage, ground = backdrop(), int(FLOOR_PX) + 1
    sky, earth = (np.median(frames_FHWC[:, rows], axis=(1, 2)) for rows in (slice(0, ground - 2), slice(ground, None)))
    gain = np.clip((earth - sky) / (stage[-1, 0] - stage[0, 0]), 0.5, 2.0)
    return gain[:, None, None], (sky - gain * stage[0, 0])[:, None, None]


def coverage(frames_FHWC: NDArray[np.uint8] | Floats, colours: tuple[str, ...], grey: bool) -> Floats:
    """Coverage [F, K', H, W] of each paint in 0..1."""
    amount_HWKF = np.matmul(_solver(colours, grey), (frames_FHWC - backdrop()).transpose(1, 2, 3, 0))
    return np.asarray(np.clip(amount_HWKF.transpose(3, 2, 0, 1), 0.0, 1.2))


def _covered(frames_FHWC: NDArray[np.uint8] | Floats, colours: tuple[str, ...], grey: bool) -> tuple[Floats, Floats]:
    """Coverage, and what it leaves unexplained [F, H, W] in 0..1."""
    stage = backdrop()
    paints = np.array([COLOURS[c] for c in colours] + ([GREY] if grey else []), float)
    difference, amount = frames_FHWC - stage, coverage(frames_FHWC, colours, grey)
    explained = np.moveaxis(amount, 1, -1) @ paints - amount.sum(1)[..., None] * stage
    left = difference - explained
    return amount, np.sqrt(np.einsum("fhwc,fhwc->fhw", left, left) / 3) / 255.0


@lru_cache(maxsize=8)
def _true_disc(radius: float) -> tuple[float, float]:
    area, spread, _ = _moments(disc(np.array([15.3, 15.3]), radius)[None])
    return float(area[0]), float(spread[0])


def _moments(amount: Floats) -> tuple[Floats, Floats, Floats]:
    """Area, spread (px) and centre [..., 2] of coverage maps [..., H, W]."""
    amount = np.where(amount > _FAINT, amount, 0.0)
    rows, columns = np.mgrid[0 : amount.shape[-2], 0 : amount.shape[-1]].astype(float)
    area = amount.sum((-1, -2))
    mass = np.maximum(area, 1e-6)
    x = (amount * columns).sum((-1, -2)) / mass
    y = (amount * rows).sum((-1, -2)) / mass
    square = (amount * ((columns - x[..., None, None]) ** 2 + (rows - y[..., None, None]) ** 2)).sum((-1, -2))
    return area, np.sqrt(square / mass), np.stack([x, y], -1)


def track(frames_FHWC: NDArray[np.uint8], kind: str, colours: tuple[str, ...]) -> Tracks:
    """Follow the coloured discs of a clip.

    Args:
        frames_FHWC: uint8 RGB, 32 x 32 pixels.
        kind: scene kind, which fixes the size of the discs.
        colours: names of the colours to look for, at most two.
    """
    grey = kind in _GREY_KINDS
    gain, offset = _light(frames_FHWC)
    amount, rest = _covered((frames_FHWC - offset) / gain, colours, grey)
    discs = amount[:, : len(colours)]
    radius = radius_px(kind)
    area, spread, centres = _moments(discs)
    true_area, true_spread = _true_disc(radius)
    low, high = AREA_SHARE
    present = (area > low * true_area) & (area < high * true_area) & (spread < SPREAD_SHARE * true_spread)
    near = disc(np.where(present[..., None], centres, -99.0), radius + 3.0).max(1) > 0
    outside = np.where(near, 0.0, np.hypot(discs.sum(1) * 0.5, rest))
    count = np.maximum((~near).sum((-1, -2)), 1)
    stray = gain.mean((1, 2, 3)) * np.sqrt((outside**2).sum((-1, -2)) / count)
    return Tracks(_bridged(centres, present), present, stray)


def _bridged(centres_FKD: Floats, present_FK: NDArray[np.bool_]) -> Floats:
    """Centres with the gaps of absent objects filled by straight lines."""
    out, time = centres_FKD.copy(), np.arange(len(centres_FKD))
    for k in range(centres_FKD.shape[1]):
        there = present_FK[:, k]
        if there.any():
            for axis in range(2):
                out[:, k, axis] = np.interp(time, time[there], centres_FKD[there, k, axis])
    return out
