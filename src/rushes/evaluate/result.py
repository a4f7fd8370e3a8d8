"""The result of a comparison, of a project's run or of any systems, and what every report on one shows."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from math import inf, isfinite, nan
from pathlib import Path
from typing import Any

import numpy as np

import rushes
from rushes.config.clip_shapes import HasVideoShape
from rushes.files import MediaError
from rushes.formats.caption_files import natural
from rushes.media.read import read_video
from rushes.media.tags import untagged
from rushes.metrics.sets import FeatureDistance
from rushes.records import Candidate, Clip
from rushes.report import text
from rushes.report.cases import choose, faults, gain, most_different
from rushes.report.limits import limits, reaches
from rushes.report.model import Case, CaseKind, Judged, MetricRow, Report, ReportArm, ReportVideo, Scatter, typed
from rushes.stats import (
    Better,
    ComparisonTable,
    Difference,
    Interval,
    Key,
    Measure,
    WinRate,
    compare_systems,
    win_rate,
)
from rushes.store.database import Store
from rushes.text_reader import checked_text, counted, parse_json
from rushes.world.verify import HEADLINE

SystemPair = tuple[str, str]  # of systems
Metrics = Mapping[str, MetricRow]  # by name

_MIME = {".webm": "video/webm", ".mkv": "video/x-matroska"}  # others are of the MP4 family
_LOOK_PX = 64  # height at which two videos are compared frame by frame
_MOST_SHAPES = 16  # rows of a table by size and length
_MOTION, _QUALITY = ("motion_speed", "speed"), ("warping_error", HEADLINE)


@dataclass(frozen=True)
class EvaluateResult:
    """A run against the base on held-out prompts, as `reports/RUN.json` has it."""

    run: str
    headline: str  # metric that the verdict is about; "" = all of them together
    metrics: Metrics
    arms: Mapping[str, Metrics] = field(default_factory=dict)  # other recipes and imported systems against the base
    arms_intro: str = ""  # where the figures of `arms` come from
    shapes: Mapping[str, Metrics] = field(default_factory=dict)  # comparison on the prompts of each size and length
    # by metric and series, (steps trained, mean) after each round of `rushes run --rounds`
    rounds: Mapping[str, Mapping[str, tuple[tuple[float, float], ...]]] = field(default_factory=dict)
    diagnoses: tuple[str, ...] = ()  # what `rushes health` says of the run, a sentence each
    title: str = ""  # title of the report; "" = the project's folder
    seconds: Mapping[str, float] = field(default_factory=dict)  # seconds of each stage in the project so far
    seed: int = 0  # seed of the bootstrap
    version: str = ""  # version of Rushes
    made_at: str = ""  # ISO 8601, UTC


def read_evaluation(path: Path) -> EvaluateResult:
    """The result that `rushes evaluate` wrote, by any version.

    Raises:
        ValueError: the file is not JSON, or no such result.
    """
    again = "run `rushes evaluate`, which writes it again"
    data = parse_json(checked_text(path, again), f"{path}: not JSON; {again}")
    try:
        return _stored_result(path, dict(data))
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{path}: not in the form that `rushes evaluate` writes ({type(error).__name__}: {error}); run it again"
        ) from error


def _stored_result(path: Path, data: dict[str, Any]) -> EvaluateResult:
    metrics = read_metrics(data.pop("metrics"))
    arms = {name: read_metrics(arm.get("metrics", arm)) for name, arm in data.pop("arms", {}).items()}
    data["shapes"] = {name: read_metrics(rows) for name, rows in data.pop("shapes", {}).items()}
    defaults = {"run": path.stem, "headline": next(iter(metrics), "")}
    names = {each.name for each in fields(EvaluateResult)}
    stored = {name: value for name, value in data.items() if name in names}
    stored["diagnoses"] = tuple(stored.get("diagnoses", ()))
    result = typed(EvaluateResult, {**defaults, **stored, "metrics": metrics, "arms": arms})
    if not all(map(isfinite, result.seconds.values())):
        raise ValueError(f"seconds: {dict(result.seconds)}")
    return result


def read_metrics(table: Mapping[str, Mapping[str, Any]]) -> dict[str, MetricRow]:
    """Rows by name; a mean, or an end of an interval, that is null is unknown."""
    names = {each.name for each in fields(MetricRow)}
    rows = {}
    for name, entry in table.items():
        unknown = {"low": -inf, "high": inf, "base": nan, "trained": nan, "difference": nan}
        ends = {figure: value for figure, value in unknown.items() if entry[figure] is None}
        neutral = {"p_adjusted": 1.0} if entry["better"] == "neutral" else {}
        stored = {key: value for key, value in entry.items() if key in names}
        rows[name] = typed(MetricRow, {**neutral, **stored, **ends, "name": name})
    return rows


def metric_row(measure: Measure, difference: Difference, first: str) -> MetricRow:
    """A metric of two systems, the `first` of which is the base."""
    values, interval = list(measure.values[first].values()), difference.interval
    return MetricRow(
        name=measure.name,
        better=measure.better,
        base=difference.first,
        trained=difference.second,
        difference=interval.value,
        low=interval.low,
        high=interval.high,
        n=interval.n,
        unit=measure.unit,
        clip_spread=float(np.std(values, ddof=1)) if len(values) > 1 else 0.0,
        p=difference.p,
        p_adjusted=difference.p_adjusted,
        prompts=difference.prompts,
        spread=difference.spread,
        win=difference.wins.wins,
        tie=difference.wins.ties,
        lose=difference.wins.losses,
    )


def metric_rows(measures: Sequence[Measure], table: ComparisonTable) -> dict[SystemPair, tuple[MetricRow, ...]]:
    """For every pair of systems the metrics that it has in common."""
    return {
        pair: tuple(metric_row(m, differences[m.name], pair[0]) for m in measures if m.name in differences)
        for pair, differences in table.pairs.items()
    }


def metrics_by_shape(
    pair: SystemPair,
    measures: Sequence[Measure],
    videos: Mapping[str, Mapping[Key, HasVideoShape]],
    *,
    seed: int,
    cluster_of: Mapping[str, str],
    headline: str = "",
) -> dict[str, Metrics]:
    """The pair's metrics on the prompts of each size and length, by these in words; nothing where all have one, or
    where there are too many for a table.

    Prompts whose two videos differ in shape are not in it, nor is a shape that the headline metric, or without one any
    metric, could not measure.
    """
    first, second = (
        {key: (v.height_px, v.width_px, v.frames, v.fps) for key, v in videos[system].items()} for system in pair
    )
    shape_of = {key: shape for key, shape in first.items() if second.get(key) == shape}
    shapes = sorted({*shape_of.values()})
    several_rates = len({fps for *_, fps in shapes}) > 1
    tables: dict[str, Metrics] = {}
    for shape in shapes if 1 < len(shapes) <= _MOST_SHAPES else ():
        sides = [{s: {k: v for k, v in m.values.get(s, {}).items() if shape_of.get(k) == shape} for s in pair}
                 for m in measures]  # fmt: skip
        part = [replace(m, values=values) for m, values in zip(measures, sides, strict=True)]
        table = compare_systems(pair, part, seed=seed, cluster_of=cluster_of, primary=headline)
        metrics = {row.name: row for row in metric_rows(part, table)[pair]}
        if headline in metrics or (metrics and not headline):
            tables[("{} x {} px, {} frames" + " at {:g} fps" * several_rates).format(*shape)] = metrics
    return tables


@dataclass(frozen=True)
class ComparedVideo:
    """A video that answers a prompt with a seed, and what it measures."""

    path: Path | None  # None = it is missing from media/
    caption: str
    width_px: int
    height_px: int
    frames: int
    fps: float
    values: Mapping[str, float]  # by metric, the finite ones
    seconds: tuple[float, ...] = ()  # the headline metric's value of each second, where it has any


def stored_video(
    store: Store,
    row: Clip | Candidate,
    values: Mapping[str, Mapping[str, float]],
    seconds: Mapping[str, tuple[float, ...]] | None = None,
) -> ComparedVideo:
    """A project's clip or take; `values` are by metric and id, `seconds` those of the headline metric by id."""
    path = store.media_path(row.media) if row.media in store.media else None  # which a link is not: it is refused
    measured = {name: of[row.id] for name, of in values.items() if row.id in of}
    return ComparedVideo(
        path,
        row.caption,
        row.width_px,
        height_px=row.height_px,
        frames=row.frames,
        fps=row.fps,
        values=measured,
        seconds=(seconds or {}).get(row.id, ()),
    )


