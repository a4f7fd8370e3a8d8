"""The labelling page over HTTP: pages, and a small interface of JSON that the page's script talks to."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import Field

from rushes.records import Candidate, Clip, Strength
from rushes.report.model import typed
from rushes.web.accounts import CROWD
from rushes.web.cached_poll import CachedPoll
from rushes.web.labeling.assignments import Assignment, ClipSide
from rushes.web.labeling.instructions import read_instructions
from rushes.web.labeling.label_rows import LabelingPlan, LabelSubmission
from rushes.web.labeling.labeling_progress import own_progress, progress_of
from rushes.web.labeling.labeling_session import LabelingSession
from rushes.web.site import Body, Id, SiteSection, StudioProject, video_answer
from rushes.web.videos import video_facts

EXAMPLE = "example-"  # before the number of a pair of the instructions, in the address of its videos
Mark = Annotated[int, Field(ge=-1, le=1)] | None  # strict: true is no 1


class NextPairRequest(Body):
    """What the page holds already."""

    have: list[Id] = Field(default_factory=list, max_length=4)


class OneItem(Body):
    """An item, or none."""

    item: Id | Literal[""] = ""


SubmittedReasons = Annotated[list[Annotated[str, Field(max_length=40)]], Field(max_length=16)]
SubmittedSeconds = Annotated[float, Field(ge=0, le=1e6, strict=False, allow_inf_nan=False)]

PartSeconds = Annotated[float, Field(gt=0, le=1e6, strict=False, allow_inf_nan=False)]


class Span(Body):
    """A stretch of time and what is said of it."""

    start_s: SubmittedSeconds
    end_s: SubmittedSeconds
    mark: Annotated[int, Field(ge=-1, le=1)]
    reasons: SubmittedReasons = Field([])


class RemarksBody(Body):
    """What a person says of an item beside its labels."""

    reasons: list[SubmittedReasons] = Field([], max_length=4096)
    spans: list[Span] = Field([], max_length=256)
    from_spans: list[Annotated[int, Field(ge=0)]] = Field([], max_length=4096)
    note: Annotated[str, Field(max_length=2000)] = ""
    broken: list[ClipSide] = Field([], max_length=6)
    strength: Strength = ""
    seconds: SubmittedSeconds | None = None
    plays: Annotated[int, Field(ge=0, le=10_000)] | None = None


class SaveLabels(Body):
    """What a person says of an item: labels of a pair, or a ranking of several takes."""

    item: Id
    event: Id
    revises: Id | Literal[""] = ""
    labels: dict[str, Annotated[list[Mark], Field(max_length=4096)]] = Field({}, max_length=32)
    scores: dict[ClipSide, Annotated[float, Field(ge=0, le=10, strict=False, allow_inf_nan=False)]] = Field({})
    remarks: RemarksBody = RemarksBody()
    ranking: list[Annotated[list[ClipSide], Field(max_length=6)]] = Field([], max_length=6)
    segment_s: PartSeconds | Literal["asked"] | None = "asked"

    def submission(self) -> LabelSubmission:
        """The same, as the session takes it."""
        return typed(LabelSubmission, self.model_dump(exclude={"item"}))


class LabelFilter(Body):
    """Which labels are wanted; "" = any. `answer` is that of the first question over the whole clip."""

    before: Annotated[float, Field(ge=0, strict=False, allow_inf_nan=False)] | None = None  # Unix time; None = to now
    answer: Literal["", "a", "b", "tie", "cannot tell", "mixed"] = ""  # mixed: of unlike parts
    reason: Annotated[str, Field(max_length=40)] = ""
    text: Annotated[str, Field(max_length=200)] = ""  # in the prompt or the note, whatever its case


def sections(project: StudioProject) -> Iterator[SiteSection]:
    """Labels, and votes."""
    yield labeling_section(project.labeling, project.title)
    yield vote_section(project.vote, project.title)


def labeling_section(session: LabelingSession, title: str) -> SiteSection:
    """The labelling page and how far everybody is."""

    def routes(router: APIRouter, person: Any) -> None:
        _add_person(router, session, title, person)
        _add_progress(router, session, title, person)
        _add_instructions(router, session, person)
        _add_labels(router, session, person)

    pages = {"/label": "label.html", "/progress": "progress.html"}
    nameless = frozenset({"progress"})
    return SiteSection("label", "Label", pages, routes, place=30, invited=True, nameless=nameless, crowd=True)


def vote_section(session: LabelingSession, title: str) -> SiteSection:
    """The same page for votes."""

    def routes(router: APIRouter, person: Any) -> None:
        _add_person(router, session, title, person)
        _add_labels(router, session, person)

    return SiteSection("vote", "Vote", {"/vote": "label.html"}, routes, place=60, invited=True)


def _add_person(router: APIRouter, session: LabelingSession, title: str, person: Any) -> None:
    @router.get("/me")
    async def me(name: str = person) -> dict[str, Any]:
        plan = session.plan
        quota = session.quota(name)
        here: dict[str, Any] = {"name": name, "project": title, "place": session.assignments.place}
        here |= {"lease_s": plan.lease_s, "quota": quota if quota < math.inf else None, "proposal": plan.proposal}
        return {**here, **_questions(plan), **session.progress(name)}


def _questions(plan: LabelingPlan) -> dict[str, Any]:
    names = ("dimensions", "segment_s", "reasons", "play_first")
    return {"scored": plan.scores, **{name: getattr(plan, name) for name in names}}


def _add_instructions(router: APIRouter, session: LabelingSession, person: Any) -> None:
    @router.get("/instructions", dependencies=[person])
    def instructions() -> dict[str, Any]:
        given = read_instructions(session.store)
        if given is None:
            return {"html": "", "pairs": [], "version": ""}
        pairs = [[video_facts(row) for row in pair] for pair in given.pairs]
        return {"html": given.html, "pairs": pairs, "version": given.version}


def _add_progress(router: APIRouter, session: LabelingSession, title: str, person: Any) -> None:
    cached = CachedPoll(lambda: progress_of(session))

    @router.get("/progress")
    def progress(request: Request, name: str = person) -> dict[str, Any]:
        facts = cached.read() if request.state.owner else own_progress(cached.read(), name)
        return {"project": title, "name": name, **facts}


def _add_labels(router: APIRouter, session: LabelingSession, person: Any) -> None:
    # What takes a millisecond of memory and no disk runs where it is; what waits for the disk gets a thread.
    @router.post("/next")
    async def next_pair(body: NextPairRequest, name: str = person) -> dict[str, Any]:
        item = session.next(name, tuple(body.have))
        code = {} if item or not name.startswith(CROWD) else {"code": session.completion_code(name)}
        return {"item": _shown(session, item) if item else None, **code, **session.progress(name)}

    @router.post("/save")
    def save(body: SaveLabels, name: str = person) -> dict[str, Any]:
        lesson = session.practised(name, body.item, body.submission())
        if lesson is None:
            session.save(name, body.item, body.submission())
        more = {"proposal": session.proposed(name, body.item)} if lesson is None else {"lesson": asdict(lesson)}
        return {"saved": body.event, **more, **session.progress(name)}

    @router.post("/back")
    def back(body: OneItem, name: str = person) -> dict[str, Any]:
        saved = session.back(name, body.item)
        if saved is None:
            return {"item": None}
        return {"item": _saved(session, *saved)}

    @router.post("/mine")
    def mine(body: LabelFilter, name: str = person) -> dict[str, Any]:
        return own_labels(session, name, body)

    @router.post("/open")
    def reopen(body: OneItem, name: str = person) -> dict[str, Any]:
        return {"item": _saved(session, *session.reopen(name, body.item))}

    @router.post("/renew")
    async def renew(name: str = person) -> dict[str, Any]:
        session.renew(name)
        return {}

    @router.post("/release")
    async def release(body: OneItem, name: str = person) -> dict[str, Any]:
        session.release(name, body.item)
        return {}

    @router.get("/media/{item}/{side}")
    def media(item: str, side: ClipSide | Literal["real"], name: str = person) -> Response:
        if item.startswith(EXAMPLE):
            return video_answer(lambda: session.example(item.removeprefix(EXAMPLE), side))
        return video_answer(lambda: session.media(name, item, side))


def _shown(session: LabelingSession, item: Assignment) -> dict[str, Any]:
    """What the page may know of an item: nothing that tells which clip is which."""
    real = session.real(item)
    takes: dict[str, Candidate | Clip] = {side: session.side(item, side) for side in item.shown}
    clips = {side: video_facts(row) for side, row in {**takes, **({"real": real} if real else {})}.items()}
    ranks, prompt = bool(item.takes), takes["a"].caption
    segments = session.segments(item)
    practice = session.practice.facts(item.annotator) if item.kind == "practice" else None
    facts = {"id": item.id, "prompt": prompt, "clips": clips, "segments": segments, "ranks": ranks, "until": item.until}
    return {**facts, "practice": practice, **_questions(session.asked(item))}


def _saved(session: LabelingSession, item: Assignment, given: LabelSubmission) -> dict[str, Any]:
    """An item that was saved, with what was said of it."""
    answer = {"event": given.event, "labels": given.labels, "scores": given.scores, "ranking": given.ranking}
    return {**_shown(session, item), **answer, "remarks": asdict(given.remarks)}


_PAGE, _READ = 30, 200  # entries in an answer; items read for one of them


def own_labels(session: LabelingSession, annotator: str, wanted: LabelFilter) -> dict[str, Any]:
    """Entries for the page, the last first, of what was saved before a moment; `more` is the moment to go on from,
    None at the end. Reads a bounded number of items, so that a page without entries may have more behind it."""
    entries: list[dict[str, Any]] = []
    before = math.inf if wanted.before is None else wanted.before
    items = session.assignments.saved(annotator, before, _READ)
    for item in items:
        given = session.given(item)
        before, entry = item.saved_at, _entry(session, item, given)
        if _fits(entry, wanted):
            entries.append(entry)
        if len(entries) == _PAGE:
            break
    ended = len(items) < _READ and (not items or before == items[-1].saved_at)
    return {"entries": entries, "more": None if ended else before}


def _entry(session: LabelingSession, item: Assignment, given: LabelSubmission) -> dict[str, Any]:
    remarks = given.remarks
    return {
        "id": item.id,
        "prompt": session.side(item, "a").caption,
        "saved_at": item.saved_at,
        "answer": _answer(given),
        "ranking": given.ranking,
        "marks": next(iter(given.labels.values()), ()),
        "reasons": list(remarks.named()),
        "note": remarks.note,
        "strength": remarks.strength,
        "broken": remarks.broken,
    }


def _answer(given: LabelSubmission) -> str:
    """The first question's answer over the whole clip, or "ranking"."""
    if given.ranking or not given.labels:
        return "ranking" if given.ranking else "cannot tell"
    marks = set(next(iter(given.labels.values())))
    words = {1: "a", -1: "b", 0: "tie", None: "cannot tell"}
    return words[marks.pop()] if len(marks) == 1 else "mixed"


def _fits(entry: dict[str, Any], wanted: LabelFilter) -> bool:
    return (
        wanted.answer in ("", entry["answer"])
        and (not wanted.reason or wanted.reason in entry["reasons"])
        and any(wanted.text.casefold() in entry[name].casefold() for name in ("prompt", "note"))
    )
