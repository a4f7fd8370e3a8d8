"""Many runs of a project beside their base, as a table and a report; and the gate that a table must pass."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Literal, get_args

from rushes.config.tables import Settings
from rushes.evaluate.prompt_clusters import clusters_of_store
from rushes.evaluate.result import (
    ComparedSystems,
    headline_seconds,
    in_order,
    metric_rows,
    metrics_by_shape,
    stored_video,
    systems_report,
)
from rushes.evaluate.stored import measures
from rushes.evaluate.suites import suite_of
from rushes.evaluate.table_file import StoredTable, table_json
from rushes.evaluate.votes import judged_by_people
from rushes.files import write_json
from rushes.records import BASE, Candidate
from rushes.report.model import MetricRow
from rushes.report.page import write
from rushes.stats import LEAST_PROMPTS, Key, compare_systems
from rushes.store.database import Store
from rushes.text_reader import counted, read_toml

Rule = Literal["estimate", "shown", "excluded"]


@dataclass(frozen=True)
class CompareResult:
    """Runs of a project beside its base, or a table that was written before, and what a gate says of it."""

    table: Path  # means and differences of all pairs, as JSON
    verdicts: Mapping[str, str] | None = None  # a sentence for each pair, by "FIRST|SECOND"; null for a table
    report: Path | None = None  # the page; null for a table
    breaches: tuple[str, ...] = ()  # a sentence for each limit of the gate that was exceeded


def _check_sizes(rows: Mapping[str, Mapping[Key, Candidate]]) -> None:
    """Raise ValueError where takes of one prompt differ in size or length, as sizes changed since one was evaluated."""
    (base, takes), *others = rows.items()
    for system, of in others:
        for key, take in of.items():
            first = takes.get(key, take)
            if (first.width_px, first.height_px, first.frames) != (take.width_px, take.height_px, take.frames):
                raise ValueError(
                    f"takes of one prompt by {base} are {first.frames} x {first.height_px} x {first.width_px} and by "
                    f"{system} {take.frames} x {take.height_px} x {take.width_px}: the project's sizes have changed; "
                    f"run `rushes evaluate --run {quote(system)}` again"
                )


def compare_runs(store: Store, settings: Settings, runs: Sequence[str], gate: Gate | None = None) -> CompareResult:
    """Base and runs on the held-out prompts and seeds that each was evaluated on: reports/compare.json and .html.

    Args:
        store: of the project.
        settings: of the project.
        runs: by name.
        gate: whose metrics are looked up before anything is compared.

    Raises:
        ValueError: a run that is named twice, or that was not evaluated; a gate as `check_gate` does.
    """
    systems = (BASE, *runs)
    if len(set(systems)) < len(systems):
        raise ValueError(f"name each run once, without the base, which is always compared; got {', '.join(runs)}")
    suite = suite_of(settings.footage)
    if gate is not None:
        _check_names(gate, list(suite.better), suite.better)
    rows = {s: {(c.group, c.seed): c for c in store.candidates(split="eval", system=s)} for s in systems}
    _check_sizes(rows)
    measured = measures(store, suite, rows)
    for system in (*runs, BASE):  # the base is evaluated with a run
        if not any(measure.values[system] for measure in measured):
            run = quote(systems[-1] if system == BASE else system)
            raise ValueError(f"{system!r} has no scores on held-out prompts; run `rushes evaluate --run {run}` first")
    measured = [measure for measure in measured if any(measure.values.values())]
    cluster_of = clusters_of_store(store, (take for of in rows.values() for take in of.values()))
    seed, headline = settings.project.seed, suite.headline
    table = compare_systems(systems, measured, seed=seed, cluster_of=cluster_of, primary=headline)
    values = {m.name: {rows[s][key].id: v for s, of in m.values.items() for key, v in of.items()} for m in measured}
    seconds = headline_seconds(store, headline)
    videos = {
        s: {key: stored_video(store, of[key], values, seconds) for key in in_order([*of])} for s, of in rows.items()
    }
    voted = judged_by_people(store, systems)
    pair = (BASE, systems[-1])
    shapes = metrics_by_shape(pair, measured, rows, seed=seed, cluster_of=cluster_of, headline=headline)
    compared = ComparedSystems(metric_rows(measured, table), videos, headline, cluster_of, judged=voted, shapes=shapes)
    report = systems_report(compared, settings.report.cases, seed, title=settings.project.name)
    target = store.project / "reports" / "compare.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    write_json(target, table_json(table, compared.metrics), checksum=True)
    page = write(report, target.with_suffix(".html"), settings.report.max_mb)
    return CompareResult(target, compared.verdicts(), page)


@dataclass(frozen=True)
class Gate:
    """How far each metric may get worse: a number in its unit, or a share of the first system's mean."""

    rule: Rule
    margins: Mapping[str, float]
    shares: Mapping[str, float]


