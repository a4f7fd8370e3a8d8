"""The verifier: what is wrong with a clip of the embedded world, from its pixels and its caption alone.

Physics and motion are measured only where the objects are there, so an object that vanishes counts once, as a
permanence failure, and not again as a physics and a motion error.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rushes.arrays import Floats
from rushes.config.clip_shapes import segment_of_frames
from rushes.world.deviations import WINDOW, frozen, residuals
from rushes.world.scenes import FPS, read_caption
from rushes.world.tracks import coverage, track

# Above these a clip breaks the world's rules. Set between true clips after codec and file, and violations: see the
# tests, which state both rates.
LIMITS = {"bad_frames": 0.05, "physics_error": 0.2, "physics_peak": 0.4, "flicker": 1.5, "frozen": 0.2}
# A hand is small and fast: the codec moves it by up to 0.8 px, and every violation of an arm by more.
_LIMITS_OF_KIND = {"wave": LIMITS | {"physics_error": 0.45, "physics_peak": 0.8}}


@dataclass(frozen=True)
class Verdict:
    """Measurements of one clip; arrays have one value per second (the last part of a second joins the one before).

    All but `dynamic_degree` are better when lower. NaN where nothing could be measured.
    """

    kind: str  # of the scene
    bad_frames: float  # share of frames in which an object is missing, torn or doubled, 0..1
    physics_error: float  # px off the scene's dynamics, mean over five-frame windows
    physics_peak: float  # px, the worst window
    frozen: float  # share of frames in which nothing moves although it should, 0..1
    flicker: float  # grey levels of 255, mean change of the empty backdrop from frame to frame
    artifacts: float  # stray paint outside the objects, root mean square, 0..1
    dynamic_degree: float  # px per frame, mean speed of the objects
    per_second: dict[str, Floats]

    @property
    def passes(self) -> bool:
        """Whether the clip keeps the rules of the world."""
        return all(not getattr(self, name) > limit for name, limit in limits(self.kind).items())


def limits(kind: str) -> dict[str, float]:
    """What each measurement of a clip of this scene kind may be at most."""
    return _LIMITS_OF_KIND.get(kind, LIMITS)


MEANINGS = {  # of each measure, as a report says it
    "bad_frames": "Share of frames in which an object is missing, torn or doubled.",
    "physics_error": "Distance of objects from the path that the dynamics give them, in windows of five frames.",
    "frozen": "Share of frames in which nothing moves although it should.",
    "flicker": "Change of the empty backdrop from frame to frame.",
    "artifacts": "Stray paint away from the objects.",
    "dynamic_degree": "Mean speed of the objects.",
}
METRICS = tuple(MEANINGS)


def verify(frames_FHWC: NDArray[np.uint8], caption: str, *, fps: float = FPS, segment_s: float = 1.0) -> Verdict:
    """Measure one clip.

    Args:
        frames_FHWC: uint8 RGB, 32 x 32 pixels.
        caption: one of the embedded world's.
        fps: frames per second of the clip.
        segment_s: length of the segments of `per_second`.

    Raises:
        ValueError: the caption or the size is not of the embedded world, or the clip has fewer than five frames.
    """
    if frames_FHWC.shape[1:] != (32, 32, 3):
        raise ValueError(f"the world's verifier needs frames of 32 x 32 x 3, got {frames_FHWC.shape[1:]}")
    if len(frames_FHWC) < WINDOW:
        raise ValueError(f"the world's verifier needs {WINDOW} frames or more, got {len(frames_FHWC)}")
    kind, colours = read_caption(caption)
    tracks = track(frames_FHWC, kind, colours)
    frames = len(frames_FHWC)
    step = np.linalg.norm(np.diff(tracks.centres_FKD, axis=0), axis=-1)
    moving = np.where(tracks.present_FK[1:] & tracks.present_FK[:-1], step, np.nan)
    whole = tracks.whole_F
    series = {
        "bad_frames": (~whole).astype(float),
        "physics_error": residuals(tracks, kind),
        "frozen": frozen(tracks, kind),
        "flicker": np.r_[np.nan, _flicker(frames_FHWC, colours)],
        "artifacts": np.where(whole, tracks.stray_F, np.nan),
        "dynamic_degree": np.r_[np.nan, _nanmean(moving, 1)],
    }
    segment = np.array(segment_of_frames(frames, fps, segment_s))
    per_second = {
        name: np.array([_nanmean(values[segment == s]) for s in range(segment[-1] + 1)])
        for name, values in series.items()
    }
    peak = series["physics_error"]
    return Verdict(
        kind,
        **{name: float(_nanmean(values)) for name, values in series.items()},
        physics_peak=float(np.nanmax(peak)) if np.isfinite(peak).any() else float("nan"),
        per_second=per_second,
    )


def _flicker(frames_FHWC: NDArray[np.uint8], colours: tuple[str, ...]) -> Floats:
    """Mean absolute change [F - 1] of pixels that hold neither colour nor grey in both frames."""
    empty = coverage(frames_FHWC, colours, grey=True).max(1) < 0.1
    both = empty[1:] & empty[:-1]
    change = np.abs(np.diff(frames_FHWC.astype(float), axis=0)).mean(-1)
    count = both.sum((1, 2))
    mean = (change * both).sum((1, 2)) / np.maximum(count, 1)
    return np.asarray(np.where(count > 100, mean, change.mean((1, 2))))


def _nanmean(values: Floats, axis: int | None = None) -> Floats:
    finite = np.isfinite(values)
    count = finite.sum(axis)
    total = np.where(finite, values, 0.0).sum(axis)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))
