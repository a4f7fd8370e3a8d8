"""Parametric scenes with exact states: what stands for real footage.

Positions are in pixels, x to the right and y down, pixel centres at integers; time is in frames. A draw of `n` scenes
is simulated as one batch, so a corpus of thousands costs seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np

from rushes.arrays import Floats

SIZE_PX = 32
FRAMES = 17
FPS = 8.0
RADIUS_PX = 3.4  # balls
JOINT_PX = 2.8  # elbow and hand of the figure
FLOOR_PX = 29.0  # the ground begins here
GRAVITY = 0.35  # px per frame^2
RESTITUTION = 0.9
PIVOT_PX = (15.5, 2.0)  # where the rope hangs
SHOULDER_PX = (12.0, 15.0)
UPPER_ARM_PX, FOREARM_PX = 7.0, 7.5
SUBSTEPS = 8


COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (232, 60, 50),
    "green": (60, 200, 80),
    "blue": (70, 110, 245),
    "yellow": (245, 205, 60),
    "magenta": (225, 75, 205),
    "cyan": (60, 215, 225),
}
# Complementary pairs sum to grey, which the figure's limbs have: the verifier could not distinguish them.
_COMPLEMENTS = {
    "red": "cyan",
    "cyan": "red",
    "green": "magenta",
    "magenta": "green",
    "blue": "yellow",
    "yellow": "blue",
}


@dataclass(frozen=True)
class Scene:
    """One clip's exact state. F frames, K coloured objects."""

    kind: str
    caption: str
    colours: tuple[str, ...]
    centres_FKD: Floats  # px
    velocities_FKD: Floats  # px per frame, where a violation continues from
    opacity_FK: Floats  # 0 = gone, 1 = solid
    gain_F: Floats  # brightness of the whole frame, 1 = normal

    @property
    def radius_px(self) -> float:
        return radius_px(self.kind)


def radius_px(kind: str) -> float:
    """Radius of the coloured discs of a scene kind, in pixels."""
    return JOINT_PX if kind == "wave" else RADIUS_PX


def bounds_px(radius: float) -> tuple[Floats, Floats]:
    """Lowest and highest (x, y) that the centre of a ball may take."""
    return np.array([radius - 0.5, radius - 0.5]), np.array([SIZE_PX - 0.5 - radius, FLOOR_PX - 0.5 - radius])


def simulate_balls(
    centres_NKD: Floats, velocities_NKD: Floats, gravity: float, frames: int, speed: float = 1.0
) -> tuple[Floats, Floats]:
    """Balls under gravity with floor, walls and elastic impacts; returns centres and velocities [N, F, K, 2].

    `speed` below 1 is slow motion: the same path, fewer of its moments. Semi-implicit Euler keeps the second difference
    over a frame exactly `gravity` between impacts.
    """
    x, v = centres_NKD.copy(), velocities_NKD.copy()
    low, high = bounds_px(RADIUS_PX)
    dt = speed / SUBSTEPS
    xs, vs = [x.copy()], [v.copy()]
    for _ in range(frames - 1):
        for _ in range(SUBSTEPS):
            v[..., 1] += gravity * dt
            x += v * dt
            if x.shape[1] == 2:
                _collide(x, v)
            below, above = x < low, x > high
            x = np.where(below, 2 * low - x, np.where(above, 2 * high - x, x))
            v = np.where(below | above, -RESTITUTION * v, v)
        xs.append(x.copy())
        vs.append(v.copy() * speed)
    return np.stack(xs, 1), np.stack(vs, 1)


def _collide(x_NKD: Floats, v_NKD: Floats) -> None:
    """Exchange the normal velocities of touching, approaching equal masses; in place."""
    apart = x_NKD[:, 1] - x_NKD[:, 0]
    distance = np.linalg.norm(apart, axis=-1, keepdims=True)
    normal = apart / np.maximum(distance, 1e-9)
    approach = ((v_NKD[:, 1] - v_NKD[:, 0]) * normal).sum(-1, keepdims=True)
    hit = (distance < 2 * RADIUS_PX) & (approach < 0)
    impulse = np.where(hit, approach, 0.0) * normal
    v_NKD[:, 0] += impulse
    v_NKD[:, 1] -= impulse


