"""The pages of a project: the labelling page's desk, the people who are invited, and the server. Free of torch."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from rushes import label
from rushes.config.settings_files import settings_hash
from rushes.config.tables import Settings
from rushes.project.labels import probes_to_compare, to_compare
from rushes.store.database import Store
from rushes.text_reader import counted
from rushes.web.accounts import Accounts
from rushes.web.labeling.assignments import AssignmentStore
from rushes.web.labeling.label_rows import LabelingPlan
from rushes.web.labeling.session import LabelingSession
from rushes.web.labeling.vote_table import VoteTable

LEDGER, TALLY, PROBE_TALLY = "labelling.db", "labelling.npz", "labelling-probes.npz"
_EVERYWHERE = ("0.0.0.0", "::")  # no address that a link could hold


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
        store.close()
        remedy = f"`rushes generate {folder}` with generate.takes at least 2"
        remedy = f"`rushes tune eta {folder}`" if probes else remedy
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
    """A link for each person; links that were sent to them before stop working.

    Raises:
        ValueError: a name that is none, or one that is given twice.
    """
    if len(set(names)) < len(names):
        raise ValueError(f"--annotators: a name is given twice: {', '.join(names)}")
    return {name: f"{address}/#invite={people.invite(name)}" for name in names}


def serve(app: FastAPI, host: str, port: int, on_ready: Callable[[str], None]) -> None:
    """Serve a page until the process is told to stop. `told` gets the address once it is known.

    Raises:
        ValueError: the address or port cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio sends each part of an answer at once; without, the second waits 40 ms for an ACK.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ValueError(
            f"--host {host} --port {port}: {error.strerror or error}; choose another port with --port"
        ) from error
    named = socket.gethostname() if host in _EVERYWHERE else f"[{host}]" if ":" in host else host
    on_ready(f"http://{named}:{listener.getsockname()[1]}")
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=3)
    )
    with listener:
        server.run(sockets=[listener])
