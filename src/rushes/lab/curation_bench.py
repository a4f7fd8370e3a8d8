"""How well curation finds planted faults, how fast its stages measure, and how choosing grows with the clips."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rushes.config.curate import StageName
from rushes.config.tables import Settings
from rushes.curate.base import CurationEntry, CurationFinding, Stage, Task, make_stage
from rushes.curate.faults import FAULTS, LOSS, Fault
from rushes.curate.findings import MeasureColumns, find_before, packed, rows_of
from rushes.curate.fingerprint import MOMENTS, SIZE, UNIT
from rushes.formats.layouts import VIDEO_SUFFIXES
from rushes.media.read import probe, read_video
from rushes.media.resize import resize_frame
from rushes.media.write import write_video
from rushes.metrics.base import Shot, shrink
from rushes.progress import Bar, no_bar
from rushes.store.database import Store
from rushes.world.mechanics import FPS
from rushes.world.render import render
from rushes.world.scenes import draw_scenes

LOCAL: tuple[StageName, ...] = ("technical", "motion", "duplicates")
WORLD_FRAMES = 49
SHARP = 4  # factor by which the world's clips, whose edges are soft, are enlarged so that none is blurred
SPEED_CRF = 12  # of files whose measuring is timed
_COPIES = 0.1  # share of synthetic clips that are copies of others
_BLOCK = 4096  # of them, made at once


def world_clips(count: int, seed: int, frames: int = WORLD_FRAMES) -> list[Shot]:
    """True clips of the embedded world, all kinds in turn."""
    scenes = draw_scenes([seed, 0], count, frames=frames)
    return [Shot(render(scene).repeat(SHARP, 1).repeat(SHARP, 2), FPS) for scene in scenes]


def real_clips(folder: Path) -> list[Shot]:
    """All videos of a folder and those in it, the first WORLD_FRAMES frames of each, at a short side of at most 360 px.

    Raises ValueError: there are none, or one cannot be read.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES)
    if not paths:
        raise ValueError(f"--footage: {folder} holds no videos; name a folder of sound clips")
    videos = [read_video(path, frames=min(WORLD_FRAMES, probe(path).frames)) for path in paths]
    return [Shot(np.stack([shrink(frame, 360) for frame in video.frames_FHWC]), video.fps) for video in videos]


@dataclass(frozen=True)
class PlantedFault:
    """How curation sees a fault that was planted in each clip."""

    stage: str
    clips: int
    caught: int
    recall: float
    false_alarms: int
    precision: float | None  # null = the stage dropped nothing
    detectable: bool
    doc: str


@dataclass(frozen=True)
class CurationGrowth:
    """Seconds of CPU time that a number of clips takes."""

    clips: int
    keep_s: float
    read_s: float
    duplicates_s: float
    duplicates_found: int
    duplicates_planted: int
    diversity_s: float
    peak_mb: float  # memory of the process so far


@dataclass(frozen=True)
class CurationBench:
    """How well curation sees planted faults and how fast, or how it grows with the clips; null = not asked."""

    growth: list[CurationGrowth] | None = None  # by number of clips
    faults: Mapping[str, PlantedFault] | None = None  # by fault
    speeds: Mapping[str, Mapping[str, float]] | None = None  # by stage: clips and frames a second on one core


def planted(clips: Sequence[Shot], faults: Iterable[str] = tuple(FAULTS), bar: Bar = no_bar) -> dict[str, PlantedFault]:
    """Each fault planted in each clip: of how many it was found, and by how many false alarms of its stage.

    Precision is that of a set with as many sound clips as faulty ones. A cut goes to the next clip, which must have its
    size. Clips are written as files, and measured and chosen as in a run, by the stages' own defaults.
    """
    names = list(faults)
    stages = {name: make_stage(name, Settings(), Path("unused")) for name in LOCAL}
    rows = {}
    with TemporaryDirectory() as folder, bar("bench: faults", len(names)) as tick:

        def entries(stage: StageName, clips: Sequence[Shot], name: str) -> list[CurationEntry]:
            return list(_measured(stages[stage], _written(Path(folder), clips, name, LOSS.get(name, 18))))

        sound = {name: entries(name, clips, "sound") for name in {FAULTS[f].stage for f in names}}
        alarms = {name: len(stages[name].choose(entries_of)) for name, entries_of in sound.items()}
        for name in names:
            fault = FAULTS[name]
            faulty = entries(fault.stage, [_with(fault, clips, at) for at in range(len(clips))], name)
            caught = _caught(stages[fault.stage], fault, sound[fault.stage], faulty)
            dropped = caught + alarms[fault.stage]
            rows[name] = PlantedFault(
                fault.stage,
                len(clips),
                caught,
                recall=caught / len(clips),
                false_alarms=alarms[fault.stage],
                precision=caught / dropped if dropped else None,
                detectable=fault.detectable,
                doc=fault.doc,
            )
            tick(1)
    return rows


