"""The first judge's eyes: where the balls of a clip are and which of their dots are there, by paint and place.

No state of a scene is used, only frames and the kind that the caption names.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from rushes.arrays import Floats
from rushes.world.mechanics import FLOOR_PX, RADIUS_PX, SIZE_PX
from rushes.world.render import BALLS, CONTRAST, DOT, POST_PX, disc, dot_offsets, dot_px, stage
from rushes.world.scenes import radius_px

LEAST_AREA, MOST_AREA = 0.7, 1.35  # of a whole ball: outside a ball is gone, torn or doubled
LEAST_SHOWN = 0.5  # share of a dot that must be in sight to be judged
_ROWS, _COLUMNS = np.mgrid[0:SIZE_PX, 0:SIZE_PX].astype(np.float32)
_HIDDEN = (POST_PX[0] - 2.5 < _COLUMNS) & (POST_PX[1] + 2.5 > _COLUMNS)
_STEP = 0.25  # px between places at which a ball behind the post is looked for


@dataclass(frozen=True)
class BallTracks:
    """F frames, K balls, P dots on each."""

    centres_FKD: Floats  # px; between its neighbours where a ball is not present
    present_FK: NDArray[np.bool_]
    dots_FKP: Floats  # strength of each dot, about 1 = there, 0 = lost; NaN = hidden


def sight(frames_FHWC: NDArray[np.uint8], kind: str) -> BallTracks:
    """Find balls and dots.

    Args:
        frames_FHWC: uint8 RGB, 64 x 64 pixels.
        kind: of `rushes.world.scenes.KINDS`.
    """
    body_FHW, dot_FHW = coverage_of(frames_FHWC, kind)
    cover = np.clip(body_FHW + dot_FHW, 0.0, 1.1)
    if kind == "roll":
        centres, present = _behind_post(cover)
    elif kind == "collide":
        centres, present = _pair(cover)
    else:
        centres, present = _alone(cover, kind)
    centres = _bridged(centres, present)
    dots = np.stack([_dots(dot_FHW / CONTRAST, centres[:, k], kind) for k in range(centres.shape[1])], 1)
    return BallTracks(centres, present, np.where(present[..., None], dots, 0.0))


@lru_cache(maxsize=8)
def _solver(kind: str) -> NDArray[np.float32]:
    """[H, 2, 3]: per row, the least-squares map from colour difference to coverage by body and dots."""
    empty = stage(kind)[:, 0]
    basis = np.stack([np.array(BALLS[kind], float) - empty, np.array(DOT, float) - empty], -1)
    return np.linalg.pinv(basis).astype(np.float32)


def coverage_of(frames_FHWC: NDArray[np.uint8], kind: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Coverage [F, H, W] by body and by dots in about 0..1; dots are paint over the body."""
    difference = frames_FHWC.astype(np.float32) - stage(kind)
    both = np.einsum("hkc,fhwc->kfhw", _solver(kind), difference, optimize=True)
    return both[0], both[1]


def _centroid(cover_FHW: NDArray[np.float32], centres_FD: Floats, radius: float, rounds: int) -> tuple[Floats, Floats]:
    """Centres of mass [F, 2] within a ball's reach, moved `rounds` times, and areas in whole balls [F]."""
    reach = int(np.ceil(radius)) + 4
    span = np.arange(-reach, reach + 1)
    padded = np.pad(cover_FHW, ((0, 0), (reach, reach), (reach, reach)))
    frames = np.arange(len(cover_FHW))[:, None, None]
    whole = float(disc(np.hypot(_ROWS - 31.5, _COLUMNS - 31.5), radius).sum())
    area = np.zeros(len(centres_FD))
    for _ in range(rounds):
        near = np.rint(np.clip(centres_FD, 0, SIZE_PX - 1)).astype(int)
        dx, dy = near[:, :1] + span - centres_FD[:, :1], near[:, 1:] + span - centres_FD[:, 1:]
        inside = np.clip(radius + 3.0 - np.hypot(dx[:, None, :], dy[:, :, None]), 0.0, 1.0)
        mass = (
            padded[frames, (near[:, 1:] + span + reach)[:, :, None], (near[:, :1] + span + reach)[:, None, :]] * inside
        )
        area = mass.sum((1, 2))
        some = np.maximum(area, 1e-3)
        move = np.stack([(mass * dx[:, None, :]).sum((1, 2)), (mass * dy[:, :, None]).sum((1, 2))], -1) / some[:, None]
        centres_FD = centres_FD + move
    return centres_FD, area / whole


def _alone(cover_FHW: NDArray[np.float32], kind: str) -> tuple[Floats, NDArray[np.bool_]]:
    solid = np.where(cover_FHW > 0.35, cover_FHW, 0.0)
    mass = np.maximum(solid.sum((1, 2)), 1e-3)
    start = np.stack([(solid * _COLUMNS).sum((1, 2)) / mass, (solid * _ROWS).sum((1, 2)) / mass], -1)
    centres, area = _centroid(cover_FHW, start.astype(float), radius_px(kind), 4)
    return centres[:, None], ((area > LEAST_AREA) & (area < MOST_AREA))[:, None]


