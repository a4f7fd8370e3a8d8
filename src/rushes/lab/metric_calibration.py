"""How far each metric agrees with the truth on the embedded world, where a verifier knows what is wrong with a clip.

Two sets of clips: scenes and the same scenes with one fault each, and takes of the tiny model, which goes wrong in its
own ways. A metric that does well on the first and not on the second sees faults that this model does not make.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations_with_replacement
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from rushes.arrays import Floats
from rushes.config.tables import FootageSettings, GenerateSettings, ProjectSettings, Settings
from rushes.footage.world import WORLD_SCALE
from rushes.judges.build import world_judge
from rushes.media.read import read_video
from rushes.media.resize import resize_frame
from rushes.metrics.base import Shot
from rushes.metrics.catalogue import all_metrics, measure
from rushes.progress import Bar
from rushes.project import generation, intake
from rushes.project.project import open_project
from rushes.records import INLINE, OPTIONAL
from rushes.stats import Better, Interval, win_rate
from rushes.world.mechanics import FPS, SIZE_PX
from rushes.world.plants import one_fault
from rushes.world.render import render
from rushes.world.scenes import KINDS
from rushes.world.verify import MEASURES, verify

RESAMPLES = 1000
# What the verifier measures that a metric should follow; all others are set against its verdict as a whole alone.
OWN = {
    "dynamic_degree": "speed",
    "motion_speed": "speed",
    "jerk": "law_error",
    "cuts": "law_error",
    "warping_error": "missing_balls",
}


@dataclass(frozen=True)
class PlantedClip:
    """One clip: its metrics, its soundness by the verifier (0 = nothing wrong, lower = worse), and its parts."""

    scene: int
    values: Mapping[str, float]
    soundness: float
    parts: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class MetricAgreement:
    """How far one metric agrees with the verifier; figures are null where one of the two never changes."""

    better: Better
    # share of scenes that beat their copy with a fault; only if one direction is better
    twins: Interval | None = field(metadata=OPTIONAL)
    faults: Interval  # rank correlation with the verdict over scenes and their copies with a fault
    # and with the verdict's part that the metric should follow; only if there is one
    faults_own: Interval | None = field(metadata=OPTIONAL)
    takes: Interval  # rank correlation with the verdict over takes
    takes_own: Interval | None = field(metadata=OPTIONAL)  # and with that part


@dataclass(frozen=True)
class CalibrationResult:
    """How far each metric agrees with the embedded world's verifier."""

    metrics: Mapping[str, MetricAgreement] = field(metadata=INLINE)  # by metric


def calibrate(scenes: int, takes: int, seed: int, bar: Bar) -> dict[str, MetricAgreement]:
    """Per metric: rank correlation with the verifier on both sets, and how often it tells a scene from its faulty twin.

    Signs are turned so that above zero a metric agrees with the verifier; those without a better direction are turned
    as if higher were better. Raises ValueError for fewer than ten scenes or takes.
    """
    if min(scenes, takes) < 10:
        raise ValueError(f"calibration needs ten scenes and ten takes at least, got {scenes} and {takes}")
    with bar("bench: faults", 2 * scenes) as tick:
        pairs = []
        for at in range(scenes):
            sound, broken, _ = one_fault(KINDS[at % len(KINDS)], [seed, at])
            pairs.append((_clip(at, render(sound), sound.caption), _clip(at, render(broken), sound.caption)))
            tick(2)
    of_takes = _takes(takes, seed, bar)
    both = [clip for pair in pairs for clip in pair]
    return {name: _row(name, pairs, both, of_takes) for name in all_metrics() if name != "first_frame_fidelity"}


def _row(
    name: str,
    pairs: Sequence[tuple[PlantedClip, PlantedClip]],
    both: Sequence[PlantedClip],
    of_takes: Sequence[PlantedClip],
) -> MetricAgreement:
    better = all_metrics()[name].better
    finite = [(a.values[name], b.values[name]) for a, b in pairs if math.isfinite(a.values[name] + b.values[name])]
    twins = None
    if finite and better != "neutral":
        rate = win_rate([b for _, b in finite], [a for a, _ in finite], better).rate
        twins = replace(rate, n=len(finite)).rounded(3)
    sign = -1.0 if better == "lower" else 1.0

    def verdict(clips: Sequence[PlantedClip]) -> Interval:
        return _agreement([(c.scene, sign * c.values[name], c.soundness) for c in clips])

    def own(clips: Sequence[PlantedClip]) -> Interval | None:
        if name not in OWN:
            return None
        part, own_sign = OWN[name], (1.0 if MEASURES[OWN[name]].better == "higher" else -1.0)
        return _agreement([(c.scene, sign * c.values[name], own_sign * c.parts[part]) for c in clips])

    return MetricAgreement(
        better=better,
        twins=twins,
        faults=verdict(both),
        faults_own=own(both),
        takes=verdict(of_takes),
        takes_own=own(of_takes),
    )


