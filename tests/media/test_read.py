from __future__ import annotations

import itertools
import os
import shutil
import struct
import wave
from bisect import bisect_right
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from rushes.files import MediaError
from rushes.media.read import decode, probe, read_video

from .conftest import Counting, Indices, MakeVideo

REAL = {  # name: codec, width, height, frames, fps, clockwise turn
    "nasa_13013.mp4": ("h264", 320, 180, 325, 25, 0),
    "cockatoo.mp4": ("h264", 1280, 720, 280, 20, 0),
    "flipping_a_pancake.mkv": ("h264", 426, 240, 310, 30, 0),
    "h265_10bits.mp4": ("hevc", 200, 200, 30, 30, 0),
    "av1_video.mkv": ("av1", 640, 360, 125, 25, 0),
    "video_90.mov": ("h264", 320, 568, 3, 30, 90),
    "unordered.mov": ("h264", 50, 50, 4, 32, 0),
}


@pytest.mark.parametrize("name", REAL)
def test_real_clips_are_read_right(real_data: Path, name: str) -> None:
    codec, width, height, frames, fps, turn = REAL[name]
    info = probe(real_data / "media" / name)
    assert (info.codec, info.width_px, info.height_px, info.frames) == (codec, width, height, frames)
    assert (info.fps, info.rotation_deg, info.variable_frame_rate) == (fps, turn, False)
    assert info.duration_s == pytest.approx(frames / fps, abs=0.002)
    few = min(frames, 20)
    video = read_video(real_data / "media" / name, frames=few)
    assert video.frames_FHWC.shape == (few, height, width, 3)
    assert video.frames_FHWC.dtype == np.uint8 and video.fps == fps


def test_every_frame_comes_once_and_at_its_time(real_data: Path) -> None:
    times = [time_s for time_s, _ in decode(real_data / "media" / "flipping_a_pancake.mkv")]
    assert np.allclose(times, np.arange(310) / 30, atol=0.0006)  # Matroska stamps whole milliseconds
    assert len(read_video(real_data / "media" / "flipping_a_pancake.mkv", fps=30, size_px=(24, 42)).frames_FHWC) == 310


def test_real_takes_are_alike(real_data: Path) -> None:
    clips = sorted((real_data / "realaction").rglob("*.mp4"))
    assert len(clips) == 31
    for clip in clips:
        info = probe(clip)
        assert (info.frames, info.width_px, info.height_px, info.fps) == (49, 720, 480, 8), clip


def test_real_broken_clip_is_refused_with_its_count(real_data: Path) -> None:
    path = real_data / "media" / "corrupted.mp4"
    for read in (probe, read_video):
        with pytest.raises(MediaError, match=r"corrupted\.mp4: the stream is damaged .* after 28 frames .* get the"):
            read(path)
    assert probe(path, allow_truncated=True).frames == 28
    assert len(read_video(path, allow_truncated=True, size_px=(9, 16)).frames_FHWC) == 28
    assert len(read_video(path, frames=28, size_px=(9, 16)).frames_FHWC) == 28  # the damage lies behind
    with pytest.raises(MediaError, match="damaged"):
        read_video(path, frames=29)


def test_rotated_phone_clip_stands_upright(real_data: Path) -> None:
    path = real_data / "media" / "video_90.mov"
    with av.open(str(path)) as file:
        stored = [np.rot90(frame.to_ndarray(format="rgb24"), -1) for frame in file.decode(video=0)]
    assert np.array_equal(read_video(path).frames_FHWC, stored)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.mov", "a.webm"])
@pytest.mark.parametrize(("rate", "fps"), [(30, 8), (24, 8), (8, 16), (30, 30), (60, 60), (25, 24)])
def test_resampling_takes_the_frame_on_screen(
    make_video: MakeVideo, counting: Counting, indices: Indices, name: str, rate: int, fps: int
) -> None:
    codec = {"a.avi": "mpeg4", "a.webm": "libvpx"}.get(name, "libx264")
    path = make_video(name, counting(40), rate, codec=codec)
    video = read_video(path, fps=fps)
    expected = [
        floor(Fraction(k * rate, fps)) for k in itertools.takewhile(lambda k: k * rate < 40 * fps, itertools.count())
    ]
    assert indices(video.frames_FHWC) == expected
    assert video.fps == fps