def headline_seconds(store: Store, headline: str) -> dict[str, tuple[float, ...]]:
    """The headline metric's values of each second, by id of what was measured; empty without such a metric."""
    return {score.subject: score.per_segment for score in store.scores(metric=headline)} if headline else {}


def in_order(keys: Sequence[Key]) -> list[Key]:
    """Prompts and seeds, with numbers in names by their size."""
    return sorted(keys, key=lambda key: (natural(Path(key[0])), key[1]))


@dataclass(frozen=True)
class ComparedSystems:
    """Systems on the same prompts; the first is what the others are compared with.

    `videos` holds those of each system in the order in which cases are numbered.
    """

    metrics: Mapping[SystemPair, tuple[MetricRow, ...]]
    videos: Mapping[str, Mapping[Key, ComparedVideo]]
    headline: str = ""
    cluster_of: Mapping[str, str] = field(default_factory=dict)  # by prompt; one that is left out is its own
    notes: tuple[str, ...] = ()
    judged: tuple[Judged, ...] = ()
    strengths: Mapping[str, Interval] = field(default_factory=dict)
    shapes: Mapping[str, Metrics] = field(default_factory=dict)  # of the main pair, by size and length in words

    @property
    def main(self) -> SystemPair:
        """The pair that the report is about: the last system against the first."""
        systems = tuple(self.videos)
        return systems[0], systems[-1]

    def keys(self, pair: SystemPair) -> list[Key]:
        """Prompts and seeds that both have a video of."""
        return [key for key in self.videos[pair[0]] if key in self.videos[pair[1]]]

    def bare(self, pair: SystemPair) -> Report:
        """The report of a pair with its metrics alone."""
        metrics = self.metrics[pair]
        headline = self.headline if self.headline in {metric.name for metric in metrics} else ""
        title, pairs = f"{pair[1]} against {pair[0]}", len(self.keys(pair))
        return Report("Comparison", title, headline, metrics, systems=pair, pairs=pairs)

    def verdicts(self) -> dict[str, str]:
        """For every pair with a prompt in common, as "FIRST|SECOND", the verdict, and what else got worse."""
        by_pair = {}
        for pair in filter(self.keys, self.metrics):
            by_pair["|".join(pair)] = text.whole_verdict(self.bare(pair))
        return by_pair


