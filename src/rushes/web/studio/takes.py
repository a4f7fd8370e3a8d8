"""Takes beside the real clip that they were made for: requests by page, searched and filtered by SQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, get_args

from fastapi import APIRouter, HTTPException
from pydantic import Field

from rushes.records import CandidateKind, Split
from rushes.store.annotators import AGAIN
from rushes.store.row_queries import StoredRow, distinct, range_of, reading, row_of, scores_of, takes_of
from rushes.store.take_search import TakeChoice, VoteOutcome, find_requests, takes_in, votes_on
from rushes.web.site import Body, SiteSection, StudioProject
from rushes.web.videos import add_project_videos, shown

PAGE = 50  # requests
MOST = 60  # takes of one request that are shown
NONE_YET = (
    "There are no takes yet. `rushes generate {project}` makes them; `rushes run {project}` does all that is left."
)
Text = Annotated[str, Field(max_length=200)]
_CURATION = "curate/"  # begins the names of what curation measured, of real clips alone


class TakeFilter(Body):
    """Which takes; what is empty does not narrow the choice."""

    search: Text = ""  # in captions
    system: Text = ""
    kind: CandidateKind | Literal[""] = ""
    split: Split | Literal[""] = ""
    metric: Text = ""  # that measured it, between `low` and `high`
    low: float | None = None
    high: float | None = None
    judge: Text = ""  # who compared it, with this `outcome`
    outcome: VoteOutcome = ""
    page: Annotated[int, Field(ge=0, le=10**7)] = 0

    def choice(self) -> TakeChoice:
        """The same, as the store takes it."""
        return TakeChoice(**{name: getattr(self, name) for name in TakeChoice.__dataclass_fields__})


class OneRequest(TakeFilter):
    """A request, of which the takes that the filter chooses are marked."""

    group: Text


def sections(project: StudioProject) -> Iterator[SiteSection]:
    """The page on the takes of the project."""
    folder = project.folder

    def routes(router: APIRouter, person: Any) -> None:
        add_project_videos(router, folder, person)

        @router.get("/choices", dependencies=[person])
        def choices() -> dict[str, Any]:
            with reading(folder) as connection:
                if connection is None or not (systems := distinct(connection, "system")):
                    return {"nothing": project.named_in(NONE_YET)}
                metrics = [name for name in distinct(connection, "metric") if not name.startswith(_CURATION)]
                judges = [name for name in distinct(connection, "judge") if not name.endswith(AGAIN)]
            return {"nothing": "", "systems": systems, "metrics": metrics, "judges": judges, "page": PAGE,
                    "kinds": get_args(CandidateKind), "splits": get_args(Split)}  # fmt: skip

        @router.post("/list", dependencies=[person])
        def listed(body: TakeFilter) -> dict[str, Any]:
            with reading(folder) as connection:
                return _page(connection, body) if connection is not None else {"groups": [], "total": 0, "range": None}

        @router.post("/group", dependencies=[person])
        def group(body: OneRequest) -> dict[str, Any]:
            with reading(folder) as connection:
                takes = takes_of(connection, body.group) if connection is not None else []
                if connection is None or not takes:
                    raise HTTPException(404, "There is no such request.")
                return _request(connection, takes, body)

    yield SiteSection("takes", "Takes", {"/takes": "takes.html"}, routes, place=20)


def _page(connection: sqlite3.Connection, filter: TakeFilter) -> dict[str, Any]:
    """A page of requests in the order of their first takes, and how many there are."""
    groups, total = find_requests(connection, filter.choice(), PAGE, PAGE * filter.page)
    return {"groups": groups, "total": total, "range": range_of(connection, filter.metric) if filter.metric else None}


def _request(connection: sqlite3.Connection, takes: Sequence[StoredRow], filter: OneRequest) -> dict[str, Any]:
    """All that is known of a request: its takes, the real clip, what each measures, and how it was judged."""
    chosen = takes_in(connection, filter.group, filter.choice())
    votes = votes_on(connection, [take["id"] for take in takes])
    inside = {id for id in chosen if not filter.judge or _judged(votes.get(id, {}).get(filter.judge), filter.outcome)}
    rows = sorted(takes, key=lambda take: take["id"] not in inside)[:MOST]
    real = row_of(connection, takes[0]["clip_id"], "clips") if takes[0]["clip_id"] else None
    ids = [take["id"] for take in rows]
    scores = scores_of(connection, [*ids, *([real["id"]] if real else [])])
    return {
        "caption": takes[0]["caption"],
        "real": {**shown(real), "scores": _measured(scores[real["id"]])} if real and real["frames"] > 1 else None,
        "takes": [
            {**shown(take), "inside": id in inside, "scores": scores[id], "votes": votes.get(id, {})}
            for id, take in zip(ids, rows, strict=True)
        ],
        "left_out": len(takes) - len(rows),
    }  # fmt: skip


def _measured(scores: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in scores.items() if not name.startswith(_CURATION)}


def _judged(counts: Sequence[int] | None, outcome: VoteOutcome) -> bool:
    """Whether a judge who gave a take so many wins, ties and losses said this of it."""
    return counts is not None and (not outcome or counts[("won", "tied", "lost").index(outcome)] > 0)
