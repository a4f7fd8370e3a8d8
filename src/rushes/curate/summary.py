"""What a funnel did, small enough to be read: counts, reasons, clips at each threshold, distributions."""

from __future__ import annotations

import heapq
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rushes.curate.base import CurationEntry, Dropped, Stage, Threshold
from rushes.records import INLINE

ValueSeries = Sequence[float] | NDArray[np.float64]

SHOWN = 3  # clips on each side of a threshold, and examples where a stage has none
BINS = 16
_REASONS = 12


@dataclass(frozen=True)
class Example:
    """A clip that stands for others."""

    clip: str  # id
    reason: str = ""  # why it is out
    value: float | None = None


@dataclass(frozen=True)
class ThresholdExamples:
    """One threshold and the clips nearest to it on both sides, nearest first."""

    words: str
    side: str  # "at least" or "at most"
    threshold: float
    inside: tuple[Example, ...]
    outside: tuple[Example, ...]


@dataclass(frozen=True)
class StageSummary:
    """What one stage did. `skipped` says why it did nothing; `held` clips a person kept against it."""

    stage: str
    signature: str
    entered: int
    dropped: int = 0
    kept: int = 0
    unmeasured: int = 0
    held: int = 0
    reasons: Mapping[str, int] | None = None
    edges: tuple[ThresholdExamples, ...] = ()
    examples: tuple[Example, ...] = ()
    skipped: str = ""


@dataclass(frozen=True)
class Spread:
    """How a value lies over clips: `every` and `kept` count them by bin, the outermost with all that lies beyond."""

    low: float
    high: float
    every: tuple[int, ...]
    kept: tuple[int, ...]


@dataclass(frozen=True)
class Funnel:
    """What a run did. Of `clips`, `entered` went into the first stage; `stills` are prompts, which pass untouched.

    `person_kept` are kept whatever stages say, `person_dropped` are out before the first. `decided` counts decisions
    that were written, or in a dry run would be.
    """

    clips: int
    stills: int
    person_dropped: int
    person_kept: int
    entered: int
    kept: int
    decided: int
    dry_run: bool
    passages: tuple[StageSummary, ...]
    spreads: Mapping[str, Spread]


@dataclass(frozen=True)
class NamedClip:
    """A clip that the funnel gives as an example."""

    source: str
    caption: str
    media: str  # content hash
    split: str  # "train" or "eval"


@dataclass(frozen=True)
class SetSize:
    """The clips that are in the set."""

    train: int
    eval: int
    seconds: float
    digest: str  # hash of all files, captions and splits


@dataclass(frozen=True)
class CurationResult:
    """What curation did, as reports/curation.json has it."""

    funnel: Funnel = field(metadata=INLINE)
    named: Mapping[str, NamedClip]  # by id
    set: SetSize
    licence: str
    stages: tuple[str, ...]
    settings_hash: str
    version: str  # version of Rushes
    made_at: str  # ISO 8601, UTC


def passage(
    stage: Stage, entered: int, entries: Sequence[CurationEntry], problems: Dropped, dropped: Dropped, held: int
) -> StageSummary:
    """A stage that ran on `entered` clips: `entries` were measured, `problems` could not be; they and `dropped` go.

    `held` more would have gone, but a person kept them.
    """
    out = {**problems, **dropped}
    groups = Counter([*(group(reason) for reason in dropped.values()), *["could not be measured"] * len(problems)])
    counts = dict(groups.most_common(_REASONS))
    if rest := sum(groups.values()) - sum(counts.values()):
        counts["other reasons"] = rest
    edges = tuple(edge for limit in stage.limits for edge in _edges(limit, entries))
    shown = problems if stage.limits else out
    examples = tuple(Example(id, reason) for id, reason in list(shown.items())[:SHOWN])
    return StageSummary(
        stage.name,
        stage.signature,
        entered,
        dropped=len(out),
        kept=entered - len(out),
        unmeasured=len(problems),
        held=held,
        reasons=counts,
        edges=edges,
        examples=examples,
    )


def group(reason: str) -> str:
    """The part of a reason that clips share: its words up to the first with a digit, or to a colon."""
    words = []
    for word in reason.split():
        if re.search(r"\d", word):
            break
        words.append(word)
        if word.endswith(":"):  # what a model said of this clip follows
            break
    return " ".join(words).rstrip(" :,(") or reason[:60]


def _edges(limit: Threshold, entries: Sequence[CurationEntry]) -> Iterable[ThresholdExamples]:
    for side, threshold, sign in (("at least", limit.low, 1.0), ("at most", limit.high, -1.0)):
        if math.isfinite(threshold):
            inside = heapq.nsmallest(SHOWN, (each for each in _apart(limit, entries, threshold, sign) if each[0] >= 0))
            outside = heapq.nlargest(SHOWN, (each for each in _apart(limit, entries, threshold, sign) if each[0] < 0))
            shown = (tuple(Example(id, "", value) for _, value, id in near) for near in (inside, outside))
            yield ThresholdExamples(limit.words.rstrip(":"), side, threshold, *shown)


def _apart(
    limit: Threshold, entries: Sequence[CurationEntry], threshold: float, sign: float
) -> Iterator[tuple[float, float, str]]:
    """How far inside of a threshold each clip lies, its value and id."""
    for entry in entries:
        value = limit.value(entry.finding.values)
        if value is not None:
            yield sign * (value - threshold), value, entry.id


def spread(every: ValueSeries, passed: ValueSeries) -> Spread:
    """Counts in BINS equal bins from the 1st to the 99th percentile of `every`, not empty; in one where these agree."""
    low, high = (float(end) for end in np.percentile(every, [1, 99]))
    if high <= low:  # all the same, but for a few
        return Spread(low, high, (len(every),), (len(passed),))
    counts = [
        np.histogram(np.clip(values, low, high), BINS, (low, high))[0] if len(values) else np.zeros(BINS, int)
        for values in (every, passed)
    ]
    return Spread(low, high, *(tuple(map(int, each)) for each in counts))
