"""The report on plain folders of videos: what was compared, as the page's model."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

import rushes
from rushes.evaluate.folders import Folders
from rushes.evaluate.measure import Measured
from rushes.metrics.sets import FeatureDistance
from rushes.report import text
from rushes.report.cases import choose, gain
from rushes.report.limits import limits, reaches
from rushes.report.model import Case, CaseKind, Judged, MetricRow, Report, ReportArm, ReportVideo, Scatter
from rushes.stats import ComparisonTable, Difference, Interval, Key, Measure, win_rate

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
            trained=difference.second,
            difference=difference.interval,
            unit=measure.unit,
            spread=spread,
            p_adjusted=difference.p_adjusted,
            prompts=difference.prompts,
            prompt_spread=difference.spread,
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
    return ReportVideo(
        system,
        path.read_bytes(),
        mime,
        width_px=measured.width_px,
        height_px=measured.height_px,
        frames=measured.frames,
        fps=measured.fps,
        values=compared.values(system, key),
    )


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
