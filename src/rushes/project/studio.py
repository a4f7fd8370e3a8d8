"""The studio of a project: its sections, opened by the first look at them, on one server. Free of torch."""

from __future__ import annotations

import shlex
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from fastapi import FastAPI

from rushes.config.tables import Settings, toy_note
from rushes.config.uses import nothing
from rushes.files import locked, write_text
from rushes.project.labeling_page import (
    LABEL_ASSIGNMENTS,
    VOTE_ASSIGNMENTS,
    open_labeling_session,
    open_vote_session,
    vote_standing,
)
from rushes.project.project_status import ProjectStatus
from rushes.project.review_page import open_review
from rushes.project.settings import SETTINGS_FILE, read_settings
from rushes.project.status import status_of
from rushes.records import Candidate, Clip
from rushes.store.database import Store
from rushes.store.own_files import LOG
from rushes.text_reader import counted
from rushes.web.labeling.assignments import AssignmentStore
from rushes.web.labeling.labeling_session import LabelingSession
from rushes.web.review.review_session import ReviewSession
from rushes.web.site import NotThere, StudioProject, all_sections, make_site
from rushes.web.studio.home import HomeFacts, PathStep, RunningNow, StepState

LOOK_S, REOPEN_S = 2.0, 30.0  # between looks at what a project holds; between openings of a section that grew


