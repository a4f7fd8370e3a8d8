"""Plain folders of videos, one for each system, to a table with intervals and a report; no project is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any, get_args

import rushes
from rushes.evaluate.external import ExternalScores
from rushes.evaluate.judged import Verdicts
from rushes.evaluate.measure import Measured, folder_suite_name, measure_file
from rushes.evaluate.prompt_clusters import clusters_of_folders
from rushes.evaluate.result import (
    ComparedSystems,
    ComparedVideo,
    SystemPair,
    in_order,
    metric_rows,
    metrics_by_shape,
    systems_report,
)
from rushes.evaluate.table_file import DETAILS, TABLE, table_json
from rushes.evaluate.video_folders import Folders, find_folders
from rushes.files import MediaError, content_hash, make_folder, write_json
from rushes.formats.caption_files import shown
from rushes.media.read import VideoInfo, probe
from rushes.metrics import catalogue, sets
from rushes.metrics.base import SharedProperty
from rushes.progress import Bar
from rushes.records import plain, stable_hash
from rushes.report.model import MetricRow
from rushes.report.page import write
from rushes.stats import ComparisonTable, Key, Measure, compare_systems
from rushes.text_reader import counted

FolderJudge = Callable[[Folders, list[str]], Verdicts]

SHAPES: tuple[SharedProperty, ...] = get_args(SharedProperty)
MEASURED = "measured"  # folder of what each video measured, by content
MeasuredVideos = dict[str, dict[Key, Measured]]


@dataclass(frozen=True)
class SystemsRequest:
    """What is to be compared, and how it is shown."""

    systems: Mapping[str, Path]
    out: Path
    prompts: Path | None = None
    first_frames: Path | None = None
    headline: str = ""
    judged: tuple[str, ...] = ()  # metrics that the judges give
    cases: int = 4
    max_mb: float = 30.0
    seed: int = 0


@dataclass(frozen=True)
class SystemsResult:
    """Folders of videos beside each other."""

    verdicts: Mapping[str, str]  # a sentence for each pair, by "FIRST|SECOND"
    notes: tuple[str, ...]  # what was left out, and why
    table: Path  # means and differences of all pairs, as JSON
    report: Path  # the page


def evaluate_systems(asked: SystemsRequest, others: ExternalScores, judge: FolderJudge, bar: Bar) -> SystemsResult:
    """Measure, compare, and write table.json, details.json and report.html; equal files give equal results.

    `others` has scores that other programs gave to the same videos; `judge` asks the judges, if any.

    Raises ValueError: as `find_folders` does, no readable video, or a headline that is no measured metric.
    """
    folders = find_folders(asked.systems, asked.prompts, asked.first_frames)
    given = [m.name for m in others.measures(folders, [])]  # which refuses what does not fit before hours of measuring
    own = [name for name, metric in catalogue.all_metrics().items() if metric.better != "neutral"]
    _check_headline(asked.headline, [*own, *given, *asked.judged], "can be")
    if asked.headline not in {*given, *asked.judged}:
        _check_shapes(asked.headline, folders)
    notes = [*folders.notes, *_same_files(folders)]
    videos = _measure(asked, folders, notes, bar)
    folders = readable(folders, videos)
    judge_verdicts = judge(folders, notes)
    comparable, unequal = _comparable(_measures(videos), videos)
    measures = [*comparable, *others.measures(folders, notes), *judge_verdicts.measures]
    _check_headline(asked.headline, [m.name for m in measures if m.better != "neutral"], "was")
    notes += [*_unlike(videos), *dict.fromkeys(f"{name} {why}." for name, why in unequal.items()), *_unmeasured(videos)]
    cluster_of = clusters_of_folders(folders)
    table = compare_systems(folders.systems, measures, seed=asked.seed, cluster_of=cluster_of, primary=asked.headline)
    if not any(table.pairs.values()):
        raise ValueError("no two systems have readable videos with the same name, so nothing can be compared")
    drifts = {pair: _drift(videos, *pair, asked.seed) for pair in combinations(folders.systems, 2)}
    pair = (folders.systems[0], folders.systems[-1])
    shapes = metrics_by_shape(pair, measures, videos, seed=asked.seed, cluster_of=cluster_of, headline=asked.headline)
    compared = ComparedSystems(
        metric_rows(measures, table),
        {s: {key: _video(folders, s, key, of[key], measures) for key in in_order([*of])} for s, of in videos.items()},
        asked.headline,
        cluster_of,
        notes=tuple(notes),
        judged=tuple(judge_verdicts.rows),
        strengths=judge_verdicts.strengths,
        shapes=shapes,
    )
    drift = drifts[compared.main]
    report = systems_report(compared, asked.cases, asked.seed, first_frames=len(folders.stills), drift=drift)
    make_folder(asked.out)
    result = SystemsResult(compared.verdicts(), tuple(notes), asked.out / TABLE, asked.out / "report.html")
    write_json(result.table, table_json(table, compared.metrics), checksum=True)
    directions = {"directions": {m.name: m.better for m in measures}, "units": {m.name: m.unit for m in measures}}
    details = _details(asked, result) | directions | _numbers(compared.metrics, table, drifts, videos)
    write_json(asked.out / DETAILS, details, checksum=True)
    write(report, result.report, asked.max_mb)
    return result


def _check_headline(headline: str, names: Sequence[str], when: str) -> None:
    if headline and headline not in names:
        raise ValueError(
            f"--headline: no metric {headline!r} that defines better {when} measured; choose one of {', '.join(names)}"
        )


def _check_shapes(headline: str, folders: Folders) -> None:
    """Raises ValueError where no pair of clips can be compared by the headline, before hours of measuring."""
    metric = catalogue.all_metrics().get(headline)
    if not metric or not metric.equal:
        return
    keys = {key for of in folders.videos.values() for key in of}
    for key in in_order([*keys]):
        clips = []
        for of in folders.videos.values():
            with suppress(MediaError):  # which measuring names
                clips += [probe(of[key])] if key in of else []
        if clips and not any(_differ(need, clips) for need in metric.equal):
            return
    raise ValueError(
        f"--headline {headline}: cannot compare clips that differ in {' and '.join(metric.equal)}, and all do; choose "
        "another metric, or convert the clips"
    )


def _video(folders: Folders, system: str, key: Key, m: Measured, measures: Sequence[Measure]) -> ComparedVideo:
    values = {measure.name: of[key] for measure in measures if key in (of := measure.values.get(system, {}))}
    path, caption = folders.videos[system][key], folders.caption(key[0])
    return ComparedVideo(path, caption, m.width_px, height_px=m.height_px, frames=m.frames, fps=m.fps, values=values)


def _same_files(folders: Folders) -> Iterator[str]:
    """Which videos two systems share byte for byte: of these there is nothing to compare."""
    for first, second in combinations(folders.systems, 2):
        couples = ((of, folders.videos[second][key]) for key, of in folders.videos[first].items()
                   if key in folders.videos[second])  # fmt: skip
        same = [of.name for of, other in couples
                if of.stat().st_size == other.stat().st_size and content_hash(of) == content_hash(other)]  # fmt: skip
        if same:
            yield f"{first} and {second} have {counted(len(same), 'video')} with equal content: {shown(same)}."


def readable(folders: Folders, videos: MeasuredVideos) -> Folders:
    """The folders without the files that could not be read."""
    videos_of = {
        system: {key: path for key, path in of.items() if key in videos[system]}
        for system, of in folders.videos.items()
    }
    return replace(folders, videos=videos_of)


def _measure(asked: SystemsRequest, folders: Folders, notes: list[str], bar: Bar) -> MeasuredVideos:
    """What every readable video measures; the unreadable ones are named."""
    measured_of: MeasuredVideos = {system: {} for system in folders.systems}
    total = sum(len(videos) for videos in folders.videos.values())
    with bar("evaluate: measure", total) as tick:
        for system, videos in folders.videos.items():
            for key, path in videos.items():
                try:
                    measured_of[system][key] = measure_file(path, folders.stills.get(key[0]), asked.out / MEASURED)
                except MediaError as error:
                    if key[0] in folders.stills and str(folders.stills[key[0]]) in str(error):
                        raise
                    cause = str(error).removeprefix(f"{path}: ")
                    notes.append(f"{system}/{path.name} could not be read and is left out: {cause}.")
                tick(1)
    for system, videos_of in measured_of.items():
        if not videos_of:
            raise ValueError(f"{system}: none of its videos can be read; " + " ".join(notes))
    return measured_of


def _measures(videos: MeasuredVideos) -> list[Measure]:
    """Every metric of the catalogue that some video has, and diversity where a prompt has several seeds."""
    measures = []
    for name, metric in catalogue.all_metrics().items():
        values = {
            system: {key: value for key, m in of.items() if (value := m.values[name]) is not None}
            for system, of in videos.items()
        }
        if any(values.values()):
            measures.append(Measure(name, metric.better, values, unit=metric.unit, low=metric.low, high=metric.high))
    varied = {system: _diversity(of) for system, of in videos.items()}
    if any(varied.values()):
        measures.append(Measure("diversity", "neutral", varied, "root mean square of white"))
    return measures


def _comparable(measures: Sequence[Measure], videos: MeasuredVideos) -> tuple[list[Measure], dict[str, str]]:
    """Measures without the values of clips that differ in what the metric needs equal, and by metric a clause on them.

    Frame rates within 1 % (24 and 24000/1001) are equal.
    """
    metrics = catalogue.all_metrics()
    keys = {key for of in videos.values() for key in of}
    unequal = {
        need: {key for key in keys if _differ(need, [of[key] for of in videos.values() if key in of])}
        for need in SHAPES
    }
    comparable, clauses = [], {}
    for measure in measures:
        needs = metrics[measure.name].equal if measure.name in metrics else ()
        gone = set[Key]().union(*(unequal[need] for need in needs))
        values = {system: {key: v for key, v in of.items() if key not in gone} for system, of in measure.values.items()}
        if gone:
            clauses[measure.name] = (
                f"cannot compare clips that differ in {' and '.join(needs)}, so it leaves out {len(gone)} of "
                f"{len(keys)}"
            )
        if any(values.values()):
            comparable.append(replace(measure, values=values))
    return comparable, clauses


def _differ(need: SharedProperty, clips: Sequence[Measured | VideoInfo]) -> bool:
    if need == "size":
        return len({(m.height_px, m.width_px) for m in clips}) > 1
    return max(m.fps for m in clips) > 1.01 * min(m.fps for m in clips)


def _diversity(videos: Mapping[Key, Measured]) -> dict[Key, float]:
    seeds: dict[str, list[Measured]] = {}
    for (prompt, _), measured in videos.items():
        seeds.setdefault(prompt, []).append(measured)
    return {(p, 0): sets.spread([m.coarse_THWC() for m in group]) for p, group in seeds.items() if len(group) > 1}


def _drift(videos: MeasuredVideos, first: str, second: str, seed: int) -> sets.FeatureDistance | None:
    """How far the second system's clips lie from the first's in hand-made features; None for fewer than two pairs."""
    keys = sorted(videos[first].keys() & videos[second].keys())
    if len(keys) < 2:
        return None
    ours, theirs = ([sets.as_rows(videos[system][key].features) for key in keys] for system in (second, first))
    return sets.features_apart(ours, theirs, paired=True, seed=seed)


def _unlike(videos: MeasuredVideos) -> list[str]:
    """Sentences about systems whose clips differ in shape, which some metrics cannot compare."""
    shapes = {
        system: sorted({(m.width_px, m.height_px, m.frames, round(m.fps, 2)) for m in of.values()})
        for system, of in videos.items()
    }
    if len({tuple(shape) for shape in shapes.values()}) == 1:
        return []
    shown = "; ".join(
        f"{system}: {', '.join(f'{w} x {h} px, {f} frames at {fps:g} fps' for w, h, f, fps in shape[:3])}"
        for system, shape in shapes.items()
    )
    return [f"The clips differ in shape ({shown})."]


def _unmeasured(videos: MeasuredVideos) -> list[str]:
    """How often a metric had nothing to measure, such as the smoothness of what does not move."""
    sentences = []
    for name in catalogue.all_metrics():
        none = {system: sum(m.values[name] is None for m in of.values()) for system, of in videos.items()}
        if 0 < sum(none.values()) < sum(len(of) for of in videos.values()):
            counts = ", ".join(
                f"{count} of {len(videos[system])} of {system}" for system, count in none.items() if count
            )
            sentences.append(f"{name} had nothing to measure in some clips and leaves them out: {counts}.")
    return sentences


def _details(asked: SystemsRequest, result: SystemsResult) -> dict[str, Any]:
    return {
        "version": rushes.__version__,
        "meter": folder_suite_name(),
        "seed": asked.seed,
        "headline": asked.headline,
        "verdicts": result.verdicts,
        "notes": result.notes,
    }


def _numbers(
    metrics: Mapping[SystemPair, Sequence[MetricRow]],
    table: ComparisonTable,
    drifts: Mapping[SystemPair, sets.FeatureDistance | None],
    videos: MeasuredVideos,
) -> dict[str, Any]:
    numbers = {
        "pairs": {
            "|".join(pair): {
                row.name: {
                    "p": row.p,
                    "p_adjusted": row.p_adjusted,
                    "effect": table.pairs[pair][row.name].effect,
                    "prompts": row.prompts,
                }
                for row in rows
            }
            for pair, rows in metrics.items()
        },
        "feature_distance": {
            f"{first}|{second}": {"value": d.value, "chance": d.chance, "p": d.p_value} if d else None
            for (first, second), d in drifts.items()
        },
        "videos": {
            system: {_name(key): {"sha256": m.media, **m.values} for key, m in of.items()}
            for system, of in videos.items()
        },
        "inputs": stable_hash({s: {_name(k): m.media for k, m in of.items()} for s, of in videos.items()}),
    }
    return {name: plain(value) for name, value in numbers.items()}


def _name(key: Key) -> str:
    return key[0] if not key[1] else f"{key[0]}-{key[1]}"