@dataclass(frozen=True)
class Breach:
    """A metric of a system that is worse than its margin allows."""

    system: str
    metric: str
    words: str


def read_gate(path: Path) -> Gate:
    """A gate from a TOML file: `rule`, and under [metrics], or at the top, metric = margin.

    A margin is a number of at least 0, or a string such as "5 %" of the first system's mean. Rules:
    - "estimate" (default): a metric fails when its difference is worse than the margin;
    - "shown": when the whole 95 % interval is worse than the margin, so that chance alone seldom fails;
    - "excluded": unless the interval excludes a change beyond the margin, so that ignorance fails.

    Raises:
        ValueError: no such file, not TOML, an unknown rule, or a margin that is none.
    """
    try:
        data = read_toml(path)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}); name a TOML file with metric = margin") from error
    rule = data.pop("rule", "estimate")
    if rule not in get_args(Rule):
        raise ValueError(f"{path}: rule must be one of {', '.join(get_args(Rule))}, got {rule!r}")
    named = data.pop("metrics", {})
    if not isinstance(named, dict) or not {**data, **named}:
        raise ValueError(
            f"{path}: the file has no margins; write [metrics] and below it lines such as warping_error = 0.2"
        )
    margins: dict[str, float] = {}
    shares: dict[str, float] = {}
    for name, value in {**data, **named}.items():
        number, share = _margin(value)
        if number is None or not 0 <= number < float("inf"):
            raise ValueError(f'{path}: {name} = {value!r} is not a margin; give a number of 0 or more, or "5 %"')
        (shares if share else margins)[name] = number
    return Gate(rule, margins, shares)


def _margin(value: object) -> tuple[float | None, bool]:
    if isinstance(value, str) and value.strip().endswith("%"):
        try:
            return float(value.strip().removesuffix("%")) / 100, True
        except ValueError:
            return None, True
    return (float(value), False) if isinstance(value, int | float) and not isinstance(value, bool) else (None, False)


def check_gate(table: StoredTable, gate: Gate, better: Mapping[str, str]) -> list[Breach]:
    """Every metric of every system but the first that is worse than the first's by more than its margin.

    A metric that could be measured on no shared clip is a breach: a clip where nothing moves must not pass. So is one
    that was measured on fewer independent prompts than a claim takes.

    Raises:
        ValueError: a metric that the table lacks, or one without a better direction.
    """
    first, *others = table.systems
    breaches = []
    _check_names(gate, table.metrics, better)
    for name in (*gate.margins, *gate.shares):
        sign = 1.0 if better[name] == "higher" else -1.0
        for system in others:
            row = table.pairs.get(f"{first}|{system}", {}).get(name)
            mean = table.metrics[name][first].mean
            if row is None or (mean is None and name in gate.shares):
                breaches.append(Breach(system, name, "could not be measured on any clip that both systems have"))
                continue
            if 0 < row.prompts < LEAST_PROMPTS:
                few = counted(row.prompts, "independent prompt")
                breaches.append(Breach(system, name, f"{few} are too few to pass a gate; use {LEAST_PROMPTS} or more"))
                continue
            margin = gate.margins[name] if name in gate.margins else gate.shares[name] * abs(mean or 0.0)
            words = _breach(row, sign, margin, gate.rule)
            if words:
                breaches.append(Breach(system, name, words))
    return breaches


def _check_names(gate: Gate, names: Collection[str], better: Mapping[str, str]) -> None:
    for name in (*gate.margins, *gate.shares):
        if name not in names:
            raise ValueError(f"the gate names {name}, which was not measured; name one of {', '.join(names)}")
        if better.get(name, "neutral") == "neutral":
            raise ValueError(
                f"the gate names {name}, which does not define whether higher or lower is better; leave it out"
            )


def _breach(row: MetricRow, sign: float, margin: float, rule: Rule) -> str:
    """Why a difference does not pass, "" if it does."""
    estimate = sign * row.difference
    worst, best = sorted((sign * row.low, sign * row.high))
    numbers = f"difference {row.difference:+.4g}, margin {margin:.4g}"
    if rule == "estimate":
        return f"{numbers}: worse than allowed" if estimate < -margin else ""
    if rule == "shown":
        return f"{numbers}: shown to be worse than allowed" if best < -margin else ""
    return f"{numbers}: a change larger than the margin is not excluded" if worst < -margin else ""
