"""Plain folders of videos, one for each system, to a table with intervals and a report; no project is needed."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

import rushes
from rushes.arrays import Floats
from rushes.evaluate.external import Others
from rushes.evaluate.folders import Folders, find_folders
from rushes.evaluate.judged import Verdicts
from rushes.evaluate.measure import METER, Measured, measure_file
from rushes.files import MediaError, write_json
from rushes.metrics import catalogue, sets
from rushes.metrics.sets import FeatureDistance
from rushes.progress import Bar
from rushes.records import stable_hash
from rushes.report import text
from rushes.report.cases import choose, gain
from rushes.report.limits import limits, reaches
from rushes.report.model import Case, CaseKind, Judged, MetricRow, Report, ReportArm, ReportVideo, Scatter
from rushes.report.page import write
from rushes.stats import ComparisonTable, Difference, Interval, Key, Measure, compare_systems, win_rate

Judge = Callable[[Folders, list[str]], Verdicts]

MEASURED = "measured"  # folder of what each video measured, by content
Videos = dict[str, dict[Key, Measured]]


@dataclass(frozen=True)
class Asked:
    """What is to be compared, and how it is shown."""

    systems: Mapping[str, Path]
    out: Path
    prompts: Path | None = None
    first_frames: Path | None = None
    headline: str = ""
    cases: int = 4
    max_mb: float = 30.0
    seed: int = 0


def evaluate_systems(asked: Asked, others: Others, judge: Judge, bar: Bar) -> dict[str, Any]:
    """Measure, compare, and write table.json, details.json and report.html; equal files give equal results.

    `others` has scores that other programs gave to the same videos; `judge` asks the judges, if any. Returns the
    verdict of every pair and the paths.

    Raises:
        ValueError: as `find_folders` does, no readable video, or a headline that is no measured metric.
    """
    folders = find_folders(asked.systems, asked.prompts, asked.first_frames)
    notes = list(folders.notes)
    videos = _measure(asked, folders, notes, bar)
    folders = readable(folders, videos)
    judge_verdicts = judge(folders, notes)
    measures = [*_measures(videos), *others.measures(folders, notes), *judge_verdicts.measures]
    if asked.headline and asked.headline not in {m.name for m in measures if m.better != "neutral"}:
        names = ", ".join(m.name for m in measures if m.better != "neutral")
        raise ValueError(
            f"--headline: no metric {asked.headline!r} with a better direction was measured; there are {names}"
        )
    notes += _unlike(videos) + _unmeasured(videos)
    table = compare_systems(folders.systems, measures, seed=asked.seed)
    if not any(table.pairs.values()):
        raise ValueError("no two systems have a readable video of one name, so nothing can be compared")
    drifts = {pair: _drift(videos, *pair, asked.seed) for pair in combinations(folders.systems, 2)}
    judged = tuple(
        Judged(name, r.first, r.second, r.wins, r.disagreed, r.unreadable, r.first_slot)
        for name, r in judge_verdicts.rows
    )
    compared = SystemsComparison(
        folders, videos, measures, table, tuple(notes), drifts, judged, judge_verdicts.strengths
    )
    report = build_report(compared, asked.headline, asked.cases, asked.seed)
    asked.out.mkdir(parents=True, exist_ok=True)
    _write_json(asked.out / "table.json", table.as_json())
    verdicts = compared.verdicts(asked.headline)
    _write_json(asked.out / "details.json", _details(asked, compared, verdicts))
    page = write(report, asked.out / "report.html", asked.max_mb)
    return {"verdicts": verdicts, "notes": list(notes), "table": str(asked.out / "table.json"), "report": str(page)}


def readable(folders: Folders, videos: Videos) -> Folders:
    """The folders without the files that could not be read."""
    videos_of = {
        system: {key: path for key, path in of.items() if key in videos[system]}
        for system, of in folders.videos.items()
    }
    return replace(folders, videos=videos_of)


def no_judge(folders: Folders, notes: list[str]) -> Verdicts:
    """Nobody judges."""
    return Verdicts()


def _measure(asked: Asked, folders: Folders, notes: list[str], bar: Bar) -> Videos:
    """What every readable video measures; the unreadable ones are named."""
    measured_of: Videos = {system: {} for system in folders.systems}
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
                    notes.append(f"{system}/{path.name} could not be read and counts nowhere: {cause}.")
                tick(1)
    for system, videos_of in measured_of.items():
        if not videos_of:
            raise ValueError(f"{system}: none of its videos can be read; " + " ".join(notes))
    return measured_of


def _measures(videos: Videos) -> list[Measure]:
    """Every metric of the catalogue that some video has, and diversity where a prompt has several seeds."""
    measures = []
    for name, metric in catalogue.all_metrics().items():
        values = {
            system: {key: value for key, m in of.items() if (value := m.values[name]) is not None}
            for system, of in videos.items()
        }
        if any(values.values()):
            measures.append(Measure(name, metric.better, values, metric.unit, metric.low, metric.high))
    varied = {system: _diversity(of) for system, of in videos.items()}
    if any(varied.values()):
        measures.append(Measure("diversity", "neutral", varied, "root mean square of white"))
    return measures


def _diversity(videos: Mapping[Key, Measured]) -> dict[Key, float]:
    seeds: dict[str, list[Measured]] = {}
    for (prompt, _), measured in videos.items():
        seeds.setdefault(prompt, []).append(measured)
    return {(p, 0): sets.spread([m.coarse_THWC() for m in group]) for p, group in seeds.items() if len(group) > 1}


def _drift(videos: Videos, first: str, second: str, seed: int) -> sets.FeatureDistance | None:
    """How far the second system's clips lie from the first's in hand-made features; None for fewer than two pairs."""
    keys = sorted(videos[first].keys() & videos[second].keys())
    if len(keys) < 2:
        return None
    ours, theirs = ([_rows(videos[system][key]) for key in keys] for system in (second, first))
    return sets.features_apart(ours, theirs, paired=True, seed=seed)


def _rows(measured: Measured) -> Floats:
    return sets.as_rows(measured.features)


def _unlike(videos: Videos) -> list[str]:
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
    return [
        f"The clips differ in shape ({shown}); sharpness and jerk can be compared at equal size and frame rate only."
    ]


def _unmeasured(videos: Videos) -> list[str]:
    """How often a metric had nothing to measure, such as the smoothness of what does not move."""
    sentences = []
    for name in catalogue.all_metrics():
        none = {system: sum(m.values[name] is None for m in of.values()) for system, of in videos.items()}
        if 0 < sum(none.values()) < sum(len(of) for of in videos.values()):
            counts = ", ".join(
                f"{count} of {len(videos[system])} of {system}" for system, count in none.items() if count
            )
            sentences.append(f"{name} had nothing to measure in some clips, which it leaves out: {counts}.")
    return sentences


def _details(asked: Asked, compared: SystemsComparison, verdicts: Mapping[str, str]) -> dict[str, Any]:
    table = compared.table
    return {
        "version": rushes.__version__,
        "meter": METER,
        "seed": asked.seed,
        "headline": asked.headline,
        "verdicts": verdicts,
        "notes": compared.notes,
        "directions": {m.name: m.better for m in compared.measures},
        "units": {m.name: m.unit for m in compared.measures},
        "pairs": {
            f"{first}|{second}": {
                name: _finite({"p": d.p, "p_adjusted": d.p_adjusted, "effect": d.effect, "prompts": d.prompts})
                for name, d in row.items()
            }
            for (first, second), row in table.pairs.items()
        },
        "feature_distance": {
            f"{first}|{second}": {"value": d.value, "chance": d.chance, "p": d.p_value} if d else None
            for (first, second), d in compared.drifts.items()
        },
        "videos": {
            system: {_name(key): {"sha256": m.media, **m.values} for key, m in of.items()}
            for system, of in compared.videos.items()
        },
        "inputs": stable_hash({s: {_name(k): m.media for k, m in of.items()} for s, of in compared.videos.items()}),
    }


def _name(key: Key) -> str:
    return key[0] if not key[1] else f"{key[0]}-{key[1]}"


def _finite(row: Mapping[str, float | None]) -> dict[str, float | None]:
    return {k: v if v is not None and math.isfinite(v) else None for k, v in row.items()}


def _write_json(path: Path, data: Mapping[str, Any]) -> None:
    write_json(path, data)


_MIME = {".webm": "video/webm", ".mkv": "video/x-matroska"}  # others are of the MP4 family
SCATTER = ("motion_speed", "warping_error")


@dataclass(frozen=True)
class SystemsComparison:
    """Everything that was found about some systems."""

    folders: Folders
    videos: Mapping[str, Mapping[Key, Measured]]
    measures: Sequence[Measure]
    table: ComparisonTable
    notes: tuple[str, ...]
    drifts: Mapping[tuple[str, str], FeatureDistance | None]
    judged: tuple[Judged, ...] = ()
    strengths: Mapping[str, Interval] | None = None
    title: str = ""

    @property
    def main(self) -> tuple[str, str]:
        """The pair that the report is about: the last system against the first."""
        return self.table.systems[0], self.table.systems[-1]

    def metrics(self, pair: tuple[str, str]) -> tuple[MetricRow, ...]:
        """Every metric that the pair has in common, as the page shows it."""
        row = self.table.pairs[pair]
        return tuple(
            self._metric(measure, row[measure.name], pair[0]) for measure in self.measures if measure.name in row
        )

    def _metric(self, measure: Measure, difference: Difference, first: str) -> MetricRow:
        values = list(measure.values[first].values())
        spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
        return MetricRow(
            measure.name,
            measure.better,
            difference.first,
            difference.second,
            difference.interval,
            measure.unit,
            spread,
            difference.p_adjusted,
            difference.prompts,
            difference.spread,
        )

    def keys(self, pair: tuple[str, str]) -> list[Key]:
        """Prompts and seeds that both have a readable video of, in the order of the prompts."""
        shared = self.videos[pair[0]].keys() & self.videos[pair[1]].keys()
        return [key for prompt in self.folders.prompts for key in sorted(shared) if key[0] == prompt]

    def values(self, system: str, key: Key) -> dict[str, float]:
        """Everything that is known of one clip."""
        return {m.name: m.values[system][key] for m in self.measures if key in m.values.get(system, {})}

    def verdicts(self, headline: str) -> dict[str, str]:
        """What is said of every pair that has something in common: the verdict, and what else got worse."""
        by_pair = {}
        for pair in self.table.pairs:
            metrics, keys = self.metrics(pair), self.keys(pair)
            if not keys:
                continue
            report = _bare(pair, metrics, headline, len(keys))
            more = report.headline or any(metric.outcome == "suspect" for metric in metrics)
            by_pair["|".join(pair)] = text.verdict(report) + (f" {text.regressions(report)}" if more else "")
        return by_pair


def build_report(compared: SystemsComparison, headline: str, cases: int, seed: int) -> Report:
    """The page's model: the last system against the first, the other pairs beside it."""
    pair = compared.main
    metrics, keys = compared.metrics(pair), compared.keys(pair)
    bare = _bare(pair, metrics, headline, len(keys))
    sides = [[compared.values(system, key) for system in pair] for key in keys]
    gains = [gain(metrics, bare.headline, *side) for side in sides]
    others = [other for other in compared.table.pairs if other != pair and compared.keys(other)]
    verdicts = compared.verdicts(headline)
    prompts = len({prompt for prompt, _ in keys})
    main = next((m for m in compared.measures if m.name == headline), None)
    wins = None
    if main is not None and main.better != "neutral":
        shared = sorted(main.values[pair[0]].keys() & main.values[pair[1]].keys())
        first_values, second_values = ([main.values[system][key] for key in shared] for system in pair)
        wins = win_rate(first_values, second_values, main.better, clusters=[prompt for prompt, _ in shared])
    return replace(
        bare,
        title=compared.title or bare.title,
        wins=wins,
        cases=tuple(_case(compared, kind, keys[at], gains[at]) for kind, at in choose(gains, cases, seed)),
        case_seed=seed,
        arms=tuple(
            ReportArm(f"{second} against {first}", compared.metrics((first, second)), verdicts[f"{first}|{second}"])
            for first, second in others
        ),
        arms_intro="Every pair of systems on the prompts that both answered.",
        scatter=_scatter(compared),
        judged=compared.judged,
        strengths=compared.strengths or {},
        limits=limits(metrics, prompts, bool(compared.judged)),
        reaches=reaches(metrics),
        card=_card(compared, pair),
        notes=compared.notes,
        settings=f'seed = {seed}\nheadline = "{headline}"\nresamples = 2000\nlevel = 0.95\ncorrection = "holm"',
        versions={"rushes": rushes.__version__, "python": platform.python_version()},
    )


