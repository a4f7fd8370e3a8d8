"""Scenes -> frames_FHWC uint8 RGB, anti-aliased, drawn in small windows around what moves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rushes.world.mechanics import FLOOR_PX, PIVOT_PX, SIZE_PX
from rushes.world.scenes import Scene

EDGE_PX = 5.0  # edges are soft over so many pixels: a codec of large patches keeps a soft ball and breaks a hard edge
SKY, GROUND, POST, ROPE = (30, 34, 52), (70, 72, 84), (96, 104, 128), (150, 150, 160)
BALLS = {
    "drop": (214, 92, 78),
    "throw": (206, 140, 62),
    "swing": (66, 158, 150),
    "collide": (92, 124, 214),
    "roll": (176, 98, 182),
}
DOT = (250, 244, 226)
CONTRAST = 0.6  # of a dot: 1 is full paint; chosen by what one lost dot weighs in latents, see `rushes bench world`
DOT_PX, RING_PX = 3.8, 6.8  # radius of a dot, and of the ring on which a ball alone has six
PAIR_DOT_PX, PAIR_RING_PX = 3.6, 5.2  # the same where each of two balls has three
POST_PX = (27.5, 35.5)  # left and right edge

Pictures = NDArray[np.float32]


def stage(kind: str) -> Pictures:
    """The empty stage [H, W, 3] in 0..255: sky, ground, and what stands before the ball is not on it."""
    rows = np.arange(SIZE_PX, dtype=np.float32)[:, None, None]
    ground = np.clip(rows - FLOOR_PX + 1.0, 0.0, 1.0)
    picture = (1 - ground) * np.array(SKY, np.float32) + ground * np.array(GROUND, np.float32)
    return np.broadcast_to(picture, (SIZE_PX, SIZE_PX, 3)).copy()


def post() -> Pictures:
    """Coverage [W] of the post that stands before rolling balls."""
    columns = np.arange(SIZE_PX)
    return _soft(np.minimum(columns - POST_PX[0], POST_PX[1] - columns) + 0.5, 2.0)


def dot_offsets(balls: int) -> NDArray[np.float64]:
    """Where dots sit beside the centre of their ball, [P, 2] in px."""
    count, ring = (6, RING_PX) if balls == 1 else (3, PAIR_RING_PX)
    angle = np.arange(count) * 2 * np.pi / count + np.pi / 6
    return ring * np.stack([np.cos(angle), np.sin(angle)], -1)


def dot_px(balls: int) -> float:
    """Radius of a dot."""
    return DOT_PX if balls == 1 else PAIR_DOT_PX


def _soft(inside_px: NDArray[np.floating], edge_px: float = EDGE_PX) -> Pictures:
    x = np.clip(inside_px / edge_px + 0.5, 0.0, 1.0).astype(np.float32)
    return np.asarray(x * x * (3 - 2 * x), np.float32)


def disc(distance_px: NDArray[np.floating], radius_px: float) -> Pictures:
    """Coverage in 0..1 of a soft disc at distances from its centre."""
    return _soft(radius_px - distance_px)


def rope(centres_FD: NDArray[np.float64]) -> Pictures:
    """Coverage [F, H, W] of the rope from the pivot to the centres."""
    rows, columns = np.mgrid[0:SIZE_PX, 0:SIZE_PX].astype(np.float32)
    pivot = np.array(PIVOT_PX, np.float32)
    along = (centres_FD - pivot).astype(np.float32)
    dx, dy = columns - pivot[0], rows - pivot[1]
    share = np.clip(
        (dx * along[:, 0, None, None] + dy * along[:, 1, None, None]) / (along**2).sum(1)[:, None, None], 0, 1
    )
    off = np.hypot(dx - share * along[:, 0, None, None], dy - share * along[:, 1, None, None])
    return 0.7 * _soft(0.9 - off, 3.0)


def render(scene: Scene) -> NDArray[np.uint8]:
    """Frames [F, 64, 64, 3] uint8: rope, balls with their dots, and the post before them."""
    kind = scene.kind
    frames = np.zeros((len(scene.centres_FKD), SIZE_PX + 2 * _MARGIN, SIZE_PX + 2 * _MARGIN, 3), np.float32)
    inside = frames[:, _MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
    inside[:] = stage(kind)
    if kind == "swing":
        solid = scene.opacity_FK[:, 0, None, None].astype(np.float32)
        _paint(inside, rope(scene.centres_FKD[:, 0]) * solid, ROPE)
    for ball in range(scene.centres_FKD.shape[1]):
        _paint_ball(frames, scene, ball)
    if kind == "roll":
        left, right = int(POST_PX[0]) - 3, int(POST_PX[1]) + 4
        cover = np.broadcast_to(post()[left:right], (int(FLOOR_PX), right - left))
        _paint(inside[:, : int(FLOOR_PX), left:right], cover, POST)
    return np.clip(np.rint(inside), 0, 255).astype(np.uint8)


_MARGIN = 24  # px around the picture into which balls may reach while they are painted


def _paint_ball(frames_FHWC: Pictures, scene: Scene, ball: int) -> None:
    """Paint a ball and its dots, in a window around it; frames have the margin."""
    balls = scene.centres_FKD.shape[1]
    reach = int(np.ceil(scene.radius_px + EDGE_PX / 2)) + 1
    span = np.arange(-reach, reach + 1)
    centres = np.clip(scene.centres_FKD[:, ball], reach - _MARGIN, SIZE_PX - 1 + _MARGIN - reach)
    near = np.rint(centres).astype(np.int64)
    off = (near - centres).astype(np.float32)
    dx, dy = off[:, :1] + span.astype(np.float32), off[:, 1:] + span.astype(np.float32)
    solid = scene.opacity_FK[:, ball, None, None].astype(np.float32)
    body = disc(np.sqrt(dx[:, None, :] ** 2 + dy[:, :, None] ** 2), scene.radius_px) * solid
    bare = np.ones_like(body)
    for (x, y), amount_F in zip(dot_offsets(balls).astype(np.float32), scene.dots_FKP[:, ball].T, strict=True):
        distance = np.sqrt((dx - x)[:, None, :] ** 2 + (dy - y)[:, :, None] ** 2)
        bare *= 1 - disc(distance, dot_px(balls)) * (CONTRAST * amount_F[:, None, None]).astype(np.float32)
    colour = np.array(BALLS[scene.kind], np.float32)
    paint = colour + (1 - bare)[..., None] * (np.array(DOT, np.float32) - colour)
    at = (
        np.arange(len(near))[:, None, None],
        (near[:, 1:] + span + _MARGIN)[:, :, None],
        (near[:, :1] + span + _MARGIN)[:, None],
    )
    under = frames_FHWC[at]
    frames_FHWC[at] = under + body[..., None] * (paint - under)


def _paint(frames_FHWC: Pictures, cover_FHW: Pictures, colour: object) -> None:
    """Paint over frames, in place."""
    frames_FHWC += cover_FHW[..., None] * (np.asarray(colour, np.float32) - frames_FHWC)