def _fall(rng: np.random.Generator, n: int, frames: int, speed: float) -> tuple[Floats, Floats]:
    x = np.stack([rng.uniform(4, 27, (n, 1)), rng.uniform(4, 14, (n, 1))], -1)
    return simulate_balls(x, np.zeros_like(x), GRAVITY, frames, speed)


def _thrown(sign: float) -> Callable[[np.random.Generator, int, int, float], tuple[Floats, Floats]]:
    def draw(rng: np.random.Generator, n: int, frames: int, speed: float) -> tuple[Floats, Floats]:
        start = rng.uniform(4, 11, (n, 1))
        x = np.stack([start if sign > 0 else SIZE_PX - 1 - start, rng.uniform(8, 22, (n, 1))], -1)
        v = np.stack([sign * rng.uniform(0.7, 1.5, (n, 1)), -rng.uniform(0.5, 2.2, (n, 1))], -1)
        return simulate_balls(x, v, GRAVITY, frames, speed)

    return draw


def _collision(rng: np.random.Generator, n: int, frames: int, speed: float) -> tuple[Floats, Floats]:
    y = rng.uniform(8, 22, (n, 1)) + np.array([-0.5, 0.5]) * rng.uniform(-3, 3, (n, 1))
    x = np.stack([rng.uniform(4, 9, n), rng.uniform(22, 27, n)], 1)
    v = np.stack([rng.uniform(0.8, 1.6, n), -rng.uniform(0.8, 1.6, n)], 1)
    centres = np.stack([x, y], -1)
    return simulate_balls(centres, np.stack([v, np.zeros_like(v)], -1), 0.0, frames, speed)


def _swing(rng: np.random.Generator, n: int, frames: int, speed: float) -> tuple[Floats, Floats]:
    length = rng.uniform(13, 20, n)
    angle = rng.uniform(0.35, 0.7, n) * rng.choice([-1.0, 1.0], n)
    rate = rng.uniform(-0.05, 0.05, n)
    angles, rates = [angle], [rate]
    dt = speed / (4 * SUBSTEPS)
    for _ in range(frames - 1):
        for _ in range(4 * SUBSTEPS):
            rate = rate - GRAVITY / length * np.sin(angle) * dt
            angle = angle + rate * dt
        angles.append(angle)
        rates.append(rate * speed)
    a, w = np.stack(angles, 1), np.stack(rates, 1)
    reach = length[:, None, None]
    x = np.array(PIVOT_PX) + reach * np.stack([np.sin(a), np.cos(a)], -1)
    v = reach * w[..., None] * np.stack([np.cos(a), -np.sin(a)], -1)
    return x[:, :, None], v[:, :, None]


def _wave(rng: np.random.Generator, n: int, frames: int, speed: float) -> tuple[Floats, Floats]:
    time = np.arange(frames) * speed

    def angle(centre: Floats, swing: Floats, rate: Floats, phase: Floats) -> Floats:
        return centre[:, None] + swing[:, None] * np.sin(rate[:, None] * time + phase[:, None])

    rate, phase = rng.uniform(0.35, 0.55, n), rng.uniform(0, 2 * np.pi, n)
    upper = angle(rng.uniform(-0.4, 0.3, n), rng.uniform(0.15, 0.4, n), rate, phase)
    fore = upper - 0.9 + angle(rng.uniform(-0.3, 0.1, n), rng.uniform(0.3, 0.7, n), rate, phase + 0.8)
    elbow = np.array(SHOULDER_PX) + UPPER_ARM_PX * np.stack([np.cos(upper), np.sin(upper)], -1)
    hand = elbow + FOREARM_PX * np.stack([np.cos(fore), np.sin(fore)], -1)
    x = np.stack([elbow, hand], 2)
    return x, np.gradient(x, axis=1)


