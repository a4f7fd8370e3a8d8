"""The judge that the settings name: the world's verifier, a metric, a model behind an endpoint, or a reward model.

Free of torch until a judge that needs it is asked.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rushes.config.tables import LabelSettings, Settings
from rushes.judges import reward as reward_judge
from rushes.judges.base import Judge, PointwiseJudge
from rushes.judges.endpoint import ChatEndpoint
from rushes.judges.prompts import PROMPTS
from rushes.judges.vlm import Account, VisionJudge, rating_judge
from rushes.metrics.base import Shot
from rushes.metrics.catalogue import all_metrics
from rushes.world.scenes import SIZE_PX
from rushes.world.verify import verify

# Badness per unit: a second with a missing object all along costs 1, as does one that is 2 px off its dynamics.
WEIGHTS = {"bad_frames": 1.0, "physics_error": 0.5, "frozen": 0.5, "flicker": 0.05}


def _world_score(shot: Shot, segment_s: float | None) -> tuple[float, ...]:
    whole = len(shot.frames_FHWC) / shot.fps
    verdict = verify(shot.frames_FHWC, shot.caption, fps=shot.fps, segment_s=segment_s or whole)
    parts = zip(*(verdict.per_second[name] for name in WEIGHTS), strict=True)
    # A measurement that is missing (no window without an impact) must not decide: it counts as nothing wrong.
    return tuple(
        -sum(w * (0.0 if math.isnan(v) else float(v)) for w, v in zip(WEIGHTS.values(), values, strict=True))
        for values in parts
    )


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
def judge_of(settings: Settings, folder: Path, account: Account | None = None) -> Iterator[Judge]:
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
