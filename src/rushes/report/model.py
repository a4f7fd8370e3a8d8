"""What a report says, as one frozen value; no store, no model, no page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Literal

from rushes.stats import Interval, WinRate

Better = Literal["lower", "higher"]
Outcome = Literal["worse", "undecided", "better"]
CaseKind = Literal["best", "worst", "random"]


@dataclass(frozen=True)
class Metric:
    """One metric, base against trained; `difference` is trained - base, paired.

    `spread` is the standard deviation over base clips, in the metric's unit, where per-clip scores are known.
    """

    name: str
    better: Better
    base: float
    trained: float
    difference: Interval
    unit: str = ""
    spread: float | None = None

    @property
    def outcome(self) -> Outcome:
        """Undecided unless the interval excludes zero."""
        if not self.difference.excludes_zero:
            return "undecided"
        return "better" if (self.difference.low > 0) == (self.better == "higher") else "worse"


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


@dataclass(frozen=True)
class Finding:
    """Something the training curves show, and what to do about it."""

    good: bool
    text: str


@dataclass(frozen=True)
class Labels:
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
class Video:
    """A playable file as it is stored; `values` are its measurements by metric name."""

    label: str
    data: bytes
    mime: str
    width_px: int
    height_px: int
    frames: int
    fps: float
    values: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """Videos of one prompt and seed, to be watched side by side; `gain` is positive where training helped."""

    kind: CaseKind
    caption: str
    seed: int
    gain: float | None
    videos: tuple[Video, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes of all its videos."""
        return sum(len(video.data) for video in self.videos)


@dataclass(frozen=True)
class Arm:
    """Another recipe or setting that was run beside the reported one, with the same metrics."""

    name: str
    metrics: tuple[Metric, ...]


@dataclass(frozen=True)
class Report:
    """All that the page shows. `headline` names the metric that the verdict is about."""

    title: str
    run: str
    headline: str
    metrics: tuple[Metric, ...]
    _: KW_ONLY
    wins: WinRate | None = None  # pair by pair, by the headline metric
    steps: tuple[Step, ...] = ()
    curves: tuple[Curve, ...] = ()
    findings: tuple[Finding, ...] = ()
    labels: tuple[Labels, ...] = ()
    cases: tuple[Case, ...] = ()
    case_seed: int = 0
    pairs: int = 0  # evaluation pairs that cases were chosen from
    arms: tuple[Arm, ...] = ()
    settings: str = ""
    hashes: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()  # what was left out, and why
    made_at: str = ""  # ISO 8601, UTC

    def __post_init__(self) -> None:
        if self.headline not in {metric.name for metric in self.metrics}:
            known = ", ".join(metric.name for metric in self.metrics) or "none"
            raise ValueError(f"report {self.title!r}: no metric is called {self.headline!r}; there are: {known}")