def _bare(pair: tuple[str, str], metrics: tuple[MetricRow, ...], headline: str, pairs: int) -> Report:
    shown = headline if headline in {metric.name for metric in metrics} else ""
    return Report("Comparison", f"{pair[1]} against {pair[0]}", shown, metrics, systems=pair, pairs=pairs)


def _case(compared: SystemsComparison, kind: CaseKind, key: Key, gain: float | None) -> Case:
    first, second = compared.main
    order = [first, second, *(s for s in compared.table.systems if s not in (first, second))]
    shown = tuple(_video(compared, system, key) for system in order if key in compared.videos[system])
    return Case(kind, compared.folders.caption(key[0]), key[1], gain, shown)


def _video(compared: SystemsComparison, system: str, key: Key) -> ReportVideo:
    path, measured = compared.folders.videos[system][key], compared.videos[system][key]
    mime = _MIME.get(path.suffix.lower(), "video/mp4")
    size = measured.width_px, measured.height_px, measured.frames, measured.fps
    return ReportVideo(system, path.read_bytes(), mime, *size, compared.values(system, key))


def _scatter(compared: SystemsComparison) -> Scatter | None:
    by_name = {measure.name: measure for measure in compared.measures}
    if not all(name in by_name for name in SCATTER):
        return None
    x, y = (by_name[name].values for name in SCATTER)
    points = {
        system: tuple(
            (x[system][key], y[system][key], _short(compared.folders.caption(key[0])))
            for key in sorted(x[system].keys() & y[system].keys())
        )
        for system in compared.table.systems
    }
    points = {system: rows for system, rows in points.items() if rows}
    return Scatter(*SCATTER, points, *(by_name[name].better for name in SCATTER)) if points else None


