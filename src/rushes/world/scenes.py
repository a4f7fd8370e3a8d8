"""The embedded world's clips as exact states: what stands for real footage.

A clip has one or two balls with six bright dots between them. Where the balls go is coarse and decided early in
sampling; whether a dot is there in a half second is fine and decided late. The caption says what the first frame does
not show: which way, how fast, how heavy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rushes.arrays import Floats
from rushes.world.mechanics import (
    FLOOR_PX,
    FRAMES,
    GRAVITY,
    HEAVY,
    PAIR_RADIUS_PX,
    RADIUS_PX,
    SWING_PULL,
    TEMPO,
    flight,
    hit,
    straight,
    swing,
)

DOTS = 6
BLOCK = 4  # frames of a half second, which is one latent frame: a dot is lost for whole ones
SLOWLY = float(np.sqrt(TEMPO[0] * TEMPO[1]))  # tempos below are slow
KINDS = ("drop", "throw", "swing", "collide", "roll")
SIDES = ("left", "right")


@dataclass(frozen=True)
class Wording:
    """What a caption says; None = nothing of it."""

    kind: str
    side: str | None = None  # of `SIDES`: where the ball goes first; of `collide` from where the hit comes
    heavy: bool | None = None  # `collide`: the ball that is hit
    slow: bool | None = None

    @property
    def text(self) -> str:
        """The caption."""
        weight = "heavy" if self.heavy else "light"
        what = {
            "drop": "a ball drops and bounces",
            "throw": f"a ball is thrown to the {self.side}",
            "swing": f"a ball swings on a rope, to the {self.side} first",
            "collide": f"a ball comes from the {self.side} and hits a {weight} ball",
            "roll": f"a ball rolls to the {self.side} past a post",
        }[self.kind]
        return what + ("" if self.slow is None else ", slowly" if self.slow else ", quickly")


def wordings() -> list[Wording]:
    """All that captions say, in a fixed order."""
    return [
        Wording(kind, side, heavy, slow)
        for kind in KINDS
        for side in (SIDES if kind != "drop" else (None,))
        for heavy in ((False, True) if kind == "collide" else (None,))
        for slow in (None, True, False)
    ]


CAPTIONS = {wording.text: wording for wording in wordings()}


def read_wording(caption: str) -> Wording:
    """What a caption of the embedded world says.

    Raises:
        ValueError: the caption is not one of the embedded world's.
    """
    if caption not in CAPTIONS:
        raise ValueError(f"caption {caption!r} is not one of the embedded world's; its judges see its clips alone")
    return CAPTIONS[caption]


def wrong_captions(caption: str, slow: bool | None = None) -> list[str]:
    """The world's captions that contradict this one in one respect, among those that a first frame does not show.

    Args:
        caption: of the embedded world.
        slow: whether its clip is slow, where the caption does not say; None = the others do not say either.

    Raises:
        ValueError: the caption is not one of the embedded world's.
    """
    wording = read_wording(caption)
    others = []
    if wording.side is not None:
        others.append(replace(wording, side=SIDES[wording.side == SIDES[0]]))
    if wording.heavy is not None:
        others.append(replace(wording, heavy=not wording.heavy))
    pace = slow if wording.slow is None else wording.slow
    if pace is not None:
        others.append(replace(wording, slow=not pace))
    return [other.text for other in others]


@dataclass(frozen=True)
class Scene:
    """One clip's exact state. F frames, K balls, 6 / K dots on each."""

    wording: Wording
    tempo: float
    centres_FKD: Floats  # px
    dots_FKP: Floats  # 0 = lost, 1 = there
    opacity_FK: Floats  # of balls, 0 = gone

    @property
    def caption(self) -> str:
        return self.wording.text

    @property
    def kind(self) -> str:
        return self.wording.kind

    @property
    def radius_px(self) -> float:
        return radius_px(self.kind)


def radius_px(kind: str) -> float:
    """Radius of the balls of a kind."""
    return PAIR_RADIUS_PX if kind == "collide" else RADIUS_PX


