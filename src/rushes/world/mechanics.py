"""Where things go: closed forms of the embedded world's laws, for any number of clips at once.

Positions are in pixels, x to the right and y down; time is in frames. A clip's tempo k in [0.35, 1] scales its time, so
that velocities scale with k and gravity with k^2; a first frame does not show it. All functions take parameters [N]
and times [F] and return [N, F].
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from rushes.arrays import Floats

SIZE_PX, FRAMES, FPS = 64, 33, 8.0
RADIUS_PX, PAIR_RADIUS_PX = 12.0, 10.0  # of a ball alone, and of two that collide
FLOOR_PX = 58.0  # the ground begins here
TEMPO = (0.35, 1.0)
GRAVITY = 0.4  # px per frame^2 at tempo 1
RESTITUTION = 0.8  # of the floor; walls give all back
PIVOT_PX = (31.5, 2.0)
SWING_PULL = 1.0  # px per frame^2 at tempo 1: the period is 2 pi sqrt(length / pull)
HEAVY = 3.0  # mass of a heavy ball in masses of a light one


def fold(place: Floats, low: float, high: float) -> Floats:
    """A straight path between two walls that give all speed back."""
    span = high - low
    return low + span - np.abs(np.mod(place - low, 2 * span) - span)


def straight(x0: ArrayLike, speed: ArrayLike, times_F: Floats, radius_px: float = RADIUS_PX) -> Floats:
    """x of a ball of steady speed (px per frame) between the walls."""
    low, high = radius_px - 0.5, SIZE_PX - 0.5 - radius_px
    return fold(_column(x0) + _column(speed) * times_F, low, high)


def flight(
    y0: ArrayLike, speed: ArrayLike, pull: ArrayLike, times_F: Floats, first_restitution: ArrayLike = RESTITUTION
) -> Floats:
    """y of a ball under gravity `pull` (px per frame^2) that bounces off the floor.

    After the n-th impact it leaves with e^n times the speed of the first one, so impacts follow each other as a
    geometric series. `first_restitution` other than the world's is a fault.
    """
    pull, up = _column(pull), -_column(speed)
    high = np.maximum(FLOOR_PX - 0.5 - RADIUS_PX - _column(y0), 0.0)
    impact = np.sqrt(up**2 + 2 * pull * high)
    first = (up + impact) / pull
    falling = high + up * times_F - 0.5 * pull * times_F**2
    leaving = impact * _column(first_restitution)
    unit = np.maximum(2 * leaving / pull, 1e-9)  # time in the air after the first impact
    after = np.maximum(times_F - first, 0.0)
    left = np.maximum(1 - after * (1 - RESTITUTION) / unit, 1e-12)
    bounce = np.floor(np.log(left) / np.log(RESTITUTION) + 1e-9)
    share = RESTITUTION**bounce
    since = after - unit * (1 - share) / (1 - RESTITUTION)
    bouncing = leaving * share * since - 0.5 * pull * since**2
    return FLOOR_PX - 0.5 - RADIUS_PX - np.maximum(np.where(times_F < first, falling, bouncing), 0.0)


def swing(length: ArrayLike, amplitude: ArrayLike, phase: ArrayLike, rate: ArrayLike, times_F: Floats) -> Floats:
    """Centres [N, F, 2] of a pendulum whose angle (radians) is amplitude * sin(phase + rate * t)."""
    return at_angle(length, _column(amplitude) * np.sin(_column(phase) + _column(rate) * times_F))


def at_angle(length: ArrayLike, angle_NF: Floats) -> Floats:
    """Centres [N, F, 2] on the rope at angles from straight down."""
    reach = _column(length)
    return np.array(PIVOT_PX) + np.stack([reach * np.sin(angle_NF), reach * np.cos(angle_NF)], -1)


def hit(
    x0_NK: Floats, speed_NK: Floats, mass_NK: Floats, times_F: Floats, gain: ArrayLike = 1.0, impacts: int = 12
) -> Floats:
    """x [N, F, 2] of two balls on a line, the left one first, with elastic impacts between them and with the walls.

    Args:
        x0_NK: px, where they start.
        speed_NK: px per frame.
        mass_NK: any unit.
        times_F: frames, from 0 up.
        gain: of both speeds at their first impact; all but 1 breaks the law of momentum.
        impacts: at most so many are followed.
    """
    low, high = PAIR_RADIUS_PX - 0.5, SIZE_PX - 0.5 - PAIR_RADIUS_PX
    x, v = x0_NK.astype(float).copy(), speed_NK.astype(float).copy()
    now, boost = np.zeros(len(x)), np.broadcast_to(np.asarray(gain, float), len(x)).copy()
    out = x[:, None] + v[:, None] * times_F[:, None]
    for _ in range(impacts):
        with np.errstate(divide="ignore", invalid="ignore"):
            wall = np.where(v > 0, (high - x) / v, np.where(v < 0, (low - x) / v, np.inf))
            meet = np.where(v[:, 0] > v[:, 1], (x[:, 1] - x[:, 0] - 2 * PAIR_RADIUS_PX) / (v[:, 0] - v[:, 1]), np.inf)
        wait = np.maximum(np.minimum(wall.min(1), meet), 0.0)
        if not (now + wait < times_F[-1]).any():
            break
        finite = np.isfinite(wait)
        wait = np.where(finite, wait, 0.0)
        now, x = now + wait, x + v * wait[:, None]
        pair = finite & (meet <= wall.min(1))
        bounced = np.where(~pair[:, None] & finite[:, None] & (wall <= wait[:, None] + 1e-9), -v, v)
        v = np.where(pair[:, None], _exchanged(v, mass_NK) * boost[:, None], bounced)
        boost = np.where(pair, 1.0, boost)
        later = (times_F[None] > now[:, None]) & finite[:, None]
        out = np.where(later[..., None], x[:, None] + v[:, None] * (times_F - now[:, None])[..., None], out)
    return np.asarray(out)


def _exchanged(v_NK: Floats, mass_NK: Floats) -> Floats:
    """Velocities after an elastic impact."""
    together = (v_NK * mass_NK).sum(1, keepdims=True) / mass_NK.sum(1, keepdims=True)
    return np.asarray(2 * together - v_NK)


def _column(values: ArrayLike) -> Floats:
    return np.atleast_1d(np.asarray(values, float))[:, None]
