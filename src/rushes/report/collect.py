"""From a project folder to a report: nothing is computed anew, and what is left out is noted."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from rushes.config.files import mapping_to_toml
from rushes.records import Candidate, Clip, Run
from rushes.report import curves
from rushes.report.card import card_section, read_result
from rushes.report.cases import choose, gain
from rushes.report.limits import limits, reaches
from rushes.report.model import Case, CaseKind, LabelSummary, MetricRow, Report, ReportArm, ReportVideo, Scatter, Step
from rushes.stats import Better, Interval, WinRate, win_rate
from rushes.store.database import Store

Pair = tuple[Candidate, Candidate]  # base, trained
Values = Mapping[str, Mapping[str, float]]  # metric, subject

_MIME = {".webm": "video/webm", ".mkv": "video/x-matroska"}  # others are of the MP4 family


def collect(
    store: Store, summary: Mapping[str, Any], run_name: str, cases: int = 4, seed: int = 0, headline: str | None = None
) -> Report:
    """Build the report of a run from the store and the evaluation's summary.

    `summary` is what `reports/summary.json` holds: `metrics` {name: {base, trained, difference, low, high, n, better}}
    (`unit` and `headline` if it likes), `seconds` {stage: s}, `seed`, `version`, and `arms` {name: metrics} for other
    recipes that were run. Evaluation pairs are candidates of split "eval" by "base" and by the run that share group
    and seed; up to `cases` of each kind (random by `seed`, worst, best by the headline metric) become cases. Raises
    ValueError when the run or the headline metric is unknown.
    """
    run = _find_run(store, run_name)
    metrics_table = summary["metrics"]
    if headline is None:
        headline = str(summary.get("headline", next(iter(metrics_table), "")))
    notes: list[str] = []
    pairs = _pairs(store, run_name, notes)
    values = {name: {score.subject: score.value for score in store.scores(metric=name)} for name in metrics_table}
    metrics = _metrics(metrics_table, [base for base, _ in pairs], values)
    rows = _curve_rows(store, run_name, notes)
    better: Better = metrics_table.get(headline, {}).get("better", "lower")
    chosen = _choose(pairs, values, metrics, headline, cases, seed, notes)
    prompts = len({base.group for base, _ in pairs})
    clips = {clip.id: clip for clip in store.clips(dropped=True)}
    arms = {name: entry.get("metrics", entry) for name, entry in summary.get("arms", {}).items()}
    silent = sorted({other.name for other in store.runs()} - {run_name, *arms})
    if silent:
        notes.append(f"Runs of this project without results here: {', '.join(silent)}.")
    return Report(
        title=summary.get("title") or store.project.resolve().name,
        run=run_name,
        headline=headline,
        metrics=metrics,
        wins=_wins(pairs, values.get(headline, {}), better),
        steps=_steps(store, summary.get("seconds", {}), run, len(pairs)),
        curves=curves.curves(rows),
        findings=curves.findings(rows),
        labels=_labels(store),
        cases=tuple(_cases(store, chosen, clips, values, notes)),
        case_seed=seed,
        pairs=len(pairs),
        scatter=_scatter(pairs, values, metrics),
        limits=limits(metrics, prompts, judged=_VERIFIED in values),
        reaches=reaches(metrics),
        card=_card(store, prompts),
        arms=tuple(ReportArm(name, _metrics(table, [], {})) for name, table in arms.items()),
        settings=mapping_to_toml(run.settings),
        hashes=_hashes(run),
        versions={"rushes": str(summary.get("version", "")), "python": platform.python_version()},
        notes=tuple(notes),
        data=_data(store),
        made_at=run.created_at,
    )


def _data(store: Store) -> Markup:
    result = read_result(store.project)
    return card_section(store, result) if result else Markup()


def _find_run(store: Store, name: str) -> Run:
    runs = {run.name: run for run in store.runs()}
    if name not in runs:
        raise ValueError(f"{store.project}: no run is called {name!r}; there are: {', '.join(runs) or 'none yet'}")
    return runs[name]


def _pairs(store: Store, run_name: str, notes: list[str]) -> list[Pair]:
    base, trained = (
        {(candidate.group, candidate.seed): candidate for candidate in store.candidates(split="eval", system=system)}
        for system in ("base", run_name)
    )
    alone = len(base.keys() ^ trained.keys())
    if alone:
        notes.append(f"{alone} evaluation clips have no partner with the same prompt and seed and are not shown.")
    return [(base[key], trained[key]) for key in sorted(base.keys() & trained.keys())]


def _metrics(
    table: Mapping[str, Mapping[str, Any]], base: Sequence[Candidate], values: Values
) -> tuple[MetricRow, ...]:
    rows = []
    for name, entry in table.items():
        low, high = (
            float(end) if end is not None else np.inf * sign for end, sign in ((entry["low"], -1), (entry["high"], 1))
        )
        scored = [values[name][clip.id] for clip in base if clip.id in values.get(name, {})]
        spread = float(np.std(scored, ddof=1)) if len(scored) > 1 else None
        difference = Interval(float(entry["difference"]), low, high, int(entry["n"]))
        numbers = float(entry["base"]), float(entry["trained"])
        rows.append(
            MetricRow(
                name,
                entry["better"],
                *numbers,
                difference,
                entry.get("unit", ""),
                spread,
                entry.get("p_adjusted") if entry["better"] != "neutral" else 1.0,
                entry.get("prompts", 0),
                entry.get("spread", 0.0),
            )
        )
    return tuple(rows)


def _curve_rows(store: Store, run_name: str, notes: list[str]) -> list[dict[str, Any]]:
    path = store.project / "runs" / run_name / "metrics.jsonl"
    if not path.is_file():
        notes.append("The run left no metrics.jsonl, so there are no training curves.")
        return []
    rows, unread = curves.read_rows(path.read_text(encoding="utf-8", errors="replace").splitlines())
    if unread:
        notes.append(f"{unread} lines of metrics.jsonl could not be read and are missing from the curves.")
    return rows


def _wins(pairs: Sequence[Pair], scores: Mapping[str, float], better: Better) -> WinRate | None:
    scored = [(base, trained) for base, trained in pairs if base.id in scores and trained.id in scores]
    if not scored or better == "neutral":
        return None
    first, second = ([scores[pair[at].id] for pair in scored] for at in (0, 1))
    return win_rate(first, second, better, clusters=[base.group for base, _ in scored])


def _choose(
    pairs: Sequence[Pair],
    values: Values,
    metrics: Sequence[MetricRow],
    headline: str,
    cases: int,
    seed: int,
    notes: list[str],
) -> list[tuple[CaseKind, float | None, Pair]]:
    """Worst and best by gain, random from the rest; every pair at most once."""
    gains = [gain(metrics, headline, _of(values, base.id), _of(values, trained.id)) for base, trained in pairs]
    unranked = sum(gained is None for gained in gains)
    if unranked:
        notes.append(f"{unranked} evaluation pairs lack a headline score; only chance can choose them.")
    return [(kind, gains[at], pairs[at]) for kind, at in choose(gains, cases, seed)]


def _of(values: Values, subject: str) -> dict[str, float]:
    return {name: scores[subject] for name, scores in values.items() if subject in scores}


def _scatter(pairs: Sequence[Pair], values: Values, metrics: Sequence[MetricRow]) -> Scatter | None:
    """Motion against quality, by the first of each that was measured."""
    better = {metric.name: metric.better for metric in metrics}
    x, y = (next((name for name in names if name in better), "") for names in (_MOTION, _QUALITY))
    if not x or not y:
        return None
    points = {
        system: tuple(
            (values[x][row.id], values[y][row.id], row.caption)
            for row in rows
            if row.id in values[x] and row.id in values[y]
        )
        for system, rows in (("base", [base for base, _ in pairs]), ("trained", [trained for _, trained in pairs]))
    }
    return Scatter(x, y, points, better[x], better[y]) if all(points.values()) else None


def _card(store: Store, prompts: int) -> dict[str, str]:
    """The real clips and the held-out prompts in words."""
    clips = [clip for clip in store.clips() if clip.frames > 1]
    shapes = Counter(f"{clip.width_px} x {clip.height_px} px at {clip.fps:g} fps" for clip in clips)
    seconds = sum(clip.frames / clip.fps for clip in clips)
    common = ", ".join(f"{_count(number, 'clip')} of {shape}" for shape, number in shapes.most_common(2))
    sources = Counter(clip.source.partition(":")[0] if ":" in clip.source else "files" for clip in clips)
    return {
        "real footage": f"{_count(len(clips), 'clip')}, {seconds:.0f} s in all: {common}" if clips else "none",
        "source": ", ".join(f"{number} from {source}" for source, number in sources.items()) or "none",
        "held-out prompts": str(prompts),
    }


_VERIFIED = "physics_error"  # the embedded world's verifier looked
_MOTION, _QUALITY = ("motion_speed", "dynamic_degree"), ("warping_error", "bad_frames")


def _cases(
    store: Store,
    chosen: Sequence[tuple[CaseKind, float | None, Pair]],
    clips: Mapping[str, Clip],
    values: Values,
    notes: list[str],
) -> list[Case]:
    cases, lost = [], 0
    for kind, gained, (base, trained) in chosen:
        shown: list[tuple[str, Clip | Candidate]] = [("Base", base), ("Trained", trained)]
        real = clips.get(trained.clip_id)
        if real is not None and real.frames > 1:  # a still only gives the first frame
            shown.append(("Real", real))
        imported = store.candidates(split="eval", kind="imported", group=trained.group)
        shown += [(other.system, other) for other in imported]
        try:
            videos = tuple(_video(store, label, row, values) for label, row in shown)
        except (ValueError, OSError):
            lost += 1
            continue
        cases.append(Case(kind, trained.caption, trained.seed, gained, videos))
    if lost:
        notes.append(f"{lost} cases are not shown because a video of theirs is missing from media/.")
    return cases


def _video(store: Store, label: str, row: Clip | Candidate, values: Values) -> ReportVideo:
    path = store.media_path(row.media)
    measured = _of(values, row.id)
    mime = _MIME.get(path.suffix.lower(), "video/mp4")
    return ReportVideo(label, path.read_bytes(), mime, row.width_px, row.height_px, row.frames, row.fps, measured)


def _labels(store: Store) -> tuple[LabelSummary, ...]:
    segments: dict[tuple[str, str], list[Counter[int]]] = {}
    comparisons: Counter[tuple[str, str]] = Counter()
    for preference in store.preferences(current=True):
        key = (preference.judge, preference.dimension)
        comparisons[key] += 1
        counts = segments.setdefault(key, [])
        counts += [Counter() for _ in range(len(preference.labels) - len(counts))]
        for counter, label in zip(counts, preference.labels, strict=False):
            counter[label] += 1
    return tuple(
        LabelSummary(judge, dimension, comparisons[judge, dimension], tuple((c[1], c[0], c[-1]) for c in counts))
        for (judge, dimension), counts in segments.items()
    )


def _steps(store: Store, seconds: Mapping[str, float], run: Run, pairs: int) -> tuple[Step, ...]:
    clips, candidates = store.clips(), store.candidates()
    splits = Counter(clip.split for clip in clips)
    kinds = Counter("evaluation clip" if row.split == "eval" else _KIND_NAMES[row.kind] for row in candidates)
    labelled = store.preferences(current=True)
    judges = sorted({preference.judge for preference in labelled})
    did = {
        "import": f"{_count(len(clips), 'real clip')}: {splits['train']} to train, {splits['eval']} to evaluate",
        "generate": ", ".join(_count(number, name) for name, number in kinds.items()),
        "label": f"{_count(len(labelled), 'comparison')}, "
        f"{_count(sum(len(p.labels) for p in labelled), 'label')} by {', '.join(judges)}"
        if labelled
        else "",
        "train": f"{run.recipe} on {run.backbone}, {_count(run.steps, 'step')}, seed {run.seed}",
        "evaluate": _count(pairs, "pair") + " of the same prompt and seed",
    }
    timed = {**{stage: None for stage, words in did.items() if words}, "train": run.seconds, **seconds}
    order = list(dict.fromkeys([*seconds, *did]))
    return tuple(Step(name, did.get(name, ""), timed[name]) for name in order if name in timed)


_KIND_NAMES = {
    "take": "take",
    "guided": "guided sample",
    "gap": "gap take",
    "probe": "probe",
    "imported": "imported take",
}


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}".replace(",", "\u202f")


def _hashes(run: Run) -> dict[str, str]:
    named = {"run": run.id, "base weights": run.base, "trained weights": run.made_by, "settings": run.settings_hash}
    return {name: digest for name, digest in named.items() if digest} | {"training seed": str(run.seed)}
