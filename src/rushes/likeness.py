"""Takes -> scores: how alike each looks to the real clip it belongs to; a hard negative is much alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rushes.media.read import read_video
from rushes.media.resize import FitMode
from rushes.metrics.base import Shot
from rushes.metrics.sets import diversity
from rushes.records import Candidate, Clip, Score, stable_hash
from rushes.store.database import Store

LIKENESS, MEASURED_BY = "likeness", "likeness-1"


def unmeasured(store: Store, candidates: Sequence[Candidate], clips: Mapping[str, Clip]) -> list[Candidate]:
    """Candidates of these clips that have no such score."""
    done = {score.subject for score in store.scores(metric=LIKENESS)}
    return [c for c in candidates if c.clip_id in clips and c.id not in done]


def measure(
    store: Store,
    candidates: Sequence[Candidate],
    clips: Mapping[str, Clip],
    fit: FitMode,
    tick: Callable[[], None] = lambda: None,
) -> None:
    """Score each candidate, stored before the next is read: 1 minus the root mean square difference, 1 = the same.

    Both clips are compared at 8 moments and 16 x 16 px (`rushes.metrics.sets.diversity`), over the candidate's length,
    the real one brought to its size by `fit`.

    Raises:
        ValueError: a clip that cannot be read, or a real clip that is shorter than its candidate.
    """
    for candidate in candidates:
        size, rate, length = (candidate.height_px, candidate.width_px), candidate.fps, candidate.frames
        media = (clips[candidate.clip_id].media, candidate.media)
        videos = [read_video(store.media_path(m), fps=rate, frames=length, size_px=size, fit=fit) for m in media]
        alike = 1 - diversity([Shot(video.frames_FHWC, rate) for video in videos])
        id = stable_hash([candidate.id, LIKENESS, MEASURED_BY])
        store.add([Score(id, candidate.id, LIKENESS, alike, measured_by=MEASURED_BY)])
        tick()
