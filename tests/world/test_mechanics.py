from __future__ import annotations

import numpy as np
import pytest

from rushes.world.mechanics import (
    FLOOR_PX,
    GRAVITY,
    HEAVY,
    PAIR_RADIUS_PX,
    RADIUS_PX,
    RESTITUTION,
    SIZE_PX,
    flight,
    hit,
    straight,
    swing,
)

TIMES = np.arange(0, 60, 0.01)


def test_flight_falls_by_gravity_and_bounces_by_restitution() -> None:
    y = flight([20.0], [-1.0], [GRAVITY], TIMES)[0]
    speed = np.gradient(y, TIMES)
    ground = FLOOR_PX - 0.5 - RADIUS_PX
    assert y.max() <= ground + 1e-9
    bend = np.gradient(speed, TIMES)
    sharp = np.flatnonzero(np.abs(bend) > 1)[2:-2]
    impacts = [part[len(part) // 2] for part in np.split(sharp, np.flatnonzero(np.diff(sharp) > 1) + 1)]
    assert len(impacts) == 4
    for at in impacts:
        assert y[at] == pytest.approx(ground, abs=0.1)
        assert speed[at + 3] == pytest.approx(-RESTITUTION * speed[at - 4], abs=0.03)
    flying = np.abs(np.subtract.outer(np.arange(len(y)), impacts)).min(1) > 5
    assert np.allclose(bend[flying][5:-5], GRAVITY, atol=1e-6)


def test_tempo_slows_the_same_path() -> None:
    quick = flight([20.0], [-1.0], [GRAVITY], TIMES)
    slow = flight([20.0], [-0.5], [GRAVITY / 4], TIMES)
    assert np.allclose(slow[0, ::2][:2000], quick[0, :2000], atol=1e-6)


def test_straight_paths_turn_at_walls() -> None:
    x = straight([20.0], [-2.0], TIMES)[0]
    assert x.min() == pytest.approx(RADIUS_PX - 0.5, abs=0.02)
    assert x.max() == pytest.approx(SIZE_PX - 0.5 - RADIUS_PX, abs=0.02)
    assert np.allclose(np.abs(np.diff(x)).max(), 0.02)


def test_a_swing_keeps_its_rope_and_period() -> None:
    places = swing([25.0], [0.5], [0.0], [0.2], TIMES)[0]
    rope = places - np.array([31.5, 2.0])
    assert np.allclose(np.hypot(*rope.T), 25.0)
    assert np.arctan2(rope[0, 0], rope[0, 1]) == pytest.approx(0.0)
    assert np.argmax(rope[:2000, 0]) * 0.01 == pytest.approx(np.pi / 2 / 0.2, abs=0.02)


@pytest.mark.parametrize("mass", [1.0, HEAVY])
def test_hits_keep_energy_and_never_overlap(mass: float) -> None:
    x = hit(np.array([[12.0, 50.0]]), np.array([[2.0, 0.0]]), np.array([[1.0, mass]]), TIMES)[0]
    speed = np.diff(x, axis=0) / 0.01
    energy = speed[:, 0] ** 2 + mass * speed[:, 1] ** 2
    assert np.median(np.abs(energy - 4.0)) < 1e-9 and np.mean(np.abs(energy - 4.0) > 1e-6) < 0.01
    assert (x[:, 1] - x[:, 0]).min() >= 2 * PAIR_RADIUS_PX - 0.03
    assert x.min() >= PAIR_RADIUS_PX - 0.52 and x.max() <= SIZE_PX - 0.48 - PAIR_RADIUS_PX
    first = int(np.argmax(x[:, 1] > 50.01))
    momentum = speed[first + 5] @ np.array([1.0, mass])
    assert momentum == pytest.approx(2.0)
