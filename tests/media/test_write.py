from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from rushes.files import content_hash
from rushes.media.read import probe, read_video
from rushes.media.write import KEY_EVERY, encode_bytes, write_video


def soft_balls(count: int = 17, side: int = 32) -> NDArray[np.uint8]:
    """Three saturated balls with soft edges, crossing a dark background."""
    y, x = np.mgrid[:side, :side] + 0.5
    frames = np.empty((count, side, side, 3))
    frames[:] = (30, 40, 60)
    for k, frame in enumerate(frames):
        for left, top, colour in (
            (8 + k, 10, (230, 40, 30)),
            (24 - k / 2, 22, (40, 200, 60)),
            (16, 6 + k, (40, 60, 240)),
        ):
            cover = np.clip(4.5 - np.hypot(x - left, y - top), 0, 1)[..., None]
            frame += cover * (colour - frame)
    return frames.round().astype(np.uint8)


def noise(count: int, height: int = 64, width: int = 64) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8)


def test_small_colourful_clip_survives_the_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "balls.mp4"
    balls = soft_balls()
    write_video(path, balls, 8, scale=4)
    back = read_video(path, fps=8, frames=17, size_px=(32, 32))
    error = np.abs(back.frames_FHWC.astype(int) - balls)
    assert error.mean() < 1.5 and error.max() < 16  # of 255; without the enlargement 3.4 and 150
    assert back.fps == 8
    write_video(path, balls, 8)
    assert np.abs(read_video(path).frames_FHWC.astype(int) - balls).max() > 100


def test_file_is_what_browsers_want(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, noise(40), 30000 / 1001)
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        context = stream.codec_context
        assert (context.name, context.pix_fmt, stream.average_rate) == ("h264", "yuv420p", Fraction(30000, 1001))
        assert (context.colorspace, context.color_range, context.color_primaries, context.color_trc) == (6, 1, 1, 1)
        frames = list(file.decode(stream))
    stamps = [frame.pts for frame in frames if frame.pts is not None]
    assert len(stamps) == len(frames) and len({b - a for a, b in pairwise(stamps)}) == 1
    keys = [k for k, frame in enumerate(frames) if frame.key_frame]
    assert keys[0] == 0 and max(np.diff(keys)) <= KEY_EVERY


@pytest.mark.parametrize("fps", [1, 8, 12.5, 23.976, 24000 / 1001, 60])
def test_rate_and_count_come_back(tmp_path: Path, fps: float) -> None:
    write_video(tmp_path / "a.mp4", noise(25), fps)
    info = probe(tmp_path / "a.mp4")
    assert info.frames == 25 and not info.variable_frame_rate
    assert info.fps == pytest.approx(fps, rel=1e-6)
    assert info.duration_s == pytest.approx(25 / fps, rel=1e-4)


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    balls = soft_balls()
    write_video(tmp_path / "a.mp4", balls, 8)
    write_video(tmp_path / "another name.mp4", np.asfortranarray(balls), 8)
    assert content_hash(tmp_path / "a.mp4") == content_hash(tmp_path / "another name.mp4")
    assert encode_bytes(balls, 8) == (tmp_path / "a.mp4").read_bytes()
    assert encode_bytes(balls, 9) != encode_bytes(balls, 8)


@pytest.mark.parametrize("side", [32, 64])
def test_bytes_do_not_depend_on_what_memory_held_before(side: int) -> None:
    balls, rng = soft_balls(side=side), np.random.default_rng(0)
    written = set()
    for _ in range(40):
        litter = [rng.integers(0, 256, size, np.uint8) for size in rng.integers(64, 60_000, 60)]
        del litter
        written.add(encode_bytes(balls, 8))
    assert len(written) == 1


def test_odd_sides_repeat_their_last_pixels(tmp_path: Path) -> None:
    frames = np.full((3, 31, 45, 3), 40, np.uint8)
    frames[:, -1], frames[:, :, -1] = 200, 200
    write_video(tmp_path / "a.mp4", frames, 8, crf=1)
    back = read_video(tmp_path / "a.mp4").frames_FHWC
    assert back.shape == (3, 32, 46, 3)
    assert np.abs(back[:, :, -2:].astype(int) - 200).max() < 8
    assert np.abs(back[:, -2:].astype(int) - 200).max() < 8


@pytest.mark.parametrize(
    ("frames", "arguments", "why"),
    [
        (noise(2).astype(np.float32), {}, r"frames must be \[F,H,W,3\] uint8 RGB"),
        (noise(2)[0], {}, "frames must be"),
        (noise(0), {}, "frames must be"),
        (noise(2)[..., :1], {}, "frames must be"),
        (noise(2), {"fps": 0}, "fps must be"),
        (noise(2), {"fps": float("nan")}, "fps must be"),
        (noise(2), {"scale": 0}, "scale must be"),
        (noise(2), {"crf": 0}, "crf must be .* browsers refuse"),
        (noise(2), {"preset": "quick"}, "preset must be one of ultrafast"),
    ],
)
def test_arguments_that_make_no_sense(
    tmp_path: Path, frames: NDArray[Any], arguments: dict[str, Any], why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        write_video(tmp_path / "a.mp4", frames, **({"fps": 8} | arguments))
    assert not list(tmp_path.iterdir())


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not exist; create it first"):
        write_video(tmp_path / "no" / "a.mp4", noise(2), 8)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_full_disk_leaves_the_old_file(tmp_path: Path, share: float) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")
    room = int(len(encode_bytes(noise(10), 8)) * share)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        with pytest.raises(OSError, match=r"nothing was written; free space .*a\.mp4"):
            write_video(path, noise(10), 8)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["a.mp4"]


def test_interrupt_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")
    code = (
        "import numpy as np; from rushes.media.write import write_video\n"
        f"write_video({str(path)!r}, np.random.default_rng(0).integers(0, 256, (400, 256, 256, 3), np.uint8), 8)"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 30
    while len(os.listdir(tmp_path)) == 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(os.listdir(tmp_path)) == 2  # the temporary file is there: encoding has begun
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=30)
    assert b"KeyboardInterrupt" in errors
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["a.mp4"]
