"""Residuals of exact states: no pixels here, so what is left is the measure itself."""

from __future__ import annotations

import numpy as np
import pytest

from rushes.arrays import Floats
from rushes.world.deviations import CAP_PX, TOP_SPEED, frozen, residuals
from rushes.world.scenes import GRAVITY, KINDS, RADIUS_PX, bounds_px, draw_scenes
from rushes.world.tracks import Tracks


def seen(centres_FKD: Floats) -> Tracks:
    """Tracks of objects that are always there."""
    return Tracks(centres_FKD, np.ones(centres_FKD.shape[:2], bool), np.zeros(len(centres_FKD)))


def path(x: Floats, y: Floats) -> Floats:
    return np.stack([x, y], -1)[:, None]


def two(centres_FKD: Floats, dx: float, dy: float) -> Floats:
    """The ball and another one that keeps its distance."""
    return np.concatenate([centres_FKD, np.add(centres_FKD, (dx, dy))], 1)


T = np.arange(17.0)
FLOAT_UP = path(8 + 0.8 * T, 20 - 0.3 * T)  # no gravity


@pytest.mark.parametrize(
    ("kind", "limit"), [*((k, 1e-9) for k in ("fall", "left", "right", "collide")), ("swing", 0.02)]
)
def test_true_states_have_no_residual(kind: str, limit: float) -> None:
    for scene in draw_scenes([7, 0], 300, [kind]):
        off = residuals(seen(scene.centres_FKD), kind)
        assert np.isfinite(off).any(), "some window is free of impacts"
        assert np.nanmax(off) < limit


def test_true_arms_have_little_residual() -> None:
    """A cubic does not follow a sine to the last."""
    worst = [np.nanmax(residuals(seen(s.centres_FKD), "wave")) for s in draw_scenes([7, 0], 300, ["wave"])]
    assert max(worst) < 0.15


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_in_this_world_is_as_fast_as_the_limit(kind: str) -> None:
    centres = np.stack([s.centres_FKD for s in draw_scenes([8, 0], 3000, [kind])])
    assert np.linalg.norm(np.diff(centres, axis=1), axis=-1).max() < TOP_SPEED - 0.8


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_in_this_world_is_frozen(kind: str) -> None:
    for scene in draw_scenes([8, 1], 1000, [kind]):
        assert not frozen(seen(scene.centres_FKD), kind).any()


def test_a_ball_without_gravity_is_off_by_the_parabola() -> None:
    """g t^2 / 2 over five frames, less its best line: 0.35 / 2 times the root of 14 / 5."""
    off = residuals(seen(FLOAT_UP), "right")
    assert off[8] == pytest.approx(GRAVITY / 2 * np.sqrt(14 / 5))
    assert np.isnan(off[:2]).all() and np.isnan(off[-2:]).all()
    assert np.nanmax(residuals(seen(two(FLOAT_UP, 0, -9)), "collide")) < 1e-9


def test_a_ball_that_stays_at_the_ceiling_is_off() -> None:
    top = bounds_px(RADIUS_PX)[0][1]
    y = np.maximum(top, 10 - 0.9 * T)
    off = residuals(seen(path(8 + 0.8 * T, y)), "right")
    assert off[13] == pytest.approx(GRAVITY / 2 * np.sqrt(14 / 5))
    touching = path(8 + 0.8 * T, top + GRAVITY / 2 * (T - 8.3) ** 2 * (T > 4))
    assert np.isnan(residuals(seen(touching), "right")[8]), "a ball that touches and falls is not held to a parabola"


def test_windows_with_an_impact_are_left_out() -> None:
    """Straight down and up again between two frames: the centres never show the floor."""
    floor = bounds_px(RADIUS_PX)[1][1]
    for phase in np.linspace(0, 1, 11):
        away = np.abs(T - 8 - phase) * 2.5
        off = residuals(seen(two(path(15 + 0 * T, floor - away * 0.6), -11, 0)), "collide")
        assert not np.nanmax(off, initial=0) > 0.01, phase


def test_a_jump_and_a_ball_beyond_the_wall_need_no_window() -> None:
    x = FLOAT_UP.copy()
    x[9:, 0, 0] -= TOP_SPEED + 2
    assert residuals(seen(x), "collide")[9] == pytest.approx(np.hypot(TOP_SPEED + 1.2, 0.3) - TOP_SPEED + 1)
    below = path(15 + 0 * T, 20 + T)
    depth = 20 + T - bounds_px(RADIUS_PX)[1][1]
    off = residuals(seen(below), "collide")
    np.testing.assert_allclose(off[8:], np.minimum(depth[8:], CAP_PX))


def test_what_is_missing_is_not_measured() -> None:
    tracks = seen(FLOAT_UP)
    tracks.present_FK[8] = False
    off = residuals(tracks, "right")
    assert np.isnan(off[6:11]).all() and np.isfinite(off[2:6]).all()
    tracks.present_FK[:] = False
    assert np.isnan(residuals(tracks, "right")).all()


def test_a_ball_is_not_blamed_for_meeting_one_that_vanished() -> None:
    scene = next(s for s in draw_scenes(0, 50, ["collide"]) if _bounces(s.centres_FKD))
    tracks = seen(scene.centres_FKD.copy())
    tracks.present_FK[3:, 1] = False
    tracks.centres_FKD[3:, 1] = tracks.centres_FKD[2, 1]
    assert not np.nanmax(residuals(tracks, "collide"), initial=0) > 0.01


def _bounces(centres_FKD: Floats) -> bool:
    turns = np.abs(np.diff(centres_FKD[:, 0], n=2, axis=0)).max(-1)
    return bool(turns[4:10].max() > 0.3)


def test_a_stretched_rope_is_off_by_its_stretch() -> None:
    scene = draw_scenes(0, 1, ["swing"])[0]
    x = scene.centres_FKD.copy()
    rope = x - np.array([15.5, 2.0])
    x[12:] += 0.3 * rope[12:]
    length = np.linalg.norm(rope[0, 0])
    assert residuals(seen(x), "swing")[14] == pytest.approx(min(CAP_PX, 0.3 * length), rel=0.1)


def test_frozen_marks_what_stands_still_for_four_steps() -> None:
    x = FLOAT_UP.copy()
    x[5:10] = x[5]  # five frames, four steps
    assert np.flatnonzero(frozen(seen(x), "right")).tolist() == [6, 7, 8, 9]
    x = FLOAT_UP.copy()
    x[5:9] = x[5]
    assert not frozen(seen(x), "right").any()


def test_a_frozen_clip_is_frozen_and_has_no_physics() -> None:
    still = np.repeat(FLOAT_UP[:1], 17, 0)
    assert frozen(seen(still), "right")[1:].all()
    assert np.isnan(residuals(seen(still), "right")).all(), "standing still must not win either"


def test_a_missing_object_is_not_frozen() -> None:
    """Where it is missing its centre is bridged, and the end of a clip is bridged by a constant."""
    tracks = seen(FLOAT_UP.copy())
    tracks.present_FK[8:] = False
    tracks.centres_FKD[8:] = tracks.centres_FKD[7]
    assert not frozen(tracks, "right").any()
