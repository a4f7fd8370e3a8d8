"""Pieces of a film: which frames they hold, when each is shown, and what cutting costs in quality."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rushes.files import MediaError, content_hash
from rushes.media.cut import TimeSpan, cut_pieces, cut_spans, pieces, scene_spans
from rushes.media.read import decode, probe, read_video

from .conftest import Counting, Indices, MakeVideo


def cut_files(path: Path, spans: list[TimeSpan], folder: Path, crf: int = 12) -> list[Path]:
    """The pieces, kept."""
    kept = []
    for k, (span, piece) in enumerate(cut_pieces(path, spans, crf, folder)):
        assert span == spans[k]
        kept.append(piece.rename(folder / f"piece-{k}.mp4"))
    assert list(folder.glob(".cut-*")) == []
    return kept


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((one.astype(float) - other) ** 2)))


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_pieces_hold_the_frames_on_screen(
    name: str, make_video: MakeVideo, counting: Counting, indices: Indices, tmp_path: Path
) -> None:
    path = make_video(name, counting(50), 10)
    spans = [(0.0, 1.0), (1.5, 2.0), (2.05, 3.05), (4.8, 9.0)]
    found = [read_video(piece) for piece in cut_files(path, spans, tmp_path)]
    assert [indices(video.frames_FHWC) for video in found] == [
        list(range(10)),
        list(range(15, 20)),
        list(range(20, 30)),  # begins with the frame on screen at 2.05 s
        [48, 49],
    ]
    assert all(video.fps == pytest.approx(10, rel=1e-3) for video in found)


def test_a_late_piece_is_sought_and_a_gap_is_left_out(
    make_video: MakeVideo, counting: Counting, indices: Indices, tmp_path: Path
) -> None:
    frames = np.concatenate([counting(60)] * 4)
    (piece,) = cut_files(make_video("a.mp4", frames, 20), [(11.0, 12.0)], tmp_path)
    assert indices(read_video(piece).frames_FHWC) == list(range(40, 60))


def test_times_survive_a_rate_that_varies(make_video: MakeVideo, counting: Counting, tmp_path: Path) -> None:
    times = np.cumsum([0] + [40 + 30 * (k % 3) for k in range(29)])
    path = make_video("a.mp4", counting(30), times=times.tolist(), tick_s=Fraction(1, 1000))
    (piece,) = cut_files(path, [(times[7] / 1000, times[22] / 1000)], tmp_path)
    assert [at for at, _ in decode(piece)] == pytest.approx([(t - times[7]) / 1000 for t in times[7:22]])
    assert probe(piece).duration_s == pytest.approx((times[22] - times[7]) / 1000)


@pytest.mark.parametrize(
    ("name", "size", "settings"),
    [
        ("turned.mp4", (32, 40), {"rotate": (90.0, False)}),
        ("mirrored.mp4", (32, 40), {"rotate": (180.0, True)}),
        ("odd.mkv", (31, 39), {"pix_fmt": "yuv444p"}),
        ("wide.mkv", (32, 40), {"pixel_aspect": Fraction(4, 3)}),
        ("full-range.mkv", (32, 40), {"pix_fmt": "yuvj420p"}),
        ("ten-bit.mkv", (32, 40), {"pix_fmt": "yuv420p10le"}),
    ],
)
def test_what_is_not_plain_video_comes_upright(
    name: str, size: tuple[int, int], settings: dict[str, Any], make_video: MakeVideo, tmp_path: Path
) -> None:
    blocks = np.random.default_rng(0).integers(0, 255, (1, 4, 5, 3), np.uint8).repeat(8, 0)
    frames = np.kron(blocks, np.ones((1, 8, 8, 1), np.uint8))[:, : size[0], : size[1]]
    path = make_video(name, np.ascontiguousarray(frames), 8, **settings)
    (piece,) = cut_files(path, [(0.0, 1.0)], tmp_path)
    before, after = read_video(path).frames_FHWC, read_video(piece).frames_FHWC
    height, width = before.shape[1:3]
    assert after.shape == (8, height + height % 2, width + width % 2, 3)
    assert psnr(before, after[:, :height, :width]) > 25
    assert probe(piece).rotation_deg == 0


def test_equal_pieces_have_equal_bytes(make_video: MakeVideo, counting: Counting, tmp_path: Path) -> None:
    path = make_video("a.mp4", counting(40), 10)
    spans = [(0.0, 1.0), (1.0, 2.0), (2.0, 3.0)]
    together = [content_hash(piece) for piece in cut_files(path, spans, tmp_path)]
    alone = [content_hash(cut_files(path, [span], tmp_path)[0]) for span in spans]
    assert together == alone and len(set(together)) == 3


def test_a_film_that_changed(make_video: MakeVideo, counting: Counting, tmp_path: Path) -> None:
    path = make_video("a.mp4", counting(10), 10)
    with pytest.raises(MediaError, match=r"a\.mp4: .*ends before 2 s, where a piece begins"):
        cut_files(path, [(2.0, 3.0)], tmp_path)
    assert cut_files(path, [], tmp_path) == []


@pytest.mark.parametrize(
    ("name", "least"), [("nasa_13013.mp4", 50), ("flipping_a_pancake.mkv", 43), ("av1_video.mkv", 53)]
)
def test_what_cutting_costs_in_real_films(real_data: Path, tmp_path: Path, name: str, least: float) -> None:
    """PSNR of RGB against the film itself, at the default quality; docs state these."""
    path = real_data / "media" / name
    (piece,) = cut_files(path, [(1.0, 3.0)], tmp_path)
    after = read_video(piece).frames_FHWC
    before = read_video(path, start_s=1.0, frames=len(after)).frames_FHWC
    assert psnr(before, after) > least
    assert abs(float(before.mean()) - float(after.mean())) < 0.1  # no shift of brightness, which would give pieces away


def test_scenes_cover_the_film() -> None:
    assert scene_spans([], 4.0) == [(0.0, 4.0)]
    assert scene_spans([1.0, 3.0], 4.0) == [(0.0, 1.0), (1.0, 3.0), (3.0, 4.0)]
    assert scene_spans([4.0], 4.0) == [(0.0, 4.0)]


@pytest.mark.parametrize(
    ("scene", "shortest", "longest", "expected"),
    [
        ((0.0, 5.0), 2.0, 2.0, [(0.0, 2.0), (2.0, 4.0)]),
        ((1.0, 6.0), 0.5, 2.0, [(1.0, 3.0), (3.0, 5.0), (5.0, 6.0)]),
        ((0.0, 1.9), 2.0, 2.0, []),
        ((0.0, 1.9995), 2.0, 2.0, [(0.0, 1.9995)]),  # a container's rounding
        ((0.0, 4.0005), 1.0, 2.0, [(0.0, 2.0), (2.0, 4.0)]),
        ((0.0, 3.0), 1.0, 10.0, [(0.0, 3.0)]),
    ],
)
def test_pieces(scene: tuple[float, float], shortest: float, longest: float, expected: object) -> None:
    assert pieces(scene, shortest, longest) == expected


@given(
    st.lists(st.floats(0.1, 20), min_size=1, max_size=8),
    st.floats(0.1, 5),
    st.floats(0, 5),
)
def test_no_piece_holds_a_cut_or_overlaps(lengths: list[float], shortest: float, more: float) -> None:
    edges = [sum(lengths[: k + 1]) for k in range(len(lengths))]
    found = cut_spans(edges[:-1], edges[-1], shortest, shortest + more)
    for start, end in found:
        assert shortest * 0.998 <= end - start <= shortest + more + 1e-5
        assert not any(start + 1e-5 < cut < end - 1e-5 for cut in edges[:-1])
    assert all(one[1] <= other[0] + 1e-5 for one, other in pairwise(found))
    longest_left = max((end - start for start, end in scene_spans(edges[:-1], edges[-1])), default=0)
    assert bool(found) == (longest_left >= shortest * 0.999) or abs(longest_left - shortest) < 0.01
