"""Commands that say whether a run can go well, and whether it does."""

from __future__ import annotations

import sys
from shlex import quote
from typing import Annotated

from cyclopts import App, Parameter

from rushes.cli.console import (
    GE_0,
    AsJson,
    Overrides,
    ProjectFolder,
    RunOption,
    opened,
    say,
    say_changed,
    tell,
    tell_stage,
    with_options,
)
from rushes.cli.processes import Gpus, led
from rushes.cli.remedies import with_project
from rushes.config.uses import code, code_and_judge, nothing
from rushes.project.settings import read_settings
from rushes.store.own_files import LOG
from rushes.text_reader import counted

tune = App(name="tune")


@tune.command
def beta(
    project: ProjectFolder,
    *,
    comparisons: Annotated[int, GE_0, Parameter(help="number of comparisons used; a quarter is held out")] = 256,
    steps: Annotated[int, GE_0, Parameter(help="steps of the trial run")] = 20,
    target: Annotated[float, GE_0, Parameter(help="DPO gradient weight that should remain; it begins at 0.5")] = 0.2,
    overrides: Overrides = (),
    as_json: AsJson = False,
) -> None:
    """Propose beta from a short trial run, and convert it to the conventions of other papers and programs."""
    from rushes.project.tuning import beta_in_words, probe_beta

    settings = read_settings(project, overrides, code)
    with opened(project, settings) as work:
        result = probe_beta(work, comparisons, steps, target)
    tell_stage(result, as_json, project, settings, beta_in_words(result))


@tune.command
def eta(
    project: ProjectFolder,
    *,
    levels: Annotated[
        tuple[float, ...],
        Parameter(
            consume_multiple=True,
            negative=(),
            help="shares of noise to start from; default: 0.6 0.7 0.8 0.88 0.94 0.97",
        ),
    ] = (),
    clips: Annotated[int, GE_0, Parameter(help="training clips of which a pair is made at each level")] = 16,
    gpus: Gpus = 1,
    overrides: Overrides = (),
    as_json: AsJson = False,
) -> None:
    """Propose generate.eta from guided pairs at several noise levels: how similarly they move, which faults are
    left."""
    settings = read_settings(project, overrides, code_and_judge)
    if led(project, gpus):
        return
    from rushes.project.eta import eta_of_project, in_words

    with opened(project, settings) as work:
        result = eta_of_project(work, levels, clips)
    tell_stage(result, as_json, project, settings, in_words(result))


def check_shortcuts(
    project: ProjectFolder,
    *,
    comparisons: Annotated[
        int, GE_0, Parameter(help="number of comparisons used; default: train.shortcut_probe of the settings")
    ] = 0,
    overrides: Overrides = (),
    as_json: AsJson = False,
) -> None:
    """Measure how well plain features of the clips predict the winner, before a run trains on them."""
    from rushes.project.tuning import shortcuts_of_project
    from rushes.training.shortcuts import in_words

    given = with_options(overrides, train__shortcut_probe=("--comparisons", comparisons or None))
    settings = read_settings(project, given, code)
    with opened(project, settings) as work:
        result = shortcuts_of_project(work)
    tell_stage(result, as_json, project, settings, in_words(result.features))


def status(
    project: ProjectFolder,
    *,
    follow: Annotated[bool, Parameter(help="keep showing the run's steps as they are done, until it ends")] = False,
    overrides: Overrides = (),
    as_json: AsJson = False,
) -> None:
    """Say where a project stands, and the command that comes next."""
    settings = read_settings(project, overrides, nothing)
    from rushes.project.status import broken_off, status_of
    from rushes.project.status import follow as steps_of

    say_changed(project, settings)
    result = status_of(project, settings)
    tell(result, as_json, result.lines())
    gone = bool(result.broken_off) and not result.run.training  # nothing is left to be followed
    for line in steps_of(result) if follow and not gone else ():
        say(line)
    if follow and gone:
        sys.exit(1)
    if follow and result.detached and (why := broken_off(project / LOG)):
        say(f"the detached run failed: {why}\nnext: rushes run {quote(str(project))} --detach")
        sys.exit(1)


def health(project: ProjectFolder, *, run: RunOption = "", overrides: Overrides = (), as_json: AsJson = False) -> None:
    """Say whether a run is healthy, from its curves so far."""
    from rushes.project.reports import health_of_run
    from rushes.project.status import status_of

    settings = read_settings(project, overrides, nothing)
    result = health_of_run(project, settings, run)
    lines = [
        with_project(line, str(project))
        for d in result.diagnoses
        for line in (f"{d.severity}: {d.name} at step {d.step}", f"  {d.evidence}", f"  {d.remedy}")
    ]
    lines.append(f"run {result.run}: {result.verdict} after {counted(result.steps, 'step')}")
    if status_of(project, settings, result.run).unhealthy:
        change = "what is proposed above" if result.diagnoses else "other settings, such as another learning rate"
        again = f"rushes train {quote(str(project))} --set train.name=NEW, with {change} as --set"
        return tell(result, as_json, [*lines, f"next: {again}"])
    tell_stage(result, as_json, project, settings, lines, run=run)
