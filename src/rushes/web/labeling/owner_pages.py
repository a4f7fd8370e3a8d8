"""What the owner alone sees of a campaign: how far and how well it goes, the vote, and pairs to settle."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, HTTPException

from rushes.records import Candidate, plain
from rushes.store.annotators import ANNOTATOR
from rushes.web.cached_poll import CachedPoll
from rushes.web.labeling.campaign import dashboard, read_campaign
from rushes.web.labeling.disputes import Dispute, SettleDispute, disputes, settled_pairs, settlement
from rushes.web.labeling.labeling_progress import progress_of
from rushes.web.labeling.labeling_session import LabelingSession
from rushes.web.site import SiteSection, StudioProject
from rushes.web.videos import add_project_videos, video_facts

_LISTED = 100  # disputes at once
BEGIN = "rushes campaign {project} --people ada,bob"
OWNER = "owner"  # signs a settlement where the owner has said no name


def sections(project: StudioProject) -> Iterator[SiteSection]:
    """The owner's pages."""
    session = project.labeling

    def routes(router: APIRouter, person: Any) -> None:
        add_project_videos(router, project.folder, person)
        facts = CachedPoll(
            lambda: dashboard(progress_of(session), read_campaign(project.folder), session.assignments.crowd())
        )
        votes = CachedPoll(project.standing)
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
    def settle(body: SettleDispute, name: str = person) -> dict[str, Any]:
        if session.votes.number(body.left, body.right) is None:
            raise HTTPException(404, "There is no such pair here.")
        session.store.add([settlement(session.store, body, name or OWNER, session.plan)])
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
