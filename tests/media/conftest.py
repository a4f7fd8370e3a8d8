"""Clips that PyAV writes without our writer, so that reading is tested against another hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import av
import numpy as np
import pytest
from numpy.typing import NDArray

STEP = 4  # levels of brightness between frame k and k + 1

Indices = Callable[[NDArray[np.uint8]], list[int]]


class Counting(Protocol):
    def __call__(self, count: int, height: int = 32, width: int = 48) -> NDArray[np.uint8]: ...


class MakeVideo(Protocol):
    """Write frames with PyAV: at `rate`, or at `times` in ticks of `tick_s`."""

    def __call__(
        self,
        name: str,
        frames: NDArray[np.uint8],
        rate: int | Fraction = 30,
        *,
        container: str | None = None,
        codec: str = "libx264",
        pix_fmt: str = "yuv420p",
        times: Sequence[int] | None = None,
        tick_s: Fraction | None = None,
        movflags: str = "",
        gop: int = 12,
        rotate: tuple[float, bool] | None = None,
        pixel_aspect: Fraction | None = None,
        transfer: int | None = None,
    ) -> Path: ...


@pytest.fixture
def counting() -> Counting:
    """Grey frames whose brightness encodes their index (up to 60)."""

    def make(count: int, height: int = 32, width: int = 48) -> NDArray[np.uint8]:
        levels = np.arange(count, dtype=np.uint8) * STEP + 8
        return np.broadcast_to(levels[:, None, None, None], (count, height, width, 3)).copy()

    return make


@pytest.fixture
def indices() -> Indices:
    """The indices that `counting` frames encode."""

    def read(frames_FHWC: NDArray[np.uint8]) -> list[int]:
        return [round((float(frame.mean()) - 8) / STEP) for frame in frames_FHWC]

    return read


@pytest.fixture
def make_video(tmp_path: Path) -> MakeVideo:
    """Write frames with PyAV: at `rate`, or at `times` in ticks of `tick_s`."""

    def make(
        name: str,
        frames: NDArray[np.uint8],
        rate: int | Fraction = 30,
        *,
        container: str | None = None,
        codec: str = "libx264",
        pix_fmt: str = "yuv420p",
        times: Sequence[int] | None = None,
        tick_s: Fraction | None = None,
        movflags: str = "",
        gop: int = 12,
        rotate: tuple[float, bool] | None = None,
        pixel_aspect: Fraction | None = None,
        transfer: int | None = None,
    ) -> Path:
        path = tmp_path / name
        options = {"movflags": movflags} if movflags else {}
        with av.open(str(path), "w", format=container, options=options) as file:
            stream = file.add_stream(codec, rate=rate)
            assert isinstance(stream, av.VideoStream)
            stream.height, stream.width = frames.shape[1:3]
            stream.pix_fmt = pix_fmt
            stream.options = {"g": str(gop)}
            if codec == "libx264":  # always B-frames, so that the order of decoding is not that of display
                stream.options |= {"crf": "4", "x264-params": "bframes=3:b-adapt=0:scenecut=0"}
            if codec != "libx264":
                stream.bit_rate = 8_000_000
            if tick_s:
                stream.codec_context.time_base = tick_s
            if rotate:
                stream.set_display_rotation(rotate[0], hflip=rotate[1])
            if pixel_aspect:
                stream.codec_context.sample_aspect_ratio = pixel_aspect
            if transfer:
                stream.codec_context.color_trc = transfer
            for k, image in enumerate(frames):
                frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pix_fmt)
                frame.pts = k if times is None else times[k]
                frame.time_base = tick_s or 1 / Fraction(rate)
                file.mux(stream.encode(frame))
            file.mux(stream.encode())
        return path

    return make