def test_ntsc_rate_stays_exact(make_video: MakeVideo, counting: Counting, indices: Indices) -> None:
    path = make_video("a.mp4", counting(50), Fraction(30000, 1001))
    assert probe(path).fps == pytest.approx(29.97002997)
    assert indices(read_video(path, fps=30000 / 1001).frames_FHWC) == list(range(50))
    expected = [floor(Fraction(k * 30000, 1001 * 30)) for k in range(50)]
    assert indices(read_video(path, fps=30, frames=50).frames_FHWC) == expected


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_variable_rate_goes_by_time_stamps(
    make_video: MakeVideo, counting: Counting, indices: Indices, name: str
) -> None:
    times_ms = [0, 40, 80, 200, 210, 500, 533, 566, 600, 1000, 1040]
    path = make_video(name, counting(11), times=times_ms, tick_s=Fraction(1, 1000))
    info = probe(path)
    assert info.variable_frame_rate and info.frames == 11
    assert 1.040 < info.duration_s < 1.6 and info.fps == pytest.approx(11 / info.duration_s)
    for fps in (8, 24, 100):
        expected = [bisect_right(times_ms, 1000 * Fraction(k, fps)) - 1 for k in range(fps + 1)]
        assert indices(read_video(path, fps=fps, frames=fps + 1).frames_FHWC) == expected
    kept = read_video(path)
    assert indices(kept.frames_FHWC) == list(range(11)) and kept.fps == info.fps


def test_constant_rate_is_not_called_variable(make_video: MakeVideo, counting: Counting) -> None:
    for name, rate in (("a.mkv", 120), ("a.mkv", 60), ("a.mp4", Fraction(30000, 1001))):
        assert not probe(make_video(name, counting(30), rate)).variable_frame_rate
    dropped = [k for k in range(31) if k != 17]
    assert probe(make_video("b.mp4", counting(30), times=dropped)).variable_frame_rate


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
@pytest.mark.parametrize("start_s", [0.0, 0.1, 1.5, 5.25, 6.3, 9.0])
def test_start_goes_to_the_frame_on_screen_then(
    make_video: MakeVideo, counting: Counting, indices: Indices, name: str, start_s: float
) -> None:
    path = make_video(name, counting(60), 6, gop=15)  # ten seconds, so the later starts seek
    first = floor(Fraction(start_s).limit_denominator(100) * 6)
    assert indices(read_video(path, start_s=start_s).frames_FHWC) == list(range(first, 60))
    assert indices(read_video(path, start_s=start_s, fps=6, frames=3).frames_FHWC) == list(range(first, first + 3))


def test_seeking_gives_the_same_frames(real_data: Path) -> None:
    for name in ("flipping_a_pancake.mkv", "nasa_13013.mp4"):
        path = real_data / "media" / name
        whole = read_video(path, fps=8, size_px=(18, 32)).frames_FHWC
        for start_s in (5.125, 7.5, 9.875):
            part = read_video(
                real_data / "media" / name, fps=8, start_s=start_s, frames=2, size_px=(18, 32)
            ).frames_FHWC
            k = int(start_s * 8)
            assert np.array_equal(part, whole[k : k + 2])


def test_reordered_frames_in_avi_come_in_display_order(
    make_video: MakeVideo, counting: Counting, indices: Indices
) -> None:
    path = make_video("a.avi", counting(40))
    with av.open(str(path)) as file:
        stamps = [frame.pts for frame in file.decode(video=0) if frame.pts is not None]
    assert stamps != sorted(stamps)  # the input has the fault
    assert indices(read_video(path).frames_FHWC) == list(range(40))


