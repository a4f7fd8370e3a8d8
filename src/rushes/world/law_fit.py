"""The lawful path nearest to a track: what is left is how far a clip strays from the law of its kind, in every frame.

The laws leave free where a clip begins, how fast and at which tempo, and nothing else. Robust least squares, so that
half a lawful clip stays lawful and the other half stands out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np

from rushes.arrays import Floats
from rushes.world.mechanics import (
    FLOOR_PX,
    GRAVITY,
    HEAVY,
    PIVOT_PX,
    RADIUS_PX,
    SWING_PULL,
    TEMPO,
    at_angle,
    flight,
    hit,
    straight,
)

SOFT_PX = 0.5  # residuals above it count by their size, not its square
CAP_PX = 4.0  # most that a frame may be off by; also what a missing ball counts
_TEMPOS = np.exp(np.linspace(np.log(TEMPO[0] * 0.97), np.log(TEMPO[1] * 1.03), 28))
_ROUNDS = 10

# parameters [M, Q] -> centres [M, F, K, 2]
Path = Callable[[Floats, Floats], Floats]


@dataclass(frozen=True)
class LawfulPath:
    """The nearest lawful path.

    Attributes:
        off_F: px between track and path, the farther ball's, at most 4.
        centres_FKD: the path.
        speed: px per frame; of a swing times the amplitude. For which way it goes, its sign: right is positive.
        tempo: as far as the law shows it; NaN where speed and tempo cannot be separated.
    """

    off_F: Floats
    centres_FKD: Floats
    speed: float
    tempo: float


def lawful(centres_FKD: Floats, kind: str, heavy: bool | None) -> LawfulPath:
    """Fit the law of a kind to tracked centres; `heavy` is what the caption says of a ball that is hit."""
    times = np.arange(len(centres_FKD), dtype=float)
    if kind == "swing":
        return _swinging(centres_FKD, times)
    starts, path = {"drop": _drop, "throw": _throw, "collide": _collide, "roll": _roll}[kind](centres_FKD, heavy)
    rough = [starts[i : i + 256] for i in range(0, len(starts), 256)]
    cost = np.concatenate([_cost(path(some, times), centres_FKD) for some in rough])
    best = starts[np.argsort(cost)[:3]]
    fits = [_refined(path, start, centres_FKD, times) for start in best]
    parameters = min(fits, key=lambda p: float(_cost(path(p[None], times), centres_FKD)[0]))
    speed, tempo = _speed_and_tempo(kind, parameters)
    return _path(path(parameters[None], times)[0], centres_FKD, speed, tempo)


def _path(nearest_FKD: Floats, centres_FKD: Floats, speed: float, tempo: float) -> LawfulPath:
    off = np.linalg.norm(nearest_FKD - centres_FKD, axis=-1).max(1)
    return LawfulPath(np.minimum(off, CAP_PX), nearest_FKD, speed, tempo)


def _cost(paths_MFKD: Floats, centres_FKD: Floats) -> Floats:
    off = np.linalg.norm(paths_MFKD - centres_FKD, axis=-1)
    return np.asarray(np.minimum(off, CAP_PX).sum((1, 2)))


def _refined(path: Path, start: Floats, centres_FKD: Floats, times_F: Floats) -> Floats:
    """Levenberg and Marquardt's steps on Huber's loss."""
    now, damping = start.copy(), 1e-2
    step = 1e-3 * np.maximum(np.abs(now), 0.1)
    cost = np.inf
    for _ in range(_ROUNDS):
        paths = path(np.concatenate([now[None], now + np.diag(step)]), times_F)
        rest = (paths[0] - centres_FKD).ravel()
        size = np.repeat(np.linalg.norm(paths[0] - centres_FKD, axis=-1).ravel(), 2)
        weight = np.minimum(1.0, SOFT_PX / np.maximum(size, 1e-9))
        slope = ((paths[1:] - paths[0]).reshape(len(now), -1) / step[:, None]).T
        normal = slope.T @ (weight[:, None] * slope)
        push = slope.T @ (weight * rest)
        cost = _huber(size)
        for _ in range(3):
            move = np.linalg.solve(normal + damping * np.diag(np.diag(normal)) + 1e-9 * np.eye(len(now)), push)
            after = path((now - move)[None], times_F)[0]
            if _huber(np.repeat(np.linalg.norm(after - centres_FKD, axis=-1).ravel(), 2)) < cost:
                now, damping = now - move, damping / 4
                break
            damping *= 8
        else:
            break
    return now


def _huber(size: Floats) -> float:
    return float(np.where(size < SOFT_PX, 0.5 * size**2, SOFT_PX * (size - 0.5 * SOFT_PX)).sum())


def _slope(values_F: Floats, frames: int) -> float:
    """Median step at the start, px per frame."""
    return float(np.median(np.diff(values_F[: frames + 1])))


def _drop(centres_FKD: Floats, _: bool | None) -> tuple[Floats, Path]:
    """Parameters: x, y at the start, tempo."""
    x, y = float(np.median(centres_FKD[:, 0, 0])), float(np.median(centres_FKD[:2, 0, 1]))
    starts = np.array([(x, y + off, k) for off, k in product((-0.5, 0.0, 0.5), _TEMPOS)])

    def path(p: Floats, times: Floats) -> Floats:
        down = flight(p[:, 1], np.zeros(len(p)), GRAVITY * _tempo(p[:, 2]) ** 2, times)
        return np.stack([np.broadcast_to(p[:, :1], down.shape), down], -1)[:, :, None]

    return starts, path


def _throw(centres_FKD: Floats, _: bool | None) -> tuple[Floats, Path]:
    """Parameters: x, y, their speeds at the start in px per frame, tempo."""
    x, y = centres_FKD[0, 0]
    sideways = [_slope(centres_FKD[:, 0, 0], frames) for frames in (4, 8)]
    risen = centres_FKD[4, 0, 1] - y
    starts = np.array(
        [
            (x, y, side, risen / 4 - 2 * GRAVITY * k**2 + off, k)
            for side, k, off in product(sideways, _TEMPOS, (-0.2, -0.1, 0.0, 0.1, 0.2))
        ]
    )

    def path(p: Floats, times: Floats) -> Floats:
        down = flight(p[:, 1], p[:, 3], GRAVITY * _tempo(p[:, 4]) ** 2, times)
        return np.stack([straight(p[:, 0], p[:, 2], times), down], -1)[:, :, None]

    return starts, path


def _roll(centres_FKD: Floats, _: bool | None) -> tuple[Floats, Path]:
    """Parameters: x at the start, px per frame."""
    x = float(centres_FKD[0, 0, 0])
    speeds = np.concatenate([sign * np.linspace(0.2, 2.6, 41) for sign in (-1, 1)])
    starts = np.array([(x + off, speed) for off, speed in product((-0.5, 0.0, 0.5), speeds)])

    def path(p: Floats, times: Floats) -> Floats:
        along = straight(p[:, 0], p[:, 1], times)
        return np.stack([along, np.full_like(along, FLOOR_PX - 0.5 - RADIUS_PX)], -1)[:, :, None]

    return starts, path


def _collide(centres_FKD: Floats, heavy: bool | None) -> tuple[Floats, Path]:
    """Parameters: x of both at the start, the speed of the one that moves (to the right positive), y of both."""
    left, right = centres_FKD[0, :, 0]
    level = float(np.median(centres_FKD[..., 1]))
    speeds = np.concatenate([sign * np.linspace(0.4, 2.6, 45) for sign in (-1, 1)])
    starts = np.array([(left, right, speed, level) for speed in speeds])
    mass = HEAVY if heavy else 1.0

    def path(p: Floats, times: Floats) -> Floats:
        comes = p[:, 2:3] > 0  # the left one moves
        speed = np.concatenate([np.where(comes, p[:, 2:3], 0.0), np.where(comes, 0.0, p[:, 2:3])], 1)
        masses = np.concatenate([np.where(comes, 1.0, mass), np.where(comes, mass, 1.0)], 1)
        x = hit(p[:, :2], speed, masses, times)
        return np.stack([x, np.broadcast_to(p[:, 3, None, None], x.shape)], -1)

    return starts, path


def _swinging(centres_FKD: Floats, times_F: Floats) -> LawfulPath:
    """For each tempo the angle is linear in a sine and a cosine; the best of the tempos."""
    rope = centres_FKD[:, 0] - np.array(PIVOT_PX)
    length = float(np.median(np.linalg.norm(rope, axis=-1)))
    angle = np.arctan2(rope[:, 0], rope[:, 1])
    tempos = np.linspace(TEMPO[0] * 0.97, TEMPO[1] * 1.03, 120)
    phase = np.sqrt(SWING_PULL / length) * tempos[:, None] * times_F
    basis = np.stack([np.sin(phase), np.cos(phase)], -1)  # M F 2
    weight = np.ones((len(tempos), len(times_F)))
    for _ in range(5):
        normal = np.einsum("mfi,mf,mfj->mij", basis, weight, basis) + 1e-9 * np.eye(2)
        fitted = np.linalg.solve(normal, np.einsum("mfi,mf,f->mi", basis, weight, angle)[..., None])
        off = np.abs(length * ((basis @ fitted)[..., 0] - angle))
        weight = np.minimum(1.0, SOFT_PX / np.maximum(off, 1e-9))
    best = int(np.minimum(off, CAP_PX).sum(1).argmin())
    nearest = at_angle(length, (basis[best] @ fitted[best]).T)[0][:, None]
    speed = float(fitted[best, 0, 0] * length * np.sqrt(SWING_PULL / length) * tempos[best])
    return _path(nearest, centres_FKD, speed, float(tempos[best]))


def _tempo(values: Floats) -> Floats:
    return np.clip(values, TEMPO[0] * 0.95, TEMPO[1] * 1.05)


def _speed_and_tempo(kind: str, parameters: Floats) -> tuple[float, float]:
    if kind == "drop":
        return float("nan"), float(_tempo(parameters[2]))
    if kind == "throw":
        return float(parameters[2]), float(_tempo(parameters[4]))
    return float(parameters[2 if kind == "collide" else 1]), float("nan")
