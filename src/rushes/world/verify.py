"""The first judge: what is wrong with a clip of the embedded world, from its pixels and its caption alone.

Every measure is defined in every frame. A ball that is missing strays from its law by the most that there is, and its
dots are lost.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rushes.arrays import Floats
from rushes.config.clip_shapes import segment_of_frames
from rushes.stats import Better
from rushes.world.law_fit import CAP_PX, LawfulPath, lawful
from rushes.world.mechanics import FPS, SIZE_PX
from rushes.world.scenes import BLOCK, SLOWLY, Wording, read_wording
from rushes.world.sighting import BallTracks, sight

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


HEADLINE = "lost_dots"  # what a verdict is about
MEASURES = {
    HEADLINE: WorldMeasure("Share of the dots that are lost, over all frames in which they could be seen."),
    "law_error": WorldMeasure("Distance of the balls from the nearest path that keeps the laws.", "px"),
    "missing_balls": WorldMeasure("Share of frames in which a ball is missing, torn or doubled."),
    "caption_errors": WorldMeasure("Share of the caption's words for side and speed that the clip contradicts."),
    "speed": WorldMeasure("Mean speed of the balls.", "px/frame", "higher"),
}


@dataclass(frozen=True)
class Verdict:
    """Measurements of one clip; all but `speed` are better when lower, and none is ever undefined.

    Attributes:
        kind: of the clip, by its caption.
        lost_dots: share of dots and frames in which a dot is lost, among those not hidden by the post, 0..1.
        law_error: px off the nearest path that keeps the law of the kind, mean over frames, 0..4.
        law_peak: px, the most by which the middle of three frames in a row strays.
        missing_balls: share of frames in which a ball is missing, torn or doubled, 0..1.
        caption_errors: share of the caption's words for side and tempo that the clip contradicts, 0..1.
        speed: px per frame, mean of the balls.
        tempo: estimated, in about 0.35..1.
        per_frame: the first three and the speed as series [F].
        lost_BKP: which dots are lost in which half second; those hidden throughout are not.
    """

    kind: str
    lost_dots: float
    law_error: float
    law_peak: float
    missing_balls: float
    caption_errors: float
    speed: float
    tempo: float
    per_frame: dict[str, Floats]
    lost_BKP: NDArray[np.bool_]

    def per_segment(self, segment_s: float, fps: float = FPS) -> dict[str, tuple[float, ...]]:
        """Means of each series over segments; a half second is a latent frame, as the first frame is in none."""
        return {name: over_segments(values, segment_s, fps) for name, values in self.per_frame.items()}

    @property
    def broken(self) -> tuple[str, ...]:
        """What of the embedded world's laws the clip breaks."""
        checks = {
            "dots": self.lost_BKP.any(),
            "law": self.law_peak > LAW_PX,
            "permanence": (self.per_frame["missing_balls"] > 0).sum() >= GONE_FRAMES,
        }
        return tuple(name for name, broken in checks.items() if broken)

    @property
    def passes(self) -> bool:
        """Whether the clip keeps all laws."""
        return not self.broken


def over_segments(values_F: Floats, segment_s: float, fps: float = FPS) -> tuple[float, ...]:
    """Means of a value per frame over segments that begin after the first frame."""
    own = segment_of_frames(len(values_F), fps, segment_s)
    of = np.array([-1, *own[:-1]])
    return tuple(float(values_F[of == at].mean()) for at in range(own[-1] + 1))


def verify(frames_FHWC: NDArray[np.uint8], caption: str) -> Verdict:
    """Measure one clip.

    Args:
        frames_FHWC: uint8 RGB, 64 x 64 pixels at 8 frames per second.
        caption: one of the embedded world's.

    Raises:
        ValueError: the caption or the size is not of the embedded world, or the clip has fewer than nine frames.
    """
    if frames_FHWC.shape[1:] != (SIZE_PX, SIZE_PX, 3):
        raise ValueError(f"the world's verifier needs frames of {SIZE_PX} x {SIZE_PX} x 3, got {frames_FHWC.shape[1:]}")
    if len(frames_FHWC) < LEAST_FRAMES:
        raise ValueError(f"the world's verifier needs {LEAST_FRAMES} frames or more, got {len(frames_FHWC)}")
    wording = read_wording(caption)
    seen = sight(frames_FHWC, wording.kind)
    path = lawful(seen.centres_FKD, wording.kind, wording.heavy)
    gone = (~seen.present_FK).any(1)
    off = np.where(gone, CAP_PX, path.off_F)
    step = np.linalg.norm(np.diff(seen.centres_FKD, axis=0), axis=-1).mean(1)
    tempo = _tempo(path, wording)
    per_frame = {
        "lost_dots": _lost_share(seen),
        "law_error": off,
        "missing_balls": gone.astype(float),
        "speed": np.r_[step[0], step],
    }
    threes = np.median(np.lib.stride_tricks.sliding_window_view(off, 3), -1)
    means = {name: float(values.mean()) for name, values in per_frame.items()}
    return Verdict(
        wording.kind,
        **means,
        law_peak=float(threes.max()),
        caption_errors=_caption_errors(path, tempo, wording),
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


def _caption_errors(path: LawfulPath, tempo: float, wording: Wording) -> float:
    checks = []
    if wording.side is not None:
        right = path.speed > 0
        comes_from = "left" if right else "right"
        checks.append(wording.side != (comes_from if wording.kind == "collide" else "right" if right else "left"))
    if wording.slow is not None:
        checks.append(wording.slow != (tempo < SLOWLY))
    return float(np.mean(checks)) if checks else 0.0


assert FPS * 0.5 == BLOCK