@dataclass(frozen=True)
class Kind:
    """A kind of scene: its caption with places for colours, its coloured objects, and how `n` of it are drawn."""

    caption: str
    objects: int
    draw: Callable[[np.random.Generator, int, int, float], tuple[Floats, Floats]]


KINDS: dict[str, Kind] = {
    "fall": Kind("a {0} ball falls and bounces", 1, _fall),
    "right": Kind("a {0} ball is thrown to the right", 1, _thrown(+1.0)),
    "left": Kind("a {0} ball is thrown to the left", 1, _thrown(-1.0)),
    "collide": Kind("a {0} ball and a {1} ball collide", 2, _collision),
    "swing": Kind("a {0} ball swings on a rope", 1, _swing),
    "wave": Kind("a figure waves an arm with a {0} elbow and a {1} hand", 2, _wave),
}


def colour_pairs(kind: str) -> list[tuple[str, ...]]:
    """Colour choices of a scene kind, in a fixed order."""
    pairs = list(permutations(COLOURS, KINDS[kind].objects))
    return [p for p in pairs if kind != "wave" or _COMPLEMENTS[p[0]] != p[1]]


# Caption -> (kind, colours): how a judge that sees pixels knows what should happen.
CAPTIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    spec.caption.format(*colours): (kind, colours) for kind, spec in KINDS.items() for colours in colour_pairs(kind)
}


def read_caption(caption: str) -> tuple[str, tuple[str, ...]]:
    """Scene kind and colours that a caption names.

    Raises:
        ValueError: the caption is not one of the embedded world's.
    """
    try:
        return CAPTIONS[caption]
    except KeyError:
        raise ValueError(
            f"caption {caption!r} is not one of the embedded world's; its verifier judges only clips of that world"
        ) from None


def other_captions(caption: str) -> list[str]:
    """The world's captions that differ from this one in one respect: one colour, or what happens to the same objects.

    Raises:
        ValueError: the caption is not one of the embedded world's.
    """
    kind, colours = read_caption(caption)
    others = []
    for other, (other_kind, other_colours) in CAPTIONS.items():
        changes = sum(colour != other_colour for colour, other_colour in zip(colours, other_colours, strict=False))
        if len(colours) == len(other_colours) and (kind != other_kind) + changes == 1:
            others.append(other)
    return others


def draw_scenes(
    seed: int | Sequence[int],
    n: int,
    kinds: Sequence[str] = tuple(KINDS),
    *,
    frames: int = FRAMES,
    slow: float = 1.0,
) -> list[Scene]:
    """`n` scenes, the kinds in turn so that every kind has its share; the same seed gives the same scenes.

    Raises:
        ValueError: an unknown kind.
    """
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown:
        raise ValueError(f"unknown scene {unknown[0]!r}; the embedded world has {', '.join(KINDS)}")
    rng = np.random.default_rng(seed)
    scenes: list[Scene | None] = [None] * n
    for index, kind in enumerate(kinds):
        places = range(index, n, len(kinds))
        centres, velocities = KINDS[kind].draw(rng, len(places), frames, slow)
        choices = colour_pairs(kind)
        for i, place in enumerate(places):
            colours = choices[rng.integers(len(choices))]
            scenes[place] = Scene(
                kind,
                KINDS[kind].caption.format(*colours),
                colours,
                centres_FKD=centres[i],
                velocities_FKD=velocities[i],
                opacity_FK=np.ones(centres[i].shape[:2]),
                gain_F=np.ones(frames),
            )
    return [scene for scene in scenes if scene is not None]


def moved(scene: Scene, centres_FKD: Floats) -> Scene:
    """The scene with other positions."""
    return replace(scene, centres_FKD=centres_FKD)
