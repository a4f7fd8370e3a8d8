"""Where a project stands: what its stages have done, and the command that comes next. Nothing is loaded or written."""

from __future__ import annotations

import os
import shlex
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from rushes.config.tables import Settings, run_name
from rushes.config.uses import nothing
from rushes.files import is_locked
from rushes.project.recipe_table import recipe_needs, takes_that_came
from rushes.project.reports import summary_path
from rushes.project.settings import DETACHED, LOG, read_settings
from rushes.records import OWN_TAKES
from rushes.store.annotators import is_own_answer
from rushes.store.database import Store
from rushes.text_reader import counted
from rushes.training.history import CURVES, Row, last_rows, read_history, speed, step_in_words
from rushes.web.labeling.campaign import enough, read_campaign

LAST_LINES = 5  # of it that are shown at first
LOOK_S = 2.0  # between two looks at a run


@dataclass(frozen=True)
class RunStatus:
    """How far a run is."""

    name: str
    step: int  # that was done last
    steps: int  # of the settings
    ended: bool
    training: bool  # now, by some process
    left_s: float | None = None  # seconds that the steps to come take at the speed of the last ones; null = unknown


@dataclass(frozen=True)
class CampaignStatus:
    """How far people are with what `rushes campaign` asks."""

    people: tuple[str, ...]
    labelled: int  # pairs with a label of a person
    wanted: int
    votes: int = 0  # of people between the base and a run

    def in_words(self) -> str:
        """The same in a sentence."""
        return f"{self.labelled} of {counted(self.wanted, 'pair')} have a label, {enough(self.labelled, self.wanted)}"


@dataclass(frozen=True)
class ProjectStatus:
    """What is there of a project, and what comes next. What the recipe does not need is null."""

    project: Path
    model: str  # family of the model
    recipe: str
    clips: int  # to train on
    held_out: int  # clips
    takes: int | None  # of the training clips, by what training starts from
    takes_wanted: int | None
    labels: int | None  # pairs of takes with a label, or takes with a score
    run: RunStatus
    detached: bool  # whether `rushes run --detach` works on it now
    evaluated: bool
    report: Path | None
    next: str  # command
    campaign: CampaignStatus | None = None  # null = there is none
    broken_off: str = ""  # why `rushes run --detach` ended before its end, as far as its log says; "" = it did not

    def takes_text(self) -> str:
        """How many takes there are, of how many where some lack."""
        there, wanted = self.takes or 0, self.takes_wanted or 0
        return counted(there, "take") if there >= wanted else f"{there:,} of {counted(wanted, 'take')}"

    def lines(self) -> list[str]:
        """The same in words."""
        clips = f"{counted(self.clips, 'clip')} to train on, {self.held_out} held out"
        parts = [clips if self.clips or not self.labels else f"{counted(self.held_out, 'prompt')} held out"]
        if self.takes_wanted:
            parts.append(self.takes_text())
        if self.labels is not None:
            parts.append(counted(self.labels, "label"))
        run = self.run
        state = "finished" if run.ended else "training" if run.training else "stopped" if run.step else "not begun"
        parts.append(f"run {run.name}: {state}, {run.step} of {run.steps} steps")
        if run.training and run.left_s is not None:
            parts[-1] += f", about {run.left_s / 60:.0f} min left"
        parts.append("evaluated" if self.evaluated else "not evaluated")
        if self.campaign:
            parts.append(f"campaign: {self.campaign.in_words()}")
        report = [f"report: {self.report}"] if self.report else []
        if self.broken_off:
            parts.append(f"the detached run ended: {self.broken_off} ({self.project / LOG})")
        if self.detached:
            parts.append(f"at work, without a terminal ({self.project / LOG})")
        return [f"project: {self.project} ({self.recipe} on {self.model})", *parts, *report, f"next: {self.next}"]


def status_of(project: Path, settings: Settings, run: str = "") -> ProjectStatus:
    """Where a project stands under its settings; `run`: in place of the one that they name.

    Raises:
        ValueError: a database that cannot be read.
    """
    needs = set(recipe_needs(settings.train.recipe))
    name = run or run_name(settings.train)
    clips = held_out = 0
    takes = takes_wanted = labels = campaign = None
    finished, ended, evaluated = 0, False, False
    page = project / "reports" / f"{name}.html"
    if (project / "rushes.db").is_file():
        with Store.open(project) as store:
            clips, held_out = len(store.clips("train")), len(store.clips("eval"))
            if needs & OWN_TAKES:
                takes, takes_wanted = _takes(store, settings, clips)
            if needs & {"labels", "scores"}:
                by = str(settings.train.options.get("metric", "human")) if "scores" in needs else ""
                labels = len({row.subject for row in store.scores(metric=by)}) if by else _pairs(store)
            campaign = _campaign(store)
            finished = max((run.steps for run in store.runs() if run.name == name), default=0)  # as it was asked for
            ended = 0 < finished >= _step(project / "runs" / name)
            evaluated = ended and summary_path(store, name).is_file()
    elif needs & OWN_TAKES:
        takes, takes_wanted = 0, 0
    steps = finished if ended else settings.train.steps
    progress = _run(project / "runs" / name, name, steps, ended)
    report = page if evaluated and page.is_file() else None
    status = ProjectStatus(
        project,
        settings.backbone.name,
        settings.train.recipe,
        clips=clips,
        held_out=held_out,
        takes=takes,
        takes_wanted=takes_wanted,
        campaign=campaign,
        labels=labels,
        run=progress,
        detached=DETACHED not in os.environ and is_locked(project / LOG),
        evaluated=evaluated,
        report=report,
        next="",
        broken_off="" if evaluated else broken_off(project / LOG),
    )
    return replace(status, next=_next(status, settings))


