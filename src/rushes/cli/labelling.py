"""Commands about labels: people on a page, programs that judge, and how far either can be trusted."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from rushes.cli.console import (
    GE_0,
    AsJson,
    Overrides,
    ProjectFolder,
    app,
    bar,
    opened,
    refuse_unused,
    say,
    tell,
    tell_stage,
    with_options,
    within,
)
from rushes.cli.processes import Engine, Gpus, led
from rushes.config import uses
from rushes.config.tables import Settings, toy_note
from rushes.files import whole_file
from rushes.project.settings import read_settings
from rushes.store.database import Store

if TYPE_CHECKING:
    from rushes.project.review_page import ReviewProgress
    from rushes.web.accounts import Accounts

Port = Annotated[int, within(0, 65535)]
PORT, HOST = 8765, "127.0.0.1"

labels = App(name="labels", help="Labels from and for other programs.")
app.command(labels)


@app.command
def label(
    project: ProjectFolder,
    *,
    by: Annotated[str, Parameter(help="human, world, metric, vlm or reward; default: label.by of the settings")] = "",
    form: Annotated[
        Literal["pairs", "scores", ""], Parameter(help="pairs or scores; default: label.form of the settings")
    ] = "",
    port: Annotated[Port, Parameter(help="port of the page (by human); 0 = a free one")] = PORT,
    host: Annotated[
        str, Parameter(help="address of the page (by human); any but this machine's own asks for invitations")
    ] = HOST,
    annotators: Annotated[
        tuple[str, ...], Parameter(negative=(), help="name to invite (by human), repeatable; prints a link for each")
    ] = (),
    probes: Annotated[
        bool, Parameter(negative=(), help="the pairs that `rushes tune eta` made and no others (by human)")
    ] = False,
    gpus: Gpus = 1,
    engine: Engine = "local",
    overrides: Overrides = (),
    as_json: AsJson = False,
) -> None:
    """Compare takes, per segment, or give each a score from 0 to 10; by people on a local page, or by a program."""
    settings = read_settings(
        project, with_options(overrides, label__by=("--by", by), label__form=("--form", form)), uses.labels
    )
    page = {"--port": port != PORT, "--host": host != HOST, "--annotators": annotators}
    if settings.label.by == "human":
        if engine == "ray":
            raise ValueError("--engine ray is for a program that judges; people label on a page of this machine")
        refuse_unused({"--gpus": gpus > 1, "--json": as_json}, "a program that judges (--by)")
        _serve(project, settings, host, port, annotators, probes)
        return
    if probes:
        raise ValueError("--probes is for people; `rushes tune eta` itself asks a program that labels")
    refuse_unused(page, "people (--by human)")
    if led(project, gpus, engine):
        return
    from rushes.project.labels import label_takes

    with opened(project, settings, engine) as work:
        tell_stage(label_takes(work), as_json, project, settings)


def _serve(project: Path, settings: Settings, host: str, port: int, annotators: tuple[str, ...], probes: bool) -> None:
    from rushes.project.labeling_page import open_desk, serve
    from rushes.web.labeling.app import make_app
    from rushes.web.site import LOCAL

    _check_host(host, annotators)
    title = settings.project.name or project.resolve().name
    with open_desk(project, settings, probes) as desk:
        on_ready = _teller(f"labelling {title}", desk.assignments, annotators)
        serve(
            make_app(desk, title, host in LOCAL, toy_note(settings.backbone.name, settings.footage.kind)),
            host,
            port,
            on_ready,
        )


def _check_host(host: str, annotators: tuple[str, ...]) -> None:
    from rushes.web.site import LOCAL

    if host not in LOCAL and not annotators:
        raise ValueError(f"--host {host}: only invited people come in from elsewhere; name each with --annotators NAME")


def _teller(what: str, people: Accounts, annotators: tuple[str, ...]) -> Callable[[str], None]:
    """Prints the invitations, and where the page is."""
    from rushes.project.labeling_page import invitations

    def announce(address: str) -> None:
        for name, link in invitations(people, annotators, address).items():
            print(f"{name}: {link}", flush=True)
        print(f"{what} at {address}; Ctrl-C ends it, what was saved is safe", file=sys.stderr, flush=True)

    return announce


@app.command
def review(
    project: ProjectFolder,
    *,
    port: Annotated[Port, Parameter(help="port of the page; 0 = a free one")] = PORT,
    host: Annotated[str, Parameter(help="address of the page; any but this machine's own asks for invitations")] = (
        HOST
    ),
    annotators: Annotated[
        tuple[str, ...], Parameter(negative=(), help="name to invite, repeatable; prints a link for each")
    ] = (),
    progress: Annotated[
        bool, Parameter(negative=(), help="say how each scenario stands and what people did, and open no page")
    ] = False,
    overrides: Overrides = (),
    as_json: AsJson = False,
) -> None:
    """Look at the clips one by one on a local page: keep, drop, or edit the caption."""
    from rushes.project.review_page import progress_lines

    if progress:
        refuse_unused({"--port": port != PORT, "--host": host != HOST, "--annotators": annotators}, "the page")
    settings = read_settings(project, overrides, uses.nothing)
    result = reviewed(project, settings, None if progress else (host, port, annotators))
    tell(result, as_json, progress_lines(result))


def reviewed(project: Path, settings: Settings, page: tuple[str, int, tuple[str, ...]] | None) -> ReviewProgress:
    """How the review stands, after the page was served, where there is one: on a host and port, to invited people."""
    from rushes.project.labeling_page import serve
    from rushes.project.review_page import open_review, progress_of
    from rushes.web.review.app import make_review_app
    from rushes.web.site import LOCAL

    title = settings.project.name or project.resolve().name
    if page:
        _check_host(page[0], page[2])
    with open_review(project, settings) as session:
        if page:
            host, port, annotators = page
            on_ready = _teller(f"review of {title}", session.people, annotators)
            toy = toy_note(settings.backbone.name, settings.footage.kind)
            serve(make_review_app(session, title, host in LOCAL, toy), host, port, on_ready)
        return progress_of(session)


@app.command
def judges(
    project: ProjectFolder,
    *,
    static: Annotated[
        int, GE_0, Parameter(help="also show the judge of label.by so many clips beside frozen copies of them")
    ] = 0,
    by: Annotated[str, Parameter(help="judge to show frozen clips; default: label.by of the settings")] = "",
    overrides: Overrides = (),
    as_json: AsJson = False,
) -> None:
    """Agreement of every judge with people, its order effects, ties, and a liking for clips that stand still."""
    from rushes.project.judge_audit import audit_project, in_words

    if not static:
        refuse_unused({"--by": by}, "--static")
    settings = read_settings(
        project, with_options(overrides, label__by=("--by", by)), uses.judge if static else uses.nothing
    )
    result = audit_project(project, settings, static, bar)
    tell(result, as_json, in_words(result))


@labels.command(name="import")
def import_(
    project: ProjectFolder,
    file: Annotated[Path, Parameter(help="file with the preferences; its videos lie relative to its folder")],
    *,
    form: Annotated[Literal["videoreward", "videodpo", "trl", "labelstudio"], Parameter(help="what wrote the file")],
    split: Annotated[Literal["train", "eval"], Parameter(help="split of the clips")] = "train",
    left: Annotated[
        str, Parameter(help="key of the video that is left (labelstudio); default: what the file says")
    ] = "",
    answers: Annotated[
        tuple[str, ...],
        Parameter(
            negative=(),
            help='of an answer "Left is worse=right", or left, tie, unjudged; of ratings "artefacts=lower"; repeatable',
        ),
    ] = (),
    window: Annotated[
        Literal["first", "last", "best-motion", ""],
        Parameter(help="part of clips longer than backbone.frames that their label is for; default: leave them out"),
    ] = "",
    dry_run: Annotated[bool, Parameter(negative=(), help="say what would be stored, and store nothing")] = False,
    overrides: Overrides = (),
    as_json: AsJson = False,
) -> None:
    """Take videos and preferences from another program's file."""
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
    pairs = read_pairs(file, form, left, answers)
    with Store.open(project) as store, bar("import", len(pairs.pairs)) as tick:
        result = import_pairs(
            store, pairs, ask, split=split, window=window or None, dry_run=dry_run, look_alikes=look_alikes, say=say,
            tick=lambda: tick(1),
        )  # fmt: skip
    tell(result, as_json)


@labels.command
def export(
    project: ProjectFolder,
    *,
    out: Annotated[Path, Parameter(help="folder to write to")],
    as_json: AsJson = False,
) -> None:
    """Write labelled pairs with their videos as a folder that Hugging Face datasets loads."""
    from rushes.formats.datasets import export_datasets

    with Store.open(project) as store:
        tell(export_datasets(store, out), as_json)


@labels.command
def clips(
    project: ProjectFolder,
    *,
    out: Annotated[Path, Parameter(help="JSONL file to write: content hash, file and caption of every clip")],
    as_json: AsJson = False,
) -> None:
    """List the clips for a program that scores them; its scores.jsonl is read with --by reward."""
    from rushes.formats.preferences import ClipsListed, media_needed

    with Store.open(project) as store, whole_file(out) as part:
        lines = [json.dumps(row, ensure_ascii=False) for row in media_needed(store)]
        part.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    tell(ClipsListed(len(lines), out), as_json)
