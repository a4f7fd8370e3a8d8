"""Commands about labels: people on a page, programs that judge, and how far either can be trusted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from rushes.cli.console import (
    GE_0,
    Anonymous,
    AsJson,
    Overrides,
    ProjectFolder,
    Strip,
    bar,
    opened,
    refuse_unused,
    say,
    tell,
    tell_stage,
    with_options,
    within,
)
from rushes.cli.processes import EngineOption, Gpus, led
from rushes.cli.studio import HOST, PORT, Annotators, BehindProxy, Forget, Host, Page, Port, serve_studio
from rushes.config import uses
from rushes.files import whole_file
from rushes.project.settings import read_settings
from rushes.store.database import Store

if TYPE_CHECKING:
    from rushes.project.review_page import ReviewProgress

labels = App(name="labels")
Columns = Annotated[
    str,
    Parameter(
        help="columns of a table, as chosen=A,rejected=B,prompt=C or left, right, answer; default: by their names"
    ),
]
AnswerOptions = Annotated[
    tuple[str, ...],
    Parameter(
        negative=(),
        help='meaning of an answer, as "Left is worse=right" (or left, tie, unjudged), or of ratings, as '
        '"artefacts=lower"; repeatable',
    ),
]


def label(
    project: ProjectFolder,
    *,
    by: Annotated[str, Parameter(help="human, world, metric, vlm or reward; default: label.by of the settings")] = "",
    form: Annotated[
        Literal["pairs", "ranks", "scores", ""],
        Parameter(help="pairs, ranks (by human) or scores; default: label.form of the settings"),
    ] = "",
    port: Port = PORT,
    host: Host = HOST,
    annotators: Annotators = (),
    behind_proxy: BehindProxy = False,
    forget: Forget = (),
    open_link: Annotated[
        bool, Parameter(help="one link for many people, distinguished by ?id=; a completion code after --pairs-each")
    ] = False,
    pairs_each: Annotated[
        int | None, within(1), Parameter(help="pairs for each person of --open-link; default: 20")
    ] = None,
    probes: Annotated[bool, Parameter(help="only the pairs that `rushes tune eta` made (by human)")] = False,
    gpus: Gpus = 1,
    engine: EngineOption = "local",
    overrides: Overrides = (),
    as_json: AsJson = False,
) -> None:
    """Compare takes, per segment, or give each a score from 0 to 10; by people on a local page, or by a program."""
    labelled = with_options(overrides, label__by=("--by", by), label__form=("--form", form))
    settings = read_settings(project, labelled, uses.nothing if forget else uses.labels)
    if not open_link:
        refuse_unused({"--pairs-each": pairs_each}, "--open-link")
    page = Page(host, port, annotators, behind_proxy, forget, open_pairs=(pairs_each or 20) if open_link else 0)
    if settings.label.by == "human" or (forget and not by):  # a link ends whoever labels now
        if engine == "ray":
            raise ValueError(
                "--engine ray works only with a program that judges; people label on a page of this machine"
            )
        refuse_unused({"--gpus": gpus > 1, "--json": as_json}, "a program that judges (--by)")
        from rushes.project.studio import Studio

        serve_studio(Studio(project, labelled, probes), page, "/label", "labelling")
        return
    if probes:
        raise ValueError("--probes works only with people; `rushes tune eta` itself asks a program that labels")
    refuse_unused(page.given(), "people (--by human)")
    if led(project, gpus, engine):
        return
    from rushes.project.labels import label_takes

    with opened(project, settings, engine) as work:
        tell_stage(label_takes(work), as_json, project, settings)


def review(
    project: ProjectFolder,
    *,
    port: Port = PORT,
    host: Host = HOST,
    annotators: Annotators = (),
    behind_proxy: BehindProxy = False,
    progress: Annotated[
        bool, Parameter(help="print the state of each scenario and what people did, without opening the page")
    ] = False,
    overrides: Overrides = (),
    as_json: AsJson = False,
) -> None:
    """Review the clips one by one on a local page: keep, drop, or edit the caption."""
    from rushes.project.review_page import progress_lines

    page = Page(host, port, annotators, behind_proxy)
    if progress:
        refuse_unused(page.given(), "the page")
    result = reviewed(project, overrides, None if progress else page)
    tell_stage(result, as_json, project, read_settings(project, overrides, uses.nothing), progress_lines(result))


def reviewed(project: Path, overrides: Sequence[str], page: Page | None) -> ReviewProgress:
    """How the review stands, after the page was served, where there is one."""
    from rushes.project.review_page import open_review, progress_of
    from rushes.project.studio import Studio

    if page:
        serve_studio(Studio(project, overrides), page, "/review", "review of")
    with open_review(project, read_settings(project, overrides, uses.nothing)) as session:
        return progress_of(session)


def judges(
    project: ProjectFolder,
    *,
    static: Annotated[
        int, GE_0, Parameter(help="also show the judge of label.by this many clips beside frozen copies")
    ] = 0,
    by: Annotated[str, Parameter(help="judge to show frozen clips; default: label.by of the settings")] = "",
    overrides: Overrides = (),
    as_json: AsJson = False,
) -> None:
    """Measure each judge's agreement with people, order effects, ties, and preference for frozen clips."""
    from rushes.project.judge_audit import audit_project, in_words

    if not static:
        refuse_unused({"--by": by}, "--static")
    settings = read_settings(
        project, with_options(overrides, label__by=("--by", by)), uses.judge if static else uses.nothing
    )
    result = audit_project(project, settings, static, bar)
    tell_stage(result, as_json, project, settings, in_words(result))