def _pair(cover_FHW: NDArray[np.float32]) -> tuple[Floats, NDArray[np.bool_]]:
    """Two balls on a level, by the outer edges of what is painted; a ball that is gone is the one farther away."""
    radius = radius_px("collide")
    solid = np.where(cover_FHW > 0.35, cover_FHW, 0.0)
    mass = np.maximum(solid.sum((1, 2)), 1e-3)
    y = (solid * _ROWS).sum((1, 2)) / mass
    chord = solid.sum(1)  # [F, W]
    filled = chord > radius / 2
    left = np.where(filled.any(1), filled.argmax(1), 0) + radius - 1.5
    right = np.where(filled.any(1), SIZE_PX - 1 - filled[:, ::-1].argmax(1), SIZE_PX - 1) - radius + 1.5
    single = right - left < 1.5 * radius
    tracks, presents = [], []
    for at in (left, right):
        centres, area = _centroid(cover_FHW, np.stack([at, y], -1).astype(float), radius, 3)
        tracks.append(centres)
        presents.append((area > LEAST_AREA) & (area < MOST_AREA))
    centres, present = np.stack(tracks, 1), np.stack(presents, 1)
    last = centres[0]
    for frame in range(len(centres)):
        if single[frame] and present[frame].any():
            gone = int(np.argmax(np.abs(centres[frame, :, 0] - last[:, 0])))
            present[frame, gone] = False
        last = np.where(present[frame][:, None], centres[frame], last)
    return centres, present


@lru_cache(maxsize=1)
def _rolling() -> tuple[Floats, NDArray[np.float32], NDArray[np.bool_]]:
    """Places [M], what a ball there covers in sight [M, pixels], and the pixels looked at [H, W]."""
    x = np.arange(RADIUS_PX - 2.0, SIZE_PX + 1.0 - RADIUS_PX, _STEP)
    y = FLOOR_PX - 0.5 - RADIUS_PX
    look = ~_HIDDEN & (_ROWS < FLOOR_PX - 1) & (y - RADIUS_PX - 6 < _ROWS)
    distance = np.hypot(_COLUMNS[look] - x[:, None], _ROWS[look] - y)
    return x, disc(distance, RADIUS_PX), look


def _behind_post(cover_FHW: NDArray[np.float32]) -> tuple[Floats, NDArray[np.bool_]]:
    places, ball, look = _rolling()
    seen = cover_FHW[:, look]
    error = (seen**2).sum(1)[:, None] - 2 * seen @ ball.T + (ball**2).sum(1)
    best = error.argmin(1)
    inner = np.clip(best, 1, len(places) - 2)
    low, middle, high = (error[np.arange(len(error)), inner + i] for i in (-1, 0, 1))
    curve = low - 2 * middle + high
    x = places[inner] + _STEP * np.clip(0.5 * (low - high) / np.where(curve > 1e-9, curve, 1.0), -1, 1)
    share = (seen * ball[best]).sum(1) / (ball[best] ** 2).sum(1)
    around = seen.sum(1) / ball[best].sum(1)
    present = (share > LEAST_AREA) & (share < MOST_AREA) & (around < MOST_AREA)
    centres = np.stack([x, np.full_like(x, FLOOR_PX - 0.5 - RADIUS_PX)], -1)
    return centres[:, None], present[:, None]


def _dots(dot_FHW: NDArray[np.float32], centres_FD: Floats, kind: str) -> Floats:
    """Strengths [F, P] of a ball's dots by least squares of their discs; NaN where less than half is in sight."""
    balls = 2 if kind == "collide" else 1
    reach = int(radius_px(kind)) + 1
    span = np.arange(-reach, reach + 1)
    near = np.rint(centres_FD).astype(int)
    rows, columns = near[:, 1:] + span, near[:, :1] + span
    inside = ((rows >= 0) & (rows < SIZE_PX))[:, :, None] & ((columns >= 0) & (columns < SIZE_PX))[:, None, :]
    rows, columns = np.clip(rows, 0, SIZE_PX - 1), np.clip(columns, 0, SIZE_PX - 1)
    index = (rows[:, :, None], columns[:, None, :])
    if kind == "roll":
        inside &= ~_HIDDEN[index]
    picture = dot_FHW[(np.arange(len(near))[:, None, None], *index)] * inside
    dx, dy = near[:, :1] + span - centres_FD[:, :1], near[:, 1:] + span - centres_FD[:, 1:]
    shapes = np.stack(
        [disc(np.hypot((dx - x)[:, None, :], (dy - y)[:, :, None]), dot_px(balls)) for x, y in dot_offsets(balls)], 1
    )
    shown = (shapes * inside[:, None]).reshape(*shapes.shape[:2], -1)
    gram = shown @ shown.transpose(0, 2, 1)
    weight = np.einsum("fpi,fi->fp", shown, picture.reshape(len(picture), -1))
    strength = np.linalg.solve(gram + 0.5 * np.eye(gram.shape[1]), weight[..., None])[..., 0]
    share = shown.sum(-1) / shapes.reshape(*shapes.shape[:2], -1).sum(-1)
    return np.where(share >= LEAST_SHOWN, strength, np.nan)


def _bridged(centres_FKD: Floats, present_FK: NDArray[np.bool_]) -> Floats:
    out, time = centres_FKD.copy(), np.arange(len(centres_FKD))
    for k in range(centres_FKD.shape[1]):
        if (there := present_FK[:, k]).any():
            for axis in range(2):
                out[:, k, axis] = np.interp(time, time[there], centres_FKD[there, k, axis])
    return out
