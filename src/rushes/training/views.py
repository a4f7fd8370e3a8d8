"""Rows of the store -> views, as every recipe needs them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from rushes.objectives.segments import speaks_of_part
from rushes.records import Candidate, CandidateKind, Clip, Preference
from rushes.store.database import Store
from rushes.training.comparison import Comparison, LatentGrid, View

_ROUNDING = 0.01  # of a frame: containers round their times


def training_clips(store: Store) -> tuple[Clip, ...]:
    """Real clips that may be trained on."""
    return store.clips("train")


def first_frame_of(clip: Clip) -> str:
    """Content hash of what gives the clip's first frame: its own still where it has one, else the clip itself."""
    return clip.first_frame or clip.media


def real_view(clip: Clip, grid: LatentGrid) -> View:
    """The real clip under its caption; of clips of several shapes `grid` is that of this one, `LatentGrid.of`."""
    return View(clip.media, clip.caption, first_frame_of(clip) if grid.first_frame else "", "real", shape=grid.shape)


def candidate_view(candidate: Candidate, clip: Clip | None, grid: LatentGrid) -> View:
    """A candidate under its caption and the first frame of the real clip it belongs to, or of its own where it never
    belonged to any, as a clip of an imported pair.

    Raises:
        ValueError: the model needs a first frame and the candidate's clip is not among those trained on.
    """
    view = View(candidate.media, candidate.caption, "", candidate.kind, shape=grid.shape)
    if not grid.first_frame:
        return view
    if clip is None and not candidate.clip_id:
        return replace(view, first_frame=candidate.media)
    if clip is None:
        raise ValueError(
            f"candidate {candidate.id} belongs to a clip outside the training set, so it has no first frame; set "
            "backbone.first_frame to false, or keep the clip in the set"
        )
    return replace(view, first_frame=first_frame_of(clip))


def takes(store: Store, grid: LatentGrid, kind: CandidateKind = "take") -> tuple[Candidate, ...]:
    """Candidates of training clips that may stand against them: of what training starts from, and imported ones.

    Each clip has takes of the newest weights and settings: takes made in two ways are not mixed. Where some are of
    the shape that the clip has now, those of other shapes are out, also as `gaps` and `labelled_takes`.
    """
    return (*_newest(_own(store, grid, kind)), *store.candidates(split="train", kind="imported"))


def gaps(store: Store, grid: LatentGrid) -> tuple[Candidate, ...]:
    """Takes of training clips whose prompt had words left out, chosen as `takes` are; none are imported."""
    return tuple(_newest(_own(store, grid, "gap")))


def labelled_takes(store: Store, grid: LatentGrid, kind: CandidateKind) -> tuple[Candidate, ...]:
    """As `takes`, with those of older settings: a label is of two takes that were made alike, whenever it was."""
    return (*_own(store, grid, kind), *store.candidates(split="train", kind="imported"))


def misfit(candidate: Candidate, preference: Preference, grid: LatentGrid) -> str:
    """Why a label does not hold for what is trained on of an imported clip; "" where it does.

    A take of the model's own is as long as its clips. The import looks at it too, but settings change.
    """
    if candidate.kind != "imported":
        return ""
    if candidate.frames / candidate.fps * grid.fps <= grid.pixel_frames - 1 + _ROUNDING:
        return "too_short"
    whole = preference.segment_s is None
    longer = speaks_of_part(candidate.frames / candidate.fps, grid.pixel_frames / grid.fps)
    return "longer_than_trained_on" if whole and longer else ""


def takes_account(store: Store, grid: LatentGrid, comparisons: Sequence[Comparison]) -> dict[str, int]:
    """How many takes of training clips are in comparisons, and how many are not, by the first reason that holds."""
    used = {view.media for comparison in comparisons for view in comparison.views}
    candidates = [candidate for candidate in store.candidates(split="train") if candidate.kind != "probe"]
    newest = {c.id for c in _newest(candidates)}

    def reason(candidate: Candidate) -> str:
        if candidate.media in used:
            return "used"
        if candidate.kind != "imported" and candidate.system != grid.system:
            return "of other systems"
        return "not compared" if candidate.id in newest else "of older settings"

    return dict(Counter(map(reason, candidates)))


def _own(store: Store, grid: LatentGrid, kind: CandidateKind) -> tuple[Candidate, ...]:
    candidates, size = store.candidates(split="train", kind=kind, system=grid.system), grid.size
    if size is None:
        return candidates
    shapes = {clip.id: size.shape_of(clip) for clip in training_clips(store)}
    fit = {c.id for c in candidates if c.clip_id in shapes and shapes[c.clip_id].is_of(c, size.fps)}
    groups = {c.group for c in candidates if c.id in fit}
    return tuple(c for c in candidates if c.id in fit or c.group not in groups)


def _newest(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates of each request, kind and system by the weights and settings that were used last."""
    last = {(c.group, c.kind, c.system): (c.made_by, c.settings_hash) for c in candidates}
    return [c for c in candidates if last[c.group, c.kind, c.system] == (c.made_by, c.settings_hash)]


def of_clip(candidates: Iterable[Candidate]) -> dict[str, tuple[Candidate, ...]]:
    """Candidates by the id of their real clip, in the order given."""
    by_clip: dict[str, tuple[Candidate, ...]] = {}
    for candidate in candidates:
        if candidate.clip_id:
            by_clip[candidate.clip_id] = (*by_clip.get(candidate.clip_id, ()), candidate)
    return by_clip
