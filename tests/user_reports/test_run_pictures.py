"""Pictures as players show them: what cameras and editors write, made with PyAV."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.filter import Graph
from av.stream import Disposition
from av.video.reformatter import Colorspace
from numpy.typing import NDArray

from rushes.files import MediaError
from rushes.footage.probe_cache import ProbeCache
from rushes.formats.layouts import SourceVideo
from rushes.media.pictures import INTERLACED, TRANSPARENT, UNTAGGED, WOVEN
from rushes.media.read import probe, read_video

Images = NDArray[np.uint8]


def write(path: Path, frames: Sequence[av.VideoFrame], codec: str, form: str, **options: str) -> Path:
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=25, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = frames[0].width, frames[0].height, form
        if form.startswith("yuva"):
            stream.metadata["alpha_mode"] = "1"
        for at, frame in enumerate(frames):
            frame.pts = at
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def frames_of(images_FHWC: Images, kind: str, form: str, matrix: Colorspace | None = None) -> list[av.VideoFrame]:
    return [
        av.VideoFrame.from_ndarray(i, format=kind).reformat(format=form, dst_colorspace=matrix) for i in images_FHWC
    ]


def crossing(count: int) -> Images:
    """A bright bar that crosses a dark picture, 4 px a frame."""
    images = np.full((count, 64, 128, 3), 40, np.uint8)
    for at in range(count):
        images[at, :, 4 * at : 4 * at + 16] = 200
    return images


def through(frame: av.VideoFrame, scale: str, form: str) -> Images:
    """What `ffmpeg -vf scale=...,format=...` makes of a frame: the filter itself, without our reader."""
    graph = Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 25))
    chain = [source, graph.add("scale", scale), graph.add("format", f"pix_fmts={form}"), graph.add("buffersink")]
    for before, after in pairwise(chain):
        before.link_to(after)
    graph.configure()
    graph.push(frame)
    shown: Any = graph.pull()
    return np.asarray(shown.to_ndarray(), np.uint8)


def combing(images_FHWC: Images) -> float:
    """How far neighbouring lines differ: 0 in a picture of vertical bars, tens of levels where fields are woven."""
    return float(np.abs(np.diff(images_FHWC.astype(np.int16), axis=1)).mean())


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_interlaced_film(tmp_path: Path, name: str) -> None:
    """Interlaced film is no comb: each frame is deinterlaced, at its time, and that is reported.

    Was: neighbouring lines 9.7 levels apart, no word.
    """
    fields = crossing(40)
    woven = fields[::2].copy()
    woven[:, 1::2] = fields[1::2, 1::2]
    x264 = {"crf": "4", "flags": "+ildct+ilme", "x264-params": "tff=1:bframes=2"}
    path = write(tmp_path / name, frames_of(woven, "rgb24", "yuv420p"), "libx264", "yuv420p", **x264)
    video = read_video(path)
    assert len(video.frames_FHWC) == 20 and video.fps == 25
    assert combing(woven) > 3 > 8 * combing(video.frames_FHWC[2:-2])
    assert probe(path).treated == (INTERLACED,)
    later = read_video(path, start_s=0.4, frames=3)
    assert np.array_equal(later.frames_FHWC, video.frames_FHWC[10:13])


def test_woven_film_that_is_not_marked(tmp_path: Path) -> None:
    """Fields that are woven and not marked as such are taken as they are, which is said with the cure."""
    fields = crossing(50)
    woven = fields[::2].copy()
    woven[:, 1::2] = fields[1::2, 1::2]
    treated = {}
    for name, images in (("woven.mp4", woven), ("whole.mp4", fields[:25])):
        path = write(tmp_path / name, frames_of(images, "rgb24", "yuv420p"), "libx264", "yuv420p", crf="4")
        with ProbeCache(tmp_path) as cache:
            treated[name] = cache.of(SourceVideo(path, "", name)).treated
    assert treated == {"woven.mp4": (WOVEN,), "whole.mp4": ()}
    assert combing(read_video(tmp_path / "woven.mp4").frames_FHWC) > 3


def y4m(path: Path, images_FHWC: Images) -> Path:
    count, height, width, _ = images_FHWC.shape
    planes = [frame.to_ndarray().tobytes() for frame in frames_of(images_FHWC, "rgb24", "yuv420p")]
    path.write_bytes(f"YUV4MPEG2 W{width} H{height} F24:1 Ip A1:1 C420\n".encode() + b"".join(
        b"FRAME\n" + plane for plane in planes))  # fmt: skip
    assert len(planes) == count
    return path


def test_raw_streams_go_by_the_rate_of_their_headers(tmp_path: Path) -> None:
    """MediaElch#50, its kind: `.h264`, `.m2v` and `.y4m` were refused, though they decode."""
    right = read_video(write(tmp_path / "a.mp4", frames_of(crossing(25), "rgb24", "yuv420p"), "libx264", "yuv420p"))
    h264, m2v = tmp_path / "a.h264", tmp_path / "a.m2v"
    write(h264, frames_of(crossing(25), "rgb24", "yuv420p"), "libx264", "yuv420p")
    write(m2v, frames_of(crossing(25), "rgb24", "yuv420p"), "mpeg2video", "yuv420p")
    assert np.array_equal(read_video(h264).frames_FHWC, right.frames_FHWC)
    for path in (h264, m2v):
        info = probe(path)
        assert (info.frames, info.fps, info.variable_frame_rate) == (25, 25, False)
        assert info.treated == ("a raw stream, timed by the 25 fps of its headers",)
    assert probe(y4m(tmp_path / "a.y4m", crossing(25))).fps == 24
    settings = {"x265-params": "log-level=none:vui-timing-info=0"}
    path = write(tmp_path / "bare.hevc", frames_of(crossing(9), "rgb24", "yuv420p"), "libx265", "yuv420p", **settings)
    with pytest.raises(MediaError, match=r"without a frame rate; .* -framerate 25 -i FILE -c copy"):
        probe(path)


