"""The command that comes next in a project, from where it stands."""

from __future__ import annotations

import shlex
from collections.abc import Set
from contextlib import suppress
from pathlib import Path

from rushes.config.tables import Settings, run_name
from rushes.config.uses import nothing
from rushes.project.project_status import ProjectStatus
from rushes.project.recipe_table import recipe_needs, takes_kind, takes_wanted
from rushes.project.settings import read_settings
from rushes.store.database import Store


def next_command(status: ProjectStatus, settings: Settings, lacking: str, judge: str) -> str:
    """The command that does what comes next; it must not fail."""
    project, run = shlex.quote(str(status.project)), status.run
    other = "" if run.name == _own_run(status.project) else f" --run {shlex.quote(run.name)}"
    if status.detached or run.training:
        return f"rushes status {project} --follow"
    if status.broken_off:
        return f"rushes run {project} --detach"
    if not (status.labels if settings.footage.kind == "pairs" else status.clips):
        return f"rushes import {project}"
    if status.takes is not None and status.takes < (status.takes_wanted or 0) and not run.ended:
        return f"rushes generate {project}{_as_takes(settings)}"
    if lacking and not run.ended:
        return f"rushes {lacking.format(project=project)}"
    campaign = status.campaign
    if campaign and campaign.labelled < campaign.wanted and not run.ended:
        return f"rushes campaign {project}"
    if status.labels_done is False:
        return f"rushes label {project}{_as_labels(settings)}"
    if not run.ended:
        source = f" --set train.options.judge={shlex.quote(judge)}" if judge else ""
        return f"rushes train {project}{_as_run(status, settings)}{source}"
    if not status.evaluated:
        return f"rushes evaluate {project}{other}"
    if campaign and not campaign.votes and status.report is None:
        return f"rushes vote {project}{other} --annotators {shlex.quote(','.join(campaign.people))}"
    if status.report is None:
        return f"rushes report {project}{other}"
    if status.better:
        return f"rushes export {project} --run {shlex.quote(run.name)} --out FOLDER"
    # Weights that are not shown to be better are nothing to use: what training lacked, or how many prompts would do.
    return f"rushes {'health' if status.unhealthy else 'sample-size'} {project}{other}"


def lacking_command(store: Store, settings: Settings, needs: Set[str]) -> str:
    """The command, without its project, that makes what lacks beside takes and labels."""
    start = settings.train.init_from
    if "gaps" in needs and not store.candidates(split="train", kind="gap", system=start):
        return "generate {project} --set generate.kind=gap --set generate.takes=1"
    if "wrong captions" in needs and not store.captions("wrong"):
        by = " --by rules" if settings.caption.by == "none" else ""
        return f"wrong-captions {{project}}{by}"
    return ""


def _as_takes(settings: Settings) -> str:
    """The options by which `rushes generate` makes the takes that lack, where the settings ask for others."""
    kind, takes = takes_kind(settings), takes_wanted(settings)
    options = [*([f"kind={kind}"] if kind != settings.generate.kind else []),
               *([f"takes={takes}"] if takes != settings.generate.takes else [])]  # fmt: skip
    return "".join(f" --set generate.{option}" for option in options)


def _as_labels(settings: Settings) -> str:
    """The options by which `rushes label` gives what a recipe needs, where the settings name nobody or other forms."""
    by = settings.label.by if settings.label.by != "none" else "human"
    options = " --by human" if settings.label.by == "none" else ""
    if "scores" in recipe_needs(settings.train):
        if by == "human":
            return options if settings.label.scores else f"{options} --set label.scores=true"
        return options if settings.label.form == "scores" else f"{options} --form scores"
    return options


def _as_run(status: ProjectStatus, settings: Settings) -> str:
    """The options by which `rushes train` trains the run that is shown, where the project's file names another."""
    name, train = status.run.name, settings.train
    if name == _own_run(status.project):
        return ""
    if name == run_name(train) and not train.name:
        return f" --recipe {shlex.quote(train.recipe)}"
    return f" --set {shlex.quote(f'train.name={name}')}"


def _own_run(project: Path) -> str:
    """The run that the project's file names, which commands take where they are told of no other."""
    with suppress(ValueError):  # a file that holds with overrides alone
        return run_name(read_settings(project, (), nothing).train)
    return ""
