"""Clips and candidates -> latents, once per content, codec and preprocessing.

Winners and losers go through this one function: the same resampling by time, the same crop, the same normalisation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from rushes.backbones.base import Backbone
from rushes.config.tables import BackboneSettings
from rushes.edits import words
from rushes.media.read import read_still, read_video
from rushes.media.resize import FitMode, resize_frame
from rushes.progress import ParallelMap, in_turn
from rushes.store.database import Store
from rushes.store.latents import LatentKey, LatentStore, latent_fingerprint
from rushes.store.media import MediaFolder

PREPROCESSING = "by-time-1"  # raise the number when what happens between file and codec changes
AT_ONCE, AT_ONCE_BYTES = 64, 256 * 2**20  # clips, and bytes of their frames, that are encoded together


def open_latents(store: Store, backbone: Backbone, size: BackboneSettings, fit: FitMode) -> LatentStore:
    """The latents that belong to this codec, size and preprocessing; others of the project are not seen."""
    name = latent_fingerprint(
        backbone.spec.name,
        backbone.codec_fingerprint,
        size.width_px,
        size.height_px,
        size.frames,
        size.fps,
        f"{PREPROCESSING} {fit}",
    )
    return LatentStore(store.project / "latents", name)


def jobs(latents: LatentStore, clips: Iterable[LatentKey], firsts: Iterable[LatentKey]) -> list[LatentKey]:
    """What is not encoded yet: whole clips, edited or not, then first frames of media; those of one shape together."""
    wanted = (key for key in dict.fromkeys((*clips, *firsts)) if str(key) not in latents)
    shapes: dict[tuple[bool, str], list[LatentKey]] = {}
    for key in wanted:
        shapes.setdefault((key.first, key.shape), []).append(key)
    return [key for together in shapes.values() for key in together]


def encode(
    media: MediaFolder,
    latents: LatentStore,
    backbone: Backbone,
    size: BackboneSettings,
    fit: FitMode,
    wanted: Sequence[LatentKey],
    tick: Callable[[int], None] = lambda count: None,
    spread: ParallelMap = in_turn,
) -> None:
    """Make latents, each batch stored before the next is read; `tick` is called with the size of each.

    Raises:
        ValueError: a clip that cannot be read, or is shorter than the backbone's frames, or than its edit needs.
    """

    def make(part: Sequence[LatentKey]) -> None:
        own = size.at(part[0].shape)
        frames = [_frames(media, backbone, own, fit, job) for job in part]
        put = _stills(backbone, part, np.stack(frames), own)
        encoded = backbone.encode(np.stack(frames))
        latents.put(put | {str(job): latent for job, latent in zip(part, encoded, strict=True)})

    for part, _ in spread(batches(wanted, size), make):
        tick(len(part))


def batches(wanted: Sequence[LatentKey], size: BackboneSettings) -> list[list[LatentKey]]:
    """What is encoded and stored together: whole clips, or first frames, as memory is spent on, of one shape."""
    parts = []
    for (first, shape), group in groupby(wanted, key=lambda job: (job.first, job.shape)):
        same, own = list(group), size.at(shape)
        clip_bytes = own.height_px * own.width_px * 3 * (1 if first else own.frames)
        at_once = max(1, min(AT_ONCE, AT_ONCE_BYTES // clip_bytes))
        parts += [same[at : at + at_once] for at in range(0, len(same), at_once)]
    return parts


def _frames(
    media: MediaFolder, backbone: Backbone, size: BackboneSettings, fit: FitMode, job: LatentKey
) -> NDArray[np.uint8]:
    """What the codec gets of one clip or first frame."""
    if job.first:
        first = read_first_frame(media.path(job.media), size, fit)
        return words.apply(first, job.edit, lambda digest: first) if job.edit else first
    return edited(job, lambda digest: read_clip(media.path(digest), size, fit), backbone)


def _stills(
    backbone: Backbone, part: Sequence[LatentKey], frames_BTHWC: NDArray[np.uint8], size: BackboneSettings
) -> dict[str, Tensor]:
    """What the model takes of first frames beside their latents, by key; an edited clip's is its own."""
    rows = [row for row, job in enumerate(part) if job.first or job.edit] if backbone.spec.still else []
    if not rows:
        return {}
    tensors = backbone.still(frames_BTHWC[rows, 0], size.frames)
    return {
        str(replace(part[row], first=True, part=name)): many[at]
        for name, many in tensors.items()
        for at, row in enumerate(rows)
    }


def edited(job: LatentKey, read: words.ReadClip, backbone: Backbone) -> NDArray[np.uint8]:
    """Frames of a clip after its edit, [T, H, W, 3]: between file and codec, so that no second file gives it away."""
    frames = read(job.media)
    if job.edit == words.CODEC:
        decoded: NDArray[np.uint8] = backbone.decode(backbone.encode(frames[None]))[0]
        return decoded
    try:
        return words.apply(frames, job.edit, read) if job.edit else frames
    except ValueError as error:
        raise ValueError(f"clip {job.media[:12]} cannot be edited ({job.edit}): {error}") from error


def read_clip(path: Path, size: BackboneSettings, fit: FitMode) -> NDArray[np.uint8]:
    """A clip as the codec gets it, [T, H, W, 3]."""
    shape = (size.height_px, size.width_px)
    return read_video(path, fps=size.fps, frames=size.frames, size_px=shape, fit=fit).frames_FHWC


def read_first_frame(path: Path, size: BackboneSettings, fit: FitMode) -> NDArray[np.uint8]:
    """The first frame of a clip, or a still, as the codec gets it, [1, H, W, 3]."""
    return resize_frame(read_still(path), (size.height_px, size.width_px), fit)[None]
