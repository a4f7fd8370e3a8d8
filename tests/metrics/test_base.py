from __future__ import annotations

import math

import numpy as np
import pytest

from rushes.metrics.base import Shot, pool, shrink

PLAIN = np.zeros((4, 32, 48, 3), np.uint8)


@pytest.mark.parametrize(
    ("frames", "fps", "seconds"),
    [(49, 8.0, 6), (30, 12.0, 2), (5, 8.0, 1), (1, 24.0, 1), (60, 30000 / 1001, 2), (81, 16.0, 5), (30, 0.5, 60)],
)
def test_frames_past_the_last_full_second_join_it(frames: int, fps: float, seconds: int) -> None:
    shot = Shot(np.zeros((frames, 16, 16, 3), np.uint8), fps)
    second_F = shot.second_F
    assert shot.seconds == seconds
    assert len(pool(shot, second_F, range(frames)).per_second) == seconds
    assert second_F[-1] == seconds - 1 or fps < 1
    assert len(second_F) == frames
    assert (np.diff(second_F) >= 0).all()
    if seconds == 2:
        assert (second_F == 0).sum() == round(fps)


def test_pool_leaves_out_what_is_not_known() -> None:
    shot = Shot(np.zeros((6, 16, 16, 3), np.uint8), 2.0)
    pooled = pool(shot, [1.0, math.nan, 3.0, math.nan, math.nan, 5.0], range(6))
    assert pooled.value == 3.0
    assert pooled.per_second == pytest.approx((1.0, 3.0, 5.0))
    rows = pool(shot, [[1.0, 2.0], [math.nan, 4.0]], [0, 2], lambda kept: float(kept.sum()))
    assert rows.value == 3.0
    assert rows.per_second == pytest.approx((3.0, math.nan, math.nan), nan_ok=True)
    assert math.isnan(pool(shot, [], []).value)


@pytest.mark.parametrize(
    ("frames", "fps", "still", "message"),
    [
        (PLAIN.astype(np.float32), 8.0, None, "uint8"),
        (PLAIN[0], 8.0, None, r"\[F,H,W,3\]"),
        (PLAIN[:0], 8.0, None, r"\[F,H,W,3\]"),
        (PLAIN[:, :8], 8.0, None, "at least 16 px"),
        (PLAIN, 0.0, None, "fps"),
        (PLAIN, math.nan, None, "fps"),
        (PLAIN, 8.0, PLAIN[0, ..., :2], r"\[F,H,W,3\]"),
    ],
)
def test_a_shot_refuses_what_it_cannot_hold(frames: np.ndarray, fps: float, still: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Shot(frames, fps, first_frame_HWC=still)


def test_shrink_keeps_the_shape_and_never_enlarges() -> None:
    assert shrink(np.zeros((480, 720, 3), np.uint8), 256).shape == (256, 384, 3)
    assert shrink(np.zeros((100, 40), np.uint8), 20).shape == (50, 20)
    small = np.zeros((40, 60, 3), np.uint8)
    assert shrink(small, 256) is small
