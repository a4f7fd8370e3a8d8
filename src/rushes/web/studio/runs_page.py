"""The runs of a project as they train: curves over each other, health in words, and sampled clips."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException
from fastapi.responses import JSONResponse, Response
from pydantic import Field

from rushes.report.curves import PANELS, Panel, panels
from rushes.web.site import Body, SiteSection, StudioProject, video_answer
from rushes.web.studio.run_log import POINTS, RunLog
from rushes.web.studio.run_state import ProjectRuns, RunFiles

AT_ONCE = 12  # runs over each other: more colours than anybody distinguishes
NONE_YET = "No run has begun. `rushes train {project}` begins one; its curves then come here by themselves."
_FIRST = {title for _, title, _, _ in PANELS}  # panels that are looked at first
RunName = Annotated[str, Field(min_length=1, max_length=200)]


class ShownRun(Body):
    """A run, and what the page has of it already."""

    name: RunName
    generation: int = 0
    since: int = -1  # the last step that the page has


class RunFiguresRequest(Body):
    """Runs whose figures are wanted."""

    runs: list[ShownRun] = Field(max_length=AT_ONCE)


def sections(project: StudioProject) -> Iterator[SiteSection]:
    """The page on the runs of the project."""

    def routes(router: APIRouter, person: Any) -> None:
        runs = ProjectRuns(project.folder)

        @router.get("/list", dependencies=[person])
        def listed() -> dict[str, Any]:
            names = _refused(runs.names)
            nothing = "" if names else project.named_in(NONE_YET)
            return {"runs": [runs.summary(_refused(lambda name=name: runs.run(name))) for name in names],
                    "nothing": nothing, "points": POINTS, "at_once": AT_ONCE}  # fmt: skip

        @router.post("/read", dependencies=[person])
        def read(body: RunFiguresRequest) -> Response:
            asked = [(each, _refused(lambda name=each.name: runs.run(name))) for each in body.runs]
            figures = [{**runs.state(run), **_news(run, each)} for each, run in asked]
            # As it is: FastAPI would copy each of up to a hundred thousand numbers first.
            return JSONResponse({"runs": figures, "panels": _drawn([run.log for _, run in asked])})

        @router.get("/media/{run}/{sample}", dependencies=[person])
        def media(run: str, sample: str) -> Response:
            return video_answer(lambda: runs.run(run).sample(sample))

    yield SiteSection("runs", "Runs", {"/runs": "runs.html"}, routes, place=40)


def _refused(find: Any) -> Any:
    """What `find` gives, or 404 with its reason."""
    try:
        return find()
    except ValueError as error:
        raise HTTPException(404, str(error)) from error


def _news(run: RunFiles, has: ShownRun) -> dict[str, Any]:
    """Points that the page lacks; all of them where what it has is void."""
    log = run.log
    with log.lock:
        whole = has.generation != log.generation
        since = -1 if whole else has.since
        series = {key: points for key in log.figures() if (points := log.series[key].after(since))[0]}
        return {"generation": log.generation, "through": log.step, "whole": whole or since < 0, "series": series}


def _drawn(logs: Sequence[RunLog]) -> list[dict[str, Any]]:
    """Panels that these runs fill together."""
    keys = dict.fromkeys(key for log in logs for key in log.figures())
    moving = {key for log in logs for key in log.series.keys() - log.still()}
    still = keys.keys() - moving
    return [_panel(panel) for panel in panels([*keys], still)]


def _panel(panel: Panel) -> dict[str, Any]:
    series = [{"name": name, "key": key} for name, key in panel.keys.items()]
    return {"title": panel.title, "meaning": panel.meaning, "series": series, "idle": panel.idle,
            "idle_name": panel.idle_name, "first": panel.title in _FIRST}  # fmt: skip
