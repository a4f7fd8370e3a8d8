"""What `rushes bench world` prints: the closed form and tests A1 to A7, which `rushes.lab.world_bench` measures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rushes.records import INLINE, OPTIONAL
from rushes.stats import Interval


@dataclass(frozen=True)
class ClosedForm:
    """What one fault weighs in latents; no network is run."""

    d0: Mapping[str, float]  # squared distance of a clip from the clip with one fault, median by fault
    d0_median: float  # median over the faults
    R: Mapping[str, float]  # share of faults that a perfect sampler brings back, by noise share


@dataclass(frozen=True, kw_only=True)
class LevelTest:
    """Two takes of each clip that start from it at one noise share."""

    motion_corr: float  # correlation of the two takes' speeds within each kind of motion; at least 0.9
    faults_share: float  # faults above the codec's own, over those of free takes; at least 0.5
    labelled: float  # share of pairs with a decided half second; at least 0.8
    mixed: float  # share of these with labels of both signs; at least 0.5, and 0.9 of `matched_free_mixed`
    passes: bool


@dataclass(frozen=True, kw_only=True)
class Separation:
    """A1: a noise share that keeps the motion and brings faults back."""

    etas: Mapping[str, LevelTest]  # by noise share
    eta: float | None  # lowest noise share that passes; null = none does
    free_faults: float  # lost parts of takes from noise, mean over frames
    floor: float  # lost parts of clips that the codec read and wrote
    matched_free_mixed: float  # share `mixed` among pairs of free takes of equal speed
    passes: bool


@dataclass(frozen=True)
class SpeedBias:
    """A2: speed of winners above losers, as a share of their mean."""

    free: Interval  # takes from noise; at most -0.05, with an interval below 0
    guided: Interval  # takes at `eta`; within 0.01 of 0
    eta: float  # noise share of the guided takes: that of A1, or the tested one next to 0.86
    passes: bool


@dataclass(frozen=True)
class CaptionWeight:
    """A3: change of the prediction by one wrong word, over its error (rms)."""

    words: Mapping[str, float]  # by wrong word; at least 0.3 each
    mean: float
    passes: bool


@dataclass(frozen=True)
class RenderingError:
    """A4: squared error on renderings of flow over that on clips."""

    ratio: Mapping[str, float]  # by time; at most 2 each
    passes: bool


@dataclass(frozen=True)
class MeasuredFrames:
    """A5: frames of free takes in which a law has a residual."""

    laws: Mapping[str, float]  # share of frames by law; at least 0.9 each
    passes: bool


@dataclass(frozen=True)
class MeasureHeadroom:
    """The best of eight free takes beside the mean one, by one measure."""

    mean: float  # mean of all takes
    lower_by: float  # mean less the best take's; at least 0.05


@dataclass(frozen=True)
class Headroom:
    """A6: how much better the best of eight free takes is."""

    measures: Mapping[str, MeasureHeadroom]
    passes: bool


@dataclass(frozen=True)
class JudgeTest:
    """One judge on sound clips and on planted faults."""

    sound_pass: float  # share of sound clips that pass; at least 0.99
    caught: Mapping[str, float]  # share of faults that are caught, by LAW/KIND; at least 0.95 each


@dataclass(frozen=True)
class JudgesTest:
    """A7: the judges on clips whose faults are known."""

    judges: Mapping[str, JudgeTest]
    n: int  # clips of each sort
    passes: bool


@dataclass(frozen=True, kw_only=True)
class WorldTests:
    """The tests by name; one that was not asked for is not there."""

    closed_form: ClosedForm  # what one fault weighs
    A1: Separation | None = field(default=None, metadata=OPTIONAL)  # a noise share that separates motion and faults
    A2: SpeedBias | None = field(default=None, metadata=OPTIONAL)  # speed of winners
    A3: CaptionWeight | None = field(default=None, metadata=OPTIONAL)  # weight of a word of the caption
    A4: RenderingError | None = field(default=None, metadata=OPTIONAL)  # error on renderings of flow
    A5: MeasuredFrames | None = field(default=None, metadata=OPTIONAL)  # frames that are measured
    A6: Headroom | None = field(default=None, metadata=OPTIONAL)  # headroom above the mean take
    A7: JudgesTest | None = field(default=None, metadata=OPTIONAL)  # judges on known faults


@dataclass(frozen=True)
class WorldBench:
    """What the tests measured."""

    tests: WorldTests = field(metadata=INLINE)
    passed: tuple[str, ...]  # tests that hold
