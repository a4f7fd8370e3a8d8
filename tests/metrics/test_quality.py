from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from rushes.metrics import quality
from rushes.metrics.base import Shot
from rushes.metrics.catalogue import all_metrics

LEVELS = ("sharpness", "saturation", "contrast", "brightness")


def value(name: str, shot: Shot) -> float:
    return all_metrics()[name].measure(shot).value


def flat(red: int, green: int, blue: int) -> Shot:
    return Shot(np.full((3, 32, 48, 3), (red, green, blue), np.uint8), 8.0)


def test_levels_of_plain_colours() -> None:
    assert value("brightness", flat(255, 255, 255)) == 1.0
    assert value("brightness", flat(0, 0, 0)) == 0.0
    assert value("saturation", flat(200, 0, 0)) == 1.0
    assert value("saturation", flat(200, 100, 100)) == 0.5
    assert value("saturation", flat(90, 90, 90)) == 0.0
    assert value("contrast", flat(90, 90, 90)) == 0.0
    assert value("sharpness", flat(90, 90, 90)) == 0.0
    board = np.indices((32, 48)).sum(0) % 2 * 255
    shot = Shot(np.repeat(board[None, ..., None], 3, -1).astype(np.uint8), 8.0)
    assert value("contrast", shot) == pytest.approx(0.5)
    assert value("sharpness", shot) == pytest.approx(math.log10(1020**2), abs=0.03)


def test_sharpness_falls_with_blur_and_is_fooled_by_grain(tricks: dict[str, Shot], ordinary: Shot) -> None:
    plain = value("sharpness", ordinary)
    assert value("sharpness", tricks["blurred"]) < plain - 0.5
    assert value("sharpness", tricks["grainy"]) > plain  # as stated, and so no direction is better
    assert all(all_metrics()[name].better == "neutral" for name in LEVELS)


def test_dark_noise_is_not_colour(ordinary: Shot, noisy: Callable[..., np.ndarray]) -> None:
    dark = np.concatenate([ordinary.frames_FHWC, np.zeros_like(ordinary.frames_FHWC)], 2)
    plain, grainy = (value("saturation", Shot(frames, 12.0)) for frames in (dark, noisy(dark, 3.0)))
    assert grainy == pytest.approx(plain, abs=0.03)


@pytest.mark.parametrize(
    ("level", "spoil"),
    [
        ("brightness", lambda frame, part: frame * (1 - 0.4 * part)),
        ("contrast", lambda frame, part: 120 + (frame - 120) * (1 - 0.6 * part)),
        ("saturation", lambda frame, part: frame + (frame.mean(-1, keepdims=True) - frame) * 0.7 * part),
        ("sharpness", lambda frame, part: cv2.GaussianBlur(frame, (0, 0), 0.1 + 1.5 * part)),
    ],
)
def test_a_drift_is_found_by_its_own_metric(
    ordinary: Shot, level: str, spoil: Callable[[np.ndarray, float], np.ndarray]
) -> None:
    parts = np.linspace(0, 1, 30)
    frames = [spoil(frame.astype(np.float32), part) for frame, part in zip(ordinary.frames_FHWC, parts, strict=True)]
    shot = Shot(np.stack(frames).clip(0, 255).astype(np.uint8), 12.0)
    assert value(f"{level}_drift", shot) > 5 * value(f"{level}_drift", ordinary)
    back = Shot(shot.frames_FHWC[::-1], 12.0)
    assert value(f"{level}_drift", back) == pytest.approx(value(f"{level}_drift", shot))


def test_drift_counts_quarters(ordinary: Shot, lit: Callable[..., np.ndarray]) -> None:
    level = ordinary.luma_FHW.mean((1, 2)) / 255
    gain = np.r_[np.full(12, 0.5), np.full(18, 1.0)]
    measured = all_metrics()["brightness_drift"].measure(Shot(lit(ordinary.frames_FHWC, gain), 12.0))
    assert measured.value == pytest.approx(level[-7:].mean() - level[:7].mean() / 2, abs=0.01)
    assert max(measured.per_second) < 0.02


def test_a_still_has_no_drift(motionless: Shot) -> None:
    assert all(math.isnan(value(f"{level}_drift", motionless)) for level in LEVELS)


def test_a_change_that_returns_goes_unseen(ordinary: Shot, lit: Callable[..., np.ndarray]) -> None:
    gain = 1 - 0.4 * np.sin(np.linspace(0, np.pi, 30))
    there_and_back = Shot(lit(ordinary.frames_FHWC, gain), 12.0)
    assert value("brightness_drift", there_and_back) < 0.05  # as stated
    assert max(all_metrics()["brightness_drift"].measure(there_and_back).per_second) > 0.05


def test_first_frame_fidelity(ordinary: Shot, tricks: dict[str, Shot], noisy: Callable[..., np.ndarray]) -> None:
    frames, still = ordinary.frames_FHWC, ordinary.frames_FHWC[0]
    assert quality.first_frame_fidelity(ordinary).value == pytest.approx(1.0)
    assert quality.first_frame_fidelity(ordinary).per_second == pytest.approx((1.0, math.nan), nan_ok=True)
    assert math.isnan(quality.first_frame_fidelity(Shot(frames, 12.0)).value)
    for worse in (noisy(frames, 40.0), tricks["blurred"].frames_FHWC, frames[:, :, ::-1], np.roll(frames, 4, 2)):
        assert quality.first_frame_fidelity(Shot(worse, 12.0, first_frame_HWC=still)).value < 0.97
    copied = np.concatenate([still[None], tricks["noise"].frames_FHWC[1:]])
    assert quality.first_frame_fidelity(Shot(copied, 12.0, first_frame_HWC=still)).value == 1.0  # as stated


def test_a_still_of_another_size_is_brought_to_the_frames(ordinary: Shot) -> None:
    still = ordinary.frames_FHWC[0].repeat(2, 0).repeat(2, 1)
    wide = np.pad(still, ((0, 0), (20, 20), (0, 0)))
    for given in (still, wide):
        shot = Shot(ordinary.frames_FHWC, 12.0, first_frame_HWC=given)
        assert quality.first_frame_fidelity(shot).value > 0.98


def test_ssim_agrees_with_scikit_image_and_with_scipy() -> None:
    generator = np.random.default_rng(7)
    first = generator.integers(0, 256, (40, 56), dtype=np.uint8)
    second = np.clip(first + generator.normal(0, 40, first.shape), 0, 255).astype(np.uint8)
    # skimage 0.26, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
    assert quality.ssim(first, second) == pytest.approx(0.8853918531377537, abs=1e-9)
    oracle = pytest.importorskip("skimage.metrics").structural_similarity
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    assert quality.ssim(first, second) == pytest.approx(oracle(first, second, **settings), abs=1e-9)

    def window(image: np.ndarray) -> np.ndarray:
        blurred: np.ndarray = gaussian_filter(image, 1.5, radius=5)
        return blurred[5:-5, 5:-5]

    a, b = first.astype(float), second.astype(float)
    ma, mb = window(a), window(b)
    va, vb, cov = window(a * a) - ma * ma, window(b * b) - mb * mb, window(a * b) - ma * mb
    expected = (2 * ma * mb + 2.55**2) * (2 * cov + 7.65**2) / ((ma**2 + mb**2 + 2.55**2) * (va + vb + 7.65**2))
    assert quality.ssim(first, second) == pytest.approx(expected.mean(), abs=1e-9)
    assert quality.ssim(first, first) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="differ in size"):
        quality.ssim(first, second[1:])
