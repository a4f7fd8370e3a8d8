"""Takes of a project by words, system, metric and judge, found by SQL; and how judges decided."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

from rushes.store.annotators import AGAIN
from rushes.store.row_queries import TAKES, bodies, marks

VoteOutcome = Literal["", "won", "lost", "tied"]
# What was said last, without what a person said a second time.
_STANDING = "NOT EXISTS (SELECT 1 FROM rows AS later WHERE later.supersedes > '' AND later.supersedes = p.id)"
_STANDING += f" AND p.judge NOT LIKE '%{AGAIN}'"
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


@dataclass(frozen=True)
class TakeChoice:
    """Which takes; what is empty does not narrow the choice."""

    search: str = ""  # words in captions
    system: str = ""
    kind: str = ""
    split: str = ""
    metric: str = ""  # that measured it, between `low` and `high`
    low: float | None = None
    high: float | None = None
    judge: str = ""  # who compared it, with this `outcome`
    outcome: VoteOutcome = ""


class TakeRequest(TypedDict):
    """A clip or prompt that takes were made for."""

    group: str
    takes: int  # how many
    caption: str


def find_requests(
    connection: sqlite3.Connection, choice: TakeChoice, count: int, start: int
) -> tuple[list[TakeRequest], int]:
    """Requests with a take of the choice in the order of their first takes, `count` from `start` on; and how many
    there are."""
    votes, where, values = _conditions(choice, choice.judge)
    query = f"""{votes}SELECT r."group", count(*), min(r.seq), count(*) OVER () FROM rows AS r WHERE {where}
        GROUP BY r."group" ORDER BY min(r.seq) LIMIT ? OFFSET ?"""
    requests = connection.execute(query, (*values, count, start)).fetchall()
    first = [row[2] for row in requests]
    rows = bodies(connection, f"SELECT body FROM rows WHERE seq IN ({marks(first)})", *first)
    texts = {row["group"]: row["caption"] for row in rows}
    groups = [TakeRequest(group=row[0], takes=row[1], caption=texts.get(row[0], "")) for row in requests]
    return groups, requests[0][3] if requests else 0


def takes_in(connection: sqlite3.Connection, group: str, choice: TakeChoice) -> list[str]:
    """Ids of the takes of one request that the choice has, whatever its judge said: that is `votes_on`'s."""
    _, where, values = _conditions(choice, judge="")
    query = f'SELECT r.id FROM rows AS r WHERE r."group" = ? AND {where}'
    return [id for (id,) in connection.execute(query, (group, *values))]


def votes_on(connection: sqlite3.Connection, ids: Sequence[str]) -> dict[str, dict[str, list[int]]]:
    """Take -> judge -> how often it won, tied and lost."""
    counts: dict[str, dict[str, list[int]]] = {}
    query = f"SELECT {_LEFT}, {_RIGHT}, p.judge, {_SUM} FROM rows AS p WHERE p.type = 'preferences' AND "
    query += f"({_LEFT} IN ({marks(ids)}) OR {_RIGHT} IN ({marks(ids)})) AND {_STANDING}"
    for left, right, judge, total in connection.execute(query, (*ids, *ids)):
        for id, sign in ((left, 1), (right, -1)):
            row = counts.setdefault(id, {}).setdefault(judge, [0, 0, 0])
            row[1 - (sign * total > 0) + (sign * total < 0)] += 1
    return counts


def _conditions(choice: TakeChoice, judge: str) -> tuple[str, str, list[object]]:
    """The start of a statement that names a judge's votes, a condition on rows `r`, and the values of both."""
    votes, values = "", list[object]()
    if judge:
        votes, values = f"WITH votes AS ({_VOTES} AND p.judge = ?) ", [judge]
    where = [f"r.{TAKES}"]
    for column in ("system", "kind", "split"):
        if value := getattr(choice, column):
            where.append(f"r.{column} = ?")
            values.append(value)
    for word in choice.search.split():
        where.append("json_extract(r.body, '$.caption') LIKE ? ESCAPE '\\'")
        values.append("%" + word.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_") + "%")
    if choice.metric:
        between = "json_extract(s.body, '$.value') BETWEEN ? AND ?"
        where.append(f"EXISTS (SELECT 1 FROM rows AS s WHERE s.subject = r.id AND s.metric = ? AND {between})")
        ends = ((choice.low, -math.inf), (choice.high, math.inf))
        values += [choice.metric, *(open_end if end is None else end for end, open_end in ends)]
    if judge:
        where.append(f"r.id IN ({_SIDES[choice.outcome]})")
    return votes, " AND ".join(where), values
