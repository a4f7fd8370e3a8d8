"""What a report says, as one frozen value; no store, no model, no page."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cache
from typing import Any, Literal, TypeVar, cast

from markupsafe import Markup
from pydantic import TypeAdapter, ValidationError

from rushes.stats import LEAST_PROMPTS, Better, Interval, Outcome, WinRate, outcome

CaseKind = Literal["best", "worst", "random"]
T = TypeVar("T")


def typed(kind: type[T], values: Mapping[str, Any]) -> T:
    """A dataclass of values that have its types. Raises ValueError, which names the first that has not."""
    try:
        return cast(T, _adapter(cast(Hashable, kind)).validate_python(values))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"{place}: {first['msg']}, got {first['input']!r:.40}") from error


@cache
def _adapter(kind: Hashable) -> TypeAdapter[Any]:
    return TypeAdapter(cast(Any, kind))


@dataclass(frozen=True)
class MetricRow:
    """One metric, first system (base) against second (trained), paired by prompt and seed."""

    name: str
    better: Better  # "lower", "higher" or "neutral"
    base: float  # mean over the pairs
    trained: float  # mean over the pairs
    difference: float  # trained - base, in the metric's unit
    low: float  # end of the difference's 95 % interval; null where one prompt shows none
    high: float  # its other end
    n: int  # pairs
    unit: str = ""  # unit of the values; "" = none
    clip_spread: float | None = None  # standard deviation over base clips; 0 where they are alike, null = unknown
    p: float | None = None  # two-sided
    p_adjusted: float | None = None  # Holm's, over all metrics with a better direction; null = unknown
    prompts: int = 0  # independent ones among the pairs: those of one film, or under one caption, are one; 0 = unknown
    spread: float = 0.0  # standard deviation of the difference from one of these to the next
    win: int | None = None  # pairs where the second is better; null = unknown
    tie: int | None = None  # pairs where it is as good: all of a neutral metric
    lose: int | None = None  # pairs where it is worse

    @property
    def interval(self) -> Interval:
        """The difference with its interval."""
        return Interval(self.difference, self.low, self.high, self.n)

    @property
    def outcome(self) -> Outcome:
        """What may be claimed, see `rushes.stats.outcome`."""
        return outcome(self.better, self.interval, self.p_adjusted, self.prompts)


def flipped(row: MetricRow) -> MetricRow:
    """The metric of the same systems in the other order, where the spread over base clips is unknown."""
    return replace(
        row,
        base=row.trained,
        trained=row.base,
        difference=-row.difference,
        low=-row.high,
        high=-row.low,
        clip_spread=None,
        win=row.lose,
        lose=row.win,
    )


@dataclass(frozen=True)
class Step:
    """One stage of the work: what it did, with counts, and how long it took."""

    name: str
    did: str = ""
    seconds: float | None = None


@dataclass(frozen=True)
class Curve:
    """One panel of training curves: named series of (step, value), and the value that means "nothing learned"."""

    title: str
    series: Mapping[str, tuple[tuple[float, float], ...]]
    idle: float | None = None
    idle_name: str = ""
    meaning: str = ""  # what it shows and what is good, in plain words


@dataclass(frozen=True)
class ReportFinding:
    """Something the training curves show, and what to do about it."""

    good: bool
    text: str


@dataclass(frozen=True)
class LabelSummary:
    """One judge's current labels on one dimension; `segments` holds (left, tie, right) counts per segment of a clip."""

    judge: str
    dimension: str
    comparisons: int
    segments: tuple[tuple[int, int, int], ...]

    @property
    def totals(self) -> tuple[int, int, int]:
        """(left, tie, right) counts over all segments."""
        left, tie, right = (sum(column) for column in zip(*self.segments, strict=True))
        return left, tie, right


@dataclass(frozen=True)
class ReportVideo:
    """A playable file as it is stored; `values` are its measurements by metric name."""

    label: str
    data: bytes
    mime: str
    width_px: int
    height_px: int
    frames: int
    fps: float
    values: Mapping[str, float] = field(default_factory=dict)
    faults: tuple[float, ...] = ()  # of each second by the headline metric, from 0 (best) to 1; empty = unknown