class LabelingLock:
    """Held as long as this server gives pairs out, with its address: two servers would give one pair to two people."""

    def __init__(self, folder: Path, assignments: str, page: str) -> None:
        """`assignments`: file of who labels what, which two servers share. `page`: its page, below the address."""
        self._lock_file, self._address_file = folder / f".{assignments}.lock", folder / f".{assignments}.address"
        self._page, self._address = page, ""
        self._holds, self._count, self._lock = ExitStack(), 0, threading.Lock()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold it, once more where this server has it already. Raises ValueError: another server has it."""
        with self._lock:
            if not self._count:
                self._take()
            self._count += 1
        try:
            yield
        finally:
            with self._lock:
                self._count -= 1
                if not self._count:
                    self._address_file.unlink(missing_ok=True)
                    self._holds.close()

    def serves_at(self, address: str) -> None:
        """Say where this server is, for those that are refused."""
        with self._lock:
            self._address = address
            if self._count:
                write_text(self._address_file, address)

    def _take(self) -> None:
        try:
            self._holds.enter_context(locked(self._lock_file, wait=False))
        except BlockingIOError:
            address = ""
            with suppress(OSError, UnicodeError):
                address = self._address_file.read_text(encoding="utf-8").strip()
            where = f" at {address}{self._page}" if address else " by another process"
            raise ValueError(
                f"{self._lock_file.parent}: this labelling page is already open{where}, and a second server would give "
                "the same pair to two people; use the address that the first command printed, or end that command "
                "first"
            ) from None
        if self._address:
            write_text(self._address_file, self._address)


class LazySession:
    """Stands for a session until the first request needs it, and opens it anew when the project has grown.

    Args:
        open: opens it; ValueError says what is missing.
        state: what it shows of the project, such as a number of rows; where that changes it is opened anew. At most one
            that was replaced stays open, for requests that began with it.
    """

    def __init__(self, open: Callable[[], AbstractContextManager[Any]], state: Callable[[], object]) -> None:
        self._opener, self._state = open, state
        self._lock = threading.RLock()
        self._opened: deque[tuple[Any, ExitStack]] = deque()
        self._state_then: object = None
        self._look_at, self._refused = 0.0, ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.ready(), name)

    def ready(self) -> Any:
        """The session. Raises NotThere."""
        with self._lock:
            now = time.monotonic()
            if now >= self._look_at:
                self._look(now)
            if not self._opened:
                raise NotThere(self._refused)
            return self._opened[-1][0]

    def _look(self, now: float) -> None:
        try:
            state = self._state()
            if state != self._state_then:
                stack = ExitStack()
                self._opened.append((stack.enter_context(self._opener()), stack))
                self._state_then = state
                if len(self._opened) > 2:
                    self._opened.popleft()[1].close()
        except ValueError as error:
            self._refused = str(error)
        self._look_at = now + (LOOK_S if not self._opened else max(REOPEN_S, 20 * (time.monotonic() - now)))

    def close(self) -> None:
        """Close what is open, the newest last: what it leaves on the disk stays."""
        with self._lock:
            while self._opened:
                self._opened.popleft()[1].close()
            self._look_at, self._state_then = 0.0, None


@dataclass
class Studio:
    """A project whose pages are served."""

    folder: Path
    overrides: Sequence[str] = ()  # of settings
    probes: bool = False  # whether Label offers the pairs of `rushes tune eta` and no others
    run: str = ""  # that Vote is about, against the base; "" = the newest
    labeling: LazySession = field(init=False)
    vote: LazySession = field(init=False)
    review: LazySession = field(init=False)

    def __post_init__(self) -> None:
        self._settings: tuple[tuple[int, ...], Settings] | None = None
        read_settings(self.folder, self.overrides, nothing)  # what is wrong with them is reported at once
        files = {"/label": LABEL_ASSIGNMENTS, "/vote": VOTE_ASSIGNMENTS}
        self._locks = [LabelingLock(self.folder, file, page) for page, file in files.items()]
        self.labeling = LazySession(
            lambda: self._alone(0, open_labeling_session(self.folder, self.settings(), self.probes)),
            lambda: self._state(Candidate),
        )
        self.vote = LazySession(
            lambda: self._alone(1, open_vote_session(self.folder, self.settings(), self.run)),
            lambda: self._state(Candidate),
        )
        self.review = LazySession(lambda: open_review(self.folder, self.settings()), lambda: self._state(Clip))

    @contextmanager
    def _alone(self, lock: int, opening: AbstractContextManager[LabelingSession]) -> Iterator[LabelingSession]:
        with self._locks[lock].held(), opening as session:
            yield session

    def serves_at(self, address: str) -> None:
        """Say where the pages are, for servers of the same project that are refused."""
        for lock in self._locks:
            lock.serves_at(address)

    def settings(self) -> Settings:
        """As they are in the file now. Raises ValueError."""
        written = self._written()
        if self._settings is None or self._settings[0] != written:
            self._settings = written, read_settings(self.folder, self.overrides, nothing, warn=False)
        return self._settings[1]

    @property
    def title(self) -> str:
        """What the project is called."""
        return title_of(self.folder, self.settings())

    def _written(self) -> tuple[int, ...]:
        try:
            facts = (self.folder / SETTINGS_FILE).stat()
        except OSError:
            return ()  # reading it says so
        return facts.st_mtime_ns, facts.st_size

    def _state(self, kind: type[Clip] | type[Candidate]) -> tuple[object, ...]:
        with Store.open(self.folder) as store:
            return store.count(kind), self._written()


def title_of(folder: Path, settings: Settings) -> str:
    """What a project is called."""
    return settings.project.name or folder.resolve().name


def _project(studio: Studio) -> StudioProject:
    """What its sections are made from."""
    return StudioProject(
        studio.folder,
        studio.title,
        facts=lambda: home_facts(status_of(studio.folder, studio.settings()), studio.settings()),
        review=cast(ReviewSession, studio.review),
        labeling=cast(LabelingSession, studio.labeling),
        vote=cast(LabelingSession, studio.vote),
        standing=lambda: vote_standing(studio.folder, studio.settings(), studio.run),
    )


@contextmanager
def open_studio(studio: Studio, local: bool = True) -> Iterator[FastAPI]:
    """The server of a project's pages; what was opened meanwhile is closed at the end. `local`: see `make_site`.

    Nothing of the project is read but its settings, and nothing written but who may come in.

    Raises:
        ValueError: no project, or settings that are wrong.
    """
    settings = studio.settings()
    warning = toy_note(settings.backbone.name, settings.footage.kind)
    with AssignmentStore(studio.folder / LABEL_ASSIGNMENTS) as people:
        try:
            yield make_site(people, studio.title, all_sections(_project(studio)), local, warning)
        finally:
            studio.labeling.close()
            studio.vote.close()
            studio.review.close()


def home_facts(status: ProjectStatus, settings: Settings) -> HomeFacts:
    """What the first page shows of where a project stands."""
    run, report = status.run, status.report
    what = ("take scored", "takes scored") if settings.label.form == "scores" else ("pair labelled", "pairs labelled")
    rows = (
        ("Footage", "/review", status.clips + (status.labels or 0) > 0, _footage_text(status)),
        ("Takes", "/takes", _enough(status.takes, status.takes_wanted), status.takes_text()),
        (
            "Labels",
            "/label",
            status.labels_done,
            _labels_text(status, status.labels_text(*what)),
        ),
        ("Training", "/runs", run.ended, _training_text(status)),
        ("Proof", "/report", status.evaluated and report is not None, _proof_text(status)),
    )
    first = next((title for title, _, done, _ in rows if done is False), "")
    busy = "Training" if run.training else first if status.detached else ""
    steps = []
    for title, section, done, text in rows:
        ahead: StepState = "running" if title == busy else "next" if title == first else "later"
        its: StepState = "not needed" if done is None else "done" if done and title != busy else ahead
        its = "measured" if its == "done" and title == "Proof" and not status.better else its
        steps.append(PathStep(title, section, its, "this recipe needs none" if done is None else text))
    # In place of the command: it would begin a second server, which is refused while this one has the page open.
    here = "/label" if _is_here(status, settings) else ""
    name, about = title_of(status.project, settings), f"{status.recipe} on {status.model}"
    command = "" if here else status.next
    why = _WHY.get(status.next.split()[1], "")
    return HomeFacts(name, about, tuple(steps), _running(status), command, why=why, here=here)


def _is_here(status: ProjectStatus, settings: Settings) -> bool:
    """Whether the page *Label* does what comes next."""
    labels = status.next.startswith("rushes label ") and "--set" not in shlex.split(status.next)
    return labels and settings.label.by in ("human", "none")


def _enough(there: int | None, wanted: int | None) -> bool | None:
    """Whether all are there; None where none are needed."""
    return None if there is None or wanted is None else 0 < wanted <= there


def _footage_text(status: ProjectStatus) -> str:
    if status.labels and not status.clips:  # it began with pairs
        return f"pairs without footage, {counted(status.held_out, 'prompt')} held out"
    return f"{counted(status.clips, 'clip')} to train on, {status.held_out:,} held out"


def _labels_text(status: ProjectStatus, there: str) -> str:
    return f"campaign: {status.campaign.in_words()}" if status.campaign else there


def _training_text(status: ProjectStatus) -> str:
    run, others = status.run, f"; other runs: {status.others_text()}" if status.other_runs else ""
    return f"{run.name}, {run.state}: {run.step_text}{others}"


def _proof_text(status: ProjectStatus) -> str:
    if not status.evaluated:
        return "not measured"
    return status.verdict or "measured on held-out clips"


def _running(status: ProjectStatus) -> RunningNow | None:
    run = status.run
    if run.training:
        return RunningNow(f"Training {run.name}", run.step, run.steps, run.left_s)
    if not status.detached:
        return None
    with (status.project / LOG).open(encoding="utf-8", errors="replace") as log:
        last = deque((line.strip() for line in log if line.strip()), 1)
    return RunningNow(f"rushes run: {last[0]}" if last else "rushes run")


_WHY = {
    "import": "Bring the footage into the project.",
    "generate": "Let the model make the takes that are compared.",
    "label": "Say which takes are better.",
    "campaign": "Let the people of the campaign label the rest.",
    "vote": "Let the same people choose between base and trained, blind.",
    "wrong-captions": "Write captions that are wrong where a take is, which the recipe contrasts with the true ones.",
    "train": "Train on what is there; a run that was stopped goes on.",
    "evaluate": "Measure the trained model on clips that it has not seen.",
    "report": "Write the report, with every figure and the clips behind it.",
    "export": "Take the trained weights to where you use them.",
    "health": "See what went wrong in training and what to change: the run is not shown to be better.",
    "sample-size": "See how many held-out prompts would show a change, and how to add them.",
    "status": "Follow what is running, in the terminal.",
}
