"""Rows of the store -> views, as every recipe needs them."""

from __future__ import annotations

from collections.abc import Iterable

from rushes.records import Candidate, Clip
from rushes.store.database import Store
from rushes.training.comparison import LatentGrid, View


def training_clips(store: Store) -> tuple[Clip, ...]:
    """Real clips that may be trained on."""
    return store.clips("train")


def first_frame_of(clip: Clip) -> str:
    """Content hash of what gives the clip's first frame: its own still where it has one, else the clip itself."""
    return clip.first_frame or clip.media


def real_view(clip: Clip, grid: LatentGrid) -> View:
    """The real clip under its caption."""
    return View(clip.media, clip.caption, first_frame_of(clip) if grid.first_frame else "", "real")


def candidate_view(candidate: Candidate, clip: Clip | None, grid: LatentGrid) -> View:
    """A candidate under its caption and the first frame of the real clip it belongs to.

    Raises:
        ValueError: the model needs a first frame and the candidate belongs to no clip.
    """
    if not grid.first_frame:
        return View(candidate.media, candidate.caption, "", candidate.kind)
    if clip is None:
        raise ValueError(
            f"candidate {candidate.id} belongs to no real clip, so it has no first frame; "
            f"set backbone.first_frame to false, or generate from clips"
        )
    return View(candidate.media, candidate.caption, first_frame_of(clip), candidate.kind)


def of_clip(candidates: Iterable[Candidate]) -> dict[str, tuple[Candidate, ...]]:
    """Candidates by the id of their real clip, in the order given."""
    found: dict[str, tuple[Candidate, ...]] = {}
    for candidate in candidates:
        if candidate.clip_id:
            found[candidate.clip_id] = (*found.get(candidate.clip_id, ()), candidate)
    return found
