"""What arms are judged by: the verifier with its windows, the second judge, and how clips start.

The verifier's physics error exists only where all objects are there and none touches anything, so two arms are measured
on different windows. Its value in each window is kept here, so that a comparison uses those that both have; beside it
stands a mean in which a missing object counts as the worst value, and on how many frames all this rests.
"""

from __future__ import annotations

import math

import numpy as np

from rushes.evaluate.suites import MetricSuite, SuiteValues, fidelity_meter, fit_meter
from rushes.metrics.base import Shot
from rushes.stats import Better
from rushes.world.deviations import CAP_PX
from rushes.world.scenes import FRAMES, SIZE_PX
from rushes.world.verify import METRICS, verify

PHYSICS, PENALISED, MEASURED = "physics_error", "physics_penalised", "physics_measured"
WINDOWS = tuple(f"{PHYSICS}/{frame:02d}" for frame in range(FRAMES))  # px, in the window around each frame


def claims_meter() -> MetricSuite:
    """The embedded world's verifier, with its physics error in each window."""

    def measure(shot: Shot) -> SuiteValues:
        verdict = verify(shot.frames_FHWC, shot.caption, fps=shot.fps, segment_s=1 / shot.fps)
        each_F, missing_F = verdict.per_second[PHYSICS], verdict.per_second["bad_frames"] > 0
        penalised_F = np.where(missing_F, CAP_PX, each_F)
        values = {name: getattr(verdict, name) for name in METRICS}
        values |= dict(zip(WINDOWS, each_F.tolist(), strict=True))
        counted = penalised_F[np.isfinite(penalised_F)]
        values[PENALISED] = float(counted.mean()) if counted.size else math.nan
        values[MEASURED] = float(np.isfinite(each_F).mean())
        return {name: (float(value), ()) for name, value in values.items()}

    names = (*METRICS, *WINDOWS, PENALISED, MEASURED)
    higher = ("dynamic_degree", MEASURED)
    better: dict[str, Better] = {name: "higher" if name in higher else "lower" for name in names}
    return MetricSuite("claims-1", better, {}, headline="bad_frames", size_px=(SIZE_PX, SIZE_PX), measure=measure)


def meters(first_frame: bool) -> tuple[MetricSuite, ...]:
    """All that an arm is judged by; how clips start is asked where they are given a frame."""
    return (claims_meter(), fit_meter(), *((fidelity_meter(),) if first_frame else ()))
