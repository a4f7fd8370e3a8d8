"""The embedded world's verifier as a judge: what a careful person would mark on these clips, from pixels alone."""

from __future__ import annotations

import math

from rushes.judges.base import PointwiseJudge
from rushes.metrics.base import Shot
from rushes.world.scenes import SIZE_PX
from rushes.world.verify import verify

# Badness per unit: a second with a missing object all along costs 1, as does one that is 2 px off its dynamics.
WEIGHTS = {"bad_frames": 1.0, "physics_error": 0.5, "frozen": 0.5, "flicker": 0.05}


def _score(shot: Shot, segment_s: float | None) -> tuple[float, ...]:
    whole = len(shot.frames_FHWC) / shot.fps
    verdict = verify(shot.frames_FHWC, shot.caption, fps=shot.fps, segment_s=segment_s or whole)
    parts = zip(*(verdict.per_second[name] for name in WEIGHTS), strict=True)
    # A measurement that is missing (no window without an impact) must not decide: it counts as nothing wrong.
    return tuple(
        -sum(w * (0.0 if math.isnan(v) else float(v)) for w, v in zip(WEIGHTS.values(), values, strict=True))
        for values in parts
    )


def make(margin: float) -> PointwiseJudge:
    """The judge, with a tie while the weighted badness differs by at most `margin`; scores are 10 / (1 + badness)."""
    return PointwiseJudge("world", _score, margin, (SIZE_PX, SIZE_PX), best=0.0)
