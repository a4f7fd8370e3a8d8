"""Write video that plays everywhere: h264, yuv420p, constant rate, short groups of pictures, index in front."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.container import Flags
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, ColorTrc, Interpolation

from rushes.media.files import whole_file
from rushes.media.read import exact
from rushes.media.resize import Frames, enlarge

KEY_EVERY = 12  # frames between key frames: stepping back in a browser stays quick

_SMPTE170M = 6  # AVColorSpace, which PyAV has no name for
_PRESETS = ["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"]

# Chroma of a 2x2 block is its mean, the same on every processor.
_TO_YUV = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.BITEXACT


def write_video(
    path: str | os.PathLike[str],
    frames_FHWC: Frames,
    fps: float,
    *,
    scale: int = 1,
    crf: int = 12,
    preset: str = "veryfast",
) -> None:
    """Write [F,H,W,3] uint8 RGB as an mp4 file; equal input gives equal bytes with the same FFmpeg build.

    `scale` repeats every pixel first: h264 keeps colour at half the size, which ruins small clips. An odd side gets its
    last row or column once more. `crf` is x264's quality, 1 (best) to 51. The file appears whole or not at all.

    Raises ValueError for unusable arguments, OSError where the disk is full or refuses.
    """
    frames_FHWC = _ready(frames_FHWC, fps, scale, crf, preset)
    with whole_file(path) as part:
        _encode(part, frames_FHWC, fps, crf, preset)


def encode_bytes(frames_FHWC: Frames, fps: float, *, scale: int = 1, crf: int = 12, preset: str = "veryfast") -> bytes:
    """The bytes that `write_video` would write."""
    with tempfile.TemporaryDirectory() as folder:  # moving the index to the front needs a real file
        path = Path(folder) / "clip.mp4"
        write_video(path, frames_FHWC, fps, scale=scale, crf=crf, preset=preset)
        return path.read_bytes()


def check_frames(frames_FHWC: Frames) -> None:
    """Raise ValueError unless this is [F,H,W,3] uint8 with at least one frame and one pixel."""
    shape, dtype = np.shape(frames_FHWC), getattr(frames_FHWC, "dtype", None)
    if dtype != np.uint8 or len(shape) != 4 or shape[3] != 3 or 0 in shape:
        raise ValueError(f"frames must be [F,H,W,3] uint8 RGB with F, H, W from 1 up, got {list(shape)} {dtype}")


def _ready(frames_FHWC: Frames, fps: float, scale: int, crf: int, preset: str) -> Frames:
    check_frames(frames_FHWC)
    if not 0 < fps <= 1000:
        raise ValueError(f"fps must be above 0 and at most 1000 frames per second, got {fps}")
    if not 1 <= crf <= 51:
        raise ValueError(f"crf must be from 1 (best) to 51, got {crf}; 0 makes files that browsers refuse")
    if preset not in _PRESETS:
        raise ValueError(f"preset must be one of {', '.join(_PRESETS)}, got {preset!r}")
    frames_FHWC = enlarge(frames_FHWC, scale)
    height, width = frames_FHWC.shape[1:3]
    return np.pad(frames_FHWC, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _encode(path: Path, frames_FHWC: Frames, fps: float, crf: int, preset: str) -> None:
    rate = exact(fps)
    with av.open(f"file:{path}", "w", format="mp4", options={"movflags": "+faststart"}) as container:
        container.flags |= cast(int, Flags.bitexact.value)  # no version, no date
        stream = container.add_stream("libx264", rate=rate)
        stream.height, stream.width = frames_FHWC.shape[1:3]
        stream.pix_fmt = "yuv420p"
        # Small frames make x264's macroblock tree read memory it never wrote, so that equal input gives unequal bytes.
        stream.options = {"crf": str(crf), "preset": preset, "g": str(KEY_EVERY), "x264-params": "mbtree=0"}
        context = stream.codec_context
        context.thread_count = 1
        # Without these tags a browser guesses the colour matrix from the height, and differs from other readers.
        context.colorspace = _SMPTE170M
        context.color_range = ColorRange.MPEG
        context.color_primaries = ColorPrimaries.BT709
        context.color_trc = ColorTrc.BT709
        for k, frame_HWC in enumerate(frames_FHWC):
            rgb = VideoFrame.from_ndarray(np.ascontiguousarray(frame_HWC), format="rgb24")
            frame = rgb.reformat(format="yuv420p", interpolation=_TO_YUV, threads=1)
            frame.pts, frame.time_base = k, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
