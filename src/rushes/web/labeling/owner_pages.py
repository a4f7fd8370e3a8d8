"""What the owner alone sees of a campaign: how far and how well it goes, the vote, and pairs to settle."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException
from pydantic import Field

from rushes.records import Candidate, plain
from rushes.store.annotators import ANNOTATOR
from rushes.web.labeling.campaign import dashboard, read_campaign
from rushes.web.labeling.disputes import Dispute, disputes, settled_pairs, settlement, settlement_id
from rushes.web.labeling.labeling_progress import progress_of
from rushes.web.labeling.labeling_session import LabelingSession
from rushes.web.looked import Looked
from rushes.web.site import Body, Id, SiteSection, StudioProject
from rushes.web.videos import add_project_videos, video_facts

_LISTED = 100  # disputes at once
BEGIN = "rushes campaign {project} --people ada,bob"
OWNER = "owner"  # signs a settlement where the owner has said no name


class Settle(Body):
    """The owner's labels of a pair that is disputed, as of its left clip."""

    left: Annotated[str, Field(max_length=200)]
    right: Annotated[str, Field(max_length=200)]
    segment_s: Annotated[float, Field(gt=0, le=1e6, strict=False, allow_inf_nan=False)] | None
    labels: Annotated[list[Annotated[int, Field(ge=-1, le=1)] | None], Field(max_length=4096)]
    event: Id
    revises: Id | Literal[""] = ""


def sections(project: StudioProject) -> Iterator[SiteSection]:
    """The owner's pages."""
    session = project.labeling

    def routes(router: APIRouter, person: Any) -> None:
        add_project_videos(router, project.folder, person)
        facts = Looked(
            lambda: dashboard(progress_of(session), read_campaign(project.folder), session.assignments.crowd())
        )
        votes = Looked(project.standing)
        _add_disputes(router, session, person)

        @router.get("/facts", dependencies=[person])
        def read() -> dict[str, Any]:
            try:
                stands = votes.read()
            except ValueError:
                stands = None
            vote = {**plain(stands), "words": stands.in_words(), "enough": stands.enough} if stands else None
            return {**facts.read(), "vote": vote, "begin": project.named_in(BEGIN)}

    pages = {"/campaign": "campaign.html", "/disputes": "disputes.html"}
    yield SiteSection("campaign", "Campaign", pages, routes, place=70)


def _add_disputes(router: APIRouter, session: LabelingSession, person: Any) -> None:
    @router.get("/disputes", dependencies=[person])
    def listed() -> dict[str, Any]:
        disputed = disputes(session.store, session.plan.dimensions[0])
        shown = [_shown(session, pair) for pair in disputed[:_LISTED]]
        settled = settled_pairs(session.store, session.plan.dimensions[0])[-_LISTED:]
        here = [_shown(session, pair) for pair in settled if session.votes.number(pair.left, pair.right)]
        return {"total": len(disputed), "pairs": shown, "question": session.plan.dimensions[0], "settled": here}

    @router.post("/settle")
    def settle(body: Settle, name: str = person) -> dict[str, Any]:
        if session.votes.number(body.left, body.right) is None:
            raise HTTPException(404, "There is no such pair here.")
        plan, signed = session.plan, name or OWNER
        # A label of an earlier visit is named by its row, whoever signed it, one of this visit by its event.
        rows = {row.id for pair in settled_pairs(session.store, plan.dimensions[0]) if (row := pair.settled)}
        event = settlement_id(body.left, body.right, signed, body.revises) if body.revises else ""
        before = body.revises if body.revises in rows else event
        label = settlement(
            body.left, body.right, body.labels, name=signed, event=body.event, supersedes=before,
            segment_s=body.segment_s, dimension=plan.dimensions[0], settings_hash=plan.settings_hash,
        )  # fmt: skip
        session.store.add([label])
        return {"saved": body.event}


def _shown(session: LabelingSession, pair: Dispute) -> dict[str, Any]:
    takes: list[Candidate] = [session.candidate(id) for id in (pair.left, pair.right)]
    answers = [
        {"who": row.judge.removeprefix(ANNOTATOR), "person": row in pair.rows, "labels": row.marks}
        for row in (*pair.rows, *pair.programs)
    ]
    clips = [{"id": take.id, **video_facts(take)} for take in takes]
    first = pair.settled or pair.rows[0]
    answer = {"labels": first.marks, "event": first.id} if pair.settled else {}
    return {"caption": takes[0].caption, "clips": clips, "said": answers, "weight": pair.weight,
            "segment_s": first.segment_s, "segments": len(first.labels), **answer}  # fmt: skip