def _short(words: str, longest: int = 60) -> str:
    return words if len(words) <= longest else words[: longest - 1].rstrip() + "\u2026"


def _card(compared: SystemsComparison, pair: tuple[str, str]) -> dict[str, str]:
    folders = compared.folders
    keys = compared.keys(pair)
    prompts, seeds = {prompt for prompt, _ in keys}, {seed for _, seed in keys}
    card = {
        "prompts": f"{len(prompts)}, each with {'one seed' if len(seeds) == 1 else f'up to {len(seeds)} seeds'}",
        "first frames": f"{len(folders.stills)} given" if folders.stills else "none given",
    }
    for system, videos in compared.videos.items():
        shapes = sorted(
            {f"{m.width_px} x {m.height_px} px, {m.frames} frames at {m.fps:g} fps" for m in videos.values()}
        )
        more = f" and {len(shapes) - 2} other shapes" if len(shapes) > 2 else ""
        card[system] = f"{len(videos)} videos, {'; '.join(shapes[:2])}{more}"
    drift = compared.drifts[pair]
    if drift is not None:
        card["distance of the two sets"] = (
            f"{drift.value:.1f} in hand-made features (not FVD); swapping pairs by chance gives {drift.chance:.1f}, "
            f"p = {drift.p_value:.3f}"
        )
    return card
