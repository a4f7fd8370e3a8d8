"""People look at clips one by one and say which are in the set; knows nothing of HTTP.

Every call may be repeated. An answer is stored once, however often it is sent; one that does not build on what was
said last about its clip is refused, so that nobody overwrites an answer that they have not seen.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rushes.config.clip_shapes import ClipShape, crop_shares
from rushes.records import Clip, Decision, now, stable_hash
from rushes.store.database import Store
from rushes.store.decisions import DecisionHistory
from rushes.web.accounts import AccessDenied, Accounts
from rushes.web.review.queue import Queue, ReviewQueue

MEASURED = "curate/"  # metrics of curation begin so


@dataclass(frozen=True)
class ReviewThreshold:
    """What a metric must lie between for a clip to stay; None = no bound."""

    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class ReviewAnswer:
    """What a person says of a clip: `keep` None takes back what this person said before."""

    clip: str
    event: str  # an id of its own, made where the key was pressed
    revises: str  # id of the person's decision that counted when the key was pressed; "" = there was none
    keep: bool | None
    reason: str = ""
    caption: str = ""  # "" = the one that it has without people


@dataclass(frozen=True)
class ClipFacts:
    """What a page may show of a clip."""

    clip: Clip  # as it was imported
    caption: str  # that it goes by where no person wrote one
    texts: Mapping[str, str]  # other captions of it, by kind
    values: Mapping[str, float]  # metric, without the first part of its name -> value
    history: DecisionHistory  # what was decided


@dataclass(eq=False)
class ReviewSession:
    """Clips of one project and what people say of them; threads may share it.

    `cropped_to` says to which shape a clip is cropped before a model sees it; None = clips are not cropped.
    """

    store: Store
    queue: ReviewQueue
    people: Accounts
    limits: Mapping[str, ReviewThreshold] = field(default_factory=dict)
    lease_s: float = 300.0
    clock: Callable[[], float] = time.time
    cropped_to: Callable[[Clip], ClipShape] | None = None

    def __post_init__(self) -> None:
        self._reader = Store.open(self.store.project)  # reads while another's answer is written
        self._lock, self._saving = threading.RLock(), threading.Lock()
        self._held: dict[str, tuple[str, float]] = {}  # clip -> who looks at it, and until when
        self._trails: dict[str, dict[str, None]] = {}  # person -> clips they decided, the latest last
        self._read = 0
        self.catch_up()

    def catch_up(self) -> None:
        """Take in what was decided meanwhile, by whatever process."""
        with self._lock:
            for number, row in self._reader.tail(Decision, self._read):
                self._read = number
                self.queue.add([row])
                if row.person:
                    trail = self._trails.setdefault(row.made_by, {})
                    trail.pop(row.subject, None)
                    if not row.withdrawn:
                        trail[row.subject] = None

    def deal(
        self, person: str, name: Queue, scenario: str | None, start: str, have: Sequence[str], count: int
    ) -> tuple[str, ...]:
        """The next clips of a queue that nobody else looks at; see `ReviewQueue.after`. The person's others are let go.

        What the person's page shows or has loaded, `have`, is not given again.
        """
        self.catch_up()
        with self._lock:
            now = self.clock()
            self._held = {id: held for id, held in self._held.items() if held[1] > now and held[0] != person}
            ids = self.queue.after(name, scenario, start, [*have, *self._held], count)
            for id in (*have, *ids):
                self._held.setdefault(id, (person, now + self.lease_s))
            return ids

    def save(self, person: str, answer: ReviewAnswer) -> None:
        """Store an answer. Sent again, it changes nothing.

        Raises AccessDenied: an unknown clip, or an answer that does not build on what counts now.
        """
        row = self._row(person, answer)
        with self._saving:
            self.catch_up()
            if not self._stored(row.id):
                last = self.queue.history(answer.clip).person()
                if answer.revises != (last.id if last else ""):
                    raise AccessDenied(_meanwhile(person, last))
            try:
                self.store.add([row])  # refuses other content under the same event
            except ValueError as error:
                raise AccessDenied(str(error)) from error
            self.catch_up()

    def facts(self, id: str) -> ClipFacts:
        """What is known of a clip. Raises AccessDenied: no clip of this project."""
        clip, history = self.clip(id), self.queue.history(id)
        values = {
            score.metric.removeprefix(MEASURED): score.value
            for score in self._reader.scores(subject=id)
            if score.metric.startswith(MEASURED)
        }
        texts: dict[str, str] = {row.kind: row.text for row in self._reader.captions(subject=id) if row.kind != "wrong"}
        caption = history.program.caption if history.program and history.program.caption else clip.caption
        return ClipFacts(clip, caption, texts, values, history)

    def crop(self, clip: Clip) -> tuple[float, float]:
        """The shares of the width and the height of its picture that a model sees of a clip, in the middle."""
        if self.cropped_to is None:
            return 1.0, 1.0
        shape = self.cropped_to(clip)
        across, down = crop_shares(clip, shape.height_px, shape.width_px)
        return float(across), float(down)

    def back(self, person: str, clip: str = "") -> str | None:
        """The clip that this person decided before this one, without one: decided last. None = there is none."""
        with self._lock:
            trail = list(self._trails.get(person, ()))
        end = trail.index(clip) if clip in trail else len(trail)
        return trail[end - 1] if end else None

    def decided_by(self, person: str) -> int:
        """Clips of which this person's last word still stands among what people said."""
        with self._lock:
            return len(self._trails.get(person, ()))

    def people_at_work(self) -> dict[str, int]:
        """Person -> clips that they decided."""
        with self._lock:
            return {person: len(trail) for person, trail in self._trails.items() if trail}

    def clip(self, id: str) -> Clip:
        """A clip of the project. Raises AccessDenied when there is none with this id."""
        if id not in self.queue.place:
            raise AccessDenied("This clip is not in the project; reload the page.")
        row = self._reader.get(id)
        assert isinstance(row, Clip), id
        return row

    def video(self, id: str) -> Path:
        """The video file of a clip. Raises AccessDenied as `clip` does."""
        return self.store.media_path(self.clip(id).media)

    def close(self) -> None:
        """Close what is open."""
        self.people.close()
        self._reader.close()
        self.store.close()

    def _row(self, person: str, answer: ReviewAnswer) -> Decision:
        self.clip(answer.clip)
        id = stable_hash(["review", answer.clip, person, answer.event])
        at = now()
        if answer.keep is None:
            return Decision(id, answer.clip, True, person=True, made_by=person, created_at=at, withdrawn=True)
        reason, caption = (" ".join(text.split()) for text in (answer.reason, answer.caption))
        return Decision(
            id, answer.clip, answer.keep, reason=reason, caption=caption, person=True, made_by=person, created_at=at
        )

    def _stored(self, id: str) -> bool:
        try:
            self._reader.get(id)
        except ValueError:
            return False
        return True


def _meanwhile(person: str, last: Decision | None) -> str:
    if last is None:
        return "What was said of this clip was taken back meanwhile; look at it again."
    who = "You" if last.made_by == person else last.made_by
    where = " in another window" if last.made_by == person else ""
    return f"{who} {'kept' if last.keep else 'dropped'} this clip{where} meanwhile; look at it again."
