"""What `rushes bench world` asks of the embedded world: clips, planted faults, and what both judges say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rushes.arrays import Floats, Frames
from rushes.world import scenes
from rushes.world.arcs import arcs
from rushes.world.mechanics import TEMPO
from rushes.world.plants import LAWS, LOSS, losing_dots, plant
from rushes.world.render import render
from rushes.world.verify import verify

ClipJudge = Callable[[Frames, str], bool]


@dataclass(frozen=True)
class WorldClip:
    """A clip of the world: frames [F, H, W, 3] under a caption, and its kind."""

    frames_FHWC: Frames
    caption: str
    kind: str


@dataclass(frozen=True)
class BenchMeasures:
    """What the first judge says of a clip.

    Attributes:
        faults_F: dots that are lost, in each frame.
        speed: px per frame.
        laws: each law's residual per frame, NaN where it is not defined.
        measures: each measure of the whole clip that `A6` wants lowered, lower is better.
    """

    faults_F: Floats
    speed: float
    laws: Mapping[str, Floats]
    measures: Mapping[str, float]


class BenchWorld:
    """The embedded world, as the tests ask it."""

    block = scenes.BLOCK
    loss = LOSS * float((TEMPO[1] - TEMPO[0]) / np.log(TEMPO[1] / TEMPO[0]))
    cases: Sequence[tuple[str, str]] = [(law, kind) for law, (_, kinds) in LAWS.items() for kind in kinds] + [
        ("dots", k) for k in scenes.KINDS
    ]
    judges: Mapping[str, ClipJudge] = {
        "verify": lambda frames, caption: verify(frames, caption).passes,
        "arcs": lambda frames, caption: arcs(frames, caption).passes,
    }

    def sound(self, seed: int, n: int) -> list[WorldClip]:
        """Clips that keep all laws, at the corpus's speeds."""
        return [self._clip(scene) for scene in scenes.draw_scenes([seed, 11], n)]

    def one_fault(self, seed: int, n: int) -> Iterator[tuple[str, Frames, Frames]]:
        """Kind, a sound clip, and the same with one fault of the corpus: a dot lost for a half second."""
        rng = np.random.default_rng([seed, 12])
        for scene in scenes.draw_scenes([seed, 13], n):
            shown = losing_dots(scene, rng, 0.0).dots_FKP
            first = 1 + self.block * int(rng.integers((len(shown) - 1) // self.block))
            shown[first : first + self.block, rng.integers(shown.shape[1]), rng.integers(shown.shape[2])] = 0.0
            sound, broken = render(scene), render(replace(scene, dots_FKP=shown))
            if np.abs(sound.astype(int) - broken).max() > 8:  # else the post hides it
                yield scene.kind, sound, broken

    def planted(self, law: str, kind: str, seed: int, n: int) -> list[WorldClip]:
        """Clips with one broken law."""
        return [self._clip(broken) for _, broken in plant(law, kind, [seed, 14], n)]

    def measured(self, clip: WorldClip) -> BenchMeasures:
        """By the first judge."""
        seen = verify(clip.frames_FHWC, clip.caption)
        series = seen.per_frame
        laws = {"law": series["law_error"], "dots": series["lost_dots"], "permanence": series["missing_balls"]}
        names = ("lost_dots", "law_error", "caption_errors")
        return BenchMeasures(
            series["lost_dots"] * scenes.DOTS, seen.speed, laws, {name: float(getattr(seen, name)) for name in names}
        )

    def wrong(self, caption: str) -> dict[str, str]:
        """Captions with one other word, by the word."""
        return {_changed_word(caption, other): other for other in scenes.wrong_captions(caption)}

    def _clip(self, scene: scenes.Scene) -> WorldClip:
        return WorldClip(render(scene), scene.caption, scene.kind)


def _changed_word(caption: str, other: str) -> str:
    """The first word in which captions differ, as it is in the other one."""
    pairs = zip(caption.split(), other.split(), strict=False)
    return next((b.strip(",") for a, b in pairs if a != b), other.split()[-1])
