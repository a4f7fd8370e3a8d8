"""The funnel: stages in order over the clips of a project, and a decision for each clip whose fate changes.

Findings are stored as they come, so that a run that was stopped goes on where it was; choosing starts anew each time,
from all findings, so that its end is the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from rushes.curate.base import Engine, Entry, Finding, Stage, Task
from rushes.curate.engines import threads
from rushes.curate.kept import found_before, rows_of
from rushes.curate.summary import Funnel, Passage, Spread, passage, spread
from rushes.judges.endpoint import EndpointError
from rushes.records import CaptionKind, Clip, Decision, Row, stable_hash
from rushes.store.database import Store
from rushes.store.decisions import Said

MADE_BY = "curate"
Bar = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
_UNTOLD = {"width_px", "height_px", "pixels", "bytes", "seconds"}  # the clip itself says them
_BATCH, _BATCH_S = 64, 2.0  # findings that are stored at once, and for how long one may wait for others


@dataclass(frozen=True)
class Skipped:
    """A stage that cannot run, as its model cannot be asked, and why; clips pass it."""

    name: str
    why: str


@dataclass
class _State:
    """A clip on its way."""

    clip: Clip
    said: Said
    caption: str  # that it goes by now
    values: dict[str, float] = field(default_factory=dict)
    words: dict[str, Sequence[float]] = field(default_factory=dict)
    captions: dict[CaptionKind, str] = field(default_factory=dict)
    reason: str = ""  # why it is out
    alive: bool = True

    @property
    def kept_by_person(self) -> bool:
        person = self.said.person()
        return person is not None and person.keep

    def take(self, finding: Finding) -> None:
        self.values |= finding.values
        self.words |= finding.words
        self.captions |= finding.captions
        if text := self.captions.get("dense"):
            person = self.said.person()
            if not (person and person.caption):  # what a person wrote stands
                self.caption = text

    def entry(self) -> Entry:
        found = Finding(self.values, self.words, self.captions)
        return Entry(self.clip.id, self.caption, found, self.kept_by_person, self.clip.source)


def run(
    store: Store, stages: Sequence[Stage | Skipped], engine: Engine, bar: Bar, *, settings: str, dry_run: bool = False
) -> Funnel:
    """Measure what was not measured yet, choose, and write the decisions; `settings` is the hash that these get.

    In a dry run nothing is decided; what was found is kept. A person's decision is left alone: what they kept passes
    every stage, what they dropped is out before the first. Clips of one frame are prompts, and pass.

    Raises:
        ValueError: the project has no clips. EndpointError: a model is down, and its stage does not allow to skip it.
    """
    every = _states(store)
    if not every:
        raise ValueError(f"{store.project}: there are no clips to curate; run `rushes import` first")
    stills = [state for state in every if state.clip.frames <= 1]
    for state in every:
        person = state.said.person()
        state.alive = person is None or person.keep
    on_way = [state for state in every if state.alive and state.clip.frames > 1]
    passages = [_pass(store, stage, on_way, engine, bar) for stage in stages]
    changes = [row for state in every if (row := _decision(state, settings))]
    if not dry_run:
        store.add(changes)
    return Funnel(
        clips=len(every),
        stills=len(stills),
        person_dropped=sum(not state.alive and not state.reason for state in every),
        person_kept=sum(state.kept_by_person for state in every),
        entered=len(on_way),
        kept=sum(state.alive for state in on_way),
        decided=len(changes),
        dry_run=dry_run,
        passages=tuple(passages),
        spreads=_spreads(on_way),
    )


def _states(store: Store) -> list[_State]:
    said: dict[str, Said] = {}
    for decision in store.stream(Decision):
        said.setdefault(decision.subject, Said()).add(decision)
    states = []
    for clip in store.clips(dropped=True):
        about = said.get(clip.id, Said())
        person = about.person()
        states.append(_State(clip, about, (person.caption if person else "") or clip.caption))
    return states


def _pass(store: Store, stage: Stage | Skipped, on_way: Sequence[_State], engine: Engine, bar: Bar) -> Passage:
    """Take all clips that are left through one stage; those that it drops are marked."""
    left = [state for state in on_way if state.alive]
    if isinstance(stage, Skipped):
        return Passage(stage.name, "", len(left), kept=len(left), skipped=stage.why)
    try:
        problems = _measured(store, stage, left, engine, bar) if stage.measure else {}
        known = [state for state in left if state.clip.id not in problems]
        entries = [state.entry() for state in known]
        chosen = stage.choose(entries)
    except EndpointError as error:
        if stage.stop:
            raise
        return Passage(stage.name, stage.signature, len(left), kept=len(left), skipped=str(error))
    states = {state.clip.id: state for state in left}
    assert chosen.keys() <= states.keys(), f"{stage.name} drops clips that it was not given"
    held = {id for id in (*problems, *chosen) if states[id].kept_by_person}
    out = {id: reason for id, reason in {**problems, **chosen}.items() if id not in held}
    for id, reason in out.items():
        states[id].alive, states[id].reason = False, f"{stage.name}: {reason}"
    bad = {id: reason for id, reason in problems.items() if id in out}
    return passage(stage, len(left), entries, bad, {id: out[id] for id in chosen if id in out}, len(held))


def _measured(store: Store, stage: Stage, left: Sequence[_State], engine: Engine, bar: Bar) -> dict[str, str]:
    """Give each clip what the stage finds out about it; returns those it could not measure, and why, in order."""
    assert stage.measure is not None
    captions = {state.clip.id: state.caption for state in left}
    found = found_before(store, stage, captions)
    missing = [state.clip for state in left if state.clip.id not in found]
    engine = threads(stage.parallel) if stage.parallel else engine
    problems: dict[str, str] = {}
    with bar(f"curate: {stage.name}", len(missing)) as tick:
        results = engine(stage.measure, _tasks(store, missing, captions, problems))
        for task, finding in _stored(store, stage, results):
            if finding.problem:
                problems[task.id] = finding.problem
            else:
                found[task.id] = finding
            tick(1)
    for state in left:
        if state.clip.id in found:
            state.take(found[state.clip.id])
    return {id: problems[id] for id in captions if id in problems}


def _tasks(
    store: Store, clips: Sequence[Clip], captions: Mapping[str, str], problems: dict[str, str]
) -> Iterator[Task]:
    for clip in clips:
        try:
            path = store.media_path(clip.media)
        except ValueError as error:
            problems[clip.id] = str(error)
            continue
        yield Task(clip.id, path, captions[clip.id], clip.fps, clip.frames)


def _stored(store: Store, stage: Stage, results: Iterator[tuple[Task, Finding]]) -> Iterator[tuple[Task, Finding]]:
    """Findings as they come, kept in small batches, the last one also where an engine fails."""
    waiting: list[Row] = []
    since, count = time.monotonic(), 0
    try:
        for task, finding in results:
            if not finding.problem:
                waiting += rows_of(stage, task.id, task.caption, finding)
                count += 1
            if count >= _BATCH or time.monotonic() - since > _BATCH_S:
                store.add(waiting)
                waiting, count, since = [], 0, time.monotonic()
            yield task, finding
    finally:
        store.add(waiting)


def _decision(state: _State, settings: str) -> Decision | None:
    """What the program says of a clip now, where that is another thing than it said last."""
    person, before = state.said.person(), state.said.program
    if person is not None and not person.keep:
        return None
    now = (state.alive, state.reason, state.captions.get("dense", "") if state.alive else "")
    last = (before.keep, before.reason, before.caption) if before else (True, "", "")
    if now == last:
        return None
    # Of two equal decisions, with another between them, each is an event of its own.
    id = stable_hash([MADE_BY, state.clip.id, *now, before.id if before else ""])
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return Decision(id, state.clip.id, *now, made_by=MADE_BY, created_at=at, settings_hash=settings)


def _spreads(on_way: Sequence[_State]) -> dict[str, Spread]:
    """How length, rate, size and all that was measured lie over clips, by name."""

    def values(state: _State) -> dict[str, float]:
        clip = state.clip
        own = {
            "length, s": clip.frames / clip.fps,
            "frames per second": clip.fps,
            "short side, px": float(min(clip.width_px, clip.height_px)),
        }
        return {**own, **{name: value for name, value in state.values.items() if name not in _UNTOLD}}

    every: dict[str, list[float]] = {}
    kept: dict[str, list[float]] = {}
    for state in on_way:
        for name, value in values(state).items():
            every.setdefault(name, []).append(value)
            if state.alive:
                kept.setdefault(name, []).append(value)
    return {name: spread(found, kept.get(name, [])) for name, found in every.items()}
