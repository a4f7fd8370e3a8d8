"""Rounds: takes by the model as it is by now, training on them, evaluation; and again from there.

RealDPO's iterative self-correction, for every recipe that compares the model's own takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from rushes.config.tables import run_name
from rushes.evaluate.result import EvaluateResult, Metrics
from rushes.project import reports, run_evaluation
from rushes.project.project import OpenProject
from rushes.project.runs import run_all
from rushes.records import OWN_TAKES
from rushes.training.recipe import load_recipe

OLD_TAKES = "old-takes"  # how the run is called that trains as long on the first round's takes


@dataclass(frozen=True)
class Round:
    """One round against the one before it."""

    run: str
    takes_by: str  # system whose takes it was trained on
    better: tuple[str, ...]  # metrics whose 95 % interval of the change since the round before shows a gain
    worse: tuple[str, ...]  # and a loss
    diagnoses: tuple[str, ...]  # what its curves show to be wrong


@dataclass(frozen=True)
class RoundsResult:
    """All rounds that were run."""

    rounds: tuple[Round, ...]
    best: str  # the last run that gained on the one before; "base" where none did
    stopped: str  # why there was no further round; "" = all that were asked for were run
    report: Path  # report of the last round: each round's change from the base, and the rounds as a curve

    def lines(self) -> list[str]:
        """What a terminal shows."""
        changes = [
            f"{each.run}, on takes by {each.takes_by}: "
            + ("; ".join(f"{word} {', '.join(names)}" for word, names in
                         (("better on", each.better), ("worse on", each.worse)) if names) or "no change is shown")
            for each in self.rounds
        ]  # fmt: skip
        return [*changes, *([f"stopped: {self.stopped}"] if self.stopped else []), f"best: {self.best}"]


def run_rounds(project: OpenProject, count: int, old_takes: bool = False) -> RoundsResult:
    """Run all stages `count` times, each time from the run before; fewer times where a round gains nothing.

    A round gains where the headline metric (without one, any metric) is better than after the round before, by a 95 %
    interval over prompts, and no such metric is worse. A round whose training pairs are memorised is the last.

    Args:
        project: whose settings the first round has; the others start from the run before and are called NAME-2 ...
        count: rounds at most, 1 or more.
        old_takes: also train once from where the first round started, on its takes, for as many steps as all rounds
            took together: what the new takes are worth.

    Raises:
        ValueError: a recipe that makes no takes, or labels that people give; else as the stages do.
    """
    _check(project, count)
    name = run_name(project.settings.train)
    rounds: list[Round] = []
    stopped, start = "", project.settings.train.init_from
    for number in range(1, count + 1):
        at = project if number == 1 else _with_train(project, name=f"{name}-{number}", init_from=start)
        run_all(at, own_takes=number > 1)
        rounds.append(_round(at, start))
        start = rounds[-1].run
        if number < count and (stopped := _why_stop(rounds[-1])):
            break
    best = next((each.run for each in reversed(rounds) if each.better and not each.worse), rounds[0].takes_by)
    control = _train_on_old_takes(project, name, len(rounds)) if old_takes and len(rounds) > 1 else ""
    return RoundsResult(tuple(rounds), best, stopped, _report(at, rounds, control))


def _check(project: OpenProject, count: int) -> None:
    settings = project.settings
    needs = set(load_recipe(settings.train.recipe).NEEDS)
    if count < 1:
        raise ValueError(f"--rounds must be 1 or more, got {count}")
    if not needs & OWN_TAKES:
        raise ValueError(
            f"--rounds: recipe {settings.train.recipe!r} does not use takes of the model, so a second round would add "
            "nothing; raise train.steps instead"
        )
    if needs & {"labels", "scores"} and settings.label.by in ("none", "human"):
        raise ValueError(
            f"--rounds: each round's takes need labels, but label.by is {settings.label.by!r}; set it to vlm, metric, "
            "reward or world, or run the rounds one by one: `rushes generate --run`, label, `rushes train`"
        )


def _with_train(project: OpenProject, **changes: object) -> OpenProject:
    """The project with other settings in [train]; the base and the latents that were opened for it are not again."""
    settings = project.settings
    train = settings.train.model_copy(update=changes)
    other = replace(project, settings=settings.model_copy(update={"train": train}))
    vars(other).update({name: value for name, value in vars(project).items() if name in ("base", "latents")})
    return other


def _round(project: OpenProject, before: str) -> Round:
    run = run_name(project.settings.train)
    metrics = run_evaluation.held_out_change(project, before, run)
    headline = project.suite.headline
    decisive = [row for row in metrics.values() if row.name == headline or not headline]
    health = reports.health_of_run(project.store.project, project.settings, run)
    return Round(
        run,
        before,
        tuple(row.name for row in decisive if row.outcome == "better"),
        tuple(row.name for row in decisive if row.outcome in ("worse", "suspect")),
        tuple(diagnosis.name for diagnosis in health.diagnoses),
    )


def _why_stop(last: Round) -> str:
    """Why a round is the last; "" where another may gain."""
    if "memorised" in last.diagnoses:
        return f"{last.run} classifies its training pairs but not the held-out ones (`rushes health`)"
    if last.worse:
        return f"{last.run} is worse than {last.takes_by} on {', '.join(last.worse)}"
    if not last.better:
        return f"{last.run} is not shown to be better than {last.takes_by}: its verdict reports no change"
    return ""


def _train_on_old_takes(project: OpenProject, name: str, rounds: int) -> str:
    """The run that trains on the first round's takes for as many steps as all rounds."""
    steps = rounds * project.settings.train.steps
    control = _with_train(project, name=f"{name}-{OLD_TAKES}-{steps}", steps=steps)
    run_all(control)
    return run_name(control.settings.train)


def _report(project: OpenProject, rounds: list[Round], control: str) -> Path:
    """The last round's page with all rounds in it."""
    store, settings = project.store, project.settings
    results = {each.run: reports.read_summary(store, each.run) for each in rounds}
    last = results[rounds[-1].run]
    others: dict[str, Metrics] = {run: result.metrics for run, result in results.items() if run != last.run}
    series = {"new takes each round": [results[each.run] for each in rounds]}
    if control:
        beside = reports.read_summary(store, control)
        others[control] = beside.metrics
        series["takes of the first round"] = [beside]
    summary = replace(
        last,
        arms=others,
        arms_intro="Change from the same base after every round; each starts from the run before.",
        rounds=_curves(series, settings.train.steps, len(rounds)),
    )
    reports.write_summary(store, summary, project.seconds, settings.project.seed)
    return reports.write_report(store, settings).report


def _curves(
    series: Mapping[str, list[EvaluateResult]], steps: int, rounds: int
) -> dict[str, dict[str, tuple[tuple[float, float], ...]]]:
    """By metric and series, (steps trained, mean over the pairs); the base stands at 0."""
    first = next(iter(series.values()))[0]
    names = [first.headline] if first.headline else [n for n, row in first.metrics.items() if row.better != "neutral"]
    curves: dict[str, dict[str, tuple[tuple[float, float], ...]]] = {}
    for name in names:
        for title, results in series.items():
            ends = [rounds * steps] if len(results) == 1 else [steps * k for k in range(1, len(results) + 1)]
            points = [(0.0, first.metrics[name].base)]
            points += [(float(x), each.metrics[name].trained) for x, each in zip(ends, results, strict=True)]
            curves.setdefault(name, {})[title] = tuple(points)
    return curves
