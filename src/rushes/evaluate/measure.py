"""What one video measures, kept by the hash of its content, so that nothing is measured twice."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rushes.evaluate.suites import suite_name
from rushes.files import content_hash, write_text
from rushes.media.images import read_image
from rushes.media.read import read_video
from rushes.metrics import catalogue, sets
from rushes.metrics.base import Shot
from rushes.records import plain, stable_hash


def folder_suite_name() -> str:
    """The name under which measurements of files are kept; what was kept under another name is measured again."""
    return suite_name("folders", catalogue.versions())


@dataclass(frozen=True)
class Measured:
    """One video: its shape, its metrics (None = nothing to measure) for the clip and per second, and its features.

    `features` [seconds, 27] and `coarse` [8, 16, 16, 3] are what distances between clips need.
    """

    media: str
    width_px: int
    height_px: int
    frames: int
    fps: float
    values: dict[str, float | None]
    per_second: dict[str, list[float | None]]
    features: list[list[float]]
    coarse: str  # base64

    def coarse_THWC(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """The clip at 8 moments and 16 x 16 px, 0..1."""
        levels = np.frombuffer(base64.b64decode(self.coarse), np.uint8).reshape(sets.COARSE_SHAPE)
        return levels / 255.0


def measure_file(video: Path, still: Path | None, cache: Path) -> Measured:
    """All metrics of one file, from the folder `cache` where it was measured before.

    About 1.5 s for 49 frames of 720 x 480 on one core; a kept one takes a few milliseconds.

    Raises ValueError: the file is not a readable video, or the still not a readable image.
    """
    media = content_hash(video)
    name = stable_hash([folder_suite_name(), media, content_hash(still) if still else ""], 40)
    path = cache / f"{name}.json"
    with suppress(OSError, ValueError, TypeError):  # what is kept can always be made again
        return Measured(**json.loads(path.read_text(encoding="utf-8")))
    read = read_video(video)
    shot = Shot(read.frames_FHWC, read.fps, first_frame_HWC=read_image(still) if still else None)
    measurements = catalogue.measure(shot)
    height, width = read.frames_FHWC.shape[1:3]
    levels = np.round(sets.coarse(shot) * 255).astype(np.uint8)
    measured = Measured(
        media=media,
        width_px=width,
        height_px=height,
        frames=len(read.frames_FHWC),
        fps=read.fps,
        values={name: plain(m.value) for name, m in measurements.items()},
        per_second={name: plain(m.per_second) for name, m in measurements.items()},
        features=sets.features(shot).round(9).tolist(),
        coarse=base64.b64encode(levels.tobytes()).decode(),
    )
    cache.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(asdict(measured), allow_nan=False))
    return measured
