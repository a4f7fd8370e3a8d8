"""Whether a codec should work in tiles: where a clip in one piece would take more memory than is set aside for it.

Tiles leave seams, and clips that went through tiles differ from those that did not. So the answer follows from the
family and the size of the clips alone, never from the machine: real clips and takes of a project go the same way
everywhere.
"""

from __future__ import annotations

from rushes.backbones.model_defaults import families
from rushes.config.tables import BackboneSettings

MOST_BYTES = 10 * 2**30  # for activations in float32; beside 14 billion weights in 4 bits they fit 24 GB


def codec_bytes(family: str, frames: int, height_px: int, width_px: int) -> int | None:
    """Peak of the activations of a family's codec for one clip in one piece; None for a family that was not counted."""
    if family not in families():
        return None
    by_frame, by_clip = families()[family]["codec_bytes"]
    count: int = height_px * width_px * (by_frame + by_clip * frames)
    return count


def tiled(size: BackboneSettings) -> bool:
    """Whether a codec works in tiles, which is decided for the largest of several shapes; by "auto" also where its
    memory is not known."""
    if isinstance(size.tiling, bool):
        return size.tiling
    most = size.largest
    peak = codec_bytes(size.name, most.frames, most.height_px, most.width_px)
    return peak is None or peak > MOST_BYTES
