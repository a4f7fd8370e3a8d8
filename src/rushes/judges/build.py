"""The judge that the settings name: the world's verifier, a metric, a model behind an endpoint, or a reward model.

Free of torch until a judge that needs it is asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rushes.config.tables import LabelSettings, Settings
from rushes.judges import reward as reward_judge
from rushes.judges.base import Judge, PointwiseJudge
from rushes.judges.endpoint import ChatEndpoint
from rushes.judges.protocols import PROMPTS
from rushes.judges.vlm import AnswerCounts, VisionJudge, rating_judge
from rushes.metrics.base import Shot
from rushes.metrics.catalogue import all_metrics
from rushes.world.mechanics import SIZE_PX
from rushes.world.verify import verify

# Badness per unit: 1 where all dots are lost, a quarter of a dot for a pixel off the law.
WEIGHTS = {"lost_dots": 1.0, "law_error": 0.04}


def _world_score(shot: Shot, segment_s: float | None) -> tuple[float, ...]:
    verdict = verify(shot.frames_FHWC, shot.caption)
    parts = verdict.per_segment(segment_s, shot.fps) if segment_s else {m: (getattr(verdict, m),) for m in WEIGHTS}
    weighed = zip(*(parts[name] for name in WEIGHTS), strict=True)
    return tuple(-sum(w * v for w, v in zip(WEIGHTS.values(), values, strict=True)) for values in weighed)


def world_judge(margin: float) -> PointwiseJudge:
    """The judge, with a tie while the weighted badness differs by at most `margin`; scores are 10 / (1 + badness)."""
    return PointwiseJudge("world", _world_score, margin, (SIZE_PX, SIZE_PX), best=0.0)


def metric_judge(name: str, margin: float) -> PointwiseJudge:
    """A judge that prefers what metric `name` calls better, with a tie while values differ by at most `margin`.

    Metrics measure per second; segments of another length are refused.

    Raises ValueError: no such metric, or one that has no better direction.
    """
    metrics = all_metrics()
    if name not in metrics:
        raise ValueError(f"there is no metric {name!r}; choose one of {', '.join(metrics)}")
    metric = metrics[name]
    if metric.better == "neutral":
        raise ValueError(
            f"metric {name!r} does not define whether higher or lower is better, so it cannot judge; choose another"
        )
    sign = 1.0 if metric.better == "higher" else -1.0

    def score(shot: Shot, segment_s: float | None) -> tuple[float, ...]:
        if segment_s not in (None, 1.0):
            raise ValueError(f"metric judges label whole seconds; set label.segment_s to 1.0 (it is {segment_s})")
        measured = metric.measure(shot)
        return tuple(sign * v for v in (measured.per_second if segment_s else (measured.value,)))

    worst, best = sorted((sign * metric.low, sign * metric.high))
    return PointwiseJudge(f"metric:{name}", score, margin, worst=worst, best=best)


ANSWERS = "answers.db"


@contextmanager
def judge_of(settings: Settings, folder: Path, account: AnswerCounts | None = None) -> Iterator[Judge]:
    """The judge that the settings name; `account` counts what a model answered, whose answers are kept in `folder`.

    Raises ValueError: it is nobody or people, or what it needs is not there.
    """
    table = settings.label
    if table.by != "vlm":
        yield _pointwise(table, skip=settings.footage.on_refused == "skip")
        return
    with ChatEndpoint(settings.endpoint, folder / ANSWERS) as endpoint:
        prompt = PROMPTS[table.prompt]
        if prompt.alone:
            yield rating_judge(endpoint, prompt, table.frames_per_s, table.margin, account)
        else:
            yield VisionJudge(endpoint, prompt, table.frames_per_s, account)


def _pointwise(settings: LabelSettings, *, skip: bool) -> PointwiseJudge:
    if settings.by == "world":
        return world_judge(settings.margin)
    if settings.by == "metric":
        return metric_judge(settings.metric, settings.margin)
    if settings.by == "reward":
        return reward_judge.make(settings.reward, settings.margin, skip=skip)
    assert settings.by != "vlm"
    why = "so nobody labels" if settings.by == "none" else "but people label on a web page, not through a judge"
    raise ValueError(f"label.by is {settings.by!r}, {why}; set it to human, world, metric, vlm or reward, or give --by")
