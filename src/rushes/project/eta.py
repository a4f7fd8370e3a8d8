"""`rushes tune eta`: what guided pairs of a project teach at several noise levels, and the range that follows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rushes.config.backbone import BackboneSettings
from rushes.config.clip_shapes import ClipShape
from rushes.config.tables import Settings
from rushes.evaluate.levels import LEAST_CLIPS, MEASURES, Level, propose, summarise, warnings_of
from rushes.judges.base import Judge
from rushes.judges.build import judge_of
from rushes.noise.paths import NoisePath
from rushes.project.labels import PROBE_PAIRS
from rushes.project.probes import draw_sheets, make_probes, measure_probes
from rushes.project.project import OpenProject
from rushes.records import HUMAN, Clip, stable_hash
from rushes.stats import Interval
from rushes.store.annotators import labels_to_train_on
from rushes.store.database import Store
from rushes.text_reader import counted

LEVELS = (0.60, 0.70, 0.80, 0.88, 0.94, 0.97)
LEAST_LEVELS = 5
CLIPS = 16  # training clips that pairs are made of, where nobody says how many


@dataclass(frozen=True)
class EtaLevel:
    """Guided pairs of one level, or free takes; null = not measured. 95 % intervals are over clips."""

    eta: float  # share of noise that the pairs start from; 1 = free takes
    free: bool  # free takes
    judged: int  # pairs that have labels
    motion_agreement: float | None  # how alike the members of a pair move, 1 = alike
    motion_agreement_interval: tuple[float, float] | None
    faults_left: float | None  # share of the free takes' faults
    faults_left_interval: tuple[float, float] | None
    tied_pairs: float | None  # share of the judged pairs whose segments all tie
    tied_pairs_interval: tuple[float, float] | None
    mixed_pairs: float | None  # share of the judged pairs in which each side wins a segment
    mixed_pairs_interval: tuple[float, float] | None
    sheet: Path  # picture of a few pairs


@dataclass(frozen=True)
class EtaResult:
    """What guided pairs teach at several noise levels, and the range that follows."""

    by: str  # judge, or "human"
    faults_by: str | None  # metric, or judge, that counts faults; null = nobody
    clips: int  # training clips that pairs are made of
    levels: tuple[EtaLevel, ...]
    proposed: tuple[float, float] | None  # range for generate.eta; null = none will do
    warnings: tuple[str, ...]


def _row(level: Level, sheet: Path) -> EtaLevel:
    measures: dict[str, Interval | None] = {name: getattr(level, name) for name in MEASURES}
    values = {name: each.value if each else None for name, each in measures.items()}
    ends = {f"{name}_interval": (each.low, each.high) if each else None for name, each in measures.items()}
    return EtaLevel(eta=level.eta, free=level.free, judged=level.judged, sheet=sheet, **values, **ends)  # type: ignore[arg-type]


def eta_of_project(project: OpenProject, levels: Sequence[float] = (), clips: int = CLIPS) -> EtaResult:
    """Measure guided pairs at several levels and free takes beside them, and propose `generate.eta`.

    Args:
        project: with training clips.
        levels: shares of noise in (0, 1), at least `LEAST_LEVELS`; empty = `LEVELS`, as far as the schedule goes.
        clips: training clips that a pair is made of at each level; all of them where there are fewer.

    Raises:
        ValueError: no clips, levels that cannot be measured, or nobody who judges.
    """
    settings = project.settings
    _check_segments(settings)
    with _judge(project) as judge:
        chosen = _clips(project, clips)
        levels = _levels(project.base.spec.path, levels)
        probes = make_probes(project, chosen, levels)
        answers = {} if judge else _answers(project.store, settings)
        pairs = measure_probes(project, probes, judge, answers)
    sheets = draw_sheets(project, probes)
    summary = summarise(pairs, settings.project.seed)
    proposed = propose(summary)
    labelled = judge is not None or any(level.judged for level in summary)
    warnings = warnings_of(summary, proposed) if labelled else [_ask_people(project)]
    if labelled and len(chosen) < min(clips, LEAST_CLIPS):
        warnings.append(f"the project has {len(chosen)} training clips, but {clips} were asked for")
    return EtaResult(
        by=judge.name if judge else HUMAN,
        faults_by=project.suite.headline or judge.name if judge else None,
        clips=len(chosen),
        levels=tuple(_row(level, sheets[level.eta]) for level in summary),
        proposed=proposed,
        warnings=tuple(warnings),
    )


def _check_segments(settings: Settings) -> None:
    """Pairs can be mixed only over several segments."""
    label, size = settings.label, settings.backbone
    if label.whole:
        raise ValueError("label.whole: mixed pairs need several segments per clip; set it to false")
    seconds = max(_seconds(size, shape) for shape in size.shapes)
    if seconds < 2 * label.segment_s and label.by == "metric":
        raise ValueError(
            f"backbone.frames: clips of {seconds:.3g} s have a single segment of the {label.segment_s:g} s that "
            "metrics measure, but mixed pairs need several; use clips of 2 s or more, or set label.by to human or vlm"
        )
    if seconds < 2 * label.segment_s:
        raise ValueError(
            f"label.segment_s: clips of {seconds:.3g} s have a single segment of {label.segment_s:g} s, but mixed "
            f"pairs need several; set it to {seconds / 2:.2g} or less"
        )


def _seconds(size: BackboneSettings, shape: ClipShape) -> float:
    return shape.frames / (shape.fps or size.fps)


@contextmanager
def _judge(project: OpenProject) -> Iterator[Judge | None]:
    """Who judges: label.by, or where that is nobody the metric that is named beside it; None = people."""
    settings = project.settings
    if settings.label.by == "human":
        yield None
        return
    if settings.label.by == "none":
        if not settings.label.metric:
            raise ValueError(
                "label.by is 'none', so nobody judges the pairs; set it to human, world, metric, vlm or reward, or "
                "label.metric to the name of a metric"
            )
        settings = settings.model_copy(update={"label": settings.label.model_copy(update={"by": "metric"})})
    with judge_of(settings, project.store.project) as judge:
        yield judge


def _clips(project: OpenProject, count: int) -> list[Clip]:
    """Training clips of two segments or more in an order that is drawn by the project's seed: with more asked for, the
    first stay the same."""
    size, least_s = project.settings.backbone, 2 * project.settings.label.segment_s
    if count < 1:
        raise ValueError(f"--clips: {counted(count, 'clip')} make no pair; give 1 or more")
    clips = project.store.clips("train")
    if not clips:
        raise ValueError("the project has no clips to make pairs from; run `rushes import` first")
    long = [clip for clip in clips if _seconds(size, size.shape_of(clip)) >= least_s]
    if not long:
        raise ValueError(
            f"no training clip is as long as two segments, {least_s:g} s (label.segment_s); lower "
            "label.segment_s, or raise backbone.lengths"
        )
    return sorted(long, key=lambda clip: stable_hash(["eta", project.settings.project.seed, clip.id]))[:count]


def _levels(path: NoisePath, given: Sequence[float]) -> list[float]:
    """The levels, from the lowest up."""
    if not given:
        return reached_levels(path)
    if len(set(given)) < max(len(given), LEAST_LEVELS) or not all(0 < level < 1 for level in given):
        raise ValueError(
            f"--levels: name {LEAST_LEVELS} or more different ones above 0 and below 1, got "
            f"{', '.join(f'{level:g}' for level in given)}; pure noise, 1, is always measured"
        )
    for level in given:
        try:
            path.time_of_share(level)
        except ValueError as error:
            raise ValueError(f"--levels: {error}") from error
    return sorted(given)


def reached_levels(path: NoisePath) -> list[float]:
    """`LEVELS`, those that the path does not reach drawn down to the last that it does, in two digits."""
    levels = []
    for level in LEVELS:
        try:
            path.time_of_share(level)
            levels.append(level)
        except ValueError:
            break
    if len(levels) < len(LEVELS):
        levels.append(max(n / 100 for n in range(1, 100) if _has(path, n / 100)))
    return sorted(set(levels))


def _has(path: NoisePath, share: float) -> bool:
    try:
        path.time_of_share(share)
    except ValueError:
        return False
    return True


def _answers(store: Store, settings: Settings) -> dict[frozenset[str], tuple[int, ...]]:
    """What people said of pairs, all of them together."""
    rows = labels_to_train_on(store, HUMAN, settings.label.dimensions[0])
    return {frozenset((row.left, row.right)): row.labels for row in rows if row.segment_s}


def _ask_people(project: OpenProject) -> str:
    return (
        f"people have not labelled these pairs yet, so no range is proposed; look at the sheets, or run `rushes label "
        f"{project.store.project} --by human --probes`, which offers {PROBE_PAIRS} pairs per level, then run this "
        "command again"
    )


def in_words(result: EtaResult) -> list[str]:
    """A line for each level, what is proposed, and what speaks against it."""
    heads = ("motion agreement", "faults left", "wholly tied", "mixed")
    lines = ["eta    " + "".join(f"{head:<22}" for head in heads) + "sheet"]
    for row in result.levels:
        cells = "".join(f"{_cell(getattr(row, name), getattr(row, f'{name}_interval')):<22}" for name in MEASURES)
        lines.append(f"{'free' if row.free else format(row.eta, '.4g'):<7}{cells}{row.sheet}")
    faults = f", faults by {result.faults_by}" if result.faults_by else ""
    lines.append(f"by {result.by}{faults}, {result.clips} clips; 95 % intervals over clips")
    lines += [f"! {line}" for line in result.warnings]
    if result.proposed:
        low, high = result.proposed
        lines.append(f"proposed: --set generate.eta=[{low:g},{high:g}]")
    return lines


def _cell(value: float | None, interval: tuple[float, float] | None) -> str:
    if value is None or interval is None:
        return "unknown"
    low, high = (f"{end:.2f}" if math.isfinite(end) else "?" for end in interval)
    return f"{value:.2f} [{low}, {high}]"
