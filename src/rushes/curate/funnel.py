"""The funnel: stages in order over the clips of a project, and a decision for each clip whose fate changes.

Findings are stored as they come, so that a run that was stopped goes on where it was; choosing starts anew each time,
from all findings, so that its end is the same.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

from rushes.curate.base import CurationEntry, CurationFinding, Engine, Stage, Task
from rushes.curate.engines import threads
from rushes.curate.findings import MeasureColumns, find_before, rows_of
from rushes.curate.summary import Funnel, Spread, StageSummary, passage, spread
from rushes.judges.endpoint import EndpointError
from rushes.progress import Bar
from rushes.records import Clip, Decision, Row, now, stable_hash
from rushes.store.database import Store
from rushes.store.decisions import DecisionHistory, histories_of

MADE_BY = "curate"
_UNTOLD = {"width_px", "height_px", "pixels", "bytes", "seconds"}  # the clip itself says them
_BATCH, _BATCH_S = 64, 2.0  # findings that are stored at once, and for how long one may wait for others


@dataclass(frozen=True)
class SkippedStage:
    """A stage that cannot run, as its model cannot be asked, and why; clips pass it."""

    name: str
    why: str


@dataclass(slots=True)
class _FunnelClip:
    """A clip on its way, with no more of it than the way needs: there may be many."""

    id: str
    media: str
    source: str
    frames: int
    fps: float
    short_px: int
    caption: str  # that it goes by now
    history: DecisionHistory | None = None  # what was said before; None = nothing
    scenario: str = ""  # as its footage names it
    reason: str = ""  # why it is out
    alive: bool = True

    @property
    def person(self) -> Decision | None:
        return self.history.person() if self.history else None

    @property
    def kept_by_person(self) -> bool:
        person = self.person
        return person is not None and person.keep


class _Entries(Sequence[CurationEntry]):
    """Clips as a stage chooses among them, each made when it is looked at."""

    def __init__(self, states: Sequence[_FunnelClip], columns: MeasureColumns) -> None:
        self._states, self._columns = states, columns

    def __len__(self) -> int:
        return len(self._states)

    @overload
    def __getitem__(self, at: int) -> CurationEntry: ...
    @overload
    def __getitem__(self, at: slice) -> _Entries: ...
    def __getitem__(self, at: int | slice) -> CurationEntry | _Entries:
        if isinstance(at, slice):
            return _Entries(self._states[at], self._columns)
        state = self._states[at]
        finding = self._columns.finding(state.id)
        return CurationEntry(
            state.id, state.caption, finding, person=state.kept_by_person, source=state.source, scenario=state.scenario
        )


def run(
    store: Store,
    stages: Sequence[Stage | SkippedStage],
    engine: Engine,
    bar: Bar,
    *,
    settings: str,
    dry_run: bool = False,
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
    for state in every:
        person = state.person
        state.alive = person is None or person.keep
    on_way = [state for state in every if state.alive and state.frames > 1]
    columns = MeasureColumns([state.id for state in on_way])
    passages = [_pass(store, stage, on_way, columns, engine, bar) for stage in stages]
    changes = [row for state in every if (row := _decision(state, columns, settings))]
    if not dry_run:
        store.add(changes)
    return Funnel(
        clips=len(every),
        stills=sum(state.frames <= 1 for state in every),
        person_dropped=sum(not state.alive and not state.reason for state in every),
        person_kept=sum(state.kept_by_person for state in every),
        entered=len(on_way),
        kept=sum(state.alive for state in on_way),
        decided=len(changes),
        dry_run=dry_run,
        passages=tuple(passages),
        spreads=_spreads(on_way, columns),
    )


def _states(store: Store) -> list[_FunnelClip]:
    histories = histories_of(store.stream(Decision))
    scenarios = store.scenarios()
    states = []
    for clip in store.stream(Clip):
        history = histories.get(clip.id)
        if history and history.aside:
            continue
        person = history.person() if history else None
        caption = (person.caption if person else "") or clip.caption
        state = _FunnelClip(
            clip.id,
            clip.media,
            clip.source,
            frames=clip.frames,
            fps=clip.fps,
            short_px=min(clip.width_px, clip.height_px),
            caption=caption,
            history=history,
            scenario=scenarios.get(clip.id, ""),
        )
        states.append(state)
    return states


def _pass(
    store: Store,
    stage: Stage | SkippedStage,
    on_way: Sequence[_FunnelClip],
    columns: MeasureColumns,
    engine: Engine,
    bar: Bar,
) -> StageSummary:
    """Take all clips that are left through one stage; those that it drops are marked."""
    left = [state for state in on_way if state.alive]
    if isinstance(stage, SkippedStage):
        return StageSummary(stage.name, "", len(left), kept=len(left), skipped=stage.why)
    try:
        problems = _measured(store, stage, left, columns, engine, bar) if stage.measure else {}
        if stage.calls and problems and len(problems) == len(left):
            raise EndpointError(
                f"{stage.name}: no clip of {len(left)} could be judged; the first: {next(iter(problems.values()))}"
            )
        entries = _Entries([state for state in left if state.id not in problems], columns)
        chosen = stage.choose(entries)
    except EndpointError as error:
        if stage.stop:
            raise
        return StageSummary(stage.name, stage.signature, len(left), kept=len(left), skipped=str(error))
    columns.forget_words()
    states = {state.id: state for state in left}
    assert chosen.keys() <= states.keys(), f"{stage.name} drops clips that it was not given"
    held = {id for id in (*problems, *chosen) if states[id].kept_by_person}
    out = {id: reason for id, reason in {**problems, **chosen}.items() if id not in held}
    for id, reason in out.items():
        states[id].alive, states[id].reason = False, f"{stage.name}: {reason}"
    bad = {id: reason for id, reason in problems.items() if id in out}
    return passage(stage, len(left), entries, bad, {id: out[id] for id in chosen if id in out}, len(held))


def _measured(
    store: Store, stage: Stage, left: Sequence[_FunnelClip], columns: MeasureColumns, engine: Engine, bar: Bar
) -> dict[str, str]:
    """Give each clip what the stage finds out about it; returns those it could not measure, and why, in order."""
    assert stage.measure is not None
    captions = {state.id: state.caption for state in left}
    measured = find_before(store, stage, captions, columns)
    missing = [state for state in left if not measured[columns.places[state.id]]]
    engine = threads(stage.parallel) if stage.parallel else engine
    problems: dict[str, str] = {}
    with bar(f"curate: {stage.name}", len(missing)) as tick:
        results = engine(stage.measure, _tasks(store, missing, problems))
        for task, finding in _stored(store, stage, results):
            if finding.problem:
                problems[task.id] = finding.problem
            else:
                columns.add(task.id, finding)
            tick(1)
    for state in left:
        text = columns.caption(state.id, "dense")
        person = state.person
        if text and not (person and person.caption):  # what a person wrote stands
            state.caption = text
    return {id: problems[id] for id in captions if id in problems} if problems else {}


def _tasks(store: Store, states: Sequence[_FunnelClip], problems: dict[str, str]) -> Iterator[Task]:
    for state in states:
        try:
            path = store.media_path(state.media)
        except ValueError as error:
            problems[state.id] = str(error)
            continue
        yield Task(state.id, path, state.caption, state.fps, state.frames)


def _stored(
    store: Store, stage: Stage, results: Iterator[tuple[Task, CurationFinding]]
) -> Iterator[tuple[Task, CurationFinding]]:
    """Findings as they come, kept in small batches, the last one also where an engine fails."""
    waiting: list[Row] = []
    since, count = time.monotonic(), 0
    try:
        for task, finding in results:
            if not finding.problem and not finding.unread:
                waiting += rows_of(stage, task.id, task.caption, finding)
                count += 1
            if count >= _BATCH or time.monotonic() - since > _BATCH_S:
                store.add(waiting)
                waiting, count, since = [], 0, time.monotonic()
            yield task, finding
    finally:
        store.add(waiting)


def _decision(state: _FunnelClip, columns: MeasureColumns, settings: str) -> Decision | None:
    """What the program says of a clip now, where that is another thing than it said last."""
    person, before = state.person, state.history.program if state.history else None
    if person is not None and not person.keep:
        return None
    dense = columns.caption(state.id, "dense") if state.alive and state.frames > 1 else ""
    current = (state.alive, state.reason, dense)
    last = (before.keep, before.reason, before.caption) if before else (True, "", "")
    if current == last:
        return None
    # Two equal decisions with another between them are two events.
    id = stable_hash([MADE_BY, state.id, *current, before.id if before else ""])
    return Decision(
        id,
        state.id,
        keep=state.alive,
        reason=state.reason,
        caption=dense,
        made_by=MADE_BY,
        created_at=now(),
        settings_hash=settings,
    )


def _spreads(on_way: Sequence[_FunnelClip], columns: MeasureColumns) -> dict[str, Spread]:
    """How length, rate, size and all that was measured lie over clips, by name."""
    alive = np.array([state.alive for state in on_way], np.bool_)
    own = {
        "length, s": np.array([state.frames / state.fps for state in on_way]),
        "frames per second": np.array([state.fps for state in on_way]),
        "short side, px": np.array([state.short_px for state in on_way], np.float64),
    }
    columns_by_name = {**own, **{name: column for name, column in columns.values.items() if name not in _UNTOLD}}
    with_values = {name: (column, ~np.isnan(column)) for name, column in columns_by_name.items()}
    return {name: spread(column[has], column[has & alive]) for name, (column, has) in with_values.items() if has.any()}
