"""Faults: laws broken on purpose, and the dots that the corpus loses at a rate that grows with tempo."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rushes.arrays import Floats
from rushes.world.mechanics import FLOOR_PX, FRAMES, GRAVITY, PIVOT_PX, RADIUS_PX, SIZE_PX, SWING_PULL, at_angle
from rushes.world.render import POST_PX, dot_offsets, dot_px
from rushes.world.scenes import BLOCK, DOTS, KINDS, Draw, Scene, draw_kind, draw_scenes, whole

LOSS = 0.4  # share of its half seconds in which a dot is lost at tempo 1; at tempo k it is k times that
BROKEN = 0.12  # share of the corpus with a broken law
SEEN_PX = 6.0  # a broken law leads at least so far off the lawful path
LASTS = 6  # and for at least so many frames by a quarter of that
_LATEST = FRAMES - 9  # a fault begins by then, so that it can be seen


@dataclass(frozen=True)
class PlantedClips:
    """`n` clips of one kind with a fault: what differs from the sound ones, and whether it can be seen."""

    centres_NFKD: Floats
    opacity_NFK: Floats
    seen_N: NDArray[np.bool_]


Plant = Callable[[Draw, Floats, np.random.Generator], PlantedClips]


def _moved(centres: Floats, sound: Floats) -> PlantedClips:
    """A fault that is seen by where the balls go."""
    off_NF = np.linalg.norm(centres - sound, axis=-1).max(2)
    seen = (off_NF.max(1) >= SEEN_PX) & (off_NF[:, : sound.shape[1] - LASTS].max(1) >= SEEN_PX / 4)
    return PlantedClips(centres, np.ones(centres.shape[:3]), seen)


def _start(rng: np.random.Generator, n: int) -> NDArray[np.int64]:
    return rng.integers(5, _LATEST, n)


def gravity(drawn: Draw, sound: Floats, rng: np.random.Generator) -> PlantedClips:
    """From some frame on the ball falls upwards, twice as hard."""
    start, out = _start(rng, len(sound)), sound.copy()
    frames = np.arange(sound.shape[1])
    y = sound[:, :, 0, 1]
    rows = np.arange(len(y))
    since = frames - start[:, None]
    speed = y[rows, start] - y[rows, start - 1]
    up = y[rows, start][:, None] + speed[:, None] * since - (GRAVITY * drawn.tempo**2)[:, None] * since**2
    out[:, :, 0, 1] = np.where(since > 0, np.clip(up, RADIUS_PX - 0.5, FLOOR_PX - 0.5 - RADIUS_PX), y)
    return _moved(out, sound)


def restitution(drawn: Draw, sound: Floats, rng: np.random.Generator) -> PlantedClips:
    """At its first impact the ball keeps a fifth of its speed, or gains a half."""
    times = np.arange(sound.shape[1], dtype=float)
    out = drawn.centres(times, restitution=rng.choice([0.2, 1.5], (len(sound), 1))[:, 0])
    out[..., 1] = np.maximum(out[..., 1], RADIUS_PX - 0.5)
    return _moved(out, sound)


def momentum(drawn: Draw, sound: Floats, rng: np.random.Generator) -> PlantedClips:
    """At their first impact both balls lose four fifths of their speed, or nearly double it."""
    return _moved(drawn.centres(np.arange(sound.shape[1], dtype=float), gain=rng.choice([0.2, 1.9], len(sound))), sound)


def period(drawn: Draw, sound: Floats, rng: np.random.Generator) -> PlantedClips:
    """From some frame on the pendulum swings at two fifths or more than twice of its rate."""
    start, factor = _start(rng, len(sound))[:, None], rng.choice([0.4, 2.2], (len(sound), 1))
    rate = (drawn.tempo * np.sqrt(SWING_PULL / drawn.length))[:, None]
    frames = np.arange(sound.shape[1])
    clock = np.where(frames < start, frames, start + factor * (frames - start))
    angle = drawn.speed[:, :1] * np.sin(drawn.speed[:, 1:] + rate * clock)
    return _moved(at_angle(drawn.length, angle)[:, :, None], sound)


def permanence(drawn: Draw, sound: Floats, rng: np.random.Generator) -> PlantedClips:
    """A ball is gone for a half second or longer; one that rolls does not come out from behind the post."""
    n, frames, balls, _ = sound.shape
    time = np.arange(frames)
    opacity = np.ones((n, frames, balls))
    if drawn.kind == "roll":
        behind = np.abs(sound[:, :, 0, 0] - np.mean(POST_PX)) < 3.0
        behind[:, 0] = False  # the first frame is given, and sound
        first = np.where(behind.any(1), behind.argmax(1), frames)
        opacity[:, :, 0] = time < first[:, None]
        return PlantedClips(sound, opacity, first <= _LATEST)
    start, long = _start(rng, n)[:, None], rng.integers(BLOCK, 3 * BLOCK, (n, 1))
    gone = (time >= start) & (time < start + long)
    opacity[np.arange(n), :, rng.integers(balls, size=n)] = ~gone
    return PlantedClips(sound, opacity, np.ones(n, bool))


def jump(drawn: Draw, sound: Floats, rng: np.random.Generator) -> PlantedClips:
    """From one frame to the next everything is at least 10 px elsewhere, and goes on from there."""
    n, frames, balls, _ = sound.shape
    start = _start(rng, n)[:, None]
    after = np.arange(frames) >= start
    rows, at = np.arange(n), start[:, 0]
    out = sound.copy()
    if drawn.kind == "swing":
        angle = np.arctan2(sound[:, :, 0, 0] - PIVOT_PX[0], sound[:, :, 0, 1] - PIVOT_PX[1])
        far = rng.uniform(11, 14, n) / drawn.length * -np.where(angle[rows, at] > 0, 1.0, -1.0)
        out = at_angle(drawn.length, np.where(after, angle + far[:, None], angle))[:, :, None]
    else:
        axis = 1 if drawn.kind == "collide" else 0
        middle = np.where(sound[rows, at, 0, axis] < SIZE_PX / 2 - 0.5, 1.0, -1.0)
        moved = sound[..., axis] + (rng.uniform(11, 14, n) * middle)[:, None, None]
        low = sound[..., axis].min() if axis else RADIUS_PX - 0.5
        moved = np.clip(moved, min(low, RADIUS_PX), SIZE_PX - 0.5 - RADIUS_PX)
        out[..., axis] = np.where(after[..., None], moved, sound[..., axis])
    step = np.linalg.norm(out[rows, at, 0] - out[rows, at - 1, 0], axis=-1)
    return PlantedClips(out, np.ones((n, frames, balls)), step >= 9.0)


# name of the law -> (its fault, the kinds in which it makes sense); dots are lost apart from these
LAWS: dict[str, tuple[Plant, tuple[str, ...]]] = {
    "gravity": (gravity, ("drop", "throw")),
    "restitution": (restitution, ("drop", "throw")),
    "momentum": (momentum, ("collide",)),
    "period": (period, ("swing",)),
    "permanence": (permanence, KINDS),
    "continuity": (jump, KINDS),
}


def plant(law: str, kind: str, seed: int | Sequence[int], n: int, frames: int = FRAMES) -> list[tuple[Scene, Scene]]:
    """`n` clips of a kind, sound and with one fault that can be seen.

    Args:
        law: of `LAWS`, or "dots": one dot is lost for a half second or a whole one.
        kind: of `KINDS`.
        seed: of all that is drawn.
        n: pairs.
        frames: of each clip.

    Raises:
        ValueError: the law says nothing of such clips.
    """
    rng = np.random.default_rng(seed)
    if law == "dots":
        return [
            (scene, without_dot(scene, rng))
            for scene in draw_scenes(int(rng.integers(2**31)), n, [kind], frames=frames)
        ]
    if law not in LAWS or kind not in LAWS[law][1]:
        raise ValueError(f"no fault {law!r} of clips {kind!r}; the embedded world has {', '.join([*LAWS, 'dots'])}")
    pairs: list[tuple[Scene, Scene]] = []
    for _ in range(100):
        drawn = draw_kind(kind, rng, n)
        sound = drawn.centres(np.arange(frames, dtype=float))
        broken = LAWS[law][0](drawn, sound, rng)
        for i in np.flatnonzero(broken.seen_N)[: n - len(pairs)]:
            scene = whole(drawn.wording(int(i), worded=bool(rng.random() < 0.5)), float(drawn.tempo[i]), sound[i])
            pairs.append((scene, replace(scene, centres_FKD=broken.centres_NFKD[i], opacity_FK=broken.opacity_NFK[i])))
        if len(pairs) == n:
            return pairs
    raise AssertionError(f"fault {law!r} of clips {kind!r} is hardly ever seen")


def one_fault(kind: str, seed: int | Sequence[int], frames: int = FRAMES) -> tuple[Scene, Scene, str]:
    """A sound clip of a kind, the same with one fault that can be seen, and the fault's name, drawn among all."""
    rng = np.random.default_rng(seed)
    fitting = [law for law, (_, kinds) in LAWS.items() if kind in kinds] + ["dots"]
    law = fitting[int(rng.integers(len(fitting)))]
    ((sound, broken),) = plant(law, kind, int(rng.integers(2**31)), 1, frames)
    return sound, broken, law


