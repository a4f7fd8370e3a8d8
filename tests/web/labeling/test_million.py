"""A hundred thousand preference events, with `--all` a million: how long the page takes to open and to find the next
pair, and its memory."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rushes.records import Candidate, Preference, stable_hash
from rushes.store.database import Store
from rushes.store.rows import encode
from rushes.web.labeling.assignments import AssignmentStore
from rushes.web.labeling.label_rows import LabelingPlan, LabelSubmission
from rushes.web.labeling.labeling_session import LabelingSession
from rushes.web.labeling.vote_table import VoteTable

TAKES, PEOPLE = 3, 14


def event(n: int, first: str, second: str, who: int) -> Preference:
    return Preference(f"e{n}", first, second, ((n % 3) - 1, 1, 0, -1, n % 2), f"human:p{who}", 1.0)


# How rows are written by the three outcomes and two last segments that there are, with places for the rest.
TEXTS = [encode(event(n, "<a>", "<b>", 0)).replace("%", "%%") for n in range(6)]
TEXTS = [text.replace(f'"e{n}"', '"e%d"').replace("<a>", "%s").replace("<b>", "%s").replace("human:p0", "human:p%d")
         for n, text in enumerate(TEXTS)]  # fmt: skip


def body(n: int, first: str, second: str, who: int) -> str:
    """`encode(event(...))`, quicker: a million of them are written."""
    return TEXTS[n % 6] % (n, first, second, who)


@dataclass(frozen=True)
class Labelled:
    """A project with so many preference events, which nearly all of its people gave of nearly all pairs."""

    folder: Path
    events: int

    @property
    def groups(self) -> int:
        return self.events // 40


@pytest.fixture(scope="module", params=[100_000, pytest.param(1_000_000, marks=pytest.mark.whole)])
def labelled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Labelled:
    project = Labelled(tmp_path_factory.mktemp("million") / "project", request.param)
    common: dict[str, Any] = {"media": "0" * 64, "caption": "a person pours milk", "kind": "take", "system": "base"}
    common |= {"made_by": "w", "width_px": 32, "height_px": 32, "frames": 40, "fps": 8.0, "clip_id": ""}
    ids = [[stable_hash([g, k]) for k in range(TAKES)] for g in range(project.groups)]
    with Store.create(project.folder) as store:
        store.add(
            Candidate(id=id, group=f"g{g}", seed=k, **common)
            for g in range(project.groups)
            for k, id in enumerate(ids[g])
        )
        events = islice(product(range(PEOPLE), range(project.groups), ((0, 1), (0, 2), (1, 2))), project.events)
        rows = (
            (f"e{n}", body(n, ids[g][i], ids[g][j], who), f"human:p{who}") for n, (who, g, (i, j)) in enumerate(events)
        )
        # Straight into the table: the checks of `Store.add` would take minutes and are not what is measured here.
        insert = "INSERT INTO rows (type, id, body, judge, supersedes) VALUES ('preferences', ?, ?, ?, '')"
        with store._connection:
            store._connection.execute("BEGIN")
            store._connection.executemany(insert, rows)
    return project


def opened(folder: Path) -> tuple[LabelingSession, float]:
    began = time.perf_counter()
    store = Store.open(folder)
    groups: dict[str, list[str]] = {}
    for row in store.candidates(split="train", system="base"):
        groups.setdefault(row.group, []).append(row.id)
    votes = VoteTable(list(groups.values()), "overall")
    if votes.catch_up(store, folder / "labelling.npz"):
        votes.save(folder / "labelling.npz")
    plan = LabelingPlan(overlap=PEOPLE + 2, overlap_share=1.0, repeat_share=0.0)
    return LabelingSession(store, votes, AssignmentStore(folder / "labelling.db"), plan), time.perf_counter() - began


@pytest.mark.slow
def test_a_project_of_many_events_opens_at_once_and_the_next_pair_is_there(labelled: Labelled) -> None:
    """Bounds are those of an idle machine times three, as a suite runs on busy ones."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert all(body(n, "a", "b", n) == encode(event(n, "a", "b", n)) for n in range(12))
    session, first_s = opened(labelled.folder)
    session.close(labelled.folder / "labelling.npz")
    session, again_s = opened(labelled.folder)
    assert session.votes.counts.sum() == labelled.events and session.votes.pairs == 3 * labelled.groups
    nexts = []
    for number in range(30):
        began = time.perf_counter()
        item = session.next("new")
        nexts.append(time.perf_counter() - began)
        assert item is not None
        session.save(
            "new", item.id, LabelSubmission(f"event-{number:03}", "", {"overall": (1,) * session.segments(item)})
        )
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    session.close()
    p95_ms = 1000 * float(np.quantile(nexts, 0.95))
    print(f"first open {first_s:.1f} s, later {again_s:.2f} s; next pair p95 {p95_ms:.1f} ms; {grown_mb:.0f} MB more")
    share = labelled.events / 1e6
    assert again_s < min(first_s / 3, 0.5 + 3 * 2 * share) and p95_ms < 3 * 20 and grown_mb < 50 + 450 * share