def warned_verdict(result: EvaluateResult) -> list[str]:
    """The verdict on a run, and under it what is wrong with the run."""
    return [text.whole_verdict(bare_report(result)), *result.diagnoses]


def bare_report(result: EvaluateResult) -> Report:
    """The report of a run with its metrics alone."""
    metrics = tuple(result.metrics.values())
    pairs = max((metric.n for metric in metrics), default=0)
    return Report("", result.run, result.headline, metrics, systems=("base", result.run), pairs=pairs)


def build_report(
    result: ComparedSystems,
    cases: int,
    seed: int,
    labels: Mapping[str, str] | None = None,
    beside: Callable[[Key], Mapping[str, ComparedVideo]] = lambda key: {},
) -> Report:
    """The page's model of the main pair, the other pairs beside it.

    Up to `cases` of each kind (by chance from `seed`, worst and best by the headline metric) are shown, under the
    systems' `labels` and with the other videos of a case `beside` them.
    """
    pair, notes = result.main, list(result.notes)
    report, keys = result.bare(pair), result.keys(pair)
    first, second = (result.videos[system] for system in pair)
    gains = [gain(report.metrics, report.headline, first[key].values, second[key].values) for key in keys]
    if unranked := gains.count(None):
        notes.append(f"{unranked} evaluation pairs have no headline score; they can appear only among random examples.")
    order = [*pair, *(system for system in result.videos if system not in pair)]
    shown = []
    for kind, at in choose(gains, cases, seed):
        answers = {s: result.videos[s][keys[at]] for s in order if keys[at] in result.videos[s]}
        named = {(labels or {}).get(system, system): video for system, video in answers.items()}
        case = _case(kind, keys[at], gains[at], second[keys[at]].caption, {**named, **beside(keys[at])})
        shown.append(_with_faults(case, report, list(named.values())) if case else None)
    if lost := shown.count(None):
        notes.append(f"{lost} cases are not shown because one of their videos is missing from media/.")
    verdicts, prompts = result.verdicts(), len({result.cluster_of.get(prompt, prompt) for prompt, _ in keys})
    seen = bool(result.judged) or any(metric.name == HEADLINE for metric in report.metrics)
    return replace(
        report,
        wins=_wins(report, keys, first, second, result.cluster_of),
        cases=tuple(case for case in shown if case is not None),
        case_seed=seed,
        arms=tuple(
            ReportArm(f"{other[1]} against {other[0]}", metrics, verdicts["|".join(other)])
            for other, metrics in result.metrics.items()
            if other != pair and "|".join(other) in verdicts
        ),
        shapes=tuple(
            ReportArm(f"{name} ({counted(max(row.n for row in rows.values()), 'pair')})", tuple(rows.values()))
            for name, rows in result.shapes.items()
        ),
        scatter=_scatter(result),
        judged=result.judged,
        strengths=result.strengths,
        limits=limits(report.metrics, prompts, seen) if report.metrics else (),
        reaches=reaches(report.metrics),
        versions={"rushes": rushes.__version__, "python": platform.python_version()},
        notes=tuple(notes),
    )


def _case(
    kind: CaseKind, key: Key, gained: float | None, caption: str, videos: Mapping[str, ComparedVideo]
) -> Case | None:
    """Videos to be watched side by side; None where one of them cannot be read."""
    try:
        shown = tuple(_video(label, video) for label, video in videos.items())
    except (OSError, MediaError):
        return None
    return Case(kind, caption, key[1], gained, shown, frame=_frame_apart(list(videos.values())[:2]))


