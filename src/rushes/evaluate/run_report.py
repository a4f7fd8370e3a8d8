"""From a project folder to a report: nothing is computed anew, and what is left out is noted."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from markupsafe import Markup

from rushes.config.renamed import with_names_of_today
from rushes.config.settings_files import mapping_to_toml
from rushes.config.tables import toy_note
from rushes.evaluate.prompt_clusters import clusters_of_store
from rushes.evaluate.result import (
    ComparedSystems,
    ComparedVideo,
    EvaluateResult,
    build_report,
    headline_seconds,
    stored_video,
)
from rushes.evaluate.stored import finished_run
from rushes.evaluate.votes import judged_by_people
from rushes.formats.outgoing import Outgoing
from rushes.records import BASE, Candidate, Clip, Diagnosis, Run
from rushes.report import curves, text
from rushes.report.card import card_section, read_result
from rushes.report.model import Curve, LabelSummary, MetricRow, Report, ReportArm, Step
from rushes.stats import Interval, wilson
from rushes.store.complaints import faults_by_take
from rushes.store.database import Store
from rushes.training.health import diagnoses
from rushes.training.history import with_shortcuts

ValuesBySubject = Mapping[str, Mapping[str, float]]  # metric, subject
UNMEASURED = (
    "Not evaluated: this report has the curves, the footage and the settings of the run, and no verdict. "
    "`rushes evaluate` compares the run with its base."
)
_LOG = logging.getLogger(__name__)


def collect(
    store: Store, result: EvaluateResult, cases: int = 4, seed: int = 0, outgoing: Outgoing | None = None
) -> Report:
    """Build the report of a run from the store and the result of its evaluation.

    Evaluation pairs are candidates of split "eval" by "base" and by the run that share group and seed; up to `cases` of
    each kind (random by `seed`, worst, best by the headline metric) become cases. `outgoing` says how names and
    settings leave. Without metrics the run was not evaluated. Raises ValueError when the run is not finished.
    """
    outgoing = outgoing or Outgoing()
    run = finished_run(store, result.run)
    notes: list[str] = []
    pairs = _pairs(store, result.run, notes)
    settings = with_names_of_today(run.settings)[0]
    values = {name: {score.subject: score.value for score in store.scores(metric=name)} for name in result.metrics}
    seconds = headline_seconds(store, result.headline)
    videos = {
        system: {(row.group, row.seed): stored_video(store, row, values, seconds) for row in rows}
        for system, rows in (("base", [base for base, _ in pairs]), ("trained", [trained for _, trained in pairs]))
    }
    metrics = tuple(_with_spread(row, videos["base"].values()) for row in result.metrics.values())
    rows = _curve_rows(store, result.run, notes)
    cluster_of = clusters_of_store(store, (take for pair in pairs for take in pair))
    voted = judged_by_people(store, (BASE, result.run))
    compared = ComparedSystems(
        {("base", "trained"): metrics},
        videos,
        result.headline,
        cluster_of,
        notes=tuple(notes),
        judged=voted,
        shapes=result.shapes,
    )
    trained = {(row.group, row.seed): row for _, row in pairs}
    report = build_report(
        compared, cases, seed, {"base": "Base", "trained": "Trained"}, lambda key: _beside(store, trained[key], values)
    )
    silent = sorted({other.name for other in store.runs()} - {result.run, *result.arms})
    left_out = (f"Runs of this project without results here: {', '.join(silent)}.",) if silent else ()
    return replace(
        report,
        unmeasured="" if result.metrics else UNMEASURED,
        title=result.title or store.project.resolve().name,
        run=result.run,
        warning=toy_note(run.backbone, settings.get("footage", {}).get("kind", "")),
        steps=_steps(store, result.seconds, run, len(pairs), outgoing),
        curves=(*_rounds(result), *curves.curves(rows)),
        findings=curves.findings(rows, _diagnoses(store, result.run, rows)),
        labels=_labels(store, outgoing),
        complaints=_complaints(store, result.run),
        card=_card(store, cluster_of),
        arms=tuple(ReportArm(name, tuple(table.values())) for name, table in result.arms.items()),
        arms_intro=result.arms_intro or report.arms_intro,
        settings=mapping_to_toml(outgoing.value(settings)),
        hashes=_hashes(run),
        versions={**report.versions, "rushes": result.version},
        data=_data(store),
        made_at=run.created_at,
        notes=(*report.notes, *left_out),
    )


def _rounds(result: EvaluateResult) -> list[Curve]:
    """A panel for each metric that was followed over rounds."""
    return [
        Curve(f"{text.plain(metric)} after each round", {name: tuple(points) for name, points in series.items()})
        for metric, series in result.rounds.items()
    ]


def _with_spread(row: MetricRow, base: Collection[ComparedVideo]) -> MetricRow:
    """The metric with its standard deviation over all base clips that are shown."""
    scored = [video.values[row.name] for video in base if row.name in video.values]
    return replace(row, clip_spread=float(np.std(scored, ddof=1)) if len(scored) > 1 else None)


def _data(store: Store) -> Markup:
    result = read_result(store.project)
    return card_section(store, result) if result else Markup()


def _pairs(store: Store, run_name: str, notes: list[str]) -> list[tuple[Candidate, Candidate]]:
    base, trained = (
        {(candidate.group, candidate.seed): candidate for candidate in store.candidates(split="eval", system=system)}
        for system in ("base", run_name)
    )
    alone = len(base.keys() ^ trained.keys())
    if alone:
        notes.append(f"{alone} evaluation clips have no partner with the same prompt and seed and are not shown.")
    return [(base[key], trained[key]) for key in sorted(base.keys() & trained.keys())]


def _curve_rows(store: Store, run_name: str, notes: list[str]) -> list[dict[str, Any]]:
    path = store.project / "runs" / run_name / "metrics.jsonl"
    rows, unread = curves.read_rows(path) if path.is_file() else ([], 0)
    note = f"{unread} lines of metrics.jsonl could not be read and are missing from the curves." if unread else ""
    if not rows:
        note = "The run has no metrics.jsonl that can be read, so there are no training curves."
    if note:
        notes.append(note)
        _LOG.warning("%s: %s", path, note)
    return rows


def _diagnoses(store: Store, run: str, rows: list[dict[str, Any]]) -> Sequence[Diagnosis] | None:
    """What `rushes health` says of the run, so that both say the same; None where its rows lack what that needs."""
    whole = all(isinstance(row["step"], int) for row in rows)
    return diagnoses(with_shortcuts(rows, store.project / "runs" / run)) if whole else None


def _card(store: Store, cluster_of: Mapping[str, str]) -> dict[str, str]:
    """The real clips and the held-out prompts in words."""
    clips = [clip for clip in store.clips() if clip.frames > 1]
    shapes = Counter(f"{clip.width_px} x {clip.height_px} px at {clip.fps:g} fps" for clip in clips)
    seconds = sum(clip.frames / clip.fps for clip in clips)
    common = ", ".join(f"{_count(number, 'clip')} of {shape}" for shape, number in shapes.most_common(2))
    prompts, alone = len(cluster_of), len(set(cluster_of.values()))
    sources = Counter(clip.source.partition(":")[0] if ":" in clip.source else "files" for clip in clips)
    return {
        "real footage": f"{_count(len(clips), 'clip')}, {seconds:.0f} s in all: {common}" if clips else "none",
        "source": ", ".join(f"{number} from {source}" for source, number in sources.items()) or "none",
        "held-out prompts": str(prompts) + (f", {alone} of them independent" if alone < prompts else ""),
    }


def _beside(store: Store, trained: Candidate, values: ValuesBySubject) -> dict[str, ComparedVideo]:
    """The real clip and imported takes of a case, by what they are called."""
    rows: dict[str, Clip | Candidate] = {}
    real = store.find(trained.clip_id)
    if isinstance(real, Clip) and real.frames > 1:  # a still only gives the first frame
        rows["Real"] = real
    rows |= {other.system: other for other in store.candidates(split="eval", kind="imported", group=trained.group)}
    return {label: stored_video(store, row, values) for label, row in rows.items()}


def _labels(store: Store, outgoing: Outgoing) -> tuple[LabelSummary, ...]:
    segments: dict[tuple[str, str], list[Counter[int]]] = {}
    comparisons: Counter[tuple[str, str]] = Counter()
    for preference in store.preferences(current=True):
        key = (outgoing.judge(preference.judge), preference.dimension)
        comparisons[key] += 1
        counts = segments.setdefault(key, [])
        counts += [Counter() for _ in range(len(preference.labels) - len(counts))]
        for counter, label in zip(counts, preference.labels, strict=False):
            counter[label] += 1
    return tuple(
        LabelSummary(judge, dimension, comparisons[judge, dimension], tuple((c[1], c[0], c[-1]) for c in counts))
        for (judge, dimension), counts in segments.items()
    )


def _complaints(store: Store, run: str) -> dict[str, dict[str, Interval]]:
    """Fault -> system -> share of the takes that people judged in which somebody named it, the commonest first.

    Counts held-out takes of both systems where people judged those of the run, else all takes of the base.
    """
    faults = faults_by_take(store)
    judged = [take for take in store.candidates() if take.id in faults]
    held_out = {name: [c for c in judged if c.system == name and c.split == "eval"] for name in (BASE, run)}
    takes = held_out if all(held_out.values()) else {BASE: [c for c in judged if c.system == BASE]}
    counts = Counter(word for several in takes.values() for take in several for word in faults[take.id])
    return {
        fault: {name: _share([fault in faults[c.id] for c in takes[name]], takes[name]) for name in takes}
        for fault, _ in counts.most_common()
    }


def _share(named: Sequence[bool], takes: Sequence[Candidate]) -> Interval:
    """A share of takes; its interval counts prompts, as if all takes of one were alike."""
    prompts = len({take.group for take in takes})
    share = sum(named) / len(named)
    return replace(wilson(share * prompts, prompts), n=len(named))


def _steps(store: Store, seconds: Mapping[str, float], run: Run, pairs: int, outgoing: Outgoing) -> tuple[Step, ...]:
    clips, candidates = store.clips(), store.candidates()
    splits = Counter(clip.split for clip in clips)
    kinds = Counter("evaluation clip" if row.split == "eval" else _KIND_NAMES[row.kind] for row in candidates)
    labelled = store.preferences(current=True)
    judges = sorted({outgoing.judge(preference.judge) for preference in labelled})
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
