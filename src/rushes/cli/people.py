"""Commands that bring several people to a project's pages: a campaign of labels, and the blind vote."""

from __future__ import annotations

from shlex import quote
from typing import Annotated

from cyclopts import Parameter

from rushes.cli.console import AsJson, Overrides, ProjectFolder, RunOption, refuse_unused, say, tell, tell_stage, within
from rushes.cli.studio import HOST, PORT, Annotators, BehindProxy, Host, Page, Port, serve_studio
from rushes.config.uses import nothing
from rushes.project.settings import read_settings


def vote(
    project: ProjectFolder,
    *,
    run: RunOption = "",
    port: Port = PORT,
    host: Host = HOST,
    annotators: Annotators = (),
    behind_proxy: BehindProxy = False,
    standing: Annotated[
        bool,
        Parameter(negative=(), help="print the state of the vote and whether it may stop, without opening the page"),
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
    plan: Annotated[bool, Parameter(negative=(), help="store and print the plan, without opening the page")] = False,
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
