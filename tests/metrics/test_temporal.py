from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from rushes.metrics import temporal
from rushes.metrics.base import Shot

from .conftest import Scene


def test_what_does_not_move_is_not_measured(motionless: Shot) -> None:
    for metric in (temporal.warping_error, temporal.flicker):
        measured = metric(motionless)
        assert math.isnan(measured.value)
        assert all(math.isnan(second) for second in measured.per_second)


def test_a_frozen_second_does_not_dilute_the_others(scene: Scene, noisy: Callable[..., np.ndarray]) -> None:
    moving = noisy(scene(24), 8.0)
    stopped = np.concatenate([moving, moving[-1:].repeat(24, 0)])
    for metric in (temporal.warping_error, temporal.flicker):
        alone, padded = metric(Shot(moving, 12.0)), metric(Shot(stopped, 12.0))
        assert padded.value == pytest.approx(alone.value, rel=1e-6)
        assert math.isnan(padded.per_second[3])


@pytest.mark.parametrize("trick", ["noise", "grainy", "flicker", "brightness_drift"])
def test_warping_error_rises_with_every_change_that_is_no_motion(
    tricks: dict[str, Shot], ordinary: Shot, trick: str
) -> None:
    assert temporal.warping_error(tricks[trick]).value > 5 * temporal.warping_error(ordinary).value


def test_warping_error_grows_with_the_noise_and_leaves_out_cuts(
    tricks: dict[str, Shot], ordinary: Shot, noisy: Callable[..., np.ndarray]
) -> None:
    errors = [temporal.warping_error(Shot(noisy(ordinary.frames_FHWC, s), 12.0)).value for s in (0.0, 2.0, 5.0, 9.0)]
    assert errors == sorted(errors)
    assert temporal.warping_error(tricks["cut"]).value < 2 * errors[0]
    assert math.isnan(temporal.warping_error(tricks["slide_show"]).value)
    assert temporal.warping_error(tricks["judder"]).value == pytest.approx(errors[0], abs=0.2)


def test_blur_lowers_the_warping_error(tricks: dict[str, Shot], scene: Scene, noisy: Callable[..., np.ndarray]) -> None:
    grainy = tricks["grainy"]
    soft = (grainy.frames_FHWC[:, ::2, ::2] // 2 + grainy.frames_FHWC[:, 1::2, 1::2] // 2).repeat(2, 1).repeat(2, 2)
    assert temporal.warping_error(Shot(soft, 12.0)).value < temporal.warping_error(grainy).value  # as stated


def test_flicker_is_twice_the_alternation(tricks: dict[str, Shot], ordinary: Shot) -> None:
    still = temporal.flicker(ordinary).value
    assert still < 0.5
    level = 0.05 * ordinary.luma_FHW.mean()
    assert temporal.flicker(tricks["flicker"]).value == pytest.approx(2 * level, rel=0.15)


@pytest.mark.parametrize("trick", ["brightness_drift", "blurred", "pan"])
def test_flicker_is_blind_to_what_does_not_alternate(tricks: dict[str, Shot], ordinary: Shot, trick: str) -> None:
    assert temporal.flicker(tricks[trick]).value < temporal.flicker(ordinary).value + 0.1


def test_flicker_is_told_apart_from_grain(tricks: dict[str, Shot]) -> None:
    flicker, grain = (
        temporal.flicker(tricks[name]).value / temporal.warping_error(tricks[name]).value
        for name in ("flicker", "grainy")
    )
    assert flicker > 3 * grain
