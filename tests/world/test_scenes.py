from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from rushes.arrays import Floats
from rushes.backbones.tiny import word_ids
from rushes.world.scenes import (
    CAPTIONS,
    COLOURS,
    FOREARM_PX,
    GRAVITY,
    KINDS,
    PIVOT_PX,
    RADIUS_PX,
    RESTITUTION,
    SHOULDER_PX,
    UPPER_ARM_PX,
    Scene,
    bounds_px,
    draw_scenes,
    read_caption,
    simulate_balls,
)


def one_ball(x: float, y: float, vx: float, vy: float, frames: int = 17, **options: float) -> tuple[Floats, Floats]:
    """Centres and velocities [F, 2] of a single ball."""
    gravity = options.pop("gravity", GRAVITY)
    centres, velocities = simulate_balls(
        np.array([[[x, y]]]), np.array([[[vx, vy]]]), gravity, frames, options.pop("speed", 1.0)
    )
    return centres[0, :, 0], velocities[0, :, 0]


def same(one: Scene, other: Scene) -> bool:
    return one.caption == other.caption and np.array_equal(one.centres_FKD, other.centres_FKD)


def test_a_seed_gives_the_same_scenes() -> None:
    one, again, other = draw_scenes([3, 1], 12), draw_scenes([3, 1], 12), draw_scenes([3, 2], 12)
    assert all(same(a, b) for a, b in zip(one, again, strict=True))
    assert not any(same(a, b) for a, b in zip(one, other, strict=True))


def test_a_seed_gives_the_same_scenes_in_every_process() -> None:
    """Stored: the base checkpoint was trained on this world, so its draws must not move."""
    scenes = draw_scenes(0, 6)
    assert [s.caption for s in scenes] == [
        "a green ball falls and bounces",
        "a red ball is thrown to the right",
        "a magenta ball is thrown to the left",
        "a red ball and a green ball collide",
        "a red ball swings on a rope",
        "a figure waves an arm with a blue elbow and a green hand",
    ]
    assert [round(float(s.centres_FKD.mean()), 6) for s in scenes] == pytest.approx(
        [16.478753, 17.371007, 13.269935, 16.614891, 13.423932, 16.576824], abs=2e-6
    )


def test_every_kind_has_its_share_in_turn() -> None:
    scenes = draw_scenes(0, 20)
    assert [s.kind for s in scenes[:6]] == list(KINDS)
    assert set(Counter(s.kind for s in scenes).values()) <= {3, 4} and len(scenes) == 20
    assert [s.kind for s in draw_scenes(0, 4, ["wave", "fall"])] == ["wave", "fall"] * 2


def test_unknown_kinds_are_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown scene 'jump'; the embedded world has fall, right"):
        draw_scenes(0, 3, ["fall", "jump"])


def test_shapes() -> None:
    for scene in draw_scenes(0, 12, frames=9):
        k = KINDS[scene.kind].objects
        assert scene.centres_FKD.shape == scene.velocities_FKD.shape == (9, k, 2)
        assert scene.opacity_FK.shape == (9, k) and scene.gain_F.shape == (9,)
        assert len(scene.colours) == len(set(scene.colours)) == k and set(scene.colours) <= set(COLOURS)


def test_captions_parse() -> None:
    for scene in draw_scenes(5, 120):
        assert read_caption(scene.caption) == (scene.kind, scene.colours)
    assert len(CAPTIONS) == 6 + 6 + 6 + 30 + 6 + 24


@pytest.mark.parametrize(
    "caption", ["", "a dog runs", "a red ball falls and bounces.", "a grey ball falls and bounces"]
)
def test_other_captions_are_refused(caption: str) -> None:
    with pytest.raises(ValueError, match="is not one of the embedded world's"):
        read_caption(caption)


def test_words_of_the_world_have_numbers_of_their_own() -> None:
    words = {word for caption in CAPTIONS for word in caption.split()}
    assert len({word_ids(word)[0] for word in words}) == len(words)


def test_limbs_never_have_the_colour_of_two_complementary_discs() -> None:
    """Their sum is the grey of the limbs, so the verifier could not tell the two apart."""
    for kind, colours in CAPTIONS.values():
        if kind == "wave":
            total = np.sum([COLOURS[c] for c in colours], 0)
            assert np.ptp(total) > 60, colours


# --- physics ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["fall", "left", "right", "collide"])
def test_balls_stay_inside(kind: str) -> None:
    low, high = bounds_px(RADIUS_PX)
    centres = np.stack([s.centres_FKD for s in draw_scenes(1, 300, [kind])])
    assert (centres >= low - 1e-9).all() and (centres <= high + 1e-9).all()


def test_between_impacts_a_ball_is_a_parabola() -> None:
    x, v = one_ball(5.0, 12.0, 1.0, -2.0, frames=10)
    np.testing.assert_allclose(np.diff(x, n=2, axis=0), [[0.0, GRAVITY]] * 8, atol=1e-12)
    np.testing.assert_allclose(np.diff(v, axis=0), [[0.0, GRAVITY]] * 9, atol=1e-12)


