from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rushes.world.render import backdrop, disc, render
from rushes.world.scenes import COLOURS, KINDS, Scene, draw_scenes
from rushes.world.tracks import Tracks, _covered, track


def scene_of(kind: str, seed: int = 0) -> Scene:
    return draw_scenes(seed, 1, [kind])[0]


def tracked(scene: Scene) -> Tracks:
    return track(render(scene), scene.kind, scene.colours)


@pytest.mark.parametrize("kind", KINDS)
def test_objects_are_found_where_they_are(kind: str) -> None:
    """To a tenth of a pixel in the mean; most of it where a pendulum swings partly out of the frame."""
    for scene in draw_scenes([1, 0], 20, [kind]):
        tracks = tracked(scene)
        assert tracks.present_FK.all() and tracks.whole_F.all()
        off = np.linalg.norm(tracks.centres_FKD - scene.centres_FKD, axis=-1)
        assert off.mean() < 0.1
        assert tracks.stray_F.max() < 0.005


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_object_is_missing_in_just_its_frames(kind: str) -> None:
    scene = scene_of(kind)
    opacity = scene.opacity_FK.copy()
    opacity[6:10, 0] = 0
    tracks = tracked(replace(scene, opacity_FK=opacity))
    assert np.array_equal(tracks.present_FK, opacity > 0)
    assert np.array_equal(tracks.whole_F, opacity.all(1))


def test_a_gap_is_bridged_by_a_straight_line() -> None:
    scene = scene_of("collide")
    opacity = scene.opacity_FK.copy()
    opacity[6:10, 0] = 0
    x = tracked(replace(scene, opacity_FK=opacity)).centres_FKD[:, 0]
    np.testing.assert_allclose(np.diff(x[5:11], n=2, axis=0), 0, atol=1e-9)


@pytest.mark.parametrize(("opacity", "present"), [(1.0, True), (0.85, True), (0.4, False), (0.0, False)])
def test_a_faint_object_is_not_there(opacity: float, present: bool) -> None:
    scene = scene_of("left")
    tracks = tracked(replace(scene, opacity_FK=np.full_like(scene.opacity_FK, opacity)))
    assert (tracks.present_FK == present).all()


def test_a_torn_object_is_not_whole() -> None:
    """Half of the disc six pixels off has the area of one, but not its spread."""
    scene = scene_of("right")
    frames = render(scene)
    x = int(np.rint(scene.centres_FKD[3, 0, 0]))
    frames[3, :, x:] = np.roll(frames[3, :, x:], 6, axis=1)
    present = track(frames, scene.kind, scene.colours).present_FK[:, 0]
    assert np.flatnonzero(~present).tolist() == [3]


def test_a_doubled_object_is_not_one() -> None:
    scene = draw_scenes(0, 1, ["fall"])[0]
    other = replace(scene, centres_FKD=np.where(scene.centres_FKD > 16, scene.centres_FKD - 9, scene.centres_FKD + 9))
    frames, second = render(scene), render(other)
    paint = np.abs(second[4].astype(int) - second[4, 0, 0]).sum(-1) > 150
    frames[4][paint] = second[4][paint]
    present = track(frames, scene.kind, scene.colours).present_FK[:, 0]
    assert np.flatnonzero(~present).tolist() == [4]


@pytest.mark.parametrize(("scale", "whole"), [(0.7, False), (0.9, True), (1.1, True), (1.3, False)])
def test_a_swollen_or_shrunk_object_is_not_whole(scale: float, whole: bool) -> None:
    scene = scene_of("fall")
    cover = disc(scene.centres_FKD[:, 0], scale * scene.radius_px)[..., None]
    frames = backdrop() + cover * (COLOURS[scene.colours[0]] - backdrop())
    tracks = track(np.rint(frames).astype(np.uint8), "fall", scene.colours)
    assert (tracks.present_FK == whole).all()


def test_stray_paint_is_artifact_and_not_absence() -> None:
    scene = scene_of("fall")
    clean, frames = tracked(scene), render(scene)
    far = (3, 3) if scene.centres_FKD[5, 0, 0] > 16 else (3, 28)
    frames[5, far[0] - 1 : far[0] + 2, far[1] - 1 : far[1] + 2] = 0  # black is no mixture of stage and ball
    tracks = track(frames, scene.kind, scene.colours)
    assert tracks.present_FK.all()
    assert tracks.stray_F[5] > 10 * max(clean.stray_F.max(), 0.001)
    assert np.allclose(np.delete(tracks.stray_F, 5), np.delete(clean.stray_F, 5))


@pytest.mark.parametrize("gain", [0.65, 0.8, 1.1, 1.3])
def test_brightness_of_the_frame_changes_nothing(gain: float) -> None:
    for kind in KINDS:
        scene = scene_of(kind)
        tracks = tracked(replace(scene, gain_F=np.full(17, gain)))
        assert tracks.present_FK.all()
        np.testing.assert_allclose(tracks.centres_FKD, tracked(scene).centres_FKD, atol=0.3)


def test_coverage_is_that_of_the_paint() -> None:
    scene = scene_of("collide")
    amount, rest = _covered(render(scene), scene.colours, grey=True)
    assert amount.shape == (17, 3, 32, 32) and rest.shape == (17, 32, 32)
    for k in range(2):
        x, y = np.rint(scene.centres_FKD[0, k]).astype(int)
        assert amount[0, k, y, x] == pytest.approx(1, abs=0.05)
    assert amount[:, 2].max() < 0.1, "no grey in a scene of balls"
    assert rest.max() < 0.01


def test_another_colour_is_not_mistaken() -> None:
    scene = scene_of("fall")
    for colour in set(COLOURS) - set(scene.colours):
        tracks = track(render(scene), scene.kind, (colour,))
        assert not tracks.present_FK.any(), (scene.colours, colour)