def _agreement(rows: Sequence[tuple[int, float, float]]) -> Interval:
    """Spearman's rank correlation with a bootstrap interval over scenes; NaN where either side never changes."""
    finite = [row for row in rows if math.isfinite(row[1] + row[2])]
    scenes, x, y = (np.array(column) for column in zip(*finite, strict=True)) if finite else (np.zeros(0),) * 3
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return Interval(math.nan, math.nan, math.nan, len(finite))
    rng, (names, scene_of) = np.random.default_rng(0), np.unique(scenes, return_inverse=True)
    drawn = rng.integers(0, len(names), (RESAMPLES, len(names)))
    times_RN = np.stack([np.bincount(row, minlength=len(names)) for row in drawn])[:, scene_of].astype(np.float64)
    resampled = _spearman(x, y, times_RN)
    low, high = np.quantile(resampled[np.isfinite(resampled)], [0.025, 0.975])
    return Interval(_spearman(x, y, np.ones((1, len(x))))[0], low, high, len(finite)).rounded(3)


def _spearman(x_N: Floats, y_N: Floats, times_RN: Floats) -> Floats:
    """Rank correlation [R] of rows that each occur so many times; NaN where a side never changes."""
    count = times_RN.sum(1, keepdims=True)
    sides = [_ranks(side, times_RN) - (count + 1) / 2 for side in (x_N, y_N)]
    xx, xy, yy = ((times_RN * a * b).sum(1) for a, b in combinations_with_replacement(sides, 2))
    with np.errstate(invalid="ignore"):
        values: Floats = xy / np.sqrt(xx * yy)
    return values


def _ranks(values_N: Floats, times_RN: Floats) -> Floats:
    """Ranks [R,N], equal values sharing their mean rank, where each value occurs so many times."""
    levels, level_of = np.unique(values_N, return_inverse=True)
    occur = times_RN @ (level_of[:, None] == np.arange(len(levels)))
    ranks: Floats = (occur.cumsum(1) - (occur - 1) / 2)[:, level_of]
    return ranks


def _clip(scene: int, frames_FHWC: NDArray[np.uint8], caption: str) -> PlantedClip:
    """Measure frames: the verifier as they are, the metrics at the size that clips are stored at."""
    (soundness,) = world_judge(0.0).score(Shot(frames_FHWC, FPS, caption), None)
    verdict = verify(frames_FHWC, caption)
    large = frames_FHWC.repeat(WORLD_SCALE, 1).repeat(WORLD_SCALE, 2)
    names = [name for name in all_metrics() if name != "first_frame_fidelity"]
    values = {name: measurement.value for name, measurement in measure(Shot(large, FPS, caption), names).items()}
    return PlantedClip(scene, values, soundness, {name: float(getattr(verdict, name)) for name in MEASURES})


def _takes(count: int, seed: int, bar: Bar) -> list[PlantedClip]:
    """Takes of the tiny model as it ships, one for each of `count` prompts of the world."""
    footage = FootageSettings(clips=count, eval_prompts=0)
    settings = Settings(project=ProjectSettings(seed=seed), footage=footage, generate=GenerateSettings(takes=1))
    with TemporaryDirectory() as folder:
        project = open_project(Path(folder), settings, bar)
        intake.import_footage(project)
        generation.generate_takes(project)
        rows = project.store.candidates(split="train")
        clips = []
        with bar("bench: takes", len(rows)) as tick:
            for at, row in enumerate(rows):
                frames = read_video(project.store.media_path(row.media)).frames_FHWC
                small = np.stack([resize_frame(frame, (SIZE_PX, SIZE_PX), "crop") for frame in frames])
                clips.append(_clip(at, small, row.caption))
                tick(1)
        project.store.close()
    return clips