@dataclass(frozen=True)
class Case:
    """Videos of one prompt and seed, to be watched side by side; `gain` is positive where training helped."""

    kind: CaseKind
    caption: str
    seed: int
    gain: float | None
    videos: tuple[ReportVideo, ...]
    frame: int = 0  # that is shown at first: where the two sides differ most


@dataclass(frozen=True)
class ReportArm:
    """Another recipe or pair of systems beside the reported one, with the same metrics, and what is said of it."""

    name: str
    metrics: tuple[MetricRow, ...]
    verdict: str = ""


@dataclass(frozen=True)
class Scatter:
    """One metric against another: per system, (x, y, clip) for each clip that has both."""

    x_name: str
    y_name: str
    points: Mapping[str, tuple[tuple[float, float, str], ...]]
    x_better: Better = "neutral"
    y_better: Better = "neutral"


@dataclass(frozen=True)
class Reach:
    """The smallest change of a metric that so many prompts show four times in five, beside its value.

    `needed` is how many prompts would show the change that was seen, were it the true one; None = out of reach.
    """

    name: str
    unit: str
    base: float
    smallest: float
    needed: int | None


BLIND = ", blind"  # ends the name of people who voted, as a judge


@dataclass(frozen=True)
class Judged:
    """How one judge decided between two systems; `wins` counts where the second won.

    `disagreed` comparisons came out differently when a program saw the sides swapped, and count as ties, or people
    differed on them; `unreadable` ones gave no readable answer and are left out. `first_slot` is how often
    the side shown first won.
    """

    judge: str
    first: str
    second: str
    wins: WinRate
    disagreed: int
    unreadable: int
    first_slot: Interval | None

    @property
    def by_people(self) -> bool:
        """Whether people voted, who did not know which side was which."""
        return self.judge.endswith(BLIND)


@dataclass(frozen=True)
class Report:
    """All that the page shows. `headline` names the metric that the verdict is about; "" = all of them together."""

    title: str
    run: str
    headline: str
    metrics: tuple[MetricRow, ...]
    _: KW_ONLY
    warning: str = ""  # what to know before anything else, above the verdict
    unmeasured: str = ""  # in place of a verdict, where the run was not evaluated
    systems: tuple[str, str] = ("base", "trained")  # what the two sides are called
    wins: WinRate | None = None  # pair by pair, by the headline metric
    steps: tuple[Step, ...] = ()
    curves: tuple[Curve, ...] = ()
    findings: tuple[ReportFinding, ...] = ()
    labels: tuple[LabelSummary, ...] = ()
    # fault -> system -> share of the judged takes in which people named it; intervals count prompts
    complaints: Mapping[str, Mapping[str, Interval]] = field(default_factory=dict)
    cases: tuple[Case, ...] = ()
    case_seed: int = 0
    pairs: int = 0  # evaluation pairs that cases were chosen from
    arms: tuple[ReportArm, ...] = ()
    arms_intro: str = "Change from the same base for every recipe of this project."
    shapes: tuple[ReportArm, ...] = ()  # the reported pair on clips of each size and length, where there are several
    scatter: Scatter | None = None
    judged: tuple[Judged, ...] = ()
    strengths: Mapping[str, Interval] = field(default_factory=dict)  # Bradley-Terry, in log odds, by the judges
    limits: tuple[str, ...] = ()  # what this evaluation cannot show
    reaches: tuple[Reach, ...] = ()
    card: Mapping[str, str] = field(default_factory=dict)  # what was compared
    settings: str = ""
    chosen: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # settings that no default has, and the default
    hashes: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()  # what was left out, and why
    data: Markup = field(default_factory=Markup)  # the section on curation; empty = the project was not curated
    made_at: str = ""  # ISO 8601, UTC

    @property
    def too_few(self) -> int:
        """How many independent prompts there are, where these are too few for any claim; else 0."""
        prompts = max((metric.prompts for metric in self.metrics), default=0)
        return prompts if prompts < LEAST_PROMPTS else 0

    def __post_init__(self) -> None:
        if self.headline and self.headline not in {metric.name for metric in self.metrics}:
            names = ", ".join(metric.name for metric in self.metrics) or "none"
            raise ValueError(f"report {self.title!r}: no metric is called {self.headline!r}; there are: {names}")
