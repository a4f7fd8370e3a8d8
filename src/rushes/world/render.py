"""States -> frames_FHWC uint8 RGB, anti-aliased.

Edges are soft over `EDGE_PX`: a codec with 8-pixel patches keeps a soft ball and breaks a hard one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rushes.arrays import Floats
from rushes.world.scenes import COLOURS, FLOOR_PX, PIVOT_PX, SHOULDER_PX, SIZE_PX, Scene

EDGE_PX = 3.6
SKY, GROUND, GREY = (38, 41, 50), (84, 78, 70), (150, 150, 155)
_LINE_PX = 0.7  # half width of ropes and limbs
_ROWS, _COLUMNS = np.mgrid[0:SIZE_PX, 0:SIZE_PX].astype(np.float64)


def backdrop() -> Floats:
    """The empty stage, [H, W, 3] in 0..255: sky above, ground below."""
    ground = np.clip(_ROWS - FLOOR_PX + 1.0, 0.0, 1.0)[..., None]
    return np.asarray((1 - ground) * np.array(SKY, float) + ground * np.array(GROUND, float))


def disc(centre_xy: Floats, radius_px: float) -> Floats:
    """Coverage [..., H, W] in 0..1 of soft discs at `centre_xy` [..., 2]."""
    dx = _COLUMNS - centre_xy[..., 0, None, None]
    dy = _ROWS - centre_xy[..., 1, None, None]
    return _soft(radius_px - np.hypot(dx, dy), EDGE_PX)


def line(start_xy: Floats, end_xy: Floats) -> Floats:
    """Coverage [..., H, W] in 0..1 of soft line segments."""
    along = end_xy - start_xy
    length2 = np.maximum((along**2).sum(-1), 1e-9)[..., None, None]
    dx = _COLUMNS - start_xy[..., 0, None, None]
    dy = _ROWS - start_xy[..., 1, None, None]
    ax, ay = along[..., 0, None, None], along[..., 1, None, None]
    share = np.clip((dx * ax + dy * ay) / length2, 0.0, 1.0)
    return 0.8 * _soft(_LINE_PX - np.hypot(dx - share * ax, dy - share * ay), 2.4)


def _soft(inside_px: Floats, edge_px: float) -> Floats:
    x = np.clip(inside_px / edge_px + 0.5, 0.0, 1.0)
    return np.asarray(x * x * (3 - 2 * x))


def grey_parts(scene: Scene) -> Floats:
    """Coverage [F, H, W] of ropes, limbs and body."""
    x = scene.centres_FKD
    if scene.kind == "swing":
        pivot = np.broadcast_to(np.array(PIVOT_PX), x[:, 0].shape)
        return line(pivot, x[:, 0]) * scene.opacity_FK[:, 0, None, None]
    if scene.kind == "wave":
        shoulder = np.broadcast_to(np.array(SHOULDER_PX), x[:, 0].shape)
        hip = shoulder + np.array([-1.0, 10.0])
        head = disc(shoulder[0] + np.array([-1.0, -6.0]), 2.6) * 0.9
        body = np.maximum(line(shoulder, hip), head)
        arm = np.maximum(line(shoulder, x[:, 0]), line(x[:, 0], x[:, 1]))
        return np.maximum(body, arm)
    return np.zeros((len(x), SIZE_PX, SIZE_PX))


def render(scene: Scene) -> NDArray[np.uint8]:
    """Frames [F, 32, 32, 3] uint8 of a scene; objects are painted in order over the grey parts and the backdrop."""
    stage = backdrop()
    frames = np.broadcast_to(stage, (len(scene.centres_FKD), *stage.shape)).copy()
    layers = [(grey_parts(scene), np.array(GREY, float))]
    for k, colour in enumerate(scene.colours):
        cover = disc(scene.centres_FKD[:, k], scene.radius_px) * scene.opacity_FK[:, k, None, None]
        layers.append((cover, np.array(COLOURS[colour], float)))
    for cover, paint in layers:
        frames += cover[..., None] * (paint - frames)
    frames *= scene.gain_F[:, None, None, None]
    return np.clip(np.rint(frames), 0, 255).astype(np.uint8)
