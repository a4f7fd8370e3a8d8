"""The judge that the settings name: the world's verifier, a metric, a model behind an endpoint, or a reward model.

Free of torch until a judge that needs it is asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rushes.config.tables import LabelSettings, Settings
from rushes.judges import metric as metric_judge
from rushes.judges import reward as reward_judge
from rushes.judges import world as world_judge
from rushes.judges.base import Judge, PointwiseJudge
from rushes.judges.endpoint import ChatEndpoint
from rushes.judges.prompts import PROMPTS
from rushes.judges.vlm import Account, VisionJudge, rating_judge

ANSWERS = "answers.db"


@contextmanager
def judge_of(settings: Settings, folder: Path, account: Account | None = None) -> Iterator[Judge]:
    """The judge that the settings name; `account` counts what a model answered, whose answers are kept in `folder`.

    Raises:
        ValueError: it is nobody or people, or what it needs is not there.
    """
    table = settings.label
    if table.by != "vlm":
        yield _pointwise(table)
        return
    with ChatEndpoint(settings.endpoint, folder / ANSWERS) as endpoint:
        prompt = PROMPTS[table.prompt]
        if prompt.alone:
            yield rating_judge(endpoint, prompt, table.frames_per_s, table.margin, account)
        else:
            yield VisionJudge(endpoint, prompt, table.frames_per_s, account)


def _pointwise(settings: LabelSettings) -> PointwiseJudge:
    if settings.by == "world":
        return world_judge.make(settings.margin)
    if settings.by == "metric":
        return metric_judge.make(settings.metric, settings.margin)
    if settings.by == "reward":
        return reward_judge.make(settings.reward, settings.margin)
    assert settings.by != "vlm"
    who = "nobody is named" if settings.by == "none" else "people label on a page of their own"
    raise ValueError(f"label.by: {who}; set it to human, world, metric, vlm or reward, or give --by")
