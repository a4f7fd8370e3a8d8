"""Named sets of metrics that are measured together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rushes.config.footage import FootageSettings
from rushes.metrics import catalogue
from rushes.metrics.base import Shot
from rushes.records import stable_hash
from rushes.stats import Better
from rushes.world.arcs import arcs
from rushes.world.mechanics import SIZE_PX
from rushes.world.verify import HEADLINE, MEASURES, verify

SuiteValues = Mapping[str, tuple[float, tuple[float, ...]]]  # metric -> value, and one per second

# What older versions called these sets, so that what they measured is read on.
_FORMER_NAMES = {
    "folders-0dbcd1b8": "folders-1",
    "general-0dbcd1b8": "general-2",
    "world-ea78c4b8": "world-2",
    "arcs-1bb82754": "arcs-1",
    "fidelity-f724baff": "fidelity-1",
}
_VERIFIER, _ARCS = 2, 1  # versions of the world's judges: raise one when its values change


@dataclass(frozen=True)
class MetricSuite:
    """A named set of metrics that is measured together."""

    name: str  # see `suite_name`: scores of different suites are never mixed
    better: Mapping[str, Better]
    units: Mapping[str, str]
    headline: str  # metric that the verdict is about; "" = all of them together
    size_px: tuple[int, int] | None  # that clips are read at; None = as they are
    measure: Callable[[Shot], SuiteValues]


def suite_name(kind: str, versions: Mapping[str, int]) -> str:
    """The name under which measurements of these metrics are stored.

    Another metric, or another version of one, gives another name: then everything is measured again, and nothing mixed.
    """
    name = f"{kind}-{stable_hash(versions, 8)}"
    return _FORMER_NAMES.get(name, name)


def world_suite() -> MetricSuite:
    """The embedded world's verifier: it knows what should happen, and sees pixels only."""

    def measure(shot: Shot) -> SuiteValues:
        verdict = verify(shot.frames_FHWC, shot.caption)
        seconds = verdict.per_segment(1.0, shot.fps)
        return {name: (float(getattr(verdict, name)), seconds.get(name, ())) for name in MEASURES}

    return MetricSuite(
        suite_name("world", dict.fromkeys(MEASURES, _VERIFIER)),
        {name: row.better for name, row in MEASURES.items()},
        {name: row.unit for name, row in MEASURES.items() if row.unit},
        headline=HEADLINE,
        size_px=(SIZE_PX, SIZE_PX),
        measure=measure,
    )


def second_suite() -> MetricSuite:
    """The embedded world's second judge, which shares nothing with the verifier and never labels."""

    def measure(shot: Shot) -> SuiteValues:
        seen = arcs(shot.frames_FHWC, shot.caption)
        return {name: (float(getattr(seen, name)), ()) for name in better}

    better: dict[str, Better] = {"dark": "lower", "unlawful": "lower"}
    name = suite_name("arcs", dict.fromkeys(better, _ARCS))
    return MetricSuite(name, better, {}, headline="dark", size_px=(SIZE_PX, SIZE_PX), measure=measure)


def fidelity_suite() -> MetricSuite:
    """Whether a clip starts from the frame that it was given."""
    metric = catalogue.all_metrics()["first_frame_fidelity"]

    def measure(shot: Shot) -> SuiteValues:
        measurement = metric.measure(shot)
        return {metric.name: (measurement.value, measurement.per_second)}

    return MetricSuite(
        suite_name("fidelity", {metric.name: metric.version}),
        {metric.name: metric.better},
        {metric.name: metric.unit},
        headline=metric.name,
        size_px=None,
        measure=measure,
    )


def general_suite() -> MetricSuite:
    """All metrics for any footage, without downloaded weights; those without a better direction give the context.

    No single one of them is a headline: on the embedded world's takes none follows the verifier closely, see
    docs/metrics.md, so the verdict is about all of them.
    """
    metrics = catalogue.all_metrics()

    def measure(shot: Shot) -> SuiteValues:
        return {name: (m.value, m.per_second) for name, m in catalogue.measure(shot).items()}

    better, units = {n: m.better for n, m in metrics.items()}, {n: m.unit for n, m in metrics.items()}
    name = suite_name("general", catalogue.versions())
    return MetricSuite(name, better, units, headline="", size_px=None, measure=measure)


def directions() -> dict[str, Better]:
    """Metric -> which direction is better, of any footage and of the world's."""
    return {**general_suite().better, **world_suite().better}


def suite_of(footage: FootageSettings) -> MetricSuite:
    """What evaluation measures: the world's verifier on its own clips, general metrics on all others."""
    return world_suite() if footage.kind == "world" else general_suite()
