"""Read and write still images."""

from __future__ import annotations

import io
import os
from pathlib import Path

import av
import cv2
import numpy as np

from rushes.arrays import Frames
from rushes.files import MediaError, whole_file

_STILLS = "png_pipe,jpeg_pipe,webp_pipe"  # FFmpeg's readers of single pictures
STILL_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
MOST_PIXELS = 2**27  # of a still: 400 MB once it is decoded; the largest sensors have less
MOST_BYTES = 2**28  # of its file


def read_image(path: str | os.PathLike[str]) -> Frames:
    """A still (png, jpeg, webp) as [H,W,3] uint8 RGB, upright.

    Raises MediaError for what cannot be read, and what would take more memory than a still may, before it is decoded.
    """
    try:
        size = Path(path).stat().st_size
        data = Path(path).read_bytes() if size <= MOST_BYTES else b""
    except OSError as error:
        raise MediaError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error
    if size > MOST_BYTES:
        raise MediaError(
            f"{path}: {size / 2**20:.0f} MiB are more than the {MOST_BYTES // 2**20} MiB allowed for a still", "large"
        )
    try:
        sized = bool(data) and _check_size(path, data)
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB) if sized else None
    except cv2.error as error:
        raise MediaError(f"{path}: the image cannot be decoded ({error.err}); save it as a png") from error
    if image is None:
        what = "not an image, or a damaged one" if data else "the file is empty (0 bytes)"
        raise MediaError(f"{path}: {what}; give a png, jpeg or webp file")
    return np.asarray(image, np.uint8)


def jpeg_of(frame_HWC: Frames, quality: int) -> bytes:
    """A JPEG file of [H,W,3] uint8 RGB; quality 0 to 100."""
    done, data = cv2.imencode(".jpg", cv2.cvtColor(frame_HWC, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return data.tobytes()


def _check_size(path: str | os.PathLike[str], data: bytes) -> bool:
    """Refuse a picture by the size that its header says: 76 kB may decode to gigabytes. False = another format.

    FFmpeg decodes a picture to look at it, but for one of more than `max_pixels`. Other formats, of which OpenCV reads
    many (43 bytes of a gif took 10 GiB), never reach OpenCV.
    """
    try:
        with av.open(io.BytesIO(data), options={"format_whitelist": _STILLS, "max_pixels": str(MOST_PIXELS)}) as file:
            sizes = [(each.codec_context.width, each.codec_context.height) for each in file.streams.video]
    except av.FFmpegError:
        return False
    for width, height in sizes:
        if not 0 < width * height <= MOST_PIXELS:  # FFmpeg says 0 of what it would never decode
            doubt = "" if width * height else "its size cannot be read, or it "
            raise MediaError(
                f"{path}: {doubt}has more pixels than the {MOST_PIXELS / 1e6:.0f} million allowed for a still; save it "
                "smaller, as a png of one picture",
                "large",
            )
    return True


def write_image(path: str | os.PathLike[str], frame_HWC: Frames) -> None:
    """Write [H,W,3] uint8 RGB as png; the file appears whole or not at all.

    Raises ValueError for another shape, type or file ending, OSError where the disk is full or refuses.
    """
    if Path(path).suffix.lower() != ".png":
        raise ValueError(f"{path}: images are written as png; name the file with .png")
    if frame_HWC.dtype != np.uint8 or frame_HWC.ndim != 3 or frame_HWC.shape[2] != 3 or 0 in frame_HWC.shape:
        raise ValueError(f"the image must be [H,W,3] uint8 RGB, got {list(frame_HWC.shape)} {frame_HWC.dtype}")
    done, data = cv2.imencode(".png", cv2.cvtColor(frame_HWC, cv2.COLOR_RGB2BGR))
    assert done
    with whole_file(path) as part:
        part.write_bytes(data.tobytes())
