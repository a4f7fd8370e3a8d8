"""Commands about footage: what an import would take, captions, which clips are chosen, and the set that came of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Annotated, Literal

from cyclopts import App, Parameter

from rushes.cli.console import GE_0, AsJson, Overrides, ProjectFolder, Strip, opened, refuse_unused, tell, with_options
from rushes.cli.labelling import reviewed
from rushes.cli.studio import HOST, PORT, Page, Port
from rushes.config.uses import code, everything, nothing
from rushes.project.settings import SETTINGS_FILE, overridden, read_settings
from rushes.ray_workers import EngineName
from rushes.store.database import Store

footage = App(name="footage")


def preflight(
    project: ProjectFolder,
    *,
    footage: Annotated[
        Path | None, Parameter(help="folder, tar or table of the real clips, in place of footage.path")
    ] = None,
    overrides: Overrides = (),
    as_json: AsJson = False,
) -> None:
    """Check every clip: what an import would keep, trim, resample, crop or refuse, and why; exit code 1 if it would
    fail."""
    from rushes.project.intake import preflight as stage

    named = with_options(overrides, footage__path=("--footage", footage))
    kind = () if footage is None else ("footage.kind=folder",)
    with opened(project, read_settings(project, (*named, *kind), code)) as work:
        result, lines = stage(work)
    summary = result.summary
    fails = bool(result.fatal or not summary.usable or (summary.refused and result.on_refused == "fail"))
    tell(result, as_json, [*lines, "", f"next: {_after_preflight(project, fails, summary.reasons)}"], fails=fails)


def _after_preflight(project: Path, fails: bool, reasons: Mapping[str, int]) -> str:
    """What to do: import, or what takes away most of what would be refused."""
    place = quote(str(project))
    if not fails:
        return f"rushes import {place}"
    if reasons and max(reasons, key=reasons.__getitem__).startswith("no caption"):
        return f"rushes captions {place} --by names, or vlm, or human"
    return f"repair refused files, or skip them: rushes set {place} footage.on_refused=skip"


def captions(
    project: ProjectFolder,
    *,
    by: Annotated[
        Literal["vlm", "names", "human"],
        Parameter(
            help="the model of [endpoint], which looks at the clip; its file's name; or people, on the review page"
        ),
    ],
    port: Annotated[Port, Parameter(help="port of the page (by human); 0 = a free one")] = PORT,
    overrides: Overrides = (),
    as_json: AsJson = False,
) -> None:
    """Import the clips and write captions for those without one; existing captions stay. Exit code 1 if files were
    left out that the next import refuses."""
    from rushes.project.captioning import admit_uncaptioned, write_captions

    if by != "human":
        refuse_unused({"--port": port != PORT}, "--by human")
    settings = admit_uncaptioned(read_settings(project, overrides, everything if by == "vlm" else code))
    with opened(project, settings) as work:
        result = write_captions(work, by)
    if by == "human":
        reviewed(project, overrides, Page(HOST, port))
    tell(result, as_json, result.lines(), fails=result.refused and settings.footage.on_refused == "fail")


@footage.command
def export(
    project: ProjectFolder,
    *,
    out: Annotated[Path, Parameter(help="folder to write to, new or empty")],
    form: Annotated[
        Literal["parquet", "webdataset"], Parameter(help="a table beside the videos, or tars of samples")
    ] = "parquet",
    shard_mb: Annotated[float, GE_0, Parameter(help="largest size of a tar in MB, unless one clip is larger")] = 1000.0,
    strip: Strip = False,
    as_json: AsJson = False,
) -> None:
    """Export the training set with its captions, for Hugging Face `datasets` and other programs."""
    from rushes.footage.export import export_set
    from rushes.formats.outgoing import Outgoing
    from rushes.store.database import Store

    settings = read_settings(project, uses=nothing)
    with Store.open(project) as store:
        outgoing = Outgoing(settings.footage.path, strip=strip)
        result = export_set(store, out, form, shard_mb, outgoing)
        tell(result, as_json, result.lines())


def curate(
    project: ProjectFolder,
    *,
    footage: Annotated[
        Path | None,
        Parameter(help="folder, tar or table of your videos; they are imported, into a new project if there is none"),
    ] = None,
    recipe: Annotated[str, Parameter(help="recipe for a new project's settings; default: realdpo")] = "",
    dry_run: Annotated[bool, Parameter(help="measure and show the funnel, but decide nothing")] = False,
    engine: Annotated[EngineName, Parameter(help="where clips are measured: local, or ray (a Ray cluster)")] = "local",
    jobs: Annotated[int, GE_0, Parameter(help="workers; 0 = one for each processor")] = 0,
    overrides: Overrides = (),
    as_json: AsJson = False,
) -> None:
    """Choose the training set with the stages in curate.stages; exit code 2 if too few clips are left."""
    from rushes.project import curation
    from rushes.project.review_page import progress_lines
    from rushes.report.card import lines

    if footage is None or (project / SETTINGS_FILE).exists():
        refuse_unused({"--recipe": recipe}, "a new project, with --footage")
    overrides = with_options(overrides, footage__path=("--footage", footage))
    if footage is not None and not (project / SETTINGS_FILE).exists():
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
        result, progress = curation.curate_footage(
            work, again=footage is not None, dry_run=dry_run, engine=engine, jobs=jobs
        )
        lacks = "" if dry_run else curation.not_ready(work.store, result.curation.funnel.clips)
    words = lines(result.curation)
    if progress:
        words += progress_lines(progress)
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
