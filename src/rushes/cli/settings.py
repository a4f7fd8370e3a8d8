"""Commands on a project's settings: what they are and where each is from, and how one is changed for good."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

from cyclopts import Parameter

from rushes.cli.console import AsJson, ProjectFolder, say_changed, tell, tell_stage
from rushes.config.uses import nothing
from rushes.project.settings import read_settings


def settings(
    project: Annotated[Path | None, Parameter(help="the project's folder; without one, the defaults")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Print all settings of a project, each with its source: the project's file, the model, the recipe or the
    defaults."""
    from rushes.project.held_settings import SettingsResult, all_settings

    result = SettingsResult(project, all_settings(project))
    if project is not None:
        say_changed(project, read_settings(project, (), nothing))
    tell(result, as_json, [f"{path} = {row.value!r}  # {row.source}" for path, row in result.settings.items()])


def set_(
    project: ProjectFolder,
    values: Annotated[tuple[str, ...], Parameter(help="settings as table.name=value")] = (),
    *,
    upgrade: Annotated[
        bool,
        Parameter(
            negative=(), help="use this version's defaults, recipe and model in place of those stored with the project"
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write settings into a project's rushes.toml; comments stay, and all are checked before one is written."""
    from rushes.project.held_settings import set_values

    if not values and not upgrade:
        raise ValueError(
            f"name what to set, such as `rushes set {quote(str(project))} train.steps=400`, or give --upgrade"
        )
    result = set_values(project, values, upgrade)
    lines = [f"{path} = {row.value!r}  # {row.source}" for path, row in result.changed.items()]
    lines = [*(lines or ["nothing changed"]), f"settings: {result.file}"]
    tell_stage(result, as_json, project, read_settings(project, (), nothing), lines)
