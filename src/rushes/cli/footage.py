"""Commands about footage: what an import would take, and the set that came of it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Annotated, Literal

from cyclopts import App, Parameter

from rushes.cli.console import GE_0, AsJson, Overrides, ProjectFolder, Strip, opened, refuse_unused, tell, with_options
from rushes.cli.labelling import reviewed
from rushes.cli.studio import HOST, PORT, Page, Port
from rushes.config.uses import code, everything, nothing
from rushes.project.settings import read_settings

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
    tell(result, as_json, [*lines, "", f"next: {_after_preflight(project, fails, summary.reasons)}"])
    if fails:
        sys.exit(1)


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
    tell(result, as_json, result.lines())
    if result.refused and settings.footage.on_refused == "fail":
        sys.exit(1)


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