@pytest.mark.parametrize(
    ("name", "codec", "form"),
    [("a.mov", "png", "rgba"), ("a.mov", "qtrle", "argb"), ("a.webm", "libvpx-vp9", "yuva420p")],
)
def test_transparent_pixels(tmp_path: Path, name: str, codec: str, form: str) -> None:
    """What lies beneath transparent pixels is not shown: they are black, half of them half as bright. Was: 200."""
    images = np.full((4, 64, 64, 4), 255, np.uint8)
    images[:, :, :, :3] = 200
    images[:, :, :16, 3], images[:, :, 16:32, 3] = 0, 128
    path = write(tmp_path / name, frames_of(images, "rgba", form), codec, form)
    frame = read_video(path).frames_FHWC[1]
    assert np.abs(frame[32, [8, 24, 48]].astype(int) - [[0], [100], [200]]).max() <= 4
    assert probe(path).treated == (TRANSPARENT,)


def test_untagged_hd(tmp_path: Path) -> None:
    """HD that names no colour matrix is BT.709, as players take it; SD stays BT.601; what is tagged is what it says.

    Was: (186, 32, 50) for (200, 50, 50), no word.
    """
    for height, width, matrix in ((720, 1280, Colorspace.ITU709), (480, 640, Colorspace.ITU601)):
        images = np.broadcast_to(np.array([200, 50, 50], np.uint8), (3, height, width, 3))
        frames = frames_of(images, "rgb24", "yuv420p", matrix)
        for frame in frames:
            frame.colorspace = 2
        path = write(tmp_path / f"{height}.mp4", frames, "libx264", "yuv420p", preset="ultrafast", crf="1")
        colour = read_video(path).frames_FHWC[1, height // 2, width // 2]
        assert np.abs(colour.astype(int) - [200, 50, 50]).max() <= 3, (height, colour)
        assert probe(path).treated == ((UNTAGGED,) if height == 720 else ())


def test_chroma_of_ten_bits(tmp_path: Path) -> None:
    """Ten-bit film equals `ffmpeg -pix_fmt rgb24` to the level: its chroma is brought up by bicubic interpolation.

    Was: 2.6 levels off at the mean, up to 116 at edges.
    """
    noise = np.random.default_rng(3).integers(0, 255, (3, 64, 96, 3), dtype=np.uint8)
    path = write(tmp_path / "a.mkv", frames_of(noise, "rgb24", "yuv420p10le"), "ffv1", "yuv420p10le")
    with av.open(str(path)) as file:
        frames = list(file.decode(video=0))
    right = np.stack([through(frame, "flags=bicubic", "rgb24") for frame in frames])
    assert np.array_equal(read_video(path).frames_FHWC, right)


def test_the_default_of_two_streams(tmp_path: Path) -> None:
    """The stream that is marked as the default one is the film, wherever it lies in the file. Was: the first."""
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as file:
        streams = [file.add_stream("libx264", rate=25) for _ in range(2)]
        for stream, side in zip(streams, (32, 64), strict=True):
            stream.width = stream.height = side
            stream.pix_fmt = "yuv420p"
        streams[0].disposition, streams[1].disposition = Disposition(0), Disposition.default
        for stream, level in zip(streams, (30, 220), strict=True):
            side = stream.width
            for frame in frames_of(np.full((4, side, side, 3), level, np.uint8), "rgb24", "yuv420p"):
                file.mux(stream.encode(frame))
            file.mux(stream.encode())
    frames = read_video(path).frames_FHWC
    assert frames.shape[1:3] == (64, 64) and frames.mean() > 200


def test_joined_recordings(tmp_path: Path) -> None:
    """Two recordings joined by `cat` are called that, with the cure. Was: "cut short"."""
    part = write(tmp_path / "a.ts", frames_of(crossing(25), "rgb24", "yuv420p"), "libx264", "yuv420p")
    both = tmp_path / "both.ts"
    both.write_bytes(2 * part.read_bytes())
    with pytest.raises(MediaError, match=r"recordings joined end to end.*ffmpeg -i FILE out\.mp4") as refused:
        read_video(both)
    assert refused.value.reason == "joined"


@pytest.mark.parametrize("suffix", ["mp4", "mov", "flv"])
def test_joined_recordings_of_which_players_show_the_first(suffix: str, tmp_path: Path) -> None:
    """Its kind: `cat a.mp4 b.mp4` was taken as the first alone, and the other lost without a word."""
    part = write(tmp_path / f"a.{suffix}", frames_of(crossing(25), "rgb24", "yuv420p"), "libx264", "yuv420p")
    assert len(read_video(part).frames_FHWC) == 25
    both = tmp_path / f"both.{suffix}"
    both.write_bytes(2 * part.read_bytes())
    with pytest.raises(MediaError, match=r"joined end to end, and the first ends.*ffmpeg -f concat") as refused:
        read_video(both)
    assert refused.value.reason == "joined"
