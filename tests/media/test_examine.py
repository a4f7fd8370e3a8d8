"""One pass over a file: does anything move, where do scenes change, and what may not be taken."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from av.video.reformatter import ColorTrc

from rushes.files import MediaError
from rushes.media.examine import CutFinder, examine
from rushes.media.read import probe, read_video

from .conftest import MakeVideo

CONTENT = CutFinder("content")


def texture(seed: int, frames: int, drift: int = 1) -> np.ndarray:
    """A scene of its own colours that drifts sideways."""
    draw = np.random.default_rng(seed)
    base = draw.integers(0, 255, 3) * 0.7 + draw.integers(0, 60, (48, 64, 3))
    return np.stack([np.roll(base, k * drift, axis=1) for k in range(frames)]).clip(0, 255).astype(np.uint8)


def test_it_says_what_probe_says(make_video: MakeVideo) -> None:
    path = make_video("a.mp4", texture(0, 30), 24)
    found = examine(path)
    assert found.info == probe(path) and found.moves and found.cuts_s == ()


@pytest.mark.parametrize("finder", [CutFinder(), CONTENT], ids=lambda finder: finder.name)
def test_planted_cuts_are_found_at_their_frames(make_video: MakeVideo, finder: CutFinder) -> None:
    lengths = (20, 13, 31, 8, 24)
    frames = np.concatenate([texture(seed, count, drift=1 + seed % 2) for seed, count in enumerate(lengths)])
    found = examine(make_video("a.mp4", frames, 25), finder).cuts_s
    assert found == pytest.approx(np.cumsum(lengths)[:-1] / 25, abs=1e-6)
    assert examine(make_video("b.mp4", texture(1, 60), 25), finder).cuts_s == ()


def test_cuts_come_at_times_not_numbers_where_the_rate_varies(make_video: MakeVideo) -> None:
    frames = np.concatenate([texture(0, 20), texture(1, 20)])
    times = [40 * k if k < 12 else 480 + 90 * (k - 12) for k in range(40)]
    path = make_video("a.mp4", frames, 25, times=times, tick_s=Fraction(1, 1000))
    assert examine(path, CONTENT).cuts_s == pytest.approx([times[20] / 1000])


@pytest.mark.parametrize(("finder", "precision"), [(CutFinder(), 0.95), (CONTENT, 0.75)], ids=str)
def test_precision_and_recall_of_cuts_between_real_films(
    real_data: Path, make_video: MakeVideo, finder: CutFinder, precision: float
) -> None:
    """Half seconds of real films, dealt out at random; `content` takes fast motion for cuts."""
    names = ["cockatoo.mp4", "flipping_a_pancake.mkv", "av1_video.mkv"]
    paths = [*(real_data / "media" / name for name in names), *(real_data / "realaction/bench/sft").glob("[012].mp4")]
    films = [read_video(path, fps=16, frames=24, size_px=(90, 160)).frames_FHWC for path in sorted(paths)]
    draw, parts = np.random.default_rng(0), [0]
    while len(parts) < 25:
        parts += [k for k in [int(draw.integers(len(films)))] if k != parts[-1]]
    frames = np.concatenate([films[k][at : at + 8] for k in parts for at in [int(draw.integers(16))]])
    found = examine(make_video("a.mp4", frames, 16), finder).cuts_s
    planted = np.arange(1, 25) / 2
    hits = sum(any(abs(cut - at) < 1e-3 for at in planted) for cut in found)
    assert hits / len(found) >= precision and hits / 24 >= 0.95, (hits, len(found))


def test_what_stands_still_is_noticed(make_video: MakeVideo) -> None:
    noise = np.random.default_rng(0)
    picture = texture(3, 1).repeat(30, 0).repeat(3, 1).repeat(3, 2)
    grain = (picture + noise.normal(0, 1.5, picture.shape)).clip(0, 255).astype(np.uint8)
    moved = picture.copy()
    moved[-1, 20:26, 20:26] = 255 - moved[-1, 20:26, 20:26]
    for name, frames, moves in (("still", picture, False), ("grain", grain, False), ("late", moved, True)):
        assert examine(make_video(f"{name}.mp4", frames)).moves is moves, name


def test_high_dynamic_range_is_refused(make_video: MakeVideo) -> None:
    path = make_video("hdr.mp4", texture(0, 4), transfer=ColorTrc.SMPTE2084.value)
    with pytest.raises(MediaError, match="tone-map it") as caught:
        examine(path)
    assert caught.value.reason == "high dynamic range"


def test_reasons_of_real_and_broken_files(real_data: Path, tmp_path: Path, make_video: MakeVideo) -> None:
    whole = (real_data / "media" / "flipping_a_pancake.mkv").read_bytes()
    (tmp_path / "torn.mkv").write_bytes(whole[: len(whole) // 2])
    make_video("one.mp4", texture(0, 1))
    for path, reason in (
        (real_data / "media" / "corrupted.mp4", "corrupt"),
        (tmp_path / "torn.mkv", "cut short"),
        (tmp_path / "one.mp4", "still"),
        (real_data / "README.md", "unreadable"),
    ):
        with pytest.raises(MediaError) as caught:
            examine(path)
        assert caught.value.reason == reason, path


def test_scenes_of_a_real_film(real_data: Path) -> None:
    assert examine(real_data / "media" / "nasa_13013.mp4", CutFinder()).cuts_s == pytest.approx((5.08, 8.08))
