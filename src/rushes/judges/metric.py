"""Any metric of the catalogue as a judge."""

from __future__ import annotations

from rushes.judges.base import PointwiseJudge
from rushes.metrics.base import Shot
from rushes.metrics.catalogue import all_metrics


def make(name: str, margin: float) -> PointwiseJudge:
    """A judge that prefers what metric `name` calls better, with a tie while values differ by at most `margin`.

    Metrics measure per second; segments of another length are refused.

    Raises:
        ValueError: no such metric, or one that has no better direction.
    """
    metrics = all_metrics()
    if name not in metrics:
        raise ValueError(f"no metric {name!r}; there are {', '.join(metrics)}")
    metric = metrics[name]
    if metric.better == "neutral":
        raise ValueError(f"metric {name!r} has no better direction, so it cannot judge")
    sign = 1.0 if metric.better == "higher" else -1.0

    def score(shot: Shot, segment_s: float | None) -> tuple[float, ...]:
        if segment_s not in (None, 1.0):
            raise ValueError(f"metric judges label seconds; set label.segment_s to 1.0, got {segment_s}")
        measured = metric.measure(shot)
        return tuple(sign * v for v in (measured.per_second if segment_s else (measured.value,)))

    worst, best = sorted((sign * metric.low, sign * metric.high))
    return PointwiseJudge(f"metric:{name}", score, margin, worst=worst, best=best)