def test_too_short_says_what_there_is_and_what_to_do(make_video: MakeVideo, counting: Counting) -> None:
    path = make_video("a.mp4", counting(12), 8)
    wanted = r"a\.mp4: 12 frames at 8 fps from 0 s on, but 17 are wanted; it lasts 1\.50 s: ask for fewer frames"
    with pytest.raises(ValueError, match=wanted):
        read_video(path, fps=8, frames=17)
    with pytest.raises(ValueError, match=r"8 frames from 0\.5 s on, but 9 are wanted"):
        read_video(path, start_s=0.5, frames=9)
    with pytest.raises(ValueError, match="0 frames from 60 s on, but at least 1 is wanted"):
        read_video(path, start_s=60)
    assert len(read_video(path, fps=8, frames=12).frames_FHWC) == 12


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("mirrored", [False, True])
def test_display_matrix_is_honoured(make_video: MakeVideo, degrees: int, mirrored: bool) -> None:
    corner = np.full((2, 32, 48, 3), 60, np.uint8)
    corner[:, :16, :24] = (220, 40, 40)
    corner[:, :16, 24:] = (40, 220, 40)
    path = make_video("a.mov", corner, rotate=(degrees, mirrored))
    with av.open(str(path)) as file:
        frame = next(file.decode(video=0))
    stored = frame.to_ndarray(format="rgb24")
    # FFmpeg: the matrix turns by `rotation` counterclockwise, after the mirroring.
    expected = np.rot90(stored[:, ::-1] if mirrored else stored, -degrees // 90 if mirrored else frame.rotation // 90)
    assert np.array_equal(read_video(path).frames_FHWC[0], expected)


def test_pixels_become_square(make_video: MakeVideo, counting: Counting) -> None:
    path = make_video("a.mp4", counting(3), pixel_aspect=Fraction(2))
    assert (probe(path).width_px, probe(path).height_px) == (96, 32)
    assert read_video(path).frames_FHWC.shape == (3, 32, 96, 3)


def test_high_dynamic_range_is_refused(make_video: MakeVideo, counting: Counting) -> None:
    path = make_video("a.mp4", counting(3), transfer=16)
    with pytest.raises(MediaError, match=r"high dynamic range .* tone-map it"):
        read_video(path)


def test_size_is_height_then_width(make_video: MakeVideo, counting: Counting) -> None:
    assert read_video(make_video("a.mp4", counting(3)), size_px=(16, 20)).frames_FHWC.shape == (3, 16, 20, 3)


def renumbered(transport: bytes) -> bytes:
    """Joined MPEG transport streams without the jump in the packet counters that would tell of lost packets."""
    packets = [bytearray(transport[at : at + 188]) for at in range(0, len(transport), 188)]
    counters: dict[int, int] = {}
    for packet in packets:
        stream = (packet[1] & 31) << 8 | packet[2]
        counters[stream] = counters.get(stream, -1) + (packet[3] >> 4 & 1)
        packet[3] = packet[3] & 0xF0 | counters[stream] & 15
    return b"".join(packets)


def test_change_of_size_within_a_file(make_video: MakeVideo, counting: Counting, tmp_path: Path) -> None:
    small = make_video("a.ts", counting(10))
    large = make_video("b.ts", counting(20, 64, 96)[10:], times=range(10, 20))
    both = tmp_path / "both.ts"
    both.write_bytes(renumbered(small.read_bytes() + large.read_bytes()))
    with pytest.raises(MediaError, match=r"frame size changes .* give size_px"):
        read_video(both)
    assert read_video(both, size_px=(16, 24)).frames_FHWC.shape == (20, 16, 24, 3)
    both.write_bytes(renumbered(2 * make_video("c.ts", counting(40)).read_bytes()))
    with pytest.raises(MediaError, match="clock jumps back; repair it"):
        read_video(both)
    both.write_bytes(2 * small.read_bytes())
    with pytest.raises(MediaError, match=r"joined end to end.*ffmpeg -i FILE"):
        read_video(both)


def test_decode_holds_one_frame_at_a_time_and_ends_with_the_error(real_data: Path) -> None:
    frames = decode(real_data / "media" / "corrupted.mp4")
    times = []
    with pytest.raises(MediaError, match="28 frames"):
        for time_s, frame in frames:
            times.append(time_s)
            assert frame.shape == (720, 1280, 3)
    assert np.allclose(times, np.arange(28) / 10)


CUT = {"a.mp4": "mp4", "a.mkv": "matroska", "a.webm": "webm", "a.avi": "avi", "a.flv": "flv"}


@pytest.mark.parametrize("name", CUT)
def test_truncated_file_is_refused_unless_allowed(make_video: MakeVideo, indices: Indices, name: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (50, 64, 64, 3), np.uint8)
    codec, movflags = "libvpx" if name == "a.webm" else "libx264", "+faststart" if name == "a.mp4" else ""
    path = make_video(name, noise, codec=codec, movflags=movflags)
    whole = read_video(path).frames_FHWC
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    with pytest.raises(MediaError, match=r"cut short.* frames that decode"):
        read_video(path)
    kept = probe(path, allow_truncated=True).frames
    assert 15 < kept < 50
    part = read_video(path, allow_truncated=True).frames_FHWC
    assert len(part) == kept
    assert np.array_equal(part[:15], whole[:15])


def test_mp4_without_its_index(make_video: MakeVideo, counting: Counting) -> None:
    path = make_video("a.mp4", counting(40))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(MediaError, match=r"a\.mp4: cannot be opened as a video .* cut short before its index"):
        probe(path)


def test_damage_inside_is_found(make_video: MakeVideo) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (50, 64, 64, 3), np.uint8)
    path = make_video("a.mp4", noise)
    whole = path.read_bytes()
    refusals = 0
    for place in range(2, 18):
        data = bytearray(whole)
        at = len(data) * place // 20
        data[at : at + 40] = bytes(byte ^ 0x5A for byte in data[at : at + 40])
        path.write_bytes(data)
        try:
            assert probe(path).frames == 50
        except MediaError as error:
            refusals += 1
            assert "the stream is damaged" in str(error)
    assert refusals >= 6  # h264 has no checksums: the decoder notices about 60 % of such wounds