def _with(fault: Fault, clips: Sequence[Shot], at: int) -> Shot:
    clip, other = clips[at], clips[(at + 1) % len(clips)]
    second = np.stack([resize_frame(frame, clip.frames_FHWC.shape[1:3]) for frame in other.frames_FHWC])
    return Shot(fault.plant(clip.frames_FHWC, second), clip.fps)


def _caught(stage: Stage, fault: Fault, sound: Sequence[CurationEntry], faulty: Sequence[CurationEntry]) -> int:
    """How many are dropped; of copies, how many pairs with their original are reduced to one."""
    if not fault.copy:
        return len(stage.choose(faulty))
    return sum(bool(stage.choose(pair)) for pair in zip(sound, faulty, strict=True))


def _written(folder: Path, clips: Sequence[Shot], name: str, crf: int) -> Iterator[Task]:
    """Clips as files that are to be measured."""
    for at, clip in enumerate(clips):
        path = folder / f"{name} {at}.mp4"
        write_video(path, clip.frames_FHWC, clip.fps, crf=crf)
        yield Task(path.stem, path, "", clip.fps, len(clip.frames_FHWC))


def _measured(stage: Stage, tasks: Iterable[Task]) -> Iterator[CurationEntry]:
    """What the stage says of files, each of which is then deleted."""
    assert stage.measure is not None
    for task in tasks:
        finding = stage.measure(task)
        assert not finding.problem, finding.problem
        yield CurationEntry(task.id, "", finding)
        task.path.unlink()


