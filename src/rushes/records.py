"""The rows that travel between stages: frozen, small, free of tensors; and how results are written as JSON.

Every row says what made it, from what, with which seed and settings. An id is a hash of what identifies the row,
so a stage that is run twice writes the same ids and the store keeps one copy.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any, Literal

from rushes.files import without_checksum

OWN_TAKES = {"takes", "guided", "gaps"}  # needs of a recipe that takes of the model meet
BASE = "base"  # the system of candidates by the model as it was before training
_FRAGMENT = re.compile(r"(.+)#t=(\d+\.\d{3}),\d+\.\d{3}", re.DOTALL)
HUMAN = "human"  # judge of what several people said together, and metric of their scores
VOTE = "vote"  # dimension of people's votes on held-out takes of two systems, which nothing is trained on

Split = Literal["train", "eval"]
CandidateKind = Literal["take", "guided", "gap", "imported", "probe"]
Strength = Literal["", "slightly", "much"]
CaptionKind = Literal["wrong", "dense", "evolved", "verdict", "scenario", "alternatives"]


def stable_hash(value: object, length: int = 24) -> str:
    """Hex digest of a JSON-serialisable value; equal values give equal digests on every machine."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def majority(votes: Iterable[int]) -> int:
    """The side that more of +1 and -1 are for; 0 where as many are for the other."""
    total = sum(votes)
    return (total > 0) - (total < 0)


INLINE = {"inline": True}
"""Metadata of a result's field whose own entries stand in its place, such as counts whose names a recipe chooses."""
OPTIONAL = {"optional": True}
"""Metadata of a result's field that is not an entry where it is None."""


def plain(value: Any) -> Any:
    """A result as JSON has it.

    A dataclass is an object with its fields' names, without the underscore that ends `import_`; tuples are lists, paths
    are text, and numbers that are not finite are null.
    """
    if is_dataclass(value) and not isinstance(value, type):
        entries: dict[str, Any] = {}
        for each in fields(value):
            inner = plain(getattr(value, each.name))
            if inner is None and each.metadata.get("optional"):
                continue
            entries |= (inner or {}) if each.metadata.get("inline") else {each.name.rstrip("_"): inner}
        return entries
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, PurePath):
        return str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def lines_of(result: Any, *before: str) -> list[str]:
    """A line for each entry of a result that holds something, but for those that a sentence has already."""

    def words(value: Any) -> Any:
        return ", ".join(f"{name} {each}" for name, each in value.items()) if isinstance(value, dict) else value

    entries = {name: value for name, value in plain(result).items() if value not in (None, {}, [])}
    return [f"{name}: {words(value)}" for name, value in entries.items() if name not in before]


def seed_of(*parts: object) -> int:
    """A number from 0 to 2^32 - 1 that looks random, the same for equal parts on every machine."""
    return int(stable_hash(list(parts), 8), 16)


def now() -> str:
    """The time of day, as rows and files say when they were written: ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def fragment(source: str, span_s: tuple[float, float]) -> str:
    """A span of a video as a media fragment (W3C): path#t=START,END in seconds."""
    return f"{source}#t={span_s[0]:.3f},{span_s[1]:.3f}"


def of_fragment(source: str) -> tuple[str, float | None]:
    """The video and the start in seconds that `fragment` wrote; another name as it is, and None."""
    match = _FRAGMENT.fullmatch(source)
    return (match[1], float(match[2])) if match else (source, None)


@dataclass(frozen=True)
class Clip:
    """A piece of real footage (or of the embedded world, which stands for it)."""

    id: str
    media: str  # content hash of the file in media/
    caption: str
    width_px: int
    height_px: int
    frames: int
    fps: float
    source: str  # where it came from, as the user named it
    split: Split = "train"
    first_frame: str = ""  # content hash of a still that replaces the clip's own first frame; "" = its own
    made_by: str = ""  # importer and version
    settings_hash: str = ""
    film: str = ""  # content hash of the video that it was cut from; "" = it is a whole file

    @property
    def video(self) -> str:
        """The name of the video that it is of."""
        return of_fragment(self.source)[0]

    @property
    def span_s(self) -> tuple[float, float] | None:
        """Where it lies in the video that it was cut from; None = it is no piece."""
        start_s = of_fragment(self.source)[1]
        return None if start_s is None else (start_s, start_s + self.frames / self.fps)