def test_matroska_named_mp4_is_read_by_its_content(make_video: MakeVideo, counting: Counting, indices: Indices) -> None:
    path = make_video("a.mp4", counting(5), container="matroska")
    assert indices(read_video(path).frames_FHWC) == list(range(5))


def test_name_with_a_colon_and_spaces(make_video: MakeVideo, counting: Counting) -> None:
    assert (
        probe(
            make_video("a.mp4", counting(5)).rename(Path(make_video("b.mp4", counting(2)).parent / "http: x.mp4"))
        ).frames
        == 5
    )


def refused(path: Path, why: str) -> None:
    for read in (probe, read_video, lambda p: list(decode(p)) and probe(p)):
        with pytest.raises(MediaError, match=why) as caught:
            read(path)
        assert str(path) in str(caught.value)


def test_files_that_are_no_video(make_video: MakeVideo, counting: Counting, tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    refused(path, "no such file; check")
    refused(tmp_path, "a folder; give")
    path.touch()
    refused(path, r"empty \(0 bytes\); copy")
    path.write_text("These are not the frames you are looking for.\n" * 50)
    refused(path, "cannot be opened as a video")
    clip = make_video("clip.mp4", counting(5))
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{clip.name}\n#EXT-X-ENDLIST\n")
    refused(path, "cannot be opened as a video")
    cv2.imwrite(str(tmp_path / "still.png"), np.zeros((8, 8, 3), np.uint8))
    shutil.move(tmp_path / "still.png", path)
    refused(path, "cannot be opened as a video")
    refused(make_video("one.mp4", counting(1)), "it has a single frame")


def test_index_without_frames(make_video: MakeVideo, counting: Counting) -> None:
    path = make_video("a.mp4", counting(5), movflags="+faststart")
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"mdat") - 4])
    refused(path, r"none of its frames can be decoded")


def test_audio_only(tmp_path: Path) -> None:
    sound = tmp_path / "sound.wav"
    with wave.open(str(sound), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(struct.pack("<8000h", *range(8000)))
    path = tmp_path / "sound.mp4"
    with av.open(str(sound)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream("aac", rate=8000)
        for frame in source.decode(audio=0):
            target.mux(stream.encode(frame))
        target.mux(stream.encode())
    refused(path, r"there is no video in this file \(audio\); give")
    refused(sound, "cannot be opened as a video")


def test_unreadable_file(make_video: MakeVideo, counting: Counting) -> None:
    path = make_video("a.mp4", counting(2))
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    refused(path, "no permission")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"fps": 0}, "fps must be"),
        ({"fps": float("nan")}, "fps must be"),
        ({"start_s": -1}, "start_s must be"),
        ({"start_s": float("inf")}, "start_s must be"),
        ({"frames": 0}, "frames must be"),
        ({"size_px": (0, 4)}, "size_px must be"),
        ({"size_px": (4, 4), "fit": "squash"}, "fit must be one of crop, stretch, pad"),
    ],
)
def test_requests_that_make_no_sense(
    make_video: MakeVideo, counting: Counting, arguments: dict[str, Any], why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        read_video(make_video("a.mp4", counting(2)), **arguments)
