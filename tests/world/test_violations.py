"""What each violation does to the exact states. That the verifier catches it is in test_verify.py."""

from __future__ import annotations

import numpy as np
import pytest

from rushes.arrays import Floats
from rushes.world.scenes import GRAVITY, KINDS, PIVOT_PX, Scene, bounds_px, draw_scenes
from rushes.world.violations import BALLS, VIOLATIONS, touches, violate

FITTING = [(name, kind) for name, (_, kinds) in VIOLATIONS.items() for kind in kinds]


def broken(name: str, kind: str, n: int = 40) -> list[tuple[Scene, Scene]]:
    """Scenes and their violated copies."""
    rng = np.random.default_rng(0)
    scenes = [s for s in draw_scenes([2, 0], n, [kind]) if name != "pass_through" or touches(s)]
    return [(s, VIOLATIONS[name][0](s, rng)) for s in scenes]


def rope_or_forearm(scene: Scene) -> Floats:
    x = scene.centres_FKD
    lengths: Floats = np.linalg.norm(x[:, -1] - (x[:, 0] if scene.kind == "wave" else np.array(PIVOT_PX)), axis=-1)
    return lengths


@pytest.mark.parametrize(("name", "kind"), FITTING)
def test_a_violation_changes_its_scene_and_nothing_before_it(name: str, kind: str) -> None:
    for scene, bad in broken(name, kind):
        before = [a.copy() for a in (scene.centres_FKD, scene.opacity_FK, scene.gain_F)]
        changed = np.zeros(17, bool)
        for own, other in zip(before, (bad.centres_FKD, bad.opacity_FK, bad.gain_F), strict=True):
            changed |= (own != other).reshape(17, -1).any(1)
        assert changed.any() and not changed[:2].any()
        assert bad.caption == scene.caption and bad.kind == kind and bad.colours == scene.colours
        assert np.isfinite(bad.centres_FKD).all()
        assert np.array_equal(before[0], scene.centres_FKD), "the scene itself is not touched"


@pytest.mark.parametrize("kind", KINDS)
def test_teleport_moves_one_object_by_seven_pixels_or_more(kind: str) -> None:
    low, high = bounds_px(draw_scenes(0, 1, [kind])[0].radius_px)
    for scene, bad in broken("teleport", kind):
        shift = np.linalg.norm(bad.centres_FKD - scene.centres_FKD, axis=-1)
        start = int(np.argmax(shift.any(1)))
        assert (shift > 0).any(0).sum() == 1 and shift[start].max() > 7
        moved = bad.centres_FKD[start:][shift[start:] > 0]
        assert (moved >= low).all() and (moved <= high).all()


@pytest.mark.parametrize("kind", KINDS)
def test_vanish_hides_one_object_for_three_frames_or_more(kind: str) -> None:
    for scene, bad in broken("vanish", kind):
        gone = bad.opacity_FK == 0
        assert gone.any(0).sum() == 1 and gone.sum() >= 3
        assert np.array_equal(bad.centres_FKD, scene.centres_FKD)


@pytest.mark.parametrize("kind", BALLS)
def test_pass_through_leaves_the_stage(kind: str) -> None:
    low, high = bounds_px(draw_scenes(0, 1, [kind])[0].radius_px)
    for _, bad in broken("pass_through", kind):
        assert ((bad.centres_FKD < low - 1) | (bad.centres_FKD > high + 1)).any()


@pytest.mark.parametrize("kind", BALLS)
def test_reverse_gravity_bends_the_path_up(kind: str) -> None:
    for scene, bad in broken("reverse_gravity", kind):
        changed = np.abs(bad.centres_FKD - scene.centres_FKD).any((1, 2))
        start = int(np.argmax(changed)) - 1  # the frame from which it continues
        x = bad.centres_FKD[:, 0, 1]
        assert x[start + 1] - x[start] == pytest.approx(scene.velocities_FKD[start, 0, 1] - GRAVITY / 2)
        assert x[-1] < scene.centres_FKD[-1, 0, 1]


@pytest.mark.parametrize("kind", KINDS)
def test_flicker_changes_brightness_alone(kind: str) -> None:
    for scene, bad in broken("flicker", kind):
        off = bad.gain_F - 1
        assert 0.17 < np.abs(off).max() < 0.36 and off.min() < 0 < off.max()
        assert np.array_equal(bad.centres_FKD, scene.centres_FKD)


@pytest.mark.parametrize("kind", ["swing", "wave"])
def test_limb_stretch_changes_a_length_by_a_third_and_keeps_it(kind: str) -> None:
    for scene, bad in broken("limb_stretch", kind):
        ratio = rope_or_forearm(bad) / rope_or_forearm(scene)
        assert ratio[0] == pytest.approx(1) and ratio[-1] == pytest.approx(ratio[-3])
        assert ratio[-1] > 1.39 or ratio[-1] < 1 / 1.39


@pytest.mark.parametrize("kind", KINDS)
def test_freeze_stops_everything_for_six_steps_and_goes_on(kind: str) -> None:
    for scene, bad in broken("freeze", kind):
        still = np.abs(np.diff(bad.centres_FKD, axis=0)).max((1, 2)) == 0
        assert 6 <= still.sum() <= 8
        held = int(still.sum())
        np.testing.assert_array_equal(bad.centres_FKD[-1], scene.centres_FKD[-1 - held])


def test_violate_draws_among_those_that_fit_and_names_it() -> None:
    seen: dict[str, set[str]] = {kind: set() for kind in KINDS}
    rng = np.random.default_rng(0)
    for scene in draw_scenes([2, 1], 600):
        bad, name = violate(scene, rng)
        assert scene.kind in VIOLATIONS[name][1] and bad.caption == scene.caption
        assert name != "pass_through" or touches(scene)
        seen[scene.kind].add(name)
    assert seen == {kind: {n for n, (_, kinds) in VIOLATIONS.items() if kind in kinds} for kind in KINDS}


def test_violations_follow_from_their_generator() -> None:
    scene = draw_scenes(0, 1, ["left"])[0]
    one, other = (violate(scene, np.random.default_rng(4)) for _ in range(2))
    assert one[1] == other[1]
    assert np.array_equal(one[0].centres_FKD, other[0].centres_FKD)
