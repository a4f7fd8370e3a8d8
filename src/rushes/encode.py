"""Clips and candidates -> latents, once per content, codec and preprocessing.

Winners and losers go through this one function: the same resampling by time, the same crop, the same normalisation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
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
_STILLS = {".png", ".jpg", ".jpeg", ".webp"}
_AT_ONCE = 64  # clips in memory


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


def read_clip(path: Path, size: Size, fit: Fit) -> NDArray[np.uint8]:
    """A clip as the codec gets it, [T, H, W, 3]."""
    return read_video(path, fps=size.fps, frames=size.frames, size_px=(size.height_px, size.width_px), fit=fit).frames_FHWC


def read_first_frame(path: Path, size: Size, fit: Fit) -> NDArray[np.uint8]:
    """The first frame of a clip, or a still, as the codec gets it, [1, H, W, 3]."""
    if path.suffix.lower() in _STILLS:
        return resize_frame(read_image(path), (size.height_px, size.width_px), fit)[None]
    return read_video(path, fps=size.fps, frames=1, size_px=(size.height_px, size.width_px), fit=fit).frames_FHWC


def encode(
    store: Store,
    latents: LatentStore,
    backbone: Backbone,
    size: Size,
    fit: Fit,
    *,
    clips: Iterable[str],
    firsts: Iterable[str],
    tick: Callable[[], None] = lambda: None,
) -> int:
    """Encode the media that have no latent yet: whole clips, and first frames under their own keys.

    Returns:
        How many were encoded.
    """
    done = 0
    whole = [(media, media) for media in dict.fromkeys(clips)]
    first = [(first_frame_key(media), media) for media in dict.fromkeys(firsts)]
    for wanted, read in ((whole, read_clip), (first, read_first_frame)):
        missing = [pair for pair in wanted if pair[0] not in latents]
        for at in range(0, len(missing), _AT_ONCE):
            part = missing[at : at + _AT_ONCE]
            frames = []
            for _, media in part:
                frames.append(read(store.media_path(media), size, fit))
                tick()
            encoded = backbone.encode(np.stack(frames))
            latents.put({key: latent for (key, _), latent in zip(part, encoded, strict=True)})
            done += len(part)
    return done
