"""Clips and candidates -> latents, once per content, codec and preprocessing.

Winners and losers go through this one function: the same resampling by time, the same crop, the same normalisation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rushes.backbones.base import Backbone
from rushes.config.tables import Backbone as Size
from rushes.media.images import read_image
from rushes.media.read import read_video
from rushes.media.resize import Fit, resize_frame
from rushes.store.database import Store
from rushes.store.latents import LatentStore, first_frame_key, latent_fingerprint

PREPROCESSING = "by-time-1"  # raise the number when what happens between file and codec changes
AT_ONCE, AT_ONCE_BYTES = 64, 256 * 2**20  # clips, and bytes of their frames, that are encoded together
_STILLS = {".png", ".jpg", ".jpeg", ".webp"}


@dataclass(frozen=True)
class Job:
    """One latent to be made: of a whole clip, or of the first frame alone of a clip or still."""

    key: str
    media: str
    first: bool


def open_latents(store: Store, backbone: Backbone, size: Size, fit: Fit) -> LatentStore:
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


def jobs(latents: LatentStore, clips: Iterable[str], firsts: Iterable[str]) -> list[Job]:
    """What is not encoded yet of some media: whole clips, then first frames, which have keys of their own."""
    wanted = [Job(media, media, False) for media in dict.fromkeys(clips)]
    wanted += [Job(first_frame_key(media), media, True) for media in dict.fromkeys(firsts)]
    return [job for job in wanted if job.key not in latents]


def encode(
    store: Store,
    latents: LatentStore,
    backbone: Backbone,
    size: Size,
    fit: Fit,
    wanted: Sequence[Job],
    tick: Callable[[], None] = lambda: None,
) -> None:
    """Make latents, each batch stored before the next is read.

    Raises:
        ValueError: a clip that cannot be read, or is shorter than the backbone's frames.
    """
    for first, group in groupby(wanted, key=lambda job: job.first):
        same = list(group)
        clip_bytes = size.height_px * size.width_px * 3 * (1 if first else size.frames)
        at_once = max(1, min(AT_ONCE, AT_ONCE_BYTES // clip_bytes))
        for at in range(0, len(same), at_once):
            part = same[at : at + at_once]
            frames = []
            for job in part:
                frames.append((read_first_frame if first else read_clip)(store.media_path(job.media), size, fit))
                tick()
            encoded = backbone.encode(np.stack(frames))
            latents.put({job.key: latent for job, latent in zip(part, encoded, strict=True)})


def read_clip(path: Path, size: Size, fit: Fit) -> NDArray[np.uint8]:
    """A clip as the codec gets it, [T, H, W, 3]."""
    shape = (size.height_px, size.width_px)
    return read_video(path, fps=size.fps, frames=size.frames, size_px=shape, fit=fit).frames_FHWC


def read_first_frame(path: Path, size: Size, fit: Fit) -> NDArray[np.uint8]:
    """The first frame of a clip, or a still, as the codec gets it, [1, H, W, 3]."""
    return resize_frame(read_still(path), (size.height_px, size.width_px), fit)[None]


def read_still(path: Path) -> NDArray[np.uint8]:
    """The first frame of a clip, or a still, as it is, [H, W, 3]."""
    if path.suffix.lower() in _STILLS:
        return read_image(path)
    first: NDArray[np.uint8] = read_video(path, frames=1).frames_FHWC[0]
    return first
