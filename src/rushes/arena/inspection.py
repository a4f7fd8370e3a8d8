"""The first judge: what is wrong with a clip of the arena, from its pixels and its caption alone.

Every measure is defined in every frame. A ball that is missing strays from its law by the most that there is, and its
dots are lost.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rushes.arena.law_fit import CAP_PX, LawfulPath, lawful
from rushes.arena.mechanics import FPS, SIZE_PX
from rushes.arena.plays import BLOCK, SLOWLY, Wording, read_wording
from rushes.arena.sighting import BallTracks, sight
from rushes.arrays import Floats
from rushes.config.clip_shapes import segment_of_frames
from rushes.stats import Better

THERE = 0.5  # strength from which a dot counts as there
LAW_PX = 1.0  # a law is broken where three frames in a row stray farther
GONE_FRAMES = 2  # a clip may lose a ball in fewer frames
_MIDDLE = {"roll": 1.75, "collide": 2.0}  # px per frame at tempo 1, of kinds whose tempo shows in their speed alone
LEAST_FRAMES = 9  # fewer show no law


@dataclass(frozen=True)
class WorldMeasure:
    """What a report says of a measure."""

    meaning: str
    unit: str = ""
    better: Better = "lower"


HEADLINE = "dots_lost"  # what a verdict is about
MEASURES = {
    HEADLINE: WorldMeasure("Share of the dots that are lost, over all frames in which they could be seen."),
    "law_error": WorldMeasure("Distance of the balls from the nearest path that keeps the laws.", "px"),
    "balls_gone": WorldMeasure("Share of frames in which a ball is missing, torn or doubled."),
    "caption_wrong": WorldMeasure("Share of the caption's words for side and speed that the clip contradicts."),
    "speed": WorldMeasure("Mean speed of the balls.", "px/frame", "higher"),
}


@dataclass(frozen=True)
class Inspection:
    """Measurements of one clip; all but `speed` are better when lower, and none is ever undefined.

    Attributes:
        kind: of the clip, by its caption.
        dots_lost: share of dots and frames in which a dot is lost, among those not hidden by the post, 0..1.
        law_error: px off the nearest path that keeps the law of the kind, mean over frames, 0..4.
        law_peak: px, the most by which the middle of three frames in a row strays.
        balls_gone: share of frames in which a ball is missing, torn or doubled, 0..1.
        caption_wrong: share of the caption's words for side and tempo that the clip contradicts, 0..1.
        speed: px per frame, mean of the balls.
        tempo: estimated, in about 0.35..1.
        per_frame: the first three and the speed as series [F].
        lost_BKP: which dots are lost in which half second; those hidden throughout are not.
    """

    kind: str
    dots_lost: float
    law_error: float
    law_peak: float
    balls_gone: float
    caption_wrong: float
    speed: float
    tempo: float
    per_frame: dict[str, Floats]
    lost_BKP: NDArray[np.bool_]

    def per_segment(self, segment_s: float, fps: float = FPS) -> dict[str, tuple[float, ...]]:
        """Means of each series over segments of the clip.

        They begin after the first frame, which is given, so that a half second is a latent frame.
        """
        own = segment_of_frames(len(self.per_frame["speed"]), fps, segment_s)
        of = np.array([-1, *own[:-1]])
        return {
            name: tuple(float(values[of == at].mean()) for at in range(own[-1] + 1))
            for name, values in self.per_frame.items()
        }

    @property
    def broken(self) -> tuple[str, ...]:
        """What of the arena's laws the clip breaks."""
        checks = {
            "dots": self.lost_BKP.any(),
            "law": self.law_peak > LAW_PX,
            "permanence": (self.per_frame["balls_gone"] > 0).sum() >= GONE_FRAMES,
        }
        return tuple(name for name, broken in checks.items() if broken)

    @property
    def passes(self) -> bool:
        """Whether the clip keeps all laws."""
        return not self.broken


def inspect(frames_FHWC: NDArray[np.uint8], caption: str) -> Inspection:
    """Measure one clip.

    Args:
        frames_FHWC: uint8 RGB, 64 x 64 pixels at 8 frames per second.
        caption: one of the arena's.

    Raises:
        ValueError: the caption or the size is not of the arena, or the clip has fewer than nine frames.
    """
    if frames_FHWC.shape[1:] != (SIZE_PX, SIZE_PX, 3):
        raise ValueError(f"the arena's judges need frames of 64 x 64 x 3, got {frames_FHWC.shape[1:]}")
    if len(frames_FHWC) < LEAST_FRAMES:
        raise ValueError(f"the arena's judges need {LEAST_FRAMES} frames or more, got {len(frames_FHWC)}")
    wording = read_wording(caption)
    seen = sight(frames_FHWC, wording.kind)
    path = lawful(seen.centres_FKD, wording.kind, wording.heavy)
    gone = (~seen.present_FK).any(1)
    off = np.where(gone, CAP_PX, path.off_F)
    step = np.linalg.norm(np.diff(seen.centres_FKD, axis=0), axis=-1).mean(1)
    tempo = _tempo(path, wording)
    per_frame = {
        "dots_lost": _lost_share(seen),
        "law_error": off,
        "balls_gone": gone.astype(float),
        "speed": np.r_[step[0], step],
    }
    threes = np.median(np.lib.stride_tricks.sliding_window_view(off, 3), -1)
    means = {name: float(values.mean()) for name, values in per_frame.items()}
    return Inspection(
        wording.kind,
        **means,
        law_peak=float(threes.max()),
        caption_wrong=_caption_wrong(path, tempo, wording),
        tempo=tempo,
        per_frame=per_frame,
        lost_BKP=_lost_blocks(seen),
    )


def _lost_share(seen: BallTracks) -> Floats:
    shown = np.isfinite(seen.dots_FKP)
    lost = np.where(shown, seen.dots_FKP < THERE, False).sum((1, 2))
    return np.asarray(lost / np.maximum(shown.sum((1, 2)), 1))


def _lost_blocks(seen: BallTracks) -> NDArray[np.bool_]:
    """[B, K, P]: the mean strength over the half second says so; the last one takes the frames that are left."""
    blocks = []
    for first in range(1, len(seen.dots_FKP), BLOCK):
        some = seen.dots_FKP[first : first + BLOCK]
        shown = np.isfinite(some)
        mean = np.where(shown, some, 0.0).sum(0) / np.maximum(shown.sum(0), 1)
        blocks.append((mean < THERE) & shown.any(0))
    return np.array(blocks)


def _tempo(path: LawfulPath, wording: Wording) -> float:
    return abs(path.speed) / _MIDDLE[wording.kind] if wording.kind in _MIDDLE else path.tempo


def _caption_wrong(path: LawfulPath, tempo: float, wording: Wording) -> float:
    checks = []
    if wording.side is not None:
        right = path.speed > 0
        comes_from = "left" if right else "right"
        checks.append(wording.side != (comes_from if wording.kind == "collide" else "right" if right else "left"))
    if wording.slow is not None:
        checks.append(wording.slow != (tempo < SLOWLY))
    return float(np.mean(checks)) if checks else 0.0


assert FPS * 0.5 == BLOCK