def _frame_apart(videos: Sequence[ComparedVideo]) -> int:
    """The frame at which two videos differ most; the first where one of them cannot be decoded."""
    fps, shape = max(video.fps for video in videos), videos[0]
    size_px = (_LOOK_PX, max(1, round(_LOOK_PX * shape.width_px / shape.height_px)))
    try:
        frames = [
            read_video(video.path, fps=fps, size_px=size_px, fit="stretch", allow_truncated=True).frames_FHWC
            for video in videos
            if video.path
        ]
    except MediaError:
        return 0
    return most_different(frames[0], frames[1]) if len(frames) > 1 else 0


def _with_faults(case: Case, report: Report, answers: Sequence[ComparedVideo]) -> Case:
    """The case with the headline metric's faults by second on the systems' videos, which come first."""
    better: Better = next((metric.better for metric in report.metrics if metric.name == report.headline), "neutral")
    rows = faults([video.seconds for video in answers], better)
    marked = [replace(video, faults=row) for video, row in zip(case.videos, rows, strict=False)]
    return replace(case, videos=(*marked, *case.videos[len(marked) :]))


def _video(label: str, video: ComparedVideo) -> ReportVideo:
    if video.path is None:
        raise FileNotFoundError(label)
    return ReportVideo(
        label,
        untagged(video.path),
        _MIME.get(video.path.suffix.lower(), "video/mp4"),
        width_px=video.width_px,
        height_px=video.height_px,
        frames=video.frames,
        fps=video.fps,
        values=video.values,
    )


def _wins(
    report: Report,
    keys: Sequence[Key],
    first: Mapping[Key, ComparedVideo],
    second: Mapping[Key, ComparedVideo],
    cluster_of: Mapping[str, str],
) -> WinRate | None:
    """Pair by pair on the headline metric; None without one."""
    metric = next((m for m in report.metrics if m.name == report.headline), None)
    if metric is None or metric.better == "neutral":
        return None
    name = metric.name
    shared = [key for key in sorted(keys) if name in first[key].values and name in second[key].values]
    a, b = ([side[key].values[name] for key in shared] for side in (first, second))
    clusters = [cluster_of.get(prompt, prompt) for prompt, _ in shared]
    return win_rate(a, b, metric.better, clusters=clusters) if shared else None


def _scatter(result: ComparedSystems) -> Scatter | None:
    """Motion against quality, by the first of each that was measured."""
    better = {metric.name: metric.better for metrics in result.metrics.values() for metric in metrics}
    x, y = (next((name for name in names if name in better), "") for names in (_MOTION, _QUALITY))
    points = {
        system: tuple(
            (video.values[x], video.values[y], video.caption)
            for _, video in sorted(of.items(), key=lambda item: item[0])
            if x in video.values and y in video.values
        )
        for system, of in result.videos.items()
    }
    points = {system: rows for system, rows in points.items() if rows}
    return Scatter(x, y, points, better[x], better[y]) if points else None


def systems_report(
    result: ComparedSystems,
    cases: int,
    seed: int,
    *,
    title: str = "",
    first_frames: int = 0,
    drift: FeatureDistance | None = None,
) -> Report:
    """The page's model for folders, or for many runs; `drift` is how far the main pair's clips lie apart."""
    report = build_report(result, cases, seed)
    return replace(
        report,
        title=title or report.title,
        arms_intro="Every pair of systems on the prompts that both answered.",
        card=_card(result, first_frames, drift),
        settings=f'seed = {seed}\nheadline = "{result.headline}"\nresamples = 2000\nlevel = 0.95\ncorrection = "holm"',
    )


def _card(result: ComparedSystems, first_frames: int, drift: FeatureDistance | None) -> dict[str, str]:
    keys = result.keys(result.main)
    prompts, seeds = {prompt for prompt, _ in keys}, {seed for _, seed in keys}
    card = {
        "prompts": f"{len(prompts)}, each with {'one seed' if len(seeds) == 1 else f'up to {len(seeds)} seeds'}",
        "first frames": f"{first_frames} given" if first_frames else "none given",
    }
    for system, videos in result.videos.items():
        shapes = sorted(
            {f"{v.width_px} x {v.height_px} px, {v.frames} frames at {v.fps:g} fps" for v in videos.values()}
        )
        more = f" and {len(shapes) - 2} other shapes" if len(shapes) > 2 else ""
        card[system] = f"{len(videos)} videos, {'; '.join(shapes[:2])}{more}"
    if drift is not None:
        card["distance between the two sets"] = (
            f"{drift.value:.1f} in hand-made features (not FVD); randomly swapped pairs give {drift.chance:.1f}, "
            f"p = {drift.p_value:.3f}"
        )
    return card
