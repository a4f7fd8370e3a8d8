"""Two systems of a project on the held-out prompts: pair by pair, and the figures that were written of them."""

from __future__ import annotations

import math
import shlex
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException
from pydantic import Field

from rushes.evaluate.result import in_order, read_evaluation, warned_verdict
from rushes.evaluate.suites import directions
from rushes.evaluate.table_file import load_table
from rushes.records import BASE
from rushes.report import text
from rushes.report.model import MetricRow
from rushes.stats import Outcome
from rushes.store.own_files import own_path
from rushes.store.row_queries import (
    StoredRow,
    held_out_systems,
    held_out_takes,
    metrics_of,
    reading,
    row_of,
    scores_of,
    values_of,
)
from rushes.web.site import Body, SiteSection, StudioProject
from rushes.web.videos import add_project_videos, shown

PAGE = 50  # pairs
NONE_YET = (
    "There are no two systems with clips of the same held-out prompts yet. `rushes evaluate {project}` makes and "
    "measures those of the base and of a run."
)
NameText = Annotated[str, Field(max_length=200)]
SortOrder = Literal["prompts", "gains", "losses"]
_MAY_BE_SAID: dict[Outcome, str] = {
    "worse": "got worse",
    "suspect": "may have got worse",
    "undecided": "no change shown",
    "better": "got better",
}


class TwoSystems(Body):
    """What is compared with what, and where the page is."""

    first: NameText
    second: NameText
    metric: NameText = ""  # that orders them
    order: SortOrder = "prompts"
    page: Annotated[int, Field(ge=0, le=10**6)] = 0


class OnePair(Body):
    """Two takes of one prompt and seed, by id."""

    first: NameText
    second: NameText


@dataclass(frozen=True)
class HeadToHead:
    """Figures that a command has written of two systems."""

    source: str = ""  # file, from the project's folder
    words: tuple[str, ...] = ()  # the verdict, and what is wrong with the run
    rows: tuple[MetricRow, ...] = ()
    missing: str = ""  # why there are none


def sections(project: StudioProject) -> Iterator[SiteSection]:
    """The page on two systems of the project."""
    folder = project.folder

    def routes(router: APIRouter, person: Any) -> None:
        add_project_videos(router, folder, person)

        @router.get("/systems", dependencies=[person])
        def systems() -> dict[str, Any]:
            with reading(folder) as connection:
                first = held_out_systems(connection) if connection is not None else {}
            names = sorted(first, key=lambda name: (name != BASE, first[name]))  # then in the order in which they came
            nothing = project.named_in(NONE_YET) if len(names) < 2 else ""
            return {"systems": names, "nothing": nothing, "page": PAGE}

        @router.post("/pairs", dependencies=[person])
        def pairs(body: TwoSystems) -> dict[str, Any]:
            with reading(folder) as connection:
                if connection is None:
                    raise HTTPException(404, project.named_in(NONE_YET))
                return _page(connection, body)

        @router.post("/pair", dependencies=[person])
        def pair(body: OnePair) -> dict[str, Any]:
            with reading(folder) as connection:
                takes = [row_of(connection, id, "candidates") if connection is not None else None
                         for id in (body.first, body.second)]  # fmt: skip
                if connection is None or takes[0] is None or takes[1] is None:
                    raise HTTPException(404, "There is no such pair.")
                return _pair(connection, takes[0], takes[1])

        @router.post("/figures", dependencies=[person])
        def figures(body: TwoSystems) -> dict[str, Any]:
            stored = _figures(project, body.first, body.second)
            rows = [_cells(row) for row in stored.rows]
            return {"rows": rows, "words": stored.words, "source": stored.source, "missing": stored.missing}

    yield SiteSection("compare", "Compare", {"/compare": "compare.html"}, routes, place=50)


def _pairs(connection: sqlite3.Connection, ask: TwoSystems) -> list[tuple[StoredRow, StoredRow]]:
    """Takes of both systems for the same prompt and seed, in the order in which the report numbers them."""
    first, second = (
        {(row["group"], row["seed"]): row for row in held_out_takes(connection, system)}
        for system in (ask.first, ask.second)
    )
    return [(first[key], second[key]) for key in in_order([*first]) if key in second]