def speeds(clips: Sequence[Shot]) -> dict[str, dict[str, float]]:
    """Clips and frames per second of one core, for each stage that needs no model, decoding included."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    rows: dict[str, dict[str, float]] = {}
    try:
        with TemporaryDirectory() as folder:
            tasks = list(_written(Path(folder), clips, "clip", SPEED_CRF))
            for name in LOCAL:
                measure = make_stage(name, Settings(), Path("unused")).measure
                assert measure is not None
                seconds = _timed(lambda: [measure(task) for task in tasks])[0]  # noqa: B023
                frames = sum(task.frames for task in tasks)
                rows[name] = {"clips_per_s": len(tasks) / seconds, "frames_per_s": frames / seconds}
    finally:
        cv2.setNumThreads(before)
    return rows


def growth(rows: Sequence[int], seed: int, bar: Bar) -> list[CurationGrowth]:
    """Processor seconds to keep and read findings, and to choose by duplicates and diversity, for synthetic clips.

    Peak memory is that of the process so far, MB: give `rows`, the numbers of clips, in rising order.
    """
    results = []
    for count in rows:
        with bar(f"bench: {count} clips", 1) as tick:
            results.append(_grown(count, seed))
            tick(1)
    return results


def _grown(count: int, seed: int) -> CurationGrowth:
    stage = make_stage("duplicates", Settings(), Path("unused"))
    ids = [f"{at:08d}" for at in range(count)]
    findings = [
        CurationFinding({"pixels": 1e6, "bytes": float(count - at)}, dict.fromkeys(("whole", "inner"), packed(row)))
        for at, row in enumerate(synthetic_prints(count, seed))
    ]
    entries = [
        CurationEntry(id, caption, finding)
        for id, caption, finding in zip(ids, synthetic_captions(count, seed), findings, strict=True)
    ]
    choose_s, dropped = _timed(lambda: stage.choose(entries))
    diversity = make_stage("diversity", Settings(), Path("unused"))
    diversity_s, _ = _timed(lambda: diversity.choose(entries))
    with TemporaryDirectory() as folder, Store.create(Path(folder) / "project") as store:
        keep_s, _ = _timed(lambda: _store_all(store, stage, ids, findings))
        read_s, back = _timed(lambda: find_before(store, stage, dict.fromkeys(ids, ""), MeasureColumns(ids)))
        assert back.all()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return CurationGrowth(
        count,
        keep_s,
        read_s,
        duplicates_s=choose_s,
        duplicates_found=len(dropped),
        duplicates_planted=int(count * _COPIES),
        diversity_s=diversity_s,
        peak_mb=peak,
    )


def _store_all(store: Store, stage: Stage, ids: Sequence[str], findings: Sequence[CurationFinding]) -> None:
    for start in range(0, len(ids), 64):
        chunk = zip(ids[start : start + 64], findings[start : start + 64], strict=True)
        store.add([row for id, finding in chunk for row in rows_of(stage, id, "", finding)])


def synthetic_prints(count: int, seed: int) -> NDArray[np.int16]:
    """[count, SIZE] fingerprints as of clips that drift, low frequencies strongest; the last tenth are noisy copies."""
    rng = np.random.default_rng(seed)
    originals = count - int(count * _COPIES)
    prints = np.empty((count, SIZE), np.int16)
    for low in range(0, originals, _BLOCK):
        high = min(originals, low + _BLOCK)
        prints[low:high] = np.rint(_drifting(high - low, rng))
    for low in range(originals, count, _BLOCK):
        copied = prints[rng.integers(originals, size=min(count, low + _BLOCK) - low)]
        noise = rng.normal(0, 0.02 * UNIT / np.sqrt(SIZE / MOMENTS), copied.shape)
        prints[low : low + len(copied)] = np.rint(copied + noise)
    return prints


def _drifting(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    weights = 1 / (1 + np.arange(SIZE // MOMENTS))
    still = rng.normal(size=(count, 1, SIZE // MOMENTS))
    moving = 0.3 * rng.normal(size=(count, MOMENTS, SIZE // MOMENTS)).cumsum(1)
    prints = ((still + moving) * weights).reshape(count, SIZE)
    return np.asarray(prints * (UNIT * np.sqrt(MOMENTS) / np.linalg.norm(prints, axis=1, keepdims=True)), np.float64)


def synthetic_captions(count: int, seed: int) -> list[str]:
    """Sentences of twenty words out of two thousand, the first ones common, as in language."""
    rng = np.random.default_rng(seed)
    picks = np.minimum(1999, (2000 * rng.random((count, 20)) ** 3).astype(int))
    return [" ".join(f"w{word}" for word in row) for row in picks]


def bench_lines(result: CurationBench) -> list[str]:
    """What was measured, as tables in Markdown: docs/curation.md has them."""
    lines = []
    if faults := result.faults:
        lines += ["| fault | stage | found | recall | false alarms | precision |", "|---|---|--:|--:|--:|--:|"]
        lines += [_fault_line(name, row) for name, row in faults.items()]
    if speeds_of := result.speeds:
        lines += ["", "| stage | clips per second and core | frames per second and core |", "|---|--:|--:|"]
        lines += [
            f"| {name} | {row['clips_per_s']:.1f} | {row['frames_per_s']:.0f} |" for name, row in speeds_of.items()
        ]
    if grown := result.growth:
        head = "| clips | keep, s | read, s | duplicates, s (found of planted) | diversity, s | peak memory, MB |"
        lines += ["", head, f"|{'--:|' * 6}"]
        lines += [
            f"| {row.clips} | {row.keep_s:.1f} | {row.read_s:.1f} | {row.duplicates_s:.1f} "
            f"({row.duplicates_found} of {row.duplicates_planted}) | {row.diversity_s:.1f} | {row.peak_mb:.0f} |"
            for row in grown
        ]
        lines += ["", *_growth_lines(grown[0], grown[-1])]
    return lines


def _growth_lines(few: CurationGrowth, many: CurationGrowth) -> Iterator[str]:
    """How fast each step is at the most clips, and how much longer it takes than for the fewest."""
    for name in ("keep", "read", "duplicates", "diversity"):
        short, long = (max(getattr(row, f"{name}_s"), 1e-3) for row in (few, many))
        line = f"{name}: {many.clips / long:,.0f} clips per second and core at {many.clips:,}"
        if many.clips > few.clips:
            line += f"; {many.clips / few.clips:g} times the clips take {long / short:.0f} times as long"
        yield line


def _fault_line(name: str, row: PlantedFault) -> str:
    precision = "-" if row.precision is None else f"{row.precision:.2f}"
    return (
        f"| {name}: {row.doc} | {row.stage} | {row.caught} of {row.clips} | {row.recall:.2f} | "
        f"{row.false_alarms} of {row.clips} | {precision} |"
    )


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of CPU time, which others on the machine do not change, and the result."""
    began = time.process_time()
    result = work()
    return time.process_time() - began, result
