"""Write video that plays everywhere: h264, yuv420p, constant rate, short groups of pictures, index in front."""

from __future__ import annotations

import os
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.container import Flags, OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, ColorTrc, Interpolation
from av.video.stream import VideoStream

from rushes.arrays import Frames
from rushes.files import whole_file
from rushes.media.read import exact
from rushes.media.resize import enlarge

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
    return even(enlarge(frames_FHWC, scale))


def even(frames: Frames) -> Frames:
    """[F,H,W,C] or [H,W,C] with an odd side's last row or column once more."""
    height, width = frames.shape[-3:-1]
    sides = ((0, height % 2), (0, width % 2), (0, 0))
    return np.pad(frames, sides if frames.ndim == 3 else ((0, 0), *sides), mode="edge")


def _encode(path: Path, frames_FHWC: Frames, fps: float, crf: int, preset: str) -> None:
    rate = exact(fps)
    with open_mp4(path) as container:
        height, width = frames_FHWC.shape[1:3]
        stream = add_stream(container, rate, (height, width), crf, preset)
        tag_colours(stream)
        for k, frame_HWC in enumerate(frames_FHWC):
            frame = to_yuv(frame_HWC)
            frame.pts, frame.time_base = k, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def open_mp4(path: Path) -> OutputContainer:
    """A new mp4 file, its index in front once it is closed."""
    return open_bitexact(path, "mp4")


def open_bitexact(path: Path, form: str) -> OutputContainer:
    """A new file of one of FFmpeg's containers, which says neither when nor by which version it was written."""
    options = {"movflags": "+faststart"} if form in ("mp4", "mov") else {}
    container = av.open(f"file:{path}", "w", format=form, options=options)
    container.flags |= cast(int, Flags.bitexact.value)  # no version, no date
    return container


def add_stream(
    container: OutputContainer, rate: Fraction, size_px: tuple[int, int], crf: int, preset: str
) -> VideoStream:
    """Its h264 stream for frames of `size_px` = (height, width), both even."""
    stream = container.add_stream("libx264", rate=rate)
    stream.height, stream.width = size_px
    stream.pix_fmt = "yuv420p"
    # Small frames make x264's macroblock tree read memory it never wrote, so that equal input gives unequal bytes.
    stream.options = {"crf": str(crf), "preset": preset, "g": str(KEY_EVERY), "x264-params": "mbtree=0"}
    stream.codec_context.thread_count = 1
    return stream


def tag_colours(stream: VideoStream) -> None:
    """Say what `to_yuv` did: without these tags a browser guesses the matrix from the height, unlike other readers."""
    context = stream.codec_context
    context.colorspace = _SMPTE170M
    context.color_range = ColorRange.MPEG
    context.color_primaries = ColorPrimaries.BT709
    context.color_trc = ColorTrc.BT709


def to_yuv(frame_HWC: Frames) -> VideoFrame:
    """An RGB frame as the encoder takes it."""
    rgb = VideoFrame.from_ndarray(np.ascontiguousarray(frame_HWC), format="rgb24")
    return rgb.reformat(format="yuv420p", interpolation=_TO_YUV, threads=1)