def _page(connection: sqlite3.Connection, ask: TwoSystems) -> dict[str, Any]:
    """Pairs of a page; with a metric also how much better the second is, where both were measured."""
    pairs = _pairs(connection, ask)
    gains = _gains(connection, pairs, ask.metric) if ask.metric else {}
    if ask.order != "prompts" and gains:
        sign = -1 if ask.order == "gains" else 1
        pairs = sorted(pairs, key=lambda pair: sign * gains.get(pair[0]["id"], sign * math.inf))
    return {
        "total": len(pairs),
        "pairs": [
            {"first": a["id"], "second": b["id"], "caption": b["caption"], "gain": gains.get(a["id"])}
            for a, b in pairs[PAGE * ask.page : PAGE * (ask.page + 1)]
        ],
        "metrics": metrics_of(connection, [take["id"] for pair in pairs[:PAGE] for take in pair]),
    }  # fmt: skip


def _gains(
    connection: sqlite3.Connection, pairs: Sequence[tuple[StoredRow, StoredRow]], metric: str
) -> dict[str, float]:
    """Id of the first take -> how much better the second is by a metric; more where no direction is better."""
    values = values_of(connection, metric)
    sign = -1 if directions().get(metric) == "lower" else 1
    both = [(a["id"], b["id"]) for a, b in pairs if a["id"] in values and b["id"] in values]
    return {a: sign * (values[b] - values[a]) for a, b in both}


def _pair(connection: sqlite3.Connection, first: StoredRow, second: StoredRow) -> dict[str, Any]:
    """Both takes, and what was measured of each."""
    scores = scores_of(connection, [first["id"], second["id"]])
    a, b, better = scores[first["id"]], scores[second["id"]], directions()
    measured = [
        {"metric": text.plain(name), "better": better.get(name, "neutral"), "first": a[name], "second": b[name]}
        for name in a
        if name in b
    ]
    return {
        "caption": second["caption"],
        "seed": second["seed"],
        "first": shown(first),
        "second": shown(second),
        "measured": measured,
    }


def _figures(project: StudioProject, first: str, second: str) -> HeadToHead:
    """What `rushes evaluate` or `rushes compare` wrote of two systems, as the page shows it."""
    try:
        stored = _evaluated(project.folder, second) if first == BASE else None
        if stored := stored or _compared(project.folder, first, second):
            return stored
    except (ValueError, OSError) as error:
        return HeadToHead(missing=str(error))
    runs = shlex.join(name for name in (first, second) if name != BASE)
    command = project.named_in("evaluate {project} --run" if first == BASE else "compare {project}")
    return HeadToHead(missing=f"`rushes {command} {runs}` writes the figures of this pair.")


def _evaluated(folder: Path, run: str) -> HeadToHead | None:
    """A run against the base, from reports/RUN.json."""
    path = own_path(folder, "reports", f"{run}.json")
    if not path.is_file():
        return None
    result = read_evaluation(path)
    rows = text.ordered(tuple(result.metrics.values()))
    neutral = tuple(row for row in result.metrics.values() if row.better == "neutral")
    return HeadToHead(f"reports/{path.name}", tuple(warned_verdict(result)), (*rows, *neutral))


def _compared(folder: Path, first: str, second: str) -> HeadToHead | None:
    """Two systems of reports/compare.json, in whichever order they stand there."""
    path = own_path(folder, "reports", "compare.json")
    if not path.is_file():
        return None
    metrics = load_table(path)[0].pair(first, second)
    return None if metrics is None else HeadToHead("reports/compare.json", (), tuple(metrics.values()))


def _cells(row: MetricRow) -> dict[str, Any]:
    """A metric of two systems in words, all with the same digits."""
    numbers = text.cells(row)
    return {
        "metric": text.plain(row.name),
        "unit": row.unit,
        "better": row.better,
        "first": numbers["base"],
        "second": numbers["trained"],
        "difference": numbers["difference"],
        "interval": numbers["interval"],
        "pairs": row.n,
        "prompts": row.prompts,
        "outcome": row.outcome,
        "words": _MAY_BE_SAID[row.outcome] if row.better != "neutral" else "neither direction is better",
        "wins": None if row.win is None else (row.win, row.tie, row.lose),
    }
