from __future__ import annotations

import cv2
import numpy as np
import pytest

from rushes.metrics.base import Shot, luma
from rushes.metrics.flow import carry, dense_flow, top_mean

from .conftest import Scene


@pytest.mark.parametrize("shift", [(1.0, 0.0), (0.4, -0.3), (-3.5, 2.0)])
def test_a_shift_is_measured_there_and_back(scene: Scene, shift: tuple[float, float]) -> None:
    first = luma(scene(1)[0])
    matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
    size = first.shape[::-1]
    second = cv2.warpAffine(first, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    flow = dense_flow(np.stack([first, second]))
    inside = np.s_[0, 12:-12, 12:-12]
    assert np.median(flow.forward_PHWC[inside], (0, 1)) == pytest.approx(shift, abs=0.15)
    assert np.median(flow.backward_PHWC[inside], (0, 1)) == pytest.approx((-shift[0], -shift[1]), abs=0.15)
    assert flow.confirmed_PHW[inside].mean() > 0.95
    assert flow.confirmed_back_PHW[inside].mean() > 0.95
    assert flow.seen_px_P[0] == pytest.approx(np.hypot(*shift), rel=0.3)
    assert flow.left_P[0] < 0.3 * np.abs(first - second.astype(float)).mean()


def test_what_is_covered_is_not_confirmed(scene: Scene) -> None:
    frames = scene(2, swing_px=60.0)  # the figure jumps by some 17 px
    confirmed = Shot(frames, 12.0).flow.confirmed_PHW[0]
    changed = (np.abs(frames[1].astype(int) - frames[0]) > 20).any(-1)
    assert confirmed[~changed].mean() > 0.9
    assert confirmed[changed].mean() < 0.8


def test_what_is_covered_does_not_count_as_change(scene: Scene) -> None:
    flow = Shot(scene(2, swing_px=60.0), 12.0).flow
    first, second = (luma(frame) for frame in scene(2, swing_px=60.0))
    left = np.abs(first - carry(second, flow.forward_PHWC[0].astype(np.float32)))
    assert flow.left_P[0] == pytest.approx(left[flow.confirmed_PHW[0]].mean(), rel=0.02)
    assert flow.left_P[0] < 0.7 * left.mean()


def test_motion_is_not_seen_where_there_is_none(motionless: Shot, ordinary: Shot) -> None:
    assert motionless.flow.seen_PHW.mean() < 0.01
    assert ordinary.flow.seen_PHW.mean() > 0.05


def test_carry_samples_at_the_flow() -> None:
    image = np.arange(20 * 20, dtype=np.float32).reshape(20, 20)
    flow = np.zeros((20, 20, 2), np.float32)
    flow[..., 0] = 1.5
    carried = carry(image, flow, outside=-1.0)
    assert carried[4, 4] == pytest.approx(image[4, 5:7].mean())
    assert carried[4, 19] == -1.0
    assert carry(image, flow)[4, 19] == image[4, 19]


def test_top_mean_takes_a_twentieth() -> None:
    assert top_mean(np.arange(100, dtype=np.float32)) == pytest.approx(97.0)
    assert top_mean(np.array([3.0, 1.0], np.float32)) == 3.0
