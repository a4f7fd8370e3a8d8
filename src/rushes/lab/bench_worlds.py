"""What `rushes bench world` asks of a world, and the worlds that it can ask: the one that ships and the next one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from rushes.arena import plays
from rushes.arena.arcs import arcs
from rushes.arena.drawing import render_play
from rushes.arena.inspection import inspect
from rushes.arena.mechanics import TEMPO
from rushes.arena.plants import LAWS, LOSS, losing_dots, plant
from rushes.arrays import Floats, Frames
from rushes.world import fit, scenes, verify
from rushes.world.render import render
from rushes.world.violations import VIOLATIONS, touches

ClipJudge = Callable[[Frames, str], bool]


@dataclass(frozen=True)
class WorldClip:
    """A clip of a world: frames [F, H, W, 3] under a caption, and its kind."""

    frames_FHWC: Frames
    caption: str
    kind: str


@dataclass(frozen=True)
class BenchMeasures:
    """What the first judge says of a clip.

    Attributes:
        faults_F: parts that are lost, in each frame; a part is a dot here and a whole object there.
        speed: px per frame.
        laws: each law's residual per frame, NaN where it is not defined.
        measures: each measure of the whole clip that `A6` wants lowered, lower is better.
    """

    faults_F: Floats
    speed: float
    laws: Mapping[str, Floats]
    measures: Mapping[str, float]


class BenchWorld(Protocol):
    """A world whose acceptance can be tested."""

    name: str
    block: int  # frames of a half second
    loss: float  # share of parts and frames that the corpus loses
    cases: Sequence[tuple[str, str]]  # laws and kinds in which one is broken on purpose
    judges: Mapping[str, ClipJudge]  # whether a clip passes; no two share code

    def sound(self, seed: int, n: int) -> list[WorldClip]:
        """Clips that keep all laws, at the corpus's speeds."""
        ...

    def one_fault(self, seed: int, n: int) -> Iterator[tuple[str, Frames, Frames]]:
        """Name of a fault of the corpus, a sound clip and the same with that fault alone."""
        ...

    def planted(self, law: str, kind: str, seed: int, n: int) -> list[WorldClip]:
        """Clips with one broken law."""
        ...

    def measured(self, clip: WorldClip) -> BenchMeasures:
        """By the first judge."""
        ...

    def wrong(self, caption: str) -> dict[str, str]:
        """Captions with one other word, by the word."""
        ...