@labels.command(name="import")
def import_(
    project: ProjectFolder,
    file: Annotated[
        Path,
        Parameter(help="file with the preferences, or folder of Parquet files; video paths are relative to its folder"),
    ],
    *,
    form: Annotated[
        Literal["videoreward", "videodpo", "trl", "labelstudio", "table", ""],
        Parameter(help="program that wrote the file; default: recognised by its fields"),
    ] = "",
    split: Annotated[Literal["train", "eval"], Parameter(help="split of the clips")] = "train",
    left: Annotated[str, Parameter(help="key of the left video (labelstudio); default: as the file says")] = "",
    columns: Columns = "",
    answers: AnswerOptions = (),
    window: Annotated[
        Literal["first", "last", "best-motion", ""],
        Parameter(help="part of clips longer than backbone.frames that their label is for; default: leave them out"),
    ] = "",
    dry_run: Annotated[bool, Parameter(help="print what would be stored, without storing it")] = False,
    overrides: Overrides = (),
    as_json: AsJson = False,
) -> None:
    """Import videos and preferences from another program's file."""
    from rushes.footage.pairs import import_pairs
    from rushes.footage.preflight import Length, PreflightOptions
    from rushes.formats.pair_files import read_pairs
    from rushes.project.defaults import with_sizes
    from rushes.project.look_alikes import look_alikes

    settings = read_settings(project, overrides, uses.nothing)
    size = with_sizes(settings).backbone
    ask = PreflightOptions(
        Length(size.frames, size.fps, lambda frames: frames), size.width_px, size.height_px, settings.footage, size=size
    )
    with Store.open(project) as store, TemporaryDirectory(dir=project, prefix=".pairs-") as unpacked:
        pairs = read_pairs(file, form, left, answers, columns, Path(unpacked))
        with bar("import", len(pairs.pairs)) as tick:
            result = import_pairs(
                store, pairs, ask, split=split, window=window or None, dry_run=dry_run, look_alikes=look_alikes,
                say=say, tick=lambda: tick(1),
            )  # fmt: skip
    if dry_run:
        tell(result, as_json)
    else:
        tell_stage(result, as_json, project, settings)


@labels.command
def export(
    project: ProjectFolder,
    *,
    out: Annotated[Path, Parameter(help="folder to write to")],
    anonymous: Anonymous = False,
    strip: Strip = False,
    as_json: AsJson = False,
) -> None:
    """Write labelled pairs with their videos as a folder that Hugging Face datasets loads."""
    from rushes.formats.datasets import export_datasets
    from rushes.formats.outgoing import Outgoing

    settings = read_settings(project, uses=uses.nothing)
    with Store.open(project) as store:
        outgoing = Outgoing.of(store, settings.footage.path, anonymous, strip)
        tell(export_datasets(store, out, outgoing), as_json)


@labels.command
def clips(
    project: ProjectFolder,
    *,
    out: Annotated[Path, Parameter(help="JSONL file to write: content hash, file and caption of every clip")],
    as_json: AsJson = False,
) -> None:
    """List the clips for a program that scores them; its scores.jsonl is read with --by reward."""
    from rushes.formats.scores import ClipsListed, media_needed

    with Store.open(project) as store, whole_file(out) as part:
        lines = [json.dumps(row, ensure_ascii=False) for row in media_needed(store)]
        part.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    tell(ClipsListed(len(lines), out), as_json)
