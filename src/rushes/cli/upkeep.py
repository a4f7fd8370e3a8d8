"""Commands that look after a project: its settings, and what it has stored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import Annotated

from cyclopts import Parameter

from rushes.cli.console import (
    EITHER,
    GE_0,
    AsJson,
    Overrides,
    ProjectFolder,
    bar,
    opened,
    refuse_unused,
    say_changed,
    tell,
    tell_stage,
    within,
)
from rushes.config.uses import code, nothing
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
        bool, Parameter(help="use this version's defaults, recipe and model in place of those stored with the project")
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


def verify(
    project: ProjectFolder,
    *,
    share: Annotated[
        float, within(0, 1), Parameter(name="--again", help="share of the latents and captions to encode again")
    ] = 0.0,
    every: Annotated[bool, Parameter(name="--all", help="encode all latents and captions again")] = False,
    seed: Annotated[int, GE_0, Parameter(help="of the choice")] = 0,
    overrides: Overrides = (),
    as_json: AsJson = False,
) -> None:
    """Check every stored file and row of a project; exit code 1 if something is damaged or lost."""
    from rushes.inspect.soundness import in_words, verify_project

    if every:
        refuse_unused({"--again": share, "--seed": seed}, "a part of the latents, without --all")
    elif not share:
        refuse_unused({"--seed": seed, "--set": overrides}, "--again or --all")
    result = verify_project(project)
    share = 1.0 if every else share
    if share and not result.faults:
        from rushes.inspect.caches import verify as encode_again

        with opened(project, read_settings(project, overrides, code)) as work:
            again = encode_again(work, share, seed)
        result = replace(
            result, compared=again.compared, texts_compared=again.texts_compared, faults=tuple(again.problems)
        )
    mend = [f"next: mend what is named, then rushes verify {quote(str(project))}"] if result.faults else []
    tell(result, as_json, [*in_words(result), *mend], fails=result.faults)


def space(project: ProjectFolder, *, overrides: Overrides = (), as_json: AsJson = False) -> None:
    """Show a project's disk use: what is needed, and what `rushes clean` would remove."""
    from rushes.inspect.disk_use import space as stage
    from rushes.inspect.disk_use import space_in_words

    with opened(project, read_settings(project, overrides, code)) as work:
        result = stage(work)
    less = [f"next: rushes clean {quote(str(project))}"] if result.removable else []
    tell(result, as_json, [*space_in_words(result), *less])


def clean(
    project: ProjectFolder,
    *,
    yes: Annotated[bool, Parameter(name="--yes", help="remove the files; without it they are only listed")] = False,
    overrides: Overrides = (),
    as_json: AsJson = False,
) -> None:
    """Remove what a project does not need: stale latents and takes, checkpoints of finished runs."""
    from rushes.inspect.disk_use import clean as stage
    from rushes.inspect.disk_use import clean_in_words

    with opened(project, read_settings(project, overrides, code)) as work:
        result = stage(work, yes)
    again = [f"next: rushes clean {quote(str(project))} --yes"] if result.files and not result.removed else []
    tell(result, as_json, [*clean_in_words(result), *again])


def backup(
    project: ProjectFolder,
    to: Annotated[Path, Parameter(help="folder of the copy: new, or an earlier or stopped copy of this project")],
    *,
    checkpoints: Annotated[bool, EITHER, Parameter(help="also checkpoints from which runs can continue")] = True,
    as_json: AsJson = False,
) -> None:
    """Copy a project, even while stages run; the copy is itself a project. Run it again to update the copy."""
    from rushes.project.backup import backup as stage

    tell(stage(project, to, bar, checkpoints=checkpoints), as_json)
