"""How far tracked objects stray from the dynamics of their scene, in pixels per frame window.

Each window of five frames is fitted with what the scene leaves free (where and how fast) and not with what it fixes
(gravity, rope length, limb length). Windows with a missing object or near an impact are left out: an impact is not a
parabola.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rushes.world.scenes import (
    FOREARM_PX,
    GRAVITY,
    PIVOT_PX,
    SHOULDER_PX,
    UPPER_ARM_PX,
    Floats,
    bounds_px,
    radius_px,
)
from rushes.world.tracks import Tracks

WINDOW = 5
_T = np.arange(WINDOW) - WINDOW // 2
CAP_PX = 4.0  # one wild window must not decide a mean
TOP_SPEED = 4.8  # px per frame; nothing in this world is faster
_STILL_PX, _STILL_STEPS = 0.12, 4  # a pendulum or a thrown ball turns round within three steps


def _off_fit(values_WT: Floats, degree: int) -> Floats:
    """Residuals [W, T] of least-squares polynomials of `degree` through each window."""
    basis = np.vander(_T.astype(float), degree + 1)
    project = np.eye(WINDOW) - basis @ np.linalg.pinv(basis)
    return np.asarray(values_WT @ project.T)


def _windows(values: Floats) -> Floats:
    """[F, ...] -> [F - 4, ..., 5]."""
    return np.lib.stride_tricks.sliding_window_view(values, WINDOW, axis=0)


def residuals(tracks: Tracks, kind: str) -> Floats:
    """Residual [F] in px, the worst object's, at most 4; NaN where none applies.

    A frame holds the residual of the window around it, and beside it what no window is needed for: a step faster than
    anything in this world, and a ball beyond the floor or a wall.
    """
    centres = tracks.centres_FKD
    jointed = kind in ("swing", "wave")
    measure = {"swing": _swing, "wave": _wave}.get(kind, _balls)
    whole = _windows(tracks.present_FK).all(-1)
    if jointed:
        whole &= whole.all(1, keepdims=True)
    else:
        whole &= ~_windows(_near_impact(centres, kind)).any(-1)
    off_FK = np.full(tracks.present_FK.shape, np.nan)
    half = WINDOW // 2
    off_FK[half : len(off_FK) - half] = np.where(whole, measure(centres, kind), np.nan)

    step = np.linalg.norm(np.diff(centres, axis=0), axis=-1)
    both = tracks.present_FK[1:] & tracks.present_FK[:-1]
    jump = np.where(both & (step > TOP_SPEED), step - TOP_SPEED + 1.0, np.nan)
    off_FK[1:] = np.fmax(off_FK[1:], jump)
    if not jointed:
        low, high = bounds_px(radius_px(kind))
        depth = np.maximum(low - centres, centres - high).max(-1)
        off_FK = np.fmax(off_FK, np.where(tracks.present_FK & (depth > 1.0), depth, np.nan))
    known = np.isfinite(off_FK)
    worst = np.where(known, np.minimum(off_FK, CAP_PX), -1.0).max(1)
    return np.where(known.any(1), worst, np.nan)


def frozen(tracks: Tracks) -> Floats:
    """[F]: 1 where nothing has moved for at least four steps, 0 elsewhere; a true scene turns round faster."""
    step = np.linalg.norm(np.diff(tracks.centres_FKD, axis=0), axis=-1).max(-1)
    out = np.zeros(len(step) + 1)
    run = 0
    for frame, still in enumerate(step < _STILL_PX, start=1):
        run = run + 1 if still else 0
        if run >= _STILL_STEPS:
            out[frame - run + 1 : frame + 1] = 1.0
    return out


def _balls(centres_FKD: Floats, kind: str) -> Floats:
    pull = 0.0 if kind == "collide" else GRAVITY
    windows = _windows(centres_FKD).copy()  # W K D T
    windows[:, :, 1] -= 0.5 * pull * _T**2
    off = _off_fit(windows.reshape(-1, WINDOW), 1).reshape(windows.shape)
    return np.sqrt((off**2).sum(2).mean(-1))


def _near_impact(centres_FKD: Floats, kind: str) -> NDArray[np.bool_]:
    """[F, K]: may touch a wall, the floor or another ball within about a frame."""
    speed = np.abs(np.gradient(centres_FKD, axis=0))
    speed = np.minimum(speed, 4.0)
    low, high = bounds_px(radius_px(kind))
    gap = np.minimum(centres_FKD - low, high - centres_FKD)
    near = np.asarray((gap < 0.6 + 0.8 * speed).any(-1))
    if centres_FKD.shape[1] == 2:
        apart = np.linalg.norm(centres_FKD[:, 1] - centres_FKD[:, 0], axis=-1)
        closing = np.minimum(np.abs(np.gradient(apart)), 4.0)
        near |= (apart - 2 * radius_px(kind) < 0.6 + 0.8 * closing)[:, None]
    return near


def _swing(centres_FKD: Floats, kind: str) -> Floats:
    rope = centres_FKD - np.array(PIVOT_PX)
    reach = np.linalg.norm(rope, axis=-1)
    angle = np.arctan2(rope[..., 0], rope[..., 1])
    length = np.median(reach, axis=0, keepdims=True)
    windows = _windows(angle)  # W K T
    curve = -GRAVITY / length * np.sin(windows[..., WINDOW // 2])
    off_angle = _off_fit((windows - 0.5 * curve[..., None] * _T**2).reshape(-1, WINDOW), 1).reshape(windows.shape)
    off_reach = _windows(reach - length)
    return np.sqrt(((length[..., None] * off_angle) ** 2 + off_reach**2).mean(-1))


def _wave(centres_FKD: Floats, kind: str) -> Floats:
    elbow = centres_FKD[:, 0] - np.array(SHOULDER_PX)
    fore = centres_FKD[:, 1] - centres_FKD[:, 0]
    stretch = np.stack([np.linalg.norm(elbow, axis=-1) - UPPER_ARM_PX, np.linalg.norm(fore, axis=-1) - FOREARM_PX], -1)
    windows = _windows(centres_FKD)
    smooth = _off_fit(windows.reshape(-1, WINDOW), 3).reshape(windows.shape)
    return np.sqrt((_windows(stretch) ** 2).mean(-1) + (smooth**2).sum(2).mean(-1))
