"""Who looks on while a run trains: sampled clips, diagnoses, trackers. None of them changes a weight."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rushes.arrays import Frames
from rushes.config.tables import TrainSettings
from rushes.media.read import read_video
from rushes.media.write import write_video
from rushes.metrics.base import Shot
from rushes.metrics.catalogue import measure
from rushes.records import Diagnosis, StepRow, diagnoses_in
from rushes.training.health import diagnoses

MEASURED = ("motion_speed", "dynamic_degree", "freeze_share", "saturation", "brightness", "contrast", "sharpness")
FOLDER = "samples"


@dataclass(frozen=True)
class Sampler:
    """Makes clips of a few held-out prompts, at fixed seeds, with the weights as they are at the call."""

    make: Callable[[], Sequence[Frames]]  # frames [T, H, W, 3] of each clip, always in the same order
    folder: Path  # of the run; clips lie below it as samples/step-00000050-0.mp4
    fps: float  # frames per second
    scale: int = 1  # whole factor by which small clips are enlarged when stored
    rates: Sequence[float] = ()  # frames per second of each clip, where they differ


@dataclass(frozen=True)
class RunMonitor:
    """What is done beside training; by default nothing."""

    sampler: Sampler | None = None  # see above
    tell: Callable[[Diagnosis], None] = lambda diagnosis: None  # called with each diagnosis when it is first made
    # called with all rows so far after each step
    track: Callable[[Sequence[StepRow]], None] = lambda rows: None
    # figures from before the first step, for the row of step 0
    constants: Mapping[str, Any] = field(default_factory=dict)

    def samples(self, step: int, settings: TrainSettings) -> dict[str, Any]:
        """Clips and their figures, if it is time: at the start, every so many steps, and at the end."""
        due = settings.sample_every and (step % settings.sample_every == 0 or step == settings.steps)
        return write_samples(self.sampler, step) if self.sampler and due else {}

    def judge(self, rows: Sequence[StepRow], steps: int) -> None:
        """Write the diagnoses of a run of `steps` into the last of its rows, and tell those that none had before.

        Those of the last step are left to the run's result, which has them with their remedies.
        """
        before = {each.name for row in rows[:-1] for each in diagnoses_in(row)}
        diagnosed = diagnoses(rows, steps)
        if diagnosed:
            rows[-1]["diagnoses"] = [asdict(each) for each in diagnosed]
        for each in diagnosed:
            if each.name not in before and rows[-1]["step"] < steps:
                self.tell(each)


NOBODY = RunMonitor()


def write_samples(sampler: Sampler, step: int) -> dict[str, Any]:
    """Make, store and measure clips: `samples/METRIC` is the mean over them, `samples/each` has every clip's value.

    They are measured as they were stored, so that anyone who opens the files measures the same.
    """
    folder = sampler.folder / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    each: dict[str, list[float | None]] = {name: [] for name in MEASURED}
    for at, frames in enumerate(sampler.make()):
        path, fps = folder / f"step-{step:08d}-{at}.mp4", sampler.rates[at] if sampler.rates else sampler.fps
        write_video(path, frames, fps, scale=sampler.scale)
        for name, value in measure(Shot(read_video(path).frames_FHWC, fps), MEASURED).items():
            each[name].append(round(value.value, 6) if math.isfinite(value.value) else None)
    finite = {name: [value for value in values if value is not None] for name, values in each.items()}
    means = {f"{FOLDER}/{name}": sum(values) / len(values) for name, values in finite.items() if values}
    return means | {f"{FOLDER}/each": each}
