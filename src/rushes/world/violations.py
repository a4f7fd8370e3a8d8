"""Controlled violations: one named fault in an otherwise true scene."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rushes.world.scenes import FLOOR_PX, FOREARM_PX, GRAVITY, PIVOT_PX, SIZE_PX, Scene, bounds_px, moved

Violation = Callable[[Scene, np.random.Generator], Scene]


def _start(scene: Scene, rng: np.random.Generator, margin: int = 5) -> int:
    return int(rng.integers(4, len(scene.centres_FKD) - margin))


def _object(scene: Scene, rng: np.random.Generator) -> int:
    return int(rng.integers(len(scene.colours)))


def teleport(scene: Scene, rng: np.random.Generator) -> Scene:
    """An object jumps by at least 7 px within one frame and goes on from there."""
    start, k = _start(scene, rng), _object(scene, rng)
    low, high = bounds_px(scene.radius_px)
    x = scene.centres_FKD.copy()
    jump = np.where(x[start, k] > (low + high) / 2, -1.0, 1.0) * rng.uniform(5.5, 8.5, 2)
    x[start:, k] = np.clip(x[start:, k] + jump, low, high)
    return moved(scene, x)


def vanish(scene: Scene, rng: np.random.Generator) -> Scene:
    """An object is gone for at least three frames."""
    start, k = _start(scene, rng), _object(scene, rng)
    opacity = scene.opacity_FK.copy()
    opacity[start : start + int(rng.integers(3, 9)), k] = 0.0
    return replace(scene, opacity_FK=opacity)


def pass_through(scene: Scene, rng: np.random.Generator) -> Scene:
    """A ball meets the floor or a wall and goes on as if there were none."""
    x, v = scene.centres_FKD.copy(), scene.velocities_FKD
    frame, k = np.argwhere(_touching(scene))[0]
    steps = np.arange(len(x) - frame)[:, None]
    x[frame:, k] = x[frame, k] + v[frame, k] * steps
    return moved(scene, x)


def reverse_gravity(scene: Scene, rng: np.random.Generator) -> Scene:
    """From some frame on a ball falls upwards."""
    start = int(rng.integers(2, 5))
    x = scene.centres_FKD.copy()
    steps = np.arange(len(x) - start)[:, None]
    x[start:, 0] = x[start, 0] + scene.velocities_FKD[start, 0] * steps
    x[start:, 0, 1] -= 0.5 * GRAVITY * steps[:, 0] ** 2
    low, high = bounds_px(scene.radius_px)
    return moved(scene, np.clip(x, low, high))


def flicker(scene: Scene, rng: np.random.Generator) -> Scene:
    """The brightness of the whole frame jumps up and down."""
    start = _start(scene, rng)
    gain = scene.gain_F.copy()
    strength = rng.uniform(0.18, 0.35)
    gain[start : start + 5] += strength * (-1.0) ** np.arange(len(gain[start : start + 5]))
    return replace(scene, gain_F=gain)


def limb_stretch(scene: Scene, rng: np.random.Generator) -> Scene:
    """A forearm or rope grows or shrinks by a third or more and stays so."""
    start = _start(scene, rng)
    x = scene.centres_FKD.copy()
    k = len(scene.colours) - 1
    anchor = x[:, 0] if scene.kind == "wave" else np.broadcast_to(np.array(PIVOT_PX), x[:, 0].shape)
    longest = SIZE_PX - 6.0 - PIVOT_PX[1] if scene.kind == "swing" else np.inf
    reach = np.linalg.norm(x[:, k] - anchor, axis=-1)
    factor = rng.uniform(1.4, 1.7)
    if reach.max() * factor > min(longest, FLOOR_PX):
        factor = 1 / factor
    ramp = np.clip((np.arange(len(x)) - start + 1) / 2, 0, 1)[:, None]
    x[:, k] = anchor + (x[:, k] - anchor) * (1 + ramp * (factor - 1))
    assert scene.kind != "wave" or abs(reach.mean() - FOREARM_PX) < 1e-6
    return moved(scene, x)


def freeze(scene: Scene, rng: np.random.Generator) -> Scene:
    """Everything stands still for at least six frames, then goes on where it stopped."""
    frames = len(scene.centres_FKD)
    start, held = int(rng.integers(3, 6)), int(rng.integers(6, 9))
    time = np.arange(frames)
    time = np.where(time < start, time, np.maximum(start, time - held))
    return replace(scene, centres_FKD=scene.centres_FKD[time], velocities_FKD=scene.velocities_FKD[time])


BALLS, ALL = ("fall", "left", "right"), ("fall", "left", "right", "collide", "swing", "wave")
# name -> (the fault, the scene kinds in which it makes sense)
VIOLATIONS: dict[str, tuple[Violation, tuple[str, ...]]] = {
    "teleport": (teleport, ALL),
    "vanish": (vanish, ALL),
    "pass_through": (pass_through, BALLS),
    "reverse_gravity": (reverse_gravity, BALLS),
    "flicker": (flicker, ALL),
    "limb_stretch": (limb_stretch, ("swing", "wave")),
    "freeze": (freeze, ("fall", "left", "right", "collide", "swing", "wave")),
}


def violate(scene: Scene, rng: np.random.Generator) -> tuple[Scene, str]:
    """The scene with one violation drawn among those that fit its kind, and its name."""
    fitting = [name for name, (_, kinds) in VIOLATIONS.items() if scene.kind in kinds]
    if scene.kind in BALLS and not touches(scene):
        fitting.remove("pass_through")
    name = fitting[int(rng.integers(len(fitting)))]
    return VIOLATIONS[name][0](scene, rng), name


def touches(scene: Scene) -> bool:
    """Whether a ball meets the floor or a wall, early enough to be seen beyond it."""
    return bool(_touching(scene).any())


def _touching(scene: Scene) -> NDArray[np.bool_]:
    low, high = bounds_px(scene.radius_px)
    reach = scene.centres_FKD + scene.velocities_FKD
    return np.asarray(((reach < low) | (reach > high)).any(-1))[:-5]