def without_dot(scene: Scene, rng: np.random.Generator) -> Scene:
    """The clip with one dot lost for a half second or a whole one, where it can be seen."""
    frames, balls, dots = scene.dots_FKP.shape
    while True:
        first = 1 + BLOCK * int(rng.integers(0, (frames - 1) // BLOCK - 1))
        ball, dot = int(rng.integers(balls)), int(rng.integers(dots))
        gone = slice(first, first + BLOCK * int(rng.integers(1, 3)))
        x = scene.centres_FKD[gone, ball, 0] + dot_offsets(balls)[dot, 0]
        behind = (x > POST_PX[0] - dot_px(balls)) & (x < POST_PX[1] + dot_px(balls))
        if scene.kind != "roll" or not behind.any():
            break
    out = scene.dots_FKP.copy()
    out[gone, ball, dot] = 0.0
    return replace(scene, dots_FKP=out)


def losing_dots(scene: Scene, rng: np.random.Generator, loss: float = LOSS) -> Scene:
    """The clip as the corpus has it: each dot is lost in each half second with a probability that grows with tempo.

    The first frame is sound. Dots and half seconds are independent given the tempo, so that of two takes neither is
    better throughout.
    """
    frames, balls, dots = scene.dots_FKP.shape
    lost = rng.random((-(-(frames - 1) // BLOCK), balls, dots)) < loss * scene.tempo
    shown = np.ones((frames, balls, dots))
    shown[1:] = 1.0 - lost.repeat(BLOCK, 0)[: frames - 1]
    return replace(scene, dots_FKP=shown)


def corpus_scenes(seed: int | Sequence[int], n: int, loss: float = LOSS, broken: float = BROKEN) -> list[Scene]:
    """`n` clips as from the web: dots are lost, some clips break a law."""
    rng = np.random.default_rng(seed)
    count = rng.multinomial(round(n * broken), np.full(len(_FAULTY), 1 / len(_FAULTY)))
    scenes = draw_scenes(int(rng.integers(2**31)), n - int(count.sum()))
    for (law, kind), some in zip(_FAULTY, count, strict=True):
        scenes += [faulty for _, faulty in plant(law, kind, int(rng.integers(2**31)), int(some))] if some else []
    return [losing_dots(scenes[i], rng, loss) for i in rng.permutation(len(scenes))]


_FAULTY = [(law, kind) for law, (_, kinds) in LAWS.items() for kind in kinds]
assert DOTS == 6
