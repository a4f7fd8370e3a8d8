"""A vision-language model behind an endpoint as a judge: per segment, in both orders, and never guessed.

Each pair of segments is shown twice, with the clips exchanged. Where the two answers name the same clip it wins;
where they do not it is a tie. That cancels a liking for the first place, and is worth some ten points of accuracy
(DenseDPO, arXiv 2506.03517, app. B). What the model does not answer in the form that was asked for is unjudged.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from rushes.arrays import Frames
from rushes.judges.base import Judgement, PointwiseJudge, sampled
from rushes.judges.endpoint import ChatEndpoint
from rushes.judges.messages import QuestionPart
from rushes.judges.protocols import Choice, Prompt, by_endpoint, questionnaire
from rushes.metrics.base import Shot

_SLOT = {"first": 1, "tie": 0, "second": -1}


class AnswerCounts:
    """What became of the questions; threads may share it."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def note(self, problem: str) -> None:
        """Count one question: "" answered, else why not."""
        with self._lock:
            self._counts[problem or "answered"] += 1

    def add(self, facts: Mapping[str, int]) -> None:
        """Count questions that were asked elsewhere, as `facts` gives them."""
        with self._lock:
            self._counts.update(facts)

    def facts(self) -> dict[str, int]:
        """How many questions were answered, and how many were not by cause."""
        with self._lock:
            return dict(self._counts)


class VisionJudge:
    """Chooses between two clips. `frames_per_s` frames of each second are shown."""

    size_px: tuple[int, int] | None = None

    def __init__(
        self, endpoint: ChatEndpoint, prompt: Prompt, frames_per_s: float, account: AnswerCounts | None = None
    ) -> None:
        assert not prompt.alone, prompt.name
        self.endpoint, self.prompt, self.frames_per_s = endpoint, prompt, frames_per_s
        self.account = account or AnswerCounts()
        self.name = name_of(endpoint, prompt)

    def compare(self, left: Shot, right: Shot, segment_s: float | None) -> Judgement:
        """See `rushes.judges.base.Judge.compare`.

        Raises:
            ValueError: clips of unequal numbers of segments.
            EndpointError: as `ChatEndpoint.ask` does.
        """
        ones, others = (
            [sampled(part, shot.fps, self.frames_per_s) for part in parts_of(shot, segment_s)] for shot in (left, right)
        )
        if len(ones) != len(others):
            raise ValueError(f"clips of {len(ones)} and {len(others)} segments cannot be compared; make both as long")
        text = self.prompt.asked(left.caption)
        orders = [*zip(ones, others, strict=True), *zip(others, ones, strict=True)]
        with ThreadPoolExecutor(self.endpoint.settings.parallel) as pool:
            slots = list(pool.map(lambda order: self._slot(text, *order), orders))
        size = len(ones)
        pairs = list(zip(slots[:size], slots[size:], strict=True))
        return Judgement(
            labels=tuple(a if a is not None and b is not None and a == -b else 0 for a, b in pairs),
            strength=None,
            unjudged=tuple(at for at, pair in enumerate(pairs) if None in pair),
            by_slot=tuple(slot or 0 for slot in slots),
        )

    def _slot(self, text: str, first: Sequence[Frames], second: Sequence[Frames]) -> int | None:
        parts: list[QuestionPart] = [text, "First clip:", *first, "Second clip:", *second]
        answer = self.endpoint.ask(parts, Choice)
        self.account.note(answer.problem)
        return None if answer.parsed is None else _SLOT[answer.parsed.choice]


def rating_judge(
    endpoint: ChatEndpoint, prompt: Prompt, frames_per_s: float, margin: float, account: AnswerCounts | None = None
) -> PointwiseJudge:
    """A judge that rates each clip alone by RealDPO's questions, 0 to 10, with a tie up to `margin` points.

    A clip for which one of the questions has no answer has no rating.
    """
    assert prompt.alone, prompt.name
    ask, _ = by_endpoint(endpoint, frames_per_s)
    noted = account or AnswerCounts()

    def rate(shot: Shot) -> float:
        points = questionnaire(ask, shot).values()
        for value in points:
            noted.note("" if value is not None else "unreadable")
        answered = [value for value in points if value is not None]
        return sum(answered) / len(answered) / 10 if len(answered) == len(points) else math.nan

    def score(shot: Shot, segment_s: float | None) -> tuple[float, ...]:
        with ThreadPoolExecutor(endpoint.settings.parallel) as pool:
            return tuple(pool.map(rate, (replace(shot, frames_FHWC=part) for part in parts_of(shot, segment_s))))

    return PointwiseJudge(name_of(endpoint, prompt), score, margin, worst=0.0, best=10.0)


def name_of(endpoint: ChatEndpoint, prompt: Prompt) -> str:
    """What the model's labels are signed with: the model, the prompt, its version and its digest."""
    return f"vlm:{endpoint.settings.model}:{prompt.signature}"


def parts_of(shot: Shot, segment_s: float | None) -> list[Frames]:
    """Frames [F,H,W,3] of each full segment; what is left of the clip joins the last. None = the whole clip."""
    frames, fps = shot.frames_FHWC, shot.fps
    if segment_s is None:
        return [frames]
    count = max(1, int(len(frames) / fps / segment_s + 1e-6))
    borders = [round(k * segment_s * fps) for k in range(1, count)]
    return list(np.split(frames, borders))
