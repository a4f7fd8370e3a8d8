"""Whether a codec should work in tiles: where a clip in one piece would take more memory than is set aside for it.

Tiles leave seams, and clips that went through tiles differ from those that did not. So the answer follows from the
family and the size of the clips alone, never from the machine: real clips and takes of a project go the same way
everywhere.
"""

from __future__ import annotations

MOST_BYTES = 10 * 2**30  # for activations in float32; beside 14 billion weights in 4 bits they fit 24 GB

# Bytes for each pixel of a frame, and for each pixel of the clip, at the peak of encoding or decoding one clip in one
# piece in float32: counted as live bytes of tensors without values, at the released codecs' configurations, the larger
# of both ways and of a family's codecs. Codecs that work a few frames at a time have next to nothing for the clip.
BYTES = {
    "wan": (21_600, 13),
    "cogvideox": (91_600, 0),
    "ltx": (0, 175),
    "ltx2": (0, 175),
    "hunyuan": (78_500, 17),
    "hunyuan15": (0, 3_090),
    "animatediff": (24_600, 0),
    "inflated_sd": (24_600, 0),
}


def codec_bytes(family: str, frames: int, height_px: int, width_px: int) -> int | None:
    """Peak of the activations of a family's codec for one clip in one piece; None for a family that was not counted."""
    if family not in BYTES:
        return None
    by_frame, by_clip = BYTES[family]
    return height_px * width_px * (by_frame + by_clip * frames)


def tiled(setting: str | bool, family: str, frames: int, height_px: int, width_px: int) -> bool:
    """Whether clips of this size go through a family's codec in tiles; by "auto" also where its memory is not known."""
    if isinstance(setting, bool):
        return setting
    peak = codec_bytes(family, frames, height_px, width_px)
    return peak is None or peak > MOST_BYTES
