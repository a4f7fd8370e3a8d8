"""Summary, report and health of a run; free of torch, so that they work on any copy of a project."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from shlex import quote

import rushes
from rushes.config.held_defaults import GIVEN, HELD_FILE, read_held
from rushes.config.renamed import with_names_of_today
from rushes.config.settings_files import flat, toml_value
from rushes.config.tables import Settings, run_name
from rushes.evaluate.result import EvaluateResult, read_evaluation
from rushes.evaluate.run_report import collect
from rushes.files import make_folder, write_json
from rushes.formats.outgoing import Outgoing
from rushes.records import Diagnosis, now, plain
from rushes.report.limits import reaches
from rushes.report.model import Reach
from rushes.report.page import write
from rushes.store.database import Store
from rushes.training.health import diagnoses, verdict
from rushes.training.history import CURVES, WEIGHTS, read_history, with_shortcuts


@dataclass(frozen=True)
class ReachResult:
    """What an evaluation could show."""

    run: str
    metrics: tuple[Reach, ...]


def reach_of(store: Store, settings: Settings, run: str = "") -> ReachResult:
    """The smallest change of each metric that the evaluation of a run shows four times in five; `run` is the one that
    the settings name if it is empty.

    Raises:
        ValueError: the run was not evaluated.
    """
    run = run or run_name(settings.train)
    return ReachResult(run, reaches(tuple(read_summary(store, run).metrics.values())))


def more_prompts(store: Store, settings: Settings, run: str) -> str:
    """How twice as many held-out prompts come into a project and its evaluation, in commands."""
    place, footage, ask = quote(str(store.project)), settings.footage, settings.evaluate.prompts
    there = len(store.clips("eval"))
    wanted = 2 * min(there, ask)
    sets = [f"evaluate.prompts={wanted}"] if ask < wanted else []
    sets += [f"footage.eval_prompts={wanted}"] if footage.kind == "world" and there < wanted else []
    evaluate = f"rushes evaluate {place}{'' if run == run_name(settings.train) else f' --run {quote(run)}'}"
    commands = [*([f"rushes set {place} {' '.join(sets)}"] if sets else []), f"rushes import {place}", evaluate]
    source = footage.prompts if footage.kind == "pairs" else footage.path
    first = "" if footage.kind == "world" or there >= wanted else f"add to {source or 'the footage'}, then "
    return f"{first}{' && '.join(commands)}"


@dataclass(frozen=True)
class ReportResult:
    """The report of a run."""

    report: Path  # the page, one HTML file
    personal_data: Mapping[str, int] = field(default_factory=dict)  # `people` by names or pseudonyms


def summary_path(store: Store, run: str) -> Path:
    """Where the machine-readable result of a run lies."""
    return store.project / "reports" / f"{run}.json"


def write_summary(store: Store, result: EvaluateResult, seconds: Mapping[str, float], seed: int) -> EvaluateResult:
    """reports/RUN.json: what `evaluate` measured, what is wrong with the run, and the seconds that each stage has
    taken in the project so far.

    Numbers that are not finite, such as the ends of an interval from one prompt, are null.
    """
    rows = read_history(store.project / "runs" / result.run / CURVES)
    wrong = diagnoses(with_shortcuts(rows, store.project / "runs" / result.run))
    result = replace(
        result,
        diagnoses=tuple(each.words for each in wrong),
        seconds={stage: round(s, 2) for stage, s in seconds.items()},
        seed=seed,
        version=rushes.__version__,
        made_at=now(),
    )
    path = summary_path(store, result.run)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, plain(result), indent=2, checksum=True)
    return result


def read_summary(store: Store, run: str) -> EvaluateResult:
    """What `write_summary` wrote of a run.

    Raises:
        ValueError: the run was not evaluated.
    """
    source = summary_path(store, run)
    if not source.is_file():
        evaluate = f"rushes evaluate {quote(str(store.project))}"
        raise ValueError(f"{source} is not there, so run {run!r} has no results to report; run `{evaluate}` first")
    return read_evaluation(source)


def write_report(
    store: Store, settings: Settings, run: str = "", out: Path | None = None, anonymous: bool = False
) -> ReportResult:
    """RUN.html from the store and the summary, in reports/ or the folder `out`; `run` is the one that the settings name
    if it is empty. With `out` nothing of the project is written. `anonymous`: people by pseudonyms. The report of a run
    that was not evaluated says so, and has no verdict.

    Raises:
        ValueError: no such run is finished.
    """
    run = run or run_name(settings.train)
    evaluated = summary_path(store, run).is_file()
    result = read_summary(store, run) if evaluated else EvaluateResult(run, "", {}, version=rushes.__version__)
    result = replace(result, title=result.title or settings.project.name)
    outgoing = Outgoing.of(store, settings.footage.path, anonymous)
    report = collect(store, result, settings.report.cases, settings.project.seed, outgoing)
    report = replace(report, chosen=_chosen(store, run, outgoing))
    if out is not None:
        make_folder(out)
    page = (out or summary_path(store, run).parent) / f"{run}.html"
    return ReportResult(write(report, page, settings.report.max_mb), outgoing.personal)


def _chosen(store: Store, run: str, outgoing: Outgoing) -> dict[str, tuple[str, str]]:
    """Settings of a run that its user chose: the value, and what the project's model and recipe have in its place,
    or where `init` was told the value, Rushes itself."""

    def shown(path: str, value: object) -> str:
        name = path.rpartition(".")[2]
        return toml_value(outgoing.value({name: value})[name])

    stored = next((row.settings for row in store.runs() if row.name == run), {})
    values = dict(flat(with_names_of_today(stored)[0]))
    usual = dict(flat(Settings().model_dump(mode="json")))
    if (store.project / HELD_FILE).is_file():
        held = read_held(store.project)
        usual |= {path: value for path, value in flat(held.settings) if held.sources.get(path) != GIVEN}
    return {
        path: (shown(path, value), shown(path, usual[path]))
        for path, value in values.items()
        if path in usual and usual[path] != value
    }


@dataclass(frozen=True)
class HealthResult:
    """How a run goes, finished or not."""

    run: str
    steps: int  # so far
    diagnoses: tuple[Diagnosis, ...]  # what is wrong
    verdict: str = ""  # severe, warning, nothing wrong, or too early to say


def health_of_run(project: Path, settings: Settings, run: str = "") -> HealthResult:
    """Steps so far and what is wrong.

    Raises:
        ValueError: the run has no curves.
    """
    run = run or run_name(settings.train)
    path = project / "runs" / run / CURVES
    rows = read_history(path, ended=(path.parent / WEIGHTS).is_file())
    if not rows and any(path.parent.glob("checkpoints/step-*")):
        raise ValueError(
            f"{path}: lost or emptied, though the run has checkpoints; copy it from a backup, or delete "
            f"{path.parent} and run `rushes train {quote(str(project))}`, which makes the run again"
        )
    if not rows:
        train = f"rushes train {quote(str(project))}"
        raise ValueError(f"{path} is not there, so run {run!r} has no curves yet; run `{train}`")
    diagnosed = diagnoses(with_shortcuts(rows, path.parent))
    return HealthResult(run, rows[-1]["step"], diagnosed, verdict(rows[-1]["step"], diagnosed))
