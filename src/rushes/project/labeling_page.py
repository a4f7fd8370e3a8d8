"""The labelling page of a project: its session, and the people who are invited. Free of torch."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path

from rushes import label
from rushes.config.settings_files import settings_hash
from rushes.config.tables import Settings
from rushes.evaluate.votes import VoteStanding, standing_of, systems_with_pairs, vote_pairs
from rushes.project.labels import probes_to_compare, to_compare
from rushes.records import BASE, VOTE, Clip
from rushes.store.database import Store
from rushes.text_reader import counted
from rushes.web.accounts import Accounts
from rushes.web.labeling.assignments import AssignmentStore
from rushes.web.labeling.campaign import Campaign, read_campaign
from rushes.web.labeling.label_rows import LabelingPlan
from rushes.web.labeling.labeling_session import LabelingSession
from rushes.web.labeling.vote_table import VoteTable

LABEL_ASSIGNMENTS, LABEL_TABLE, PROBE_TABLE = "labelling.db", "labelling.npz", "labelling-probes.npz"
VOTE_ASSIGNMENTS, VOTE_TABLE = "votes.db", "votes.npz"


def plan_of(settings: Settings) -> LabelingPlan:
    """How the settings want a project labelled by people."""
    table = settings.label
    same = {each.name: getattr(table, each.name) for each in fields(LabelingPlan) if hasattr(table, each.name)}
    own = {
        "segment_s": None if table.whole else table.segment_s,
        "ranks": table.form == "ranks",
        "seed": settings.project.seed,
        "settings_hash": settings_hash(table),
    }
    return LabelingPlan(**(same | own))


def with_campaign(plan: LabelingPlan, campaign: Campaign | None) -> LabelingPlan:
    """The plan under what a campaign asks of whom; in what it does not say the settings hold."""
    if campaign is None:
        return plan
    practice = plan.practice if plan.gold_by else campaign.practice
    return replace(
        plan, quotas=campaign.quotas(), overlap=campaign.overlap, overlap_share=campaign.overlap_share,
        gold_by=plan.gold_by or campaign.key, practice=practice,
    )  # fmt: skip


@contextmanager
def open_labeling_session(folder: Path, settings: Settings, probes: bool = False) -> Iterator[LabelingSession]:
    """The labelling session of a project, closed at the end; with `probes` it has the pairs of `rushes tune eta`
    and no others.

    Raises:
        ValueError: no project, or no pair of takes to compare.
    """
    store, plan = Store.open(folder), with_campaign(plan_of(settings), None if probes else read_campaign(folder))
    imported = () if probes else store.candidates(split="train", kind="imported")
    takes = (*(probes_to_compare if probes else to_compare)(store, settings), *imported)
    table = VoteTable([[take.id for take in group] for group in label.groups(takes)], plan.dimensions[0])
    if not table.pairs:
        stage, more = ("generate", " --set generate.takes=2") if takes or store.count(Clip) else ("import", "")
        stage, more = ("tune eta", "") if probes else (stage, more)
        store.close()
        remedy = f"`rushes {stage} {shlex.quote(str(folder))}{more}`"
        raise ValueError(f"{counted(len(takes), 'take')} give no pair to compare; run {remedy}")
    with _session(store, table, LABEL_ASSIGNMENTS, PROBE_TABLE if probes else LABEL_TABLE, plan) as session:
        yield session


@contextmanager
def open_vote_session(folder: Path, settings: Settings, run: str = "") -> Iterator[LabelingSession]:
    """The session in which people vote between the base and a run (the newest if none is named) on held-out prompts:
    the whole clip, blind, without the real one, in an order that no vote changes. It is closed at the end.

    Raises:
        ValueError: no project, or no held-out takes of both.
    """
    store = Store.open(folder)
    try:
        name = voted_run(store, run)
    except ValueError:
        store.close()
        raise
    plan = replace(
        plan_of(settings), dimensions=(VOTE,), segment_s=None, ranks=False, scores=False, overlap=settings.label.votes,
        overlap_share=1.0, repeat_share=0.0, gold_by="", practice=0, proposal="", by_gain=False, real=False,
    )  # fmt: skip
    table = VoteTable([[take.id for take in pair] for pair in vote_pairs(store, BASE, name)], VOTE)
    with _session(store, table, VOTE_ASSIGNMENTS, VOTE_TABLE, plan) as session:
        yield session


def vote_standing(folder: Path, settings: Settings, run: str = "") -> VoteStanding:
    """How people voted between the base and a run. Raises ValueError as `open_vote_session` does."""
    with Store.open(folder) as store:
        return standing_of(store, voted_run(store, run), settings.label.votes, settings.project.seed)


def voted_run(store: Store, run: str = "") -> str:
    """The run that is voted on. Raises ValueError: there are no held-out takes of it and the base."""
    there = systems_with_pairs(store)
    if run not in there and (run or not there):
        which = f"{run!r} and the base" if run else "the base and a run"
        others = f" (there are those of {', '.join(there)})" if there else ""
        command = shlex.join(["rushes", "evaluate", str(store.project), *(["--run", run] if run else [])])
        raise ValueError(f"there are no held-out takes of {which} to vote on{others}; run `{command}`")
    return run or there[-1]


@contextmanager
def _session(
    store: Store, table: VoteTable, assignments: str, table_file: str, plan: LabelingPlan
) -> Iterator[LabelingSession]:
    file = store.project / table_file
    if table.catch_up(store, file):
        table.save(file)
    session = LabelingSession(store, table, AssignmentStore(store.project / assignments), plan)
    try:
        yield session
    finally:
        session.close(file)


def invitations(people: Accounts, names: Sequence[str], address: str) -> dict[str, str]:
    """A link to a page for each person; links that were sent to them before stop working.

    Raises:
        ValueError: a name that is none, or one that is given twice.
    """
    if len(set(names)) < len(names):
        raise ValueError(f"--annotators: a name is given twice: {', '.join(names)}")
    return {name: f"{address}#invite={people.invite(name)}" for name in names}
