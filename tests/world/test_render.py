from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rushes.world.render import GROUND, SKY, backdrop, disc, grey_parts, line, render
from rushes.world.scenes import COLOURS, FLOOR_PX, KINDS, Scene, draw_scenes


def scene_of(kind: str) -> Scene:
    return draw_scenes(0, 1, [kind])[0]


@pytest.mark.parametrize("kind", KINDS)
def test_frames(kind: str) -> None:
    scene = scene_of(kind)
    frames = render(scene)
    assert frames.shape == (17, 32, 32, 3) and frames.dtype == np.uint8
    for k, colour in enumerate(scene.colours):
        x, y = np.rint(scene.centres_FKD[0, k]).astype(int)
        assert np.abs(frames[0, y, x].astype(int) - COLOURS[colour]).max() <= 12


def test_the_stage_is_sky_over_ground() -> None:
    stage = backdrop()
    assert stage.shape == (32, 32, 3)
    assert (stage[0] == SKY).all() and (stage[-1] == GROUND).all()
    assert (stage[: int(FLOOR_PX) - 1] == SKY).all()


@pytest.mark.parametrize("radius", [2.8, 3.4])
def test_a_disc_keeps_area_and_centre_wherever_it_is(radius: float) -> None:
    """Anti-aliased: moving by part of a pixel changes the area by less than one per cent."""
    rows, columns = np.mgrid[0:32, 0:32]
    areas = []
    for x, y in np.random.default_rng(0).uniform(10, 20, (40, 2)):
        cover = disc(np.array([x, y]), radius)
        areas.append(cover.sum())
        assert (cover * columns).sum() / areas[-1] == pytest.approx(x, abs=0.01)
        assert (cover * rows).sum() / areas[-1] == pytest.approx(y, abs=0.01)
        assert cover.min() >= 0 and cover.max() == pytest.approx(1, abs=0.02)
    assert np.ptp(areas) < 0.01 * np.mean(areas)
    assert np.mean(areas) == pytest.approx(np.pi * radius**2, rel=0.1)


def test_a_line_covers_what_lies_along_it() -> None:
    cover = line(np.array([4.0, 10.0]), np.array([20.0, 10.0]))
    assert (cover[10, 5:19] > 0.5).all() and cover.max() <= 0.8
    assert not cover[14:].any() and not cover[:, 24:].any()
    assert np.isfinite(line(np.array([4.0, 4.0]), np.array([4.0, 4.0]))).all()


def test_only_ropes_and_figures_have_grey_parts() -> None:
    for kind in KINDS:
        assert grey_parts(scene_of(kind)).any() == (kind in ("swing", "wave")), kind


def test_what_has_no_opacity_is_not_painted() -> None:
    scene = scene_of("collide")
    gone = render(replace(scene, opacity_FK=np.zeros_like(scene.opacity_FK)))
    assert (gone == np.rint(backdrop())).all()
    rope = scene_of("swing")
    gone = render(replace(rope, opacity_FK=np.zeros_like(rope.opacity_FK)))
    assert (gone == np.rint(backdrop())).all(), "a rope goes with its ball"


def test_gain_scales_the_frame() -> None:
    scene = scene_of("fall")
    gain = np.ones(17)
    gain[5] = 0.7
    dimmed, frames = render(replace(scene, gain_F=gain)), render(scene)
    assert np.abs(dimmed[5] - 0.7 * frames[5]).max() <= 1
    assert np.array_equal(np.delete(dimmed, 5, 0), np.delete(frames, 5, 0))


def test_later_objects_lie_over_earlier_ones() -> None:
    scene = scene_of("collide")
    together = np.full_like(scene.centres_FKD, 15.0)
    frames = render(replace(scene, centres_FKD=together))
    assert np.abs(frames[0, 15, 15].astype(int) - COLOURS[scene.colours[1]]).max() <= 2


def test_rendering_is_a_function_of_the_scene() -> None:
    for scene in draw_scenes(9, 6):
        assert np.array_equal(render(scene), render(scene))


def test_pixels_are_those_the_base_was_trained_on() -> None:
    """Stored means of the frames; the checkpoint in the package knows this world."""
    means = [float(render(scene).mean()) for scene in draw_scenes(0, 6)]
    assert means == pytest.approx([48.8521, 48.8773, 50.9063, 51.5018, 50.4156, 54.9564], abs=2e-3)