def test_between_impacts_energy_is_conserved() -> None:
    """Kinetic plus potential, to what eight substeps a frame allow: half a substep of gravity times the speed."""
    x, v = one_ball(5.0, 8.0, 1.0, -1.5, frames=11)
    energy = 0.5 * (v**2).sum(-1) - GRAVITY * x[:, 1]
    slack = 0.5 * GRAVITY / 8 * np.abs(v[:, 1] - v[0, 1]).max()
    assert np.ptp(energy) <= slack + 1e-9 < 0.1


def test_an_impact_keeps_nine_tenths_of_the_speed() -> None:
    _, v = one_ball(10.0, 15.0, 2.0, 0.0, gravity=0.0)
    assert sorted({round(float(s), 9) for s in v[:, 0]}) == [-2 * RESTITUTION, 2.0]
    _, v = one_ball(10.0, 15.0, 0.0, 3.0, gravity=0.0, frames=8)
    speeds = [abs(float(s)) for s in v[:, 1]]
    assert speeds[0] == 3.0 and min(speeds) == pytest.approx(3.0 * RESTITUTION)
    x, v = one_ball(15.0, 10.0, 0.0, 0.0, frames=16)
    before, after = v[:, 1].max(), -v[:, 1].min()
    assert after == pytest.approx(RESTITUTION * before, abs=GRAVITY)
    assert x[:, 1].max() <= bounds_px(RADIUS_PX)[1][1]


def test_slow_motion_is_the_same_path_with_fewer_moments() -> None:
    x, v = one_ball(5.0, 8.0, 1.0, -1.0, frames=7)
    slow_x, slow_v = one_ball(5.0, 8.0, 1.0, -1.0, frames=13, speed=0.5)
    np.testing.assert_allclose(slow_x[::2], x, atol=0.1)
    np.testing.assert_allclose(slow_v[2::2], 0.5 * v[1:], atol=0.02)


def test_a_collision_keeps_momentum_and_energy() -> None:
    """Until a wall is met, which takes a tenth of one ball's speed."""
    low, high = bounds_px(RADIUS_PX)
    met = 0
    for scene in draw_scenes(2, 200, ["collide"]):
        x, v = scene.centres_FKD, scene.velocities_FKD
        walls = (np.diff(np.sign(v), axis=0) != 0) & ((x[1:] < low + 1.7) | (x[1:] > high - 1.7))
        free = int(np.argmax(walls.any((1, 2)))) if walls.any() else len(x) - 1
        np.testing.assert_allclose(v[: free + 1].sum(1), v[0].sum(0)[None].repeat(free + 1, 0), atol=1e-9)
        energy = (v[: free + 1] ** 2).sum((1, 2))
        np.testing.assert_allclose(energy, energy[0], rtol=1e-9)
        met += bool((np.abs(np.diff(v[: free + 1], axis=0)) > 0.05).any())
    assert met > 120, "most pairs meet"


def test_balls_do_not_pass_through_each_other() -> None:
    for scene in draw_scenes(2, 200, ["collide"]):
        apart = np.linalg.norm(scene.centres_FKD[:, 1] - scene.centres_FKD[:, 0], axis=-1)
        assert apart.min() > 2 * RADIUS_PX - 0.5


def test_a_pendulum_keeps_its_rope_and_its_energy() -> None:
    for scene in draw_scenes(3, 50, ["swing"]):
        rope = scene.centres_FKD[:, 0] - np.array(PIVOT_PX)
        length = np.linalg.norm(rope, axis=-1)
        np.testing.assert_allclose(length, length[0])
        energy = 0.5 * (scene.velocities_FKD[:, 0] ** 2).sum(-1) - GRAVITY * rope[:, 1]
        assert np.ptp(energy) < 0.01 * GRAVITY * length[0]


def test_an_arm_keeps_its_lengths() -> None:
    for scene in draw_scenes(4, 50, ["wave"]):
        elbow, hand = scene.centres_FKD[:, 0], scene.centres_FKD[:, 1]
        np.testing.assert_allclose(np.linalg.norm(elbow - np.array(SHOULDER_PX), axis=-1), UPPER_ARM_PX)
        np.testing.assert_allclose(np.linalg.norm(hand - elbow, axis=-1), FOREARM_PX)


@pytest.mark.parametrize("kind", ["fall", "left", "right", "swing"])
def test_velocities_are_those_of_the_centres(kind: str) -> None:
    for scene in draw_scenes(6, 20, [kind]):
        x, v = scene.centres_FKD, scene.velocities_FKD
        middle = 0.5 * (x[2:] - x[:-2])
        off = np.abs(middle - v[1:-1]).max((1, 2))
        assert np.median(off) < 0.05, "all but the frames around an impact"
