from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from rushes.metrics import movement as motion
from rushes.metrics.base import Measurement, Shot

from .conftest import Scene


def test_a_still_has_no_motion_whatever_is_laid_over_it(motionless: Shot) -> None:
    assert motion.dynamic_degree(motionless).value == 0.0
    assert motion.motion_speed(motionless).value < 0.005
    assert motion.freeze_share(motionless).value == 1.0
    assert math.isnan(motion.jerk(motionless).value)
    assert math.isnan(motion.loop_share(motionless).value)


def test_dynamic_degree_follows_the_rule(scene: Scene, tricks: dict[str, Shot]) -> None:
    # 6 px at a short side of 256 are 2.25 px here, per frame at 8 fps: 18 px/s
    fast, slow = scene(16, 8.0, swing_px=14.0, swing_hz=0.4), scene(16, 8.0, swing_px=2.0, swing_hz=0.4)
    assert motion.dynamic_degree(Shot(fast, 8.0)).value == 1.0
    assert motion.dynamic_degree(Shot(slow, 8.0)).value == 0.0
    twice = scene(32, 16.0, swing_px=14.0, swing_hz=0.4)  # every second frame is taken: the same pairs
    assert motion.dynamic_degree(Shot(twice, 16.0)).value == 1.0
    three_moves = np.concatenate([fast[:4], fast[3:4].repeat(12, 0)])
    four_moves = np.concatenate([fast[:5], fast[4:5].repeat(11, 0)])
    assert motion.dynamic_degree(Shot(three_moves, 8.0)).value == 0.0
    assert motion.dynamic_degree(Shot(four_moves, 8.0)) == Measurement(1.0, (1.0, 0.0))
    assert motion.dynamic_degree(tricks["noise"]).value == 1.0  # as stated: it is fooled


def test_motion_speed_measures_the_figure(scene: Scene) -> None:
    for hertz in (0.25, 0.5):
        mean_speed = 4 * 14 * hertz  # a swing covers four times its size per period; the drift adds 10 px/s down
        expected = np.hypot(mean_speed, 10) / 96
        measured = motion.motion_speed(Shot(scene(48, swing_hz=hertz), 12.0)).value
        assert measured == pytest.approx(expected, rel=0.2)


def test_motion_speed_does_not_depend_on_frame_rate_or_size(scene: Scene) -> None:
    slow, fast = Shot(scene(24, 12.0), 12.0), Shot(scene(48, 24.0), 24.0)
    doubled = Shot(slow.frames_FHWC.repeat(2, 1).repeat(2, 2), 12.0)
    expected = pytest.approx(motion.motion_speed(slow).value, rel=0.15)
    assert motion.motion_speed(fast).value == expected
    assert motion.motion_speed(doubled).value == expected


@pytest.mark.parametrize("trick", ["noise", "grainy", "flicker", "cut", "slide_show"])
def test_motion_speed_is_not_raised_by_what_does_not_move(tricks: dict[str, Shot], ordinary: Shot, trick: str) -> None:
    assert motion.motion_speed(tricks[trick]).value < 1.05 * motion.motion_speed(ordinary).value


def test_freeze_share_counts_repeated_frames(tricks: dict[str, Shot], ordinary: Shot, scene: Scene) -> None:
    assert motion.freeze_share(ordinary).value < 0.05
    assert motion.freeze_share(tricks["judder"]).value == pytest.approx(15 / 29)
    assert motion.freeze_share(tricks["slide_show"]).value == 1.0
    assert motion.freeze_share(tricks["pan"]).value == 0.0  # as stated: a moved still is not frozen
    half = np.concatenate([scene(12), scene(12)[-1:].repeat(12, 0)])
    assert motion.freeze_share(Shot(half, 12.0)).per_second == (0.0, 1.0)


@pytest.mark.parametrize("hertz", [1.0, 2.0])
def test_jerk_is_the_frequency_of_a_swing(hertz: float) -> None:
    rows, columns = np.mgrid[:96, :128]
    frames = []
    for frame in range(48):
        x = columns - 8 * math.sin(2 * math.pi * hertz * frame / 24)
        waves = np.sin(x / 5) * np.cos(rows / 6) + np.sin((x + rows) / 9)
        frames.append(np.repeat((127 + 60 * waves)[..., None], 3, -1))
    shot = Shot(np.stack(frames).clip(0, 255).astype(np.uint8), 24.0)
    assert motion.jerk(shot).value == pytest.approx(hertz, rel=0.3)


def test_jerk_rises_with_judder_and_shaking(tricks: dict[str, Shot], ordinary: Shot, scene: Scene) -> None:
    smooth = motion.jerk(ordinary).value
    assert motion.jerk(tricks["judder"]).value > 3 * smooth
    shaken = scene(30).copy()
    shaken[::2] = np.roll(shaken[::2], 1, 2)
    assert motion.jerk(Shot(shaken, 12.0)).value > 2 * smooth
    assert motion.jerk(tricks["pan"]).value < smooth  # as stated: a pan passes for smooth
    slow = Shot(scene(30, swing_px=5.0), 12.0)
    assert motion.jerk(slow).value > 0.6 * smooth  # moving little does not help


def test_cuts_are_counted_where_they_are(tricks: dict[str, Shot], ordinary: Shot) -> None:
    assert motion.cuts(tricks["cut"]) == Measurement(1.0, (0.0, 1.0))
    assert motion.cuts(tricks["slide_show"]).value == 1.0
    for name in ("flicker", "brightness_drift", "noise", "pan", "judder", "black"):
        assert motion.cuts(tricks[name]).value == 0.0, name
    assert motion.cuts(ordinary).value == 0.0
    assert motion.cuts(tricks["cross_fade"]).value == 0.0  # as stated: a fade is no cut


def test_a_flash_is_no_cut_and_two_frames_may_be(scene: Scene) -> None:
    flash = scene(24)
    flash[12] = np.clip(flash[12] * 1.6 + 20, 0, 255)
    assert motion.cuts(Shot(flash, 12.0)).value == 0.0
    assert motion.cuts(Shot(np.concatenate([scene(1), scene(1, seed=7)]), 12.0)).value == 1.0


def test_loops_are_found(tricks: dict[str, Shot], ordinary: Shot) -> None:
    assert motion.loop_share(ordinary).value == 0.0
    assert motion.loop_share(tricks["loop"]).value == 1.0
    assert motion.loop_share(tricks["there_and_back"]).value > 0.7
    assert motion.loop_share(tricks["judder"]).value == 0.0
    assert motion.loop_share(tricks["flicker"]).value == 0.0


def test_a_drift_hides_a_loop(tricks: dict[str, Shot], lit: Callable[..., np.ndarray]) -> None:
    hidden = lit(tricks["loop"].frames_FHWC, np.linspace(0.5, 1.0, 30))
    assert motion.loop_share(Shot(hidden, 12.0)).value < 0.3  # as stated