@dataclass(frozen=True)
class Draw:
    """Parameters of `n` clips of one kind; arrays are [N], of two balls [N, 2]. The laws' own clock is at tempo k."""

    kind: str
    tempo: Floats
    right: NDArray[np.bool_]
    heavy: NDArray[np.bool_]
    start: Floats  # [N, 2] px
    speed: Floats  # [N, 2] px per frame at tempo 1; of `swing` amplitude and phase, radians; of `collide` both balls'
    length: Floats  # px, of the rope

    def centres(self, times_F: Floats, *, restitution: Floats | float = 0.8, gain: Floats | float = 1.0) -> Floats:
        """[N, F, K, 2] at times in frames, by the law of the kind; what is not the law's is a fault."""
        k = self.tempo
        clock = np.asarray(times_F, float)
        if self.kind == "collide":
            mass = np.where(self.struck, np.where(self.heavy, HEAVY, 1.0)[:, None], 1.0)
            x = hit(self.start, self.speed * k[:, None], mass, clock, gain)
            return np.stack([x, np.broadcast_to(self.length[:, None, None], x.shape)], -1)
        if self.kind == "swing":
            rate = k * np.sqrt(SWING_PULL / self.length)
            return swing(self.length, self.speed[:, 0], self.speed[:, 1], rate, clock)[:, :, None]
        x = straight(self.start[:, 0], self.speed[:, 0] * k, clock)
        if self.kind == "roll":
            y = np.full_like(x, FLOOR_PX - 0.5 - RADIUS_PX)
        else:
            y = flight(self.start[:, 1], self.speed[:, 1] * k, GRAVITY * k**2, clock, restitution)
        return np.stack([x, y], -1)[:, :, None]

    def wording(self, row: int, worded: bool) -> Wording:
        """What the caption of a clip says; of tempo only if `worded`."""
        pair, right = self.kind == "collide", bool(self.right[row])
        side = None if self.kind == "drop" else SIDES[right != pair]  # a hit on the right comes from the left
        slow = bool(self.tempo[row] < SLOWLY) if worded else None
        return Wording(self.kind, side, bool(self.heavy[row]) if pair else None, slow)

    @property
    def struck(self) -> NDArray[np.bool_]:
        """[N, 2]: the ball that is hit, of the left and the right one."""
        return np.stack([~self.right, self.right], 1)


def draw_tempo(rng: np.random.Generator, n: int) -> Floats:
    """Log-uniform over `TEMPO`."""
    return np.asarray(np.exp(rng.uniform(float(np.log(TEMPO[0])), float(np.log(TEMPO[1])), n)))


def draw_kind(kind: str, rng: np.random.Generator, n: int) -> Draw:
    """Parameters of `n` clips of a kind, such that a first frame shows neither side nor tempo nor weight."""
    tempo, right = draw_tempo(rng, n), rng.random(n) < 0.5
    heavy = (rng.random(n) < 0.5) & (kind == "collide")
    sign = np.where(right, 1.0, -1.0)
    length = rng.uniform(20, 32, n)
    if kind == "drop":
        start = np.stack([rng.uniform(13, 51, n), rng.uniform(12, 26, n)], 1)
        speed = np.zeros((n, 2))
    elif kind == "throw":
        start = np.stack([rng.uniform(24, 40, n), rng.uniform(24, 40, n)], 1)
        most = np.sqrt(2 * GRAVITY * (start[:, 1] - RADIUS_PX))  # to just below the top
        speed = np.stack([sign * rng.uniform(1.0, 2.0, n), -most * rng.uniform(0.5, 1.0, n)], 1)
    elif kind == "swing":
        start = np.zeros((n, 2))
        amplitude = np.arcsin(rng.uniform(13, 19, n) / length)
        phase = rng.uniform(-0.6, 0.6, n)
        speed = np.stack([amplitude, np.where(right, phase, np.pi + phase)], 1)
    elif kind == "collide":
        start = np.stack([rng.uniform(10, 16, n), rng.uniform(47, 53, n)], 1)
        towards = rng.uniform(1.6, 2.4, n)
        # `right`: the right ball is hit, and the left one comes
        speed = np.stack([np.where(right, towards, 0.0), np.where(right, 0.0, -towards)], 1)
        length = rng.uniform(14, 46, n)  # y of both
    else:
        start = np.stack([rng.uniform(13, 51, n), np.zeros(n)], 1)
        speed = np.stack([sign * rng.uniform(1.3, 2.2, n), np.zeros(n)], 1)
    return Draw(kind, tempo, right, heavy, start=start, speed=speed, length=length)


def draw_scenes(
    seed: int | Sequence[int], n: int, kinds: Sequence[str] = KINDS, *, frames: int = FRAMES, worded: float = 0.5
) -> list[Scene]:
    """`n` sound clips, the kinds in turn; the same seed gives the same clips.

    Args:
        seed: of all that is drawn.
        n: clips.
        kinds: of `KINDS`.
        frames: of each clip.
        worded: share of the captions that say whether things go slowly or quickly.

    Raises:
        ValueError: an unknown kind.
    """
    if unknown := sorted(set(kinds) - set(KINDS)):
        raise ValueError(f"unknown kind {unknown[0]!r}; the embedded world has {', '.join(KINDS)}")
    rng = np.random.default_rng(seed)
    scenes: list[Scene | None] = [None] * n
    for index, kind in enumerate(kinds):
        places = range(index, n, len(kinds))
        drawn = draw_kind(kind, rng, len(places))
        centres = drawn.centres(np.arange(frames, dtype=float))
        says = rng.random(len(places)) < worded
        for i, place in enumerate(places):
            scenes[place] = whole(drawn.wording(i, bool(says[i])), float(drawn.tempo[i]), centres[i])
    return [scene for scene in scenes if scene is not None]


def whole(wording: Wording, tempo: float, centres_FKD: Floats) -> Scene:
    """A clip in which nothing is lost."""
    frames, balls, _ = centres_FKD.shape
    return Scene(wording, tempo, centres_FKD, np.ones((frames, balls, DOTS // balls)), np.ones((frames, balls)))
