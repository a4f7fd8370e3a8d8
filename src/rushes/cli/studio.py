"""The studio, all pages of a project on one local address: the commands that open it and bring people to it."""

from __future__ import annotations

import sys
from collections.abc import Collection
from dataclasses import dataclass
from shlex import quote
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from rushes.cli.console import AsJson, Overrides, ProjectFolder, RunOption, refuse_unused, say, tell, tell_stage, within
from rushes.config.uses import nothing
from rushes.project.settings import read_settings
from rushes.text_reader import printable

if TYPE_CHECKING:
    from rushes.project.studio import Studio
    from rushes.web.accounts import Accounts

PORT, HOST = 8765, "127.0.0.1"

Port = Annotated[int, within(0, 65535), Parameter(help="port of the page; 0 = a free one")]
Host = Annotated[str, Parameter(help="address to serve on; other machines can open any address but this machine's own")]
Annotators = Annotated[
    tuple[str, ...],
    Parameter(
        negative=(),
        consume_multiple=True,
        help="names to invite, separated by blanks or commas; prints a link for each",
    ),
]
BehindProxy = Annotated[bool, Parameter(help="a proxy on this machine forwards people and their names")]
Forget = Annotated[
    tuple[str, ...],
    Parameter(negative=(), help="name whose link ends now, repeatable; labels stay, and no page is opened"),
]


@dataclass(frozen=True)
class Page:
    """Where the pages are served, and to whom."""

    host: str = HOST
    port: int = PORT
    annotators: tuple[str, ...] = ()
    behind_proxy: bool = False
    forget: tuple[str, ...] = ()
    open_pairs: int = 0  # pairs that each person of the open link labels; 0 = there is no such link

    def __post_init__(self) -> None:
        for field in ("annotators", "forget"):
            names = [name.strip() for text in getattr(self, field) for name in text.split(",")]
            object.__setattr__(self, field, tuple(filter(None, names)))

    def given(self) -> dict[str, object]:
        """The options that are not as they are by default."""
        return self._served() | {"--forget": self.forget}

    def _served(self) -> dict[str, object]:
        place = {"--port": self.port != PORT, "--host": self.host != HOST}
        people = {"--annotators": self.annotators, "--open-link": self.open_pairs}
        return {**place, **people, "--behind-proxy": self.behind_proxy}

    def only_here(self, local: Collection[str]) -> str:
        """That links for others open on this machine alone, where they do; `local`: its names for itself."""
        if not (self.annotators or self.open_pairs) or self.host not in local or self.behind_proxy:
            return ""
        return "these links open on this machine alone: --host 0.0.0.0, or an address of it, serves others"

    def check(self) -> None:
        """Raise ValueError where options of a page that is not opened are given."""
        if self.forget:
            refuse_unused(self._served(), "a page, which --forget does not open")


def studio(
    project: ProjectFolder,
    *,
    port: Port = PORT,
    host: Host = HOST,
    annotators: Annotators = (),
    behind_proxy: BehindProxy = False,
    forget: Forget = (),
    overrides: Overrides = (),
) -> None:
    """Open the project in a browser: where it stands, footage, takes, labels, runs as they train, and results."""
    from rushes.project.studio import Studio

    serve_studio(Studio(project, overrides), Page(host, port, annotators, behind_proxy, forget), "", "studio of")


