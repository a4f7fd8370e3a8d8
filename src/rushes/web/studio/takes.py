"""Takes beside the real clip that they were made for: requests by page, searched and filtered by SQL."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from fastapi import APIRouter, HTTPException
from pydantic import Field

from rushes.records import CandidateKind, Split
from rushes.web.site import Body, SiteSection
from rushes.web.studio.clip_files import add_videos
from rushes.web.studio.database_reader import (
    TAKES,
    bodies,
    distinct,
    marks,
    reading,
    row_of,
    scores_of,
    shown,
    takes_of,
)

PAGE = 50  # requests
MOST = 60  # takes of one request that are shown
NONE_YET = (
    "There are no takes yet. `rushes generate {project}` makes them; `rushes run {project}` does all that is left."
)
Text = Annotated[str, Field(max_length=200)]
Outcome = Literal["", "won", "lost", "tied"]
_CURATION = "curate/"  # begins the names of what curation measured, of real clips alone
_STANDING = "NOT EXISTS (SELECT 1 FROM rows AS later WHERE later.supersedes > '' AND later.supersedes = p.id)"
_LEFT, _RIGHT = "json_extract(p.body, '$.left')", "json_extract(p.body, '$.right')"
_LABELS = f"FROM rows AS p WHERE p.type = 'preferences' AND {_STANDING}"
# The sum over segments is above 0 where left won.
_SUM = "(SELECT sum(value) FROM json_each(p.body, '$.labels'))"
_VOTES = f"SELECT {_LEFT} AS l, {_RIGHT} AS r, {_SUM} AS s {_LABELS}"
_SIDES = {
    "": "SELECT l FROM votes UNION SELECT r FROM votes",
    "won": "SELECT l FROM votes WHERE s > 0 UNION SELECT r FROM votes WHERE s < 0",
    "lost": "SELECT r FROM votes WHERE s > 0 UNION SELECT l FROM votes WHERE s < 0",
    "tied": "SELECT l FROM votes WHERE s = 0 UNION SELECT r FROM votes WHERE s = 0",
}


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
    outcome: Outcome = ""
    page: Annotated[int, Field(ge=0, le=10**7)] = 0


class OneRequest(TakeFilter):
    """A request, of which the takes that the filter chooses are marked."""

    group: Text


def takes_section(folder: Path) -> SiteSection:
    """The page on the takes of the project in `folder`; nothing is read before it is asked for."""

    def routes(person: Any) -> APIRouter:
        router = APIRouter()
        add_videos(router, folder, person)

        @router.get("/choices", dependencies=[person])
        def choices() -> dict[str, Any]:
            with reading(folder) as connection:
                if connection is None or not (systems := distinct(connection, "system")):
                    return {"nothing": NONE_YET.format(project=folder)}
                metrics = [name for name in distinct(connection, "metric") if not name.startswith(_CURATION)]
                judges = distinct(connection, "judge")
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

        return router

    return SiteSection("takes", "Takes", {"/takes": "takes.html"}, routes)


def _chosen(filter: TakeFilter) -> tuple[str, str, list[object]]:
    """The start of a statement that names the judge's votes, a condition on rows `r`, and the values of both."""
    start, values = "", list[object]()
    if filter.judge:
        start, values = f"WITH votes AS ({_VOTES} AND p.judge = ?) ", [filter.judge]
    where = [f"r.{TAKES}"]
    for column in ("system", "kind", "split"):
        if value := getattr(filter, column):
            where.append(f"r.{column} = ?")
            values.append(value)
    if filter.search.strip():
        for word in filter.search.split():
            where.append("json_extract(r.body, '$.caption') LIKE ? ESCAPE '\\'")
            values.append("%" + word.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_") + "%")
    if filter.metric:
        between = "json_extract(s.body, '$.value') BETWEEN ? AND ?"
        where.append(f"EXISTS (SELECT 1 FROM rows AS s WHERE s.subject = r.id AND s.metric = ? AND {between})")
        low, high = (
            (-math.inf if filter.low is None else filter.low),
            (math.inf if filter.high is None else filter.high),
        )
        values += [filter.metric, low, high]
    if filter.judge:
        where.append(f"r.id IN ({_SIDES[filter.outcome]})")
    return start, " AND ".join(where), values


def _page(connection: sqlite3.Connection, filter: TakeFilter) -> dict[str, Any]:
    """A page of requests in the order of their first takes, and how many there are."""
    start, where, values = _chosen(filter)
    query = f"""{start}SELECT r."group", count(*), min(r.seq), count(*) OVER () FROM rows AS r WHERE {where}
        GROUP BY r."group" ORDER BY min(r.seq) LIMIT ? OFFSET ?"""
    requests = connection.execute(query, (*values, PAGE, PAGE * filter.page)).fetchall()
    first = [row[2] for row in requests]
    texts = {row["group"]: row["caption"] for row in bodies(
        connection, f"SELECT body FROM rows WHERE seq IN ({marks(first)})", *first)}  # fmt: skip
    groups = [{"group": row[0], "takes": row[1], "caption": texts.get(row[0], "")} for row in requests]
    total = requests[0][3] if requests else 0
    return {"groups": groups, "total": total, "range": _range(connection, filter.metric) if filter.metric else None}


def _range(connection: sqlite3.Connection, metric: str) -> list[float] | None:
    """The lowest and the highest value of a metric."""
    value = "json_extract(body, '$.value')"
    low, high = connection.execute(
        f"SELECT min({value}), max({value}) FROM rows WHERE metric = ?", (metric,)
    ).fetchone()
    return None if low is None else [low, high]


def _request(connection: sqlite3.Connection, takes: Sequence[dict[str, Any]], filter: OneRequest) -> dict[str, Any]:
    """All that is known of a request: its takes, the real clip, what each measures, and how it was judged."""
    # Of the judge's labels only those of these takes are looked at.
    _, where, values = _chosen(filter.model_copy(update={"judge": ""}))
    chosen = connection.execute(f'SELECT r.id FROM rows AS r WHERE r."group" = ? AND {where}', (filter.group, *values))
    votes = _votes(connection, [take["id"] for take in takes])
    inside = {
        id for (id,) in chosen if not filter.judge or _judged(votes.get(id, {}).get(filter.judge), filter.outcome)
    }
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


def _judged(counts: Sequence[int] | None, outcome: Outcome) -> bool:
    """Whether a judge who gave a take so many wins, ties and losses said this of it."""
    return counts is not None and (not outcome or counts[("won", "tied", "lost").index(outcome)] > 0)


def _votes(connection: sqlite3.Connection, ids: Sequence[str]) -> dict[str, dict[str, list[int]]]:
    """Take -> judge -> how often it won, tied and lost."""
    counts: dict[str, dict[str, list[int]]] = {}
    query = f"SELECT {_LEFT}, {_RIGHT}, p.judge, {_SUM} FROM rows AS p WHERE p.type = 'preferences' AND "
    query += f"({_LEFT} IN ({marks(ids)}) OR {_RIGHT} IN ({marks(ids)})) AND {_STANDING}"
    for left, right, judge, total in connection.execute(query, (*ids, *ids)):
        for id, sign in ((left, 1), (right, -1)):
            row = counts.setdefault(id, {}).setdefault(judge, [0, 0, 0])
            row[1 - (sign * total > 0) + (sign * total < 0)] += 1
    return counts
