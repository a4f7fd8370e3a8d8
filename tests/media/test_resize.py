from __future__ import annotations

import numpy as np
import pytest

from rushes.media.resize import FitMode, enlarge, resize_frame

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (32, 48, 3), np.uint8)


def test_shrinking_averages_areas() -> None:
    expected = NOISE.reshape(8, 4, 12, 4, 3).mean((1, 3))
    assert np.abs(resize_frame(NOISE, (8, 12)).astype(float) - expected).max() <= 0.51


def test_enlarging_is_smooth_and_keeps_flat_colours() -> None:
    ramp = np.repeat(np.arange(0, 192, 4, dtype=np.uint8)[None, :, None], 32, axis=0).repeat(3, axis=2)
    large = resize_frame(ramp, (64, 96))
    assert np.diff(large[0, 4:-4, 0].astype(int)).max() <= 3  # repeated pixels would step by 4
    assert (resize_frame(np.full((8, 8, 3), 77, np.uint8), (20, 20)) == 77).all()


def test_each_axis_goes_its_own_way() -> None:
    frame = resize_frame(NOISE, (8, 96), "stretch")
    rows = resize_frame(NOISE, (8, 48), "stretch")
    assert frame.shape == (8, 96, 3)
    assert np.abs(rows.astype(float) - NOISE.reshape(8, 4, 48, 3).mean(1)).max() <= 0.51
    assert np.array_equal(frame, resize_frame(rows, (8, 96), "stretch"))


def test_same_size_is_untouched() -> None:
    for fit in ("crop", "stretch", "pad"):
        assert np.array_equal(resize_frame(NOISE, (32, 48), fit), NOISE)


def test_crop_cuts_both_sides_evenly() -> None:
    marked = np.zeros((32, 48, 3), np.uint8)
    marked[:, 8:40] = 200  # the middle square
    assert (resize_frame(marked, (16, 16)) == 200).all()
    marked = np.zeros((48, 32, 3), np.uint8)
    marked[8:40] = 200
    assert (resize_frame(marked, (64, 64)) == 200).all()


def test_pad_keeps_all_and_fills_with_black() -> None:
    padded = resize_frame(np.full((32, 48, 3), 200, np.uint8), (24, 24), "pad")
    assert (padded[4:20] == 200).all() and not padded[:4].any() and not padded[20:].any()


@pytest.mark.parametrize("size_px", [(1, 1), (3, 200), (200, 3), (7, 11), (32, 49)])
@pytest.mark.parametrize("fit", ["crop", "stretch", "pad"])
def test_size_is_exact(size_px: tuple[int, int], fit: FitMode) -> None:
    assert resize_frame(NOISE, size_px, fit).shape == (*size_px, 3)


def test_crop_keeps_the_aspect_ratio() -> None:
    y, x = np.mgrid[:90, :160]
    disc = (np.hypot(x - 80, y - 45) < 30).astype(np.uint8)[..., None].repeat(3, axis=2) * 255
    small = resize_frame(disc, (64, 64))[..., 0] > 127
    assert abs(int(small.any(0).sum()) - int(small.any(1).sum())) <= 1


def test_enlarge_repeats_pixels_exactly() -> None:
    assert np.array_equal(enlarge(NOISE, 3)[1::3, 1::3], NOISE)
    assert np.array_equal(enlarge(NOISE[None], 2)[:, ::2, 1::2], NOISE[None])
    with pytest.raises(ValueError, match="scale must be"):
        enlarge(NOISE, 0)