class Arena:
    """The world of `rushes.arena`."""

    name = "arena"
    block = plays.BLOCK
    loss = LOSS * float((TEMPO[1] - TEMPO[0]) / np.log(TEMPO[1] / TEMPO[0]))
    cases: Sequence[tuple[str, str]] = [(law, kind) for law, (_, kinds) in LAWS.items() for kind in kinds] + [
        ("dots", k) for k in plays.KINDS
    ]
    judges: Mapping[str, ClipJudge] = {
        "inspection": lambda frames, caption: inspect(frames, caption).passes,
        "arcs": lambda frames, caption: arcs(frames, caption).passes,
    }

    def sound(self, seed: int, n: int) -> list[WorldClip]:
        """See `BenchWorld`."""
        return [self._clip(play) for play in plays.draw_plays([seed, 11], n)]

    def one_fault(self, seed: int, n: int) -> Iterator[tuple[str, Frames, Frames]]:
        """A dot lost for one half second."""
        rng = np.random.default_rng([seed, 12])
        for play in plays.draw_plays([seed, 13], n):
            shown = losing_dots(play, rng, 0.0).dots_FKP
            first = 1 + self.block * int(rng.integers((len(shown) - 1) // self.block))
            shown[first : first + self.block, rng.integers(shown.shape[1]), rng.integers(shown.shape[2])] = 0.0
            sound, broken = render_play(play), render_play(replace(play, dots_FKP=shown))
            if np.abs(sound.astype(int) - broken).max() > 8:  # else the post hides it
                yield play.wording.kind, sound, broken

    def planted(self, law: str, kind: str, seed: int, n: int) -> list[WorldClip]:
        """See `BenchWorld`."""
        return [self._clip(broken) for _, broken in plant(law, kind, [seed, 14], n)]

    def measured(self, clip: WorldClip) -> BenchMeasures:
        """See `BenchWorld`."""
        seen = inspect(clip.frames_FHWC, clip.caption)
        series = seen.per_frame
        laws = {"law": series["law_error"], "dots": series["dots_lost"], "permanence": series["balls_gone"]}
        names = ("dots_lost", "law_error", "caption_wrong")
        return BenchMeasures(
            series["dots_lost"] * plays.DOTS, seen.speed, laws, {name: float(getattr(seen, name)) for name in names}
        )

    def wrong(self, caption: str) -> dict[str, str]:
        """See `BenchWorld`."""
        return {_changed_word(caption, other): other for other in plays.wrong_captions(caption)}

    def _clip(self, play: plays.Play) -> WorldClip:
        return WorldClip(render_play(play), play.caption, play.wording.kind)


class Scenes:
    """The world of `rushes.world`; its second judge has no law, so that it passes what its first frame's area has."""

    name = "scenes"
    block = 4
    loss = 0.15
    cases: Sequence[tuple[str, str]] = [(fault, kind) for fault, (_, kinds) in VIOLATIONS.items() for kind in kinds]
    judges: Mapping[str, ClipJudge] = {
        "verify": lambda frames, caption: verify.verify(frames, caption).passes,
        "fit": lambda frames, _: fit.fit(frames).lost <= 0.05 and not fit.fit(frames).roughness > 0.5,
    }

    def sound(self, seed: int, n: int) -> list[WorldClip]:
        """See `BenchWorld`."""
        return [self._clip(scene) for scene in scenes.draw_scenes([seed, 11], n)]

    def one_fault(self, seed: int, n: int) -> Iterator[tuple[str, Frames, Frames]]:
        """Each violation in turn."""
        for fault, (make, kinds) in VIOLATIONS.items():
            rng = np.random.default_rng([seed, 12])
            for scene in scenes.draw_scenes([seed, 13], -(-n // len(VIOLATIONS)), kinds):
                if fault != "pass_through" or touches(scene):
                    yield fault, render(scene), render(make(scene, rng))

    def planted(self, law: str, kind: str, seed: int, n: int) -> list[WorldClip]:
        """See `BenchWorld`."""
        rng = np.random.default_rng([seed, 14])
        drawn = scenes.draw_scenes([seed, 15], n, [kind])
        fitting = [scene for scene in drawn if law != "pass_through" or touches(scene)]
        return [self._clip(VIOLATIONS[law][0](scene, rng)) for scene in fitting]

    def measured(self, clip: WorldClip) -> BenchMeasures:
        """See `BenchWorld`."""
        verdict = verify.verify(clip.frames_FHWC, clip.caption, segment_s=1 / scenes.FPS)
        series = verdict.per_second
        laws = {"physics": series["physics_error"], "permanence": series["bad_frames"], "frozen": series["frozen"]}
        names = ("bad_frames", "physics_error", "frozen")
        measures = {name: float(np.nan_to_num(getattr(verdict, name))) for name in names}
        return BenchMeasures(series["bad_frames"], float(np.nan_to_num(verdict.dynamic_degree)), laws, measures)

    def wrong(self, caption: str) -> dict[str, str]:
        """See `BenchWorld`."""
        return {_changed_word(caption, other): other for other in scenes.other_captions(caption)}

    def _clip(self, scene: scenes.Scene) -> WorldClip:
        return WorldClip(render(scene), scene.caption, scene.kind)


def _changed_word(caption: str, other: str) -> str:
    """The first word in which captions differ, as it is in the other one."""
    pairs = zip(caption.split(), other.split(), strict=False)
    return next((b.strip(",") for a, b in pairs if a != b), other.split()[-1])


WORLDS: dict[str, BenchWorld] = {"scenes": Scenes(), "arena": Arena()}
