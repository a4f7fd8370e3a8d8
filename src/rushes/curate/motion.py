"""Does the clip move, of itself or by the camera, at its own pace, and in one piece."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rushes.arrays import Floats
from rushes.config.curate import MotionSettings
from rushes.config.tables import Settings
from rushes.curate.base import CurationFinding, Stage, Task, Threshold, within
from rushes.curate.frames import windows
from rushes.metrics.base import Shot
from rushes.metrics.flow import speed, top_mean
from rushes.metrics.movement import cut_pairs, dynamic_degree, moving

SHORT_PX = 128
_GRID_PX = 4
_FIT_PX, _FIT_SHARE = 0.5, 0.3  # a point follows the camera up to this far; the camera is known from this share on
_NOISE = 6  # grey levels that a coded still may change by
_NEAR = 3  # pairs


@dataclass(frozen=True)
class Pairs:
    """Per pair of neighbouring frames; speeds in short sides per second, NaN where they could not be measured."""

    speed_P: Floats  # of the fastest twentieth of the picture, what is seen to move
    camera_P: Floats  # mean over the picture of the motion that fits all of it
    subject_P: Floats  # as speed, of what is left when the camera's motion is taken off
    moves_P: NDArray[np.bool_]
    cut_P: NDArray[np.bool_]
    change_P: Floats  # sum of changes beyond noise, grey levels
    lost_P: Floats  # of it, what lies where no motion is seen

    @classmethod
    def joined(cls, parts: Sequence[Pairs]) -> Pairs:
        """Those of one window after another."""
        return cls(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)})


def make(settings: Settings, answers: Path) -> Stage:
    """The stage; its findings are `measures`."""
    thresholds = limits(settings.curate.motion)
    return Stage("motion", "motion.1", measure, within(thresholds), limits=thresholds)


def measure(task: Task) -> CurationFinding:
    """See `measures`, of a file. One that does not decode to its end, or is too small to measure, has a problem."""
    try:
        values = measures(windows(task.path, task.fps, SHORT_PX))
    except ValueError as error:
        return CurationFinding(problem=str(error))
    return CurationFinding(values={name: value for name, value in values.items() if math.isfinite(value)})


def measures(shots: Iterable[Shot]) -> dict[str, float]:
    """Values of a clip by its windows, each of which shares a frame with the one before. NaN = could not be measured.

    speed, camera, subject: medians over moving pairs that are no cut, short sides per second (camera, subject: see
    `Pairs`); the median, so that neither a pause nor a jolt decides. still: share of pairs in which nothing moves.
    repeated: share of pairs that stand still while others close before and behind move. cuts: their number.
    unexplained: share of all change that no motion is seen to cause. dynamic: share of the windows that pass VBench's
    rule. seconds: length.
    """
    parts, dynamic, frames, fps = [], [], 1, 1.0
    for shot in shots:
        parts.append(pairs(shot))
        dynamic.append(dynamic_degree(shot).value if len(shot.frames_FHWC) > 1 else math.nan)
        frames, fps = frames + len(shot.frames_FHWC) - 1, shot.fps
    every = Pairs.joined(parts)
    inside = ~every.cut_P
    going = inside & every.moves_P
    still = inside & ~every.moves_P
    repeated = still & _among(going)
    change = every.change_P[inside].sum()
    return {
        "speed": _median(every.speed_P[going]) if going.any() else (0.0 if inside.any() else math.nan),
        "camera": _median(every.camera_P[going]),
        "subject": _median(every.subject_P[going]),
        "still": _share(still & ~repeated, inside),
        "repeated": _share(repeated, inside),
        "cuts": float(every.cut_P.sum()),
        "unexplained": float(every.lost_P[inside].sum() / change) if change else math.nan,
        "dynamic": float(np.nanmean(dynamic)) if np.isfinite(dynamic).any() else math.nan,
        "seconds": frames / fps,
    }


def pairs(shot: Shot) -> Pairs:
    """What each pair of neighbouring frames shows."""
    rate = shot.fps / min(shot.luma_FHW.shape[1:])
    flow = shot.flow
    camera = [_camera(*pair) for pair in zip(flow.forward_PHWC, flow.confirmed_PHW, strict=True)]
    subject = [
        top_mean(speed(forward.astype(np.float32) - moved) * seen) if moved is not None else math.nan
        for forward, seen, moved in zip(flow.forward_PHWC, flow.seen_PHW, camera, strict=True)
    ]
    change_PHW = np.abs(np.diff(shot.luma_FHW.astype(np.int16), axis=0))
    change_PHW[change_PHW <= _NOISE] = 0
    return Pairs(
        flow.seen_px_P * rate,
        np.array([math.nan if moved is None else float(speed(moved).mean()) for moved in camera]) * rate,
        np.array(subject) * rate,
        moves_P=moving(shot),
        cut_P=cut_pairs(shot),
        change_P=change_PHW.sum((1, 2), dtype=np.float64),
        lost_P=np.where(flow.seen_PHW, 0, change_PHW).sum((1, 2), dtype=np.float64),
    )


def _camera(forward_HWC: NDArray[np.float16], confirmed_HW: NDArray[np.bool_]) -> NDArray[np.float32] | None:
    """[H,W,2] the shift, turn and zoom that most of the picture follows, px; None where no such motion is found."""
    height, width = confirmed_HW.shape
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float32)
    step = slice(_GRID_PX // 2, None, _GRID_PX)
    confirmed = confirmed_HW[step, step]
    here = grid[step, step][confirmed]
    if len(here) < max(8, _FIT_SHARE * confirmed.size):
        return None
    there = here + forward_HWC[step, step][confirmed]
    transform, fits = cv2.estimateAffinePartial2D(here, there, ransacReprojThreshold=_FIT_PX)
    if transform is None or fits.sum() < _FIT_SHARE * confirmed.size:
        return None
    return np.asarray(grid @ transform[:, :2].T.astype(np.float32) + transform[:, 2].astype(np.float32) - grid)


def _among(going_P: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """[P] whether something moves both within three pairs before and within three behind."""
    padded = np.pad(going_P, _NEAR)
    at = np.arange(len(going_P)) + _NEAR
    before = np.any([padded[at - back] for back in range(1, _NEAR + 1)], axis=0)
    behind = np.any([padded[at + on] for on in range(1, _NEAR + 1)], axis=0)
    return np.asarray(before & behind, np.bool_)


def _median(values: Floats) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else math.nan


def _share(part: NDArray[np.bool_], whole: NDArray[np.bool_]) -> float:
    return float(part.sum() / whole.sum()) if whole.any() else math.nan


def limits(table: MotionSettings) -> tuple[Threshold, ...]:
    """The thresholds, in the order in which they are looked at."""
    pace = "short sides per second"
    every = (
        Threshold("cuts", "cuts inside the clip:", high=float(table.max_cuts)),
        Threshold("still", "share of frames in which nothing moves", high=table.max_still),
        Threshold("repeated", "share of frames that repeat the one before", high=table.max_repeated),
        Threshold("unexplained", "share of change that no motion explains", high=table.max_unexplained),
        Threshold("speed", f"speed in {pace}", table.min_speed, table.max_speed),
        Threshold("camera", f"speed of the camera in {pace}", high=table.max_camera),
        Threshold("subject", f"speed beside the camera's in {pace}", low=table.min_subject),
    )
    rule = Threshold("dynamic", "share of the clip that moves enough by VBench's rule", low=0.5)
    return (*every, rule) if table.dynamic else every
