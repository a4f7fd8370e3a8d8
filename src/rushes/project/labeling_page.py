"""The labelling page of a project: its desk, and the people who are invited. Free of torch."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rushes import label
from rushes.config.settings_files import settings_hash
from rushes.config.tables import Settings
from rushes.project.labels import probes_to_compare, to_compare
from rushes.records import Clip
from rushes.store.database import Store
from rushes.text_reader import counted
from rushes.web.accounts import Accounts
from rushes.web.labeling.assignments import AssignmentStore
from rushes.web.labeling.label_rows import LabelingPlan
from rushes.web.labeling.session import LabelingSession
from rushes.web.labeling.vote_table import VoteTable

LEDGER, TALLY, PROBE_TALLY = "labelling.db", "labelling.npz", "labelling-probes.npz"


def plan_of(settings: Settings) -> LabelingPlan:
    """How the settings want a project labelled by people."""
    table = settings.label
    same = (
        "dimensions",
        "scores",
        "reasons",
        "play_first",
        "overlap",
        "overlap_share",
        "repeat_share",
        "gold_by",
        "gold_share",
        "lease_s",
    )
    return LabelingPlan(
        **{name: getattr(table, name) for name in same},
        segment_s=None if table.whole else table.segment_s,
        ranks=table.form == "ranks",
        seed=settings.project.seed,
        settings_hash=settings_hash(table),
    )


@contextmanager
def open_desk(folder: Path, settings: Settings, probes: bool = False) -> Iterator[LabelingSession]:
    """The desk of a project, closed at the end; with `probes` it has the pairs of `rushes tune eta` and no others.

    Raises:
        ValueError: no project, or no pair of takes to compare.
    """
    store, plan = Store.open(folder), plan_of(settings)
    imported = () if probes else store.candidates(split="train", kind="imported")
    takes = (*(probes_to_compare if probes else to_compare)(store, settings), *imported)
    tally = VoteTable([[take.id for take in group] for group in label.groups(takes)], plan.dimensions[0])
    if not tally.pairs:
        stage, more = ("generate", " --set generate.takes=2") if takes or store.count(Clip) else ("import", "")
        stage, more = ("tune eta", "") if probes else (stage, more)
        store.close()
        remedy = f"`rushes {stage} {shlex.quote(str(folder))}{more}`"
        raise ValueError(f"{counted(len(takes), 'take')}: no pair to compare; run {remedy}")
    file = folder / (PROBE_TALLY if probes else TALLY)
    if tally.catch_up(store, file):
        tally.save(file)
    desk = LabelingSession(store, tally, AssignmentStore(folder / LEDGER), plan)
    try:
        yield desk
    finally:
        desk.close(file)


def invitations(people: Accounts, names: Sequence[str], address: str) -> dict[str, str]:
    """A link to a page for each person; links that were sent to them before stop working.

    Raises:
        ValueError: a name that is none, or one that is given twice.
    """
    if len(set(names)) < len(names):
        raise ValueError(f"--annotators: a name is given twice: {', '.join(names)}")
    return {name: f"{address}#invite={people.invite(name)}" for name in names}
