from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.linalg import sqrtm

from rushes.metrics import sets
from rushes.metrics.base import Shot

from .conftest import Scene


@pytest.fixture(scope="module")
def takes(scene: Scene) -> list[Shot]:
    return [Shot(scene(12, swing_px=6.0 + seed, swing_hz=0.3 + 0.02 * seed, seed=seed), 12.0) for seed in range(6)]


def test_diversity_is_zero_for_copies_and_needs_two(takes: list[Shot]) -> None:
    assert sets.diversity([takes[0], takes[0], takes[0]]) == 0.0
    assert math.isnan(sets.diversity(takes[:1]))
    assert math.isnan(sets.diversity([]))
    assert 0.05 < sets.diversity(takes) < 0.5


def test_diversity_is_a_root_mean_square() -> None:
    black, white = (Shot(np.full((4, 32, 48, 3), level, np.uint8), 8.0) for level in (0, 255))
    assert sets.diversity([black, white]) == 1.0
    assert sets.diversity([black, white, white]) == pytest.approx(2 / 3)


def test_noise_does_not_pass_for_diversity(takes: list[Shot], noisy: Callable[..., np.ndarray]) -> None:
    frames = takes[0].frames_FHWC
    assert sets.diversity([takes[0], Shot(noisy(frames, 20.0), 12.0)]) < 0.1 * sets.diversity(takes)


def test_diversity_takes_any_length_and_size(takes: list[Shot]) -> None:
    frames = takes[0].frames_FHWC
    other = Shot(frames[::2].repeat(2, 1).repeat(2, 2), 6.0)
    assert sets.diversity([takes[0], other]) < 0.03


def test_a_colour_cast_fools_diversity(takes: list[Shot]) -> None:
    cast = (takes[0].frames_FHWC * np.array([1.0, 0.6, 0.4])).astype(np.uint8)
    assert sets.diversity([takes[0], Shot(cast, 12.0)]) > 0.1  # as stated


def test_frechet_is_that_of_the_two_gaussians() -> None:
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=(60, 5)), generator.normal(1.0, 2.0, (40, 5)) @ generator.normal(size=(5, 5))
    cov_a, cov_b = np.cov(a.T), np.cov(b.T)
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(cov_a + cov_b - 2 * sqrtm(cov_a @ cov_b).real)
    assert sets.frechet(a, b) == pytest.approx(expected)
    assert sets.frechet(a, b) == pytest.approx(sets.frechet(b, a))
    assert sets.frechet(a, a) == pytest.approx(0.0, abs=1e-9)


def test_features_are_finite_and_per_second(takes: list[Shot], tricks: dict[str, Shot]) -> None:
    assert sets.features(takes[0]).shape == (1, 27)
    for shot in (tricks["black"], tricks["noise"], Shot(takes[0].frames_FHWC[:1], 12.0)):
        assert np.isfinite(sets.features(shot)).all()


def test_equal_sets_are_not_apart(takes: list[Shot]) -> None:
    same = sets.feature_distance(takes, takes, splits=49)
    assert same.value == pytest.approx(0.0, abs=1e-6)
    assert same.chance > same.value
    assert same.p_value == 1.0


@pytest.mark.parametrize("spoil", ["frozen", "blurred", "noise", "brightness_drift"])
def test_spoilt_sets_lie_further_apart_than_chance(takes: list[Shot], spoil: str) -> None:
    ways: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "frozen": lambda frames: frames[:1].repeat(len(frames), 0),
        "blurred": lambda frames: frames[:, ::4, ::4].repeat(4, 1).repeat(4, 2),
        "noise": lambda frames: np.random.default_rng(0).integers(0, 256, frames.shape, dtype=np.uint8),
        "brightness_drift": lambda frames: (frames * np.linspace(0.3, 1, len(frames))[:, None, None, None]).astype(
            "u1"
        ),
    }
    spoilt = [Shot(ways[spoil](shot.frames_FHWC), 12.0) for shot in takes]
    paired = sets.feature_distance(spoilt, takes, paired=True, splits=99)
    assert paired.value > paired.chance
    assert paired.p_value <= 0.05
    assert paired == sets.feature_distance(spoilt, takes, paired=True, splits=99)
    dealt = sets.feature_distance(spoilt, takes, splits=9)
    assert dealt.value == paired.value > dealt.chance


def test_sets_that_cannot_be_compared_are_refused(takes: list[Shot]) -> None:
    with pytest.raises(ValueError, match="two clips in each set"):
        sets.feature_distance(takes, takes[:1])
    with pytest.raises(ValueError, match="set paired to False"):
        sets.feature_distance(takes, takes[:3], paired=True)