@dataclass(frozen=True)
class Candidate:
    """A clip that a model made.

    Candidates that answer the same request (same prompt, same first frame) share `group` and differ in `seed`. One
    of kind "gap" answers it with words missing, and its caption lacks them. One of kind "probe" was made to choose a
    range of `eta` (`rushes tune eta`): no recipe trains on it.
    """

    id: str
    media: str
    caption: str
    kind: CandidateKind
    group: str
    clip_id: str  # the real clip it starts from or is compared with; "" = none
    system: str  # "base" or the name of the run that made it
    made_by: str  # fingerprint of the weights
    seed: int
    width_px: int
    height_px: int
    frames: int
    fps: float
    # Share of noise, noise / (noise + signal), that a guided sample started from, in (0, 1]; None = from pure noise. A
    # probe may have 0: the real clip after the model's codec.
    eta: float | None = None
    split: Split = "train"
    settings_hash: str = ""
    film: str = ""  # content hash of the imported video that it was cut from; "" = it is a whole file


@dataclass(frozen=True)
class Preference:
    """One judgement of two subjects (ids of clips or candidates). Never edited: a correction supersedes.

    `labels` holds +1 (left is better), 0 (tie), -1 (right is better), one per segment of `segment_s` seconds, or a
    single one for the whole clip when `segment_s` is None. `unjudged` are the segments (from 0) that the judge could or
    would not judge; their label is 0. `by_slot` is what the judge said before the order was undone, for judges that
    see one clip first: +1 the first, 0 tie, -1 the second, a value per segment, and twice as many for a judge that
    was asked in both orders (left first, then right first).
    """

    id: str
    left: str
    right: str
    labels: tuple[int, ...]
    judge: str
    segment_s: float | None = None
    dimension: str = "overall"
    strength: float | None = None  # score gap, in the judge's own unit
    supersedes: str = ""  # id of the event that this one replaces
    created_at: str = ""  # ISO 8601, UTC
    settings_hash: str = ""
    unjudged: tuple[int, ...] = ()
    by_slot: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.labels or any(label not in (-1, 0, 1) for label in self.labels):
            raise ValueError(f"preference {self.id}: labels must be one or more of -1, 0, +1, got {self.labels}")
        if self.segment_s is None and len(self.labels) != 1:
            raise ValueError(f"preference {self.id}: {len(self.labels)} labels need segment_s, the segment length")
        if self.segment_s is not None and self.segment_s <= 0:
            raise ValueError(f"preference {self.id}: segment_s must be positive seconds, got {self.segment_s}")
        if any(not 0 <= at < len(self.labels) or self.labels[at] for at in self.unjudged):
            raise ValueError(f"preference {self.id}: unjudged {self.unjudged} must name segments whose label is 0")
        if len(self.by_slot) not in (0, len(self.labels), 2 * len(self.labels)):
            raise ValueError(f"preference {self.id}: by_slot needs a value per segment and order, got {self.by_slot}")

    @property
    def marks(self) -> tuple[int | None, ...]:
        """The labels, None where a segment is unjudged."""
        return tuple(None if at in self.unjudged else label for at, label in enumerate(self.labels))


@dataclass(frozen=True)
class Annotation:
    """What a person said of a pair beside its labels, and how they came to them; void once its event is superseded.

    `reasons` are the faults that were named, a list for each segment of the labels: faults of the clip that is worse
    there, and of both where neither is; beside a ranking, a list for each take in its order. A span is a stretch of
    time with a label of its own: labels and reasons of spans stand side by side with their starts and ends, and
    `from_spans` are the segments (from 0) whose label was made from them, and from nothing else. `ranking` has the
    takes that were shown together, best first; those in one place are as good as each other.
    """

    id: str
    subject: str  # id of the preference that was saved with it, of the first question
    judge: str
    reasons: tuple[tuple[str, ...], ...] = ()  # () = none
    note: str = ""
    broken: tuple[str, ...] = ()  # ids of clips that do not play, or show nothing that could be judged
    strength: Strength = ""  # how much better, where one is; "" = not asked or not answered
    seconds: float | None = (
        None  # from the first sight of the pair to the answer, without the time away; None = unknown
    )
    plays: int | None = None  # how often all of the clip was played before the answer; None = unknown
    span_starts_s: tuple[float, ...] = ()
    span_ends_s: tuple[float, ...] = ()
    span_labels: tuple[int, ...] = ()  # as those of a preference
    span_reasons: tuple[tuple[str, ...], ...] = ()
    from_spans: tuple[int, ...] = ()
    ranking: tuple[tuple[str, ...], ...] = ()
    created_at: str = ""  # ISO 8601, UTC
    settings_hash: str = ""

    def __post_init__(self) -> None:
        spans = {len(self.span_starts_s), len(self.span_ends_s), len(self.span_labels), len(self.span_reasons)}
        if len(spans) > 1:
            raise ValueError(f"annotation {self.id}: each span needs a start, an end, a label and reasons")
        if any(not 0 <= start < end for start, end in zip(self.span_starts_s, self.span_ends_s, strict=True)):
            raise ValueError(f"annotation {self.id}: a span must begin at 0 s or later and end after that")
        if any(label not in (-1, 0, 1) for label in self.span_labels):
            raise ValueError(f"annotation {self.id}: labels of spans must be -1, 0 or +1, got {self.span_labels}")
        if self.from_spans and (min(self.from_spans) < 0 or not self.span_labels):
            raise ValueError(
                f"annotation {self.id}: segments {self.from_spans} have a label from spans that do not exist"
            )

    @property
    def spans(self) -> tuple[tuple[float, float, int], ...]:
        """Start and end in seconds, and label, of each span."""
        return tuple(zip(self.span_starts_s, self.span_ends_s, self.span_labels, strict=True))