def serve_studio(studio: Studio, page: Page, at: str, what: str) -> None:
    """Serve the pages of a project until Ctrl-C; or end links, where names to forget are given.

    Args:
        studio: the project.
        page: where and to whom.
        at: address of the page that the printed links open; "" = the first, and Label for those who are invited.
        what: what is done there, before the project's name.

    Raises:
        ValueError: nothing to do there yet, a name that is none, or a host or port that cannot be used.
    """
    from rushes.project.labeling_page import LABEL_ASSIGNMENTS, invitations
    from rushes.project.studio import open_studio
    from rushes.web.labeling.assignments import AssignmentStore
    from rushes.web.server import serve
    from rushes.web.site import LOCAL

    page.check()
    if page.forget:
        with AssignmentStore(studio.folder / LABEL_ASSIGNMENTS) as accounts:
            for name in page.forget:
                accounts.forget(name)
                print(f"{printable(name)}: their link has ended; their labels stay, and --annotators invites again")
        return
    if at:
        {"/label": studio.labeling, "/review": studio.review, "/vote": studio.vote}[at].ready()

    def announce(address: str) -> None:
        studio.serves_at(address)
        for name, link in invitations(people, page.annotators, address + (at or "/label")).items():
            print(f"{name}: {link}", flush=True)
        if page.open_pairs:
            crowd = people.open_link(page.open_pairs)
            print(f"open link, ID is the platform's: {address}/label?id=ID#open={crowd.door}", flush=True)
            print(f"completion code after {page.open_pairs} pairs: {crowd.code}", flush=True)
        if note := page.only_here(LOCAL):
            print(note, file=sys.stderr, flush=True)
        place = f"{address}{at or '/'}#key={people.key}"
        words = f"{what} {studio.title} at {place}; Ctrl-C ends it, everything saved is safe"
        print(printable(words), file=sys.stderr, flush=True)

    with open_studio(studio, page.host in LOCAL and not page.behind_proxy) as site:
        people: Accounts = site.state.people
        serve(site, page.host, page.port, announce, page.behind_proxy)


def vote(
    project: ProjectFolder,
    *,
    run: RunOption = "",
    port: Port = PORT,
    host: Host = HOST,
    annotators: Annotators = (),
    behind_proxy: BehindProxy = False,
    standing: Annotated[
        bool, Parameter(help="print the state of the vote and whether it may stop, without opening the page")
    ] = False,
    overrides: Overrides = (),
    as_json: AsJson = False,
) -> None:
    """Let people compare base and trained model blind, on held-out prompts, until the result is decided."""
    from rushes.project.labeling_page import vote_standing
    from rushes.project.studio import Studio

    page = Page(host, port, annotators, behind_proxy)
    if standing:
        refuse_unused(page.given(), "the page")
    else:
        serve_studio(Studio(project, overrides, run=run), page, "/vote", "the vote of")
    settings = read_settings(project, overrides, nothing)
    result = vote_standing(project, settings, run)
    if result.enough:
        return tell_stage(result, as_json, project, settings, [result.in_words()], run=run)
    which = f" --run {quote(run)}" if run else ""
    tell(result, as_json, [result.in_words(), f"next: rushes vote {quote(str(project))}{which}"])


def campaign(
    project: ProjectFolder,
    *,
    people: Annotated[
        str, Parameter(help="names separated by commas, such as ada,bob; default: those of the last campaign")
    ] = "",
    pairs: Annotated[int, within(0), Parameter(help="number of pairs to label; 0 = as many as before, or all")] = 0,
    port: Port = PORT,
    host: Host = HOST,
    behind_proxy: BehindProxy = False,
    plan: Annotated[bool, Parameter(help="store and print the plan, without opening the page")] = False,
    overrides: Overrides = (),
    as_json: AsJson = False,
) -> None:
    """Let several people label: plan pairs and hours, print a link for each person, and open the page."""
    from rushes.project.campaigns import begin_campaign
    from rushes.project.studio import Studio

    page = Page(host, port, behind_proxy=behind_proxy)
    if plan:
        refuse_unused(page.given(), "the page")
    else:
        refuse_unused({"--json": as_json}, "--plan")
    names = tuple(name.strip() for name in people.split(",") if name.strip())
    settings = read_settings(project, overrides, nothing)
    result = begin_campaign(project, settings, names, pairs)
    if plan:
        return tell_stage(result, as_json, project, settings)
    for line in result.lines():
        say(line)
    served = Page(host, port, result.people, behind_proxy)
    return serve_studio(Studio(project, overrides), served, "/label", "labelling")
