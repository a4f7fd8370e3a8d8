"""Commands that choose a project's clips."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import Annotated

from cyclopts import Parameter

from rushes.cli.console import (
    GE_0,
    AsJson,
    Overrides,
    ProjectFolder,
    opened,
    refuse_unused,
    tell,
    with_options,
)
from rushes.project.settings import FILE, overridden, read_settings
from rushes.ray_workers import EngineName
from rushes.store.database import Store


def curate(
    project: ProjectFolder,
    *,
    footage: Annotated[
        Path | None,
        Parameter(help="folder, tar or table of your videos; they are imported, into a new project if there is none"),
    ] = None,
    recipe: Annotated[str, Parameter(help="recipe for a new project's settings; default: realdpo")] = "",
    dry_run: Annotated[bool, Parameter(negative=(), help="measure and show the funnel, but decide nothing")] = False,
    engine: Annotated[EngineName, Parameter(help="where clips are measured: local, or ray (a Ray cluster)")] = "local",
    jobs: Annotated[int, GE_0, Parameter(help="workers; 0 = one for each processor")] = 0,
    overrides: Overrides = (),
    as_json: AsJson = False,
) -> None:
    """Choose the training set with the stages in curate.stages; exit code 2 if too few clips are left."""
    from rushes.project import curation, stages
    from rushes.project.review_page import open_review, progress_lines, progress_of, quotas_of
    from rushes.records import Clip
    from rushes.report.card import CARD, lines

    if footage is None or (project / FILE).exists():
        refuse_unused({"--recipe": recipe}, "a new project, with --footage")
    overrides = with_options(overrides, footage__path=("--footage", footage))
    if footage is not None and not (project / FILE).exists():
        from rushes.project.held_settings import begin_project
        from rushes.project.presets import preset

        settings = preset(recipe or "realdpo", footage)
        # Footage that is to be curated is mixed: what cannot be used is named and left out.
        settings = settings.model_copy(update={"footage": settings.footage.model_copy(update={"on_refused": "skip"})})
        settings = overridden(settings, overrides)
        begin_project(project, settings, {}, overrides)
    elif footage is not None:
        overrides = (*overrides, "footage.kind=folder")
    with opened(project, read_settings(project, overrides)) as work:
        curation.prepare(work, engine, jobs)
        imported = stages.import_footage(work) if footage is not None or not work.store.count(Clip) else None
        done = curation.curate(work, dry_run=dry_run, engine=engine, jobs=jobs)
        lacks = "" if dry_run else curation.not_ready(work.store, done.funnel.clips)
    result = curation.CurateResult(done, imported, None if dry_run else project / CARD)
    words = lines(done)
    if quotas_of(work.settings) and not dry_run:
        with open_review(project, work.settings) as session:
            progress = progress_of(session)
        words += progress_lines(progress)
        result = replace(result, scenarios=progress.scenarios)
    if not dry_run:
        words.append(f"data card: {result.card}")
    if not lacks:
        words.append(f"next: rushes {'curate' if dry_run else 'run'} {quote(str(project))}")
    tell(result, as_json, words)
    if lacks:
        raise ValueError(lacks)


def card(project: ProjectFolder, *, as_json: AsJson = False) -> None:
    """Write the data card of a project that was curated: as Markdown, as a page, and the hashes of its files."""
    from rushes.report.card import CardResult, personal_data, write_card

    with Store.open(project) as store:
        tell(CardResult(write_card(store), personal_data(store)), as_json)