@dataclass(frozen=True)
class Score:
    """One measurement of one subject; `per_segment` has one value per second of clip where the metric gives it."""

    id: str
    subject: str
    metric: str
    value: float
    per_segment: tuple[float, ...] = ()
    measured_by: str = ""
    settings_hash: str = ""


@dataclass(frozen=True)
class CaptionRow:
    """Another text for a clip than its own caption: one that is wrong where a take is, a denser one, one rewritten to
    show a phenomenon; or ("verdict") what a model that judged the clip said of it; or the name of its scenario, as the
    footage's own table has it; or ("alternatives") what else the footage calls the clip, a caption a line."""

    id: str
    subject: str  # id of the clip
    text: str
    kind: CaptionKind
    about: str = ""  # id of the candidate whose faults the text tells; "" = none
    made_by: str = ""
    settings_hash: str = ""


@dataclass(frozen=True)
class Decision:
    """Whether a clip is in the set, and under which caption. The last one about a clip counts, a person's first.

    Never edited: who thinks otherwise writes another, and a person who takes back what they said one that is withdrawn.
    """

    id: str
    subject: str  # id of the clip
    keep: bool
    reason: str = ""  # the stage that dropped it and why, in words
    caption: str = ""  # that it goes by from now on; "" = its own
    person: bool = False  # a person's decision, which no program's overrules
    made_by: str = ""  # the program, or the person's name
    created_at: str = ""  # ISO 8601, UTC
    settings_hash: str = ""
    withdrawn: bool = False  # this person says nothing about the clip any more; all but who and which is then void


@dataclass(frozen=True)
class Run:
    """A finished training run; its weights and curves lie in runs/NAME."""

    id: str
    name: str
    recipe: str
    backbone: str
    base: str  # fingerprint of the weights it started from
    made_by: str  # fingerprint of the weights it ended with
    seed: int
    steps: int
    seconds: float
    settings: Mapping[str, Any] = field(default_factory=dict)
    settings_hash: str = ""
    created_at: str = ""


Row = Clip | Candidate | Preference | Annotation | Score | CaptionRow | Decision | Run


# A line of metrics.jsonl. It stays a dict, as its names are open: a recipe's levels, probes, experts, former versions'.
StepRow = dict[str, Any]
LARGEST = 1e300  # a whole number in JSON may be larger than any float
# Names in rows of former versions.
_FORMER = {'"leak/': '"shortcut/', '"learned_by_heart"': '"memorised"', '"bank":': '"reference_cache":'}


def parsed_row(line: bytes) -> StepRow | None:
    """The row of a line of metrics.jsonl under the names of today; None where the line was altered, or its step is no
    whole number."""
    text = without_checksum(line.decode(errors="replace")) or ""
    for former, name in _FORMER.items():
        text = text.replace(former, name)
    try:
        row = json.loads(text)
    except (ValueError, RecursionError):
        return None
    step = row.get("step") if isinstance(row, dict) else None
    return row if isinstance(step, int) and not isinstance(step, bool) and abs(step) < LARGEST else None


Severity = Literal["warning", "severe"]  # it brings nothing, or it does harm


@dataclass(frozen=True)
class Diagnosis:
    """A fault of a run by name; the rows of its curves have those that were made at their step."""

    name: str  # stable, for programs
    severity: Severity  # "severe" where the model gets worse, "warning" where time is lost
    evidence: str  # one sentence with the figures that it rests on
    remedy: str  # one sentence
    step: int  # step at which it was made

    @property
    def words(self) -> str:
        """What is wrong, in a line."""
        return f"{self.severity}: {self.name}: {self.evidence}"


def diagnoses_in(row: Mapping[str, Any]) -> tuple[Diagnosis, ...]:
    """The diagnoses that a run wrote into a row of its curves. Raises ValueError: the row is of another version."""
    try:
        return tuple(Diagnosis(**each) for each in row.get("diagnoses", ()))
    except TypeError as error:
        raise ValueError(f"diagnoses of step {row.get('step')} are of another version of Rushes ({error})") from error