def _takes(store: Store, settings: Settings, clips: int) -> tuple[int, int]:
    """Takes that a recipe can use, and how many there should be. Where some came with the footage none are made."""
    came, wanted = len(takes_that_came(store)), settings.generate.takes
    own = store.candidates(split="train", kind=settings.generate.kind, system=settings.train.init_from)
    each = Counter(row.clip_id for row in own)
    return (came, came) if came else (sum(min(count, wanted) for count in each.values()), clips * wanted)


def _pairs(store: Store) -> int:
    """Pairs of takes with a label."""
    return len({frozenset((row.left, row.right)) for row in store.preferences()})


def _campaign(store: Store) -> CampaignStatus | None:
    campaign = read_campaign(store.project)
    if campaign is None:
        return None
    labelled = {frozenset((row.left, row.right)) for row in store.preferences() if is_own_answer(row)}
    return CampaignStatus(campaign.people, len(labelled), campaign.pairs, votes=len(store.preferences(votes=True)))


def _step(folder: Path) -> int:
    """The last step of a run's curves."""
    rows = last_rows(folder / CURVES)
    return int(rows[-1]["step"]) if rows else 0


def _run(folder: Path, name: str, steps: int, ended: bool) -> RunStatus:
    rows = last_rows(folder / CURVES)
    step = rows[-1]["step"] if rows else 0
    seconds = speed(rows)
    left = None if seconds is None else seconds * max(0, steps - step)
    return RunStatus(name, step, steps, ended, training=is_locked(folder / ".lock"), left_s=left)


def _next(status: ProjectStatus, settings: Settings) -> str:
    """The command that does what comes next."""
    project, run = shlex.quote(str(status.project)), status.run
    other = "" if run.name == _own_run(status.project) else f" --run {run.name}"
    if status.detached:
        return f"rushes status {project} --follow"
    if status.broken_off:
        return f"rushes run {project} --detach"
    if not (status.labels if settings.footage.kind == "pairs" else status.clips):
        return f"rushes import {project}"
    if status.takes is not None and status.takes < (status.takes_wanted or 0):
        return f"rushes generate {project}"
    if run.training:
        return f"rushes status {project} --follow"
    campaign = status.campaign
    if campaign and campaign.labelled < campaign.wanted and not run.ended:
        return f"rushes campaign {project}"
    if status.labels == 0:
        return f"rushes label {project}"
    if not run.ended:
        return f"rushes train {project}"
    if not status.evaluated:
        return f"rushes evaluate {project}{other}"
    if campaign and not campaign.votes and status.report is None:
        return f"rushes vote {project}{other} --annotators {shlex.quote(','.join(campaign.people))}"
    if status.report is None:
        return f"rushes report {project}{other}"
    return f"rushes export {project} --run {run.name} --out FOLDER"


def broken_off(log: Path) -> str:
    """Why a detached run ended before its end: what it said last, or that it was killed; "" where it did not."""
    if not log.is_file() or is_locked(log):
        return ""
    with log.open(encoding="utf-8", errors="replace") as file:
        last = next(iter(deque((line.strip() for line in file if line.strip()), 1)), "")
    if last.startswith("rushes: "):
        return last.removeprefix("rushes: ")
    return "" if last.startswith(("next: ", "report: ", "{")) else f"it was killed or broke; its last line: {last:.200}"


def _own_run(project: Path) -> str:
    """The run that the project's file names, which commands take where they are told of no other."""
    with suppress(ValueError):  # a file that holds with overrides alone
        return run_name(read_settings(project, (), nothing).train)
    return ""


def follow(project: Path, settings: Settings) -> Iterator[str]:
    """What a detached run says, or the steps of a run that trains, as they come, until there is no more."""
    if is_locked(project / LOG):
        yield from _added(project / LOG)
        return
    folder = project / "runs" / run_name(settings.train)
    shown = -1
    while True:
        training = is_locked(folder / ".lock")
        new: list[Row] = [row for row in read_history(folder / CURVES) if row["step"] > shown]
        if new:
            shown = new[-1]["step"]
            yield f"step {shown} of {settings.train.steps}: {step_in_words(new[-1])}".rstrip(": ")
        if not training:
            return
        time.sleep(LOOK_S)


def _added(log: Path) -> Iterator[str]:
    """The last lines of a log, and those that are added as long as a process holds it."""
    with log.open(encoding="utf-8", errors="replace") as file:
        yield from (line.rstrip() for line in deque(file, LAST_LINES))
        going = True
        while going:
            going = is_locked(log)  # before the last lines are read
            yield from (line.rstrip() for line in file)
            if going:
                time.sleep(LOOK_S)
