"""What a stage of curation is: it measures clips one by one, then drops some by what was measured.

A funnel is a list of stages; each sees only what those before it kept. Measuring is the expensive part: it works on one
clip at a time, so that it can run anywhere and in any order, and what it finds is kept in the store under the stage's
signature. Choosing is cheap, sees all clips that are left at once, and is done anew on every run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rushes import plugins
from rushes.config.curate import StageName
from rushes.config.tables import Settings
from rushes.records import CaptionKind

MeasuredValues = Mapping[str, float]


@dataclass(frozen=True)
class Threshold:
    """What a value must lie within, ends included; `missing` is the reason for a clip without it, "" = it passes.

    The value is the one of this name, or what `of` makes of all values (None = it cannot).
    """

    name: str
    words: str  # what the value is, as a reason says it
    low: float = -math.inf
    high: float = math.inf
    missing: str = ""
    of: Callable[[MeasuredValues], float | None] | None = None

    def value(self, values: MeasuredValues) -> float | None:
        """The value of a clip that was measured so; None = it has none."""
        return self.of(values) if self.of else values.get(self.name)


def first_reason(values: MeasuredValues, limits: Sequence[Threshold]) -> str:
    """Why the first limit that is not kept is not, such as "blur 0.81, at most 0.7"; "" where all are kept."""
    for limit in limits:
        value = limit.value(values)
        if value is None:
            if limit.missing:
                return limit.missing
        elif value < limit.low:
            return f"{limit.words} {value:.4g}, at least {limit.low:g}"
        elif value > limit.high:
            return f"{limit.words} {value:.4g}, at most {limit.high:g}"
    return ""


@dataclass(frozen=True)
class Task:
    """One clip to be measured; small, and free of open files, so that it travels between processes."""

    id: str  # of the clip
    path: Path  # its video file
    caption: str  # that it goes by at this stage: its own, or a denser one that an earlier stage wrote
    fps: float  # of the file
    frames: int


@dataclass(frozen=True, slots=True)
class CurationFinding:
    """What a stage found out about one clip.


    Names of values and words are unique across stages.
    """

    # metric -> finite value. A metric that could not be measured is left out
    values: Mapping[str, float] = field(default_factory=dict)
    # metric -> several numbers, such as the words of a fingerprint
    words: Mapping[str, Sequence[float]] = field(default_factory=dict)
    captions: Mapping[CaptionKind, str] = field(default_factory=dict)  # texts that were written for the clip, by kind
    # why the clip could not be measured, in words; "" = it was. A clip with a problem is dropped, by name, and measured
    # anew on the next run
    problem: str = ""

    @property
    def unread(self) -> bool:
        """Whether a model's answer could not be read, as a value says: that is not stored, the next run asks again."""
        return any(value for name, value in self.values.items() if name.endswith("_unread"))


@dataclass(frozen=True, slots=True)
class CurationEntry:
    """A clip that is still in the funnel, with all that was found so far, by every stage."""

    id: str
    caption: str
    finding: CurationFinding
    person: bool = False  # a person kept it: it stays, whatever is chosen
    source: str = ""  # where its file came from, as the user named it
    scenario: str = ""  # what it shows, where its footage says so in a word or two


Dropped = Mapping[str, str]  # id of a clip -> why it is out, in words with the value and the threshold


@dataclass(frozen=True)
class Stage:
    """One step of the funnel."""

    name: str  # as in `curate.stages`
    # name and version, and all that findings depend on (model, prompt, sizes), but no threshold: findings are kept
    # under it and taken again for as long as it stays
    signature: str
    # a clip -> what was found; picklable, and without side effects but calls to a model. None = the stage works on what
    # others found
    measure: Callable[[Task], CurationFinding] | None
    # clips that are left, in a fixed order -> those to drop. Only clips that are given may be dropped
    choose: Callable[[Sequence[CurationEntry]], Dropped]
    # whether a judge that is down ends the run; else the stage is skipped, and the data card says so. A judge is down
    # where `measure`, `choose` or the making of the stage raise `judges.endpoint.EndpointError`
    stop: bool = True
    reads_caption: bool = False  # whether findings depend on the caption too: they are then taken anew when it changes
    # clips -> most requests to a model that they cost, so that a dry run can tell; None = the stage asks none
    calls: Callable[[int], int] | None = None
    parallel: int = 0  # measurements at once, in threads of one process, where they wait for a model; 0 = they compute
    # the thresholds, where the stage has such: for the clips just inside and just outside of each
    limits: tuple[Threshold, ...] = ()


def make_stage(name: StageName, settings: Settings, answers: Path) -> Stage:
    """The stage of this name: that of the module of this room with its name, by a function `make` of these arguments.

    `answers` is the file that keeps what models answered.

    Raises ValueError: settings that the stage cannot work with, an EndpointError where its model cannot be asked.
    """
    stage: Stage = plugins.load("stage", name, "curate", ("make",)).make(settings, answers)
    assert stage.name == name, f"the stage of module {name} calls itself {stage.name!r}"
    return stage


def within(limits: Sequence[Threshold]) -> Callable[[Sequence[CurationEntry]], Dropped]:
    """A choice that drops what lies outside of a limit, for the first such reason."""

    def choose(entries: Sequence[CurationEntry]) -> Dropped:
        reasons = ((entry.id, first_reason(entry.finding.values, limits)) for entry in entries)
        return {id: reason for id, reason in reasons if reason}

    return choose


Engine = Callable[[Callable[[Task], CurationFinding], Iterator[Task]], Iterator[tuple[Task, CurationFinding]]]
"""Applies a measurement to tasks, streaming: few tasks are held at a time, and results may come in any order."""


_USUAL_ORDER = "fidelity"


def best_first(entries: Sequence[CurationEntry], order: str, where: str) -> list[CurationEntry]:
    """Clips that a person kept, then the others by the value `order`, falling; equals stay in the order given.

    Without a name it is the physical fidelity where that was measured, else the order given. A clip without the value
    comes last.

    Raises ValueError: no clip has the value that `where` names.
    """
    name = order or _USUAL_ORDER
    measured_names = {value for entry in entries for value in entry.finding.values}
    if order and entries and order not in measured_names:
        measured = ", ".join(sorted(measured_names)) or "nothing"
        raise ValueError(
            f"{where}: no earlier stage measured {order!r}; they measured {measured}; name one of these, "
            "or move the stage that measures it forward in curate.stages"
        )
    return sorted(entries, key=lambda entry: (not entry.person, -entry.finding.values.get(name, -math.inf)))
