"""How far tracked objects stray from the dynamics of their scene, in pixels per frame window.

Each window of five frames is fitted with what the scene leaves free (where and how fast) and not with what it fixes
(gravity, rope length, limb length). Windows with a missing object, with an impact or in which all stands still are left
out: an impact is not a parabola, and what is missing or frozen is counted as that.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rushes.arrays import Floats
from rushes.world.scenes import FOREARM_PX, GRAVITY, PIVOT_PX, SHOULDER_PX, UPPER_ARM_PX, bounds_px, radius_px
from rushes.world.tracks import Tracks

WINDOW = 5
_T = np.arange(WINDOW) - WINDOW // 2
CAP_PX = 4.0  # one wild window must not decide a mean
TOP_SPEED = 6.0  # px per frame; a waving hand reaches 5.1, nothing in this world is faster
_STILL_PX, _STILL_STEPS = 0.2, 4  # all that moves moves more within four steps, but a pendulum at its turn
_STILL_SWING_PX = 0.12
_TOUCH_PX = 1.0  # a step that brings a ball this close to a wall or another ball may hold an impact
_HELD_PX = 0.5  # gravity takes a ball 0.7 px from the ceiling within two frames, wherever in a window it touched


def _off_fit(values_WT: Floats, degree: int) -> Floats:
    """Residuals [W, T] of least-squares polynomials of `degree` through each window."""
    basis = np.vander(_T.astype(float), degree + 1)
    project = np.eye(WINDOW) - basis @ np.linalg.pinv(basis)
    return np.asarray(values_WT @ project.T)


def _windows(values: NDArray[Any], length: int = WINDOW) -> NDArray[Any]:
    """[F, ...] -> [F - length + 1, ..., length]."""
    return np.lib.stride_tricks.sliding_window_view(values, length, axis=0)


def residuals(tracks: Tracks, kind: str) -> Floats:
    """Residual [F] in px, the worst object's, at most 4; NaN where none applies.

    A frame holds the residual of the window around it, and beside it what no window is needed for: a step faster than
    anything in this world, and a ball beyond the floor or a wall.
    """
    centres = tracks.centres_FKD
    jointed = kind in ("swing", "wave")
    measure = {"swing": _swing, "wave": _wave}.get(kind, _balls)
    # All objects, as a ball that is missing may have met the other one.
    clean_W = _windows(tracks.whole_F).all(-1) & ~_windows(frozen(tracks, kind) > 0).any(-1)
    clean_WK = np.tile(clean_W, (centres.shape[1], 1)).T
    if not jointed:
        clean_WK &= ~_windows(_may_touch(centres, kind), WINDOW - 1).any(-1) | _held(centres, kind)
    off_FK = np.full(tracks.present_FK.shape, np.nan)
    half = WINDOW // 2
    off_FK[half : len(off_FK) - half] = np.where(clean_WK, measure(centres, kind), np.nan)

    step = np.linalg.norm(np.diff(centres, axis=0), axis=-1)
    both = tracks.present_FK[1:] & tracks.present_FK[:-1]
    jump = np.where(both & (step > TOP_SPEED), step - TOP_SPEED + 1.0, np.nan)
    off_FK[1:] = np.fmax(off_FK[1:], jump)
    if not jointed:
        low, high = bounds_px(radius_px(kind))
        depth = np.maximum(low - centres, centres - high).max(-1)
        off_FK = np.fmax(off_FK, np.where(tracks.present_FK & (depth > 1.0), depth, np.nan))
    finite = np.isfinite(off_FK)
    worst = np.where(finite, np.minimum(off_FK, CAP_PX), -1.0).max(1)
    return np.where(finite.any(1), worst, np.nan)


def frozen(tracks: Tracks, kind: str) -> Floats:
    """[F]: 1 where nothing has moved for at least four steps, 0 elsewhere; a true scene turns round faster.

    An object that is missing is not known to stand still.
    """
    step = np.linalg.norm(np.diff(tracks.centres_FKD, axis=0), axis=-1).max(-1)
    whole = tracks.whole_F
    limit = _STILL_SWING_PX if kind == "swing" else _STILL_PX
    out = np.zeros(len(step) + 1)
    run = 0
    for frame, still in enumerate((step < limit) & whole[1:] & whole[:-1], start=1):
        run = run + 1 if still else 0
        if run >= _STILL_STEPS:
            out[frame - run + 1 : frame + 1] = 1.0
    return out


def _balls(centres_FKD: Floats, kind: str) -> Floats:
    windows = _windows(centres_FKD).copy()  # W K D T
    windows[:, :, 1] -= 0.5 * _pull(kind) * _T**2
    off = _off_fit(windows.reshape(-1, WINDOW), 1).reshape(windows.shape)
    return np.asarray(np.sqrt((off**2).sum(2).mean(-1)))


def _pull(kind: str) -> float:
    return 0.0 if kind == "collide" else GRAVITY


def _may_touch(centres_FKD: Floats, kind: str) -> NDArray[np.bool_]:
    """[F - 1, K]: between these frames the ball may touch a wall, the floor or the other ball.

    It may where the motion just before or just after the step, drawn on through it, comes close.
    """
    low, high = bounds_px(radius_px(kind))
    near = np.asarray(_closes(np.concatenate([centres_FKD - low, high - centres_FKD], -1)).any(-1))
    if centres_FKD.shape[1] == 2:
        apart = np.linalg.norm(centres_FKD[:, 1] - centres_FKD[:, 0], axis=-1) - 2 * radius_px(kind)
        near |= _closes(apart)[:, None]
    return near


def _closes(gap_F: Floats) -> NDArray[np.bool_]:
    """[F, ...] gaps -> [F - 1, ...]: the gap as it was before or after would close in this step."""
    change = np.clip(np.diff(gap_F, axis=0), -TOP_SPEED, TOP_SPEED)
    change = np.concatenate([np.zeros_like(change[:1]), change, np.zeros_like(change[:1])])
    return np.asarray(np.minimum(gap_F[:-1] + change[:-2], gap_F[1:] - change[2:]) < _TOUCH_PX)


def _held(centres_FKD: Floats, kind: str) -> NDArray[np.bool_]:
    """[F - 4, K]: the ball stays at the ceiling for a whole window, against gravity."""
    if _pull(kind) == 0:
        return np.zeros((1, 1), bool)
    top = bounds_px(radius_px(kind))[0][1]
    return np.asarray(_windows(centres_FKD[..., 1] < top + _HELD_PX).all(-1))


def _swing(centres_FKD: Floats, kind: str) -> Floats:
    rope = centres_FKD - np.array(PIVOT_PX)
    reach = np.linalg.norm(rope, axis=-1)
    angle = np.arctan2(rope[..., 0], rope[..., 1])
    length = np.median(reach, axis=0, keepdims=True)
    windows = _windows(angle)  # W K T
    curve = -GRAVITY / length * np.sin(windows[..., WINDOW // 2])
    off_angle = _off_fit((windows - 0.5 * curve[..., None] * _T**2).reshape(-1, WINDOW), 1).reshape(windows.shape)
    off_reach = _windows(reach - length)
    return np.asarray(np.sqrt(((length[..., None] * off_angle) ** 2 + off_reach**2).mean(-1)))


def _wave(centres_FKD: Floats, kind: str) -> Floats:
    elbow = centres_FKD[:, 0] - np.array(SHOULDER_PX)
    fore = centres_FKD[:, 1] - centres_FKD[:, 0]
    stretch = np.stack([np.linalg.norm(elbow, axis=-1) - UPPER_ARM_PX, np.linalg.norm(fore, axis=-1) - FOREARM_PX], -1)
    windows = _windows(centres_FKD)
    smooth = _off_fit(windows.reshape(-1, WINDOW), 3).reshape(windows.shape)
    return np.asarray(np.sqrt((_windows(stretch) ** 2).mean(-1) + (smooth**2).sum(2).mean(-1)))
