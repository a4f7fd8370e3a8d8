from __future__ import annotations

import numpy as np
import pytest

from rushes.judges.build import world_judge
from rushes.metrics.base import Shot
from rushes.world.mechanics import FPS
from rushes.world.plants import LAWS, plant
from rushes.world.render import render
from rushes.world.scenes import KINDS, Scene, draw_scenes

JUDGE = world_judge(margin=0.05)
EACH = 4
FAULTS = {**{law: kinds for law, (_, kinds) in LAWS.items()}, "dots": KINDS}


def shot(scene: Scene) -> Shot:
    return Shot(render(scene), FPS, scene.caption)


def faulty(law: str) -> list[tuple[Shot, Shot, int]]:
    """Sound clip, the same with a fault, and the half second in which the fault is first seen."""
    clips = []
    for kind in FAULTS[law]:
        for sound, broken in plant(law, kind, 21, EACH):
            true, false = shot(sound), shot(broken)
            differ = np.abs(true.frames_FHWC.astype(int) - false.frames_FHWC).max((1, 2, 3)) > 8
            clips.append((true, false, (int(np.argmax(differ)) - 1) // 4))
    return clips


@pytest.mark.parametrize("law", ["dots", "permanence"])
def test_the_sound_clip_wins_where_the_fault_is(law: str) -> None:
    """A lost dot in one half second of one frame or two is a tie; it is lost for four frames or eight."""
    clips = faulty(law)
    labels = [JUDGE.compare(true, false, 0.5).labels for true, false, _ in clips]
    assert all(len(row) == 8 and -1 not in row for row in labels)
    caught = [1 in row[half : half + 2] for row, (_, _, half) in zip(labels, clips, strict=True)]
    assert np.mean(caught) >= 0.9


@pytest.mark.parametrize("law", FAULTS)
def test_the_sound_clip_wins_as_a_whole(law: str) -> None:
    """With no margin: a dot lost for a half second is a fiftieth of all dots and frames."""
    judge = world_judge(margin=0.0)
    labels = [judge.compare(true, false, None).labels for true, false, _ in faulty(law)]
    assert np.mean([row == (1,) for row in labels]) >= 0.9


@pytest.mark.parametrize("segment_s", [None, 1.0, 0.5])
def test_identical_clips_tie(segment_s: float | None) -> None:
    for scene in draw_scenes(2, 6):
        judged = JUDGE.compare(shot(scene), shot(scene), segment_s)
        assert not any(judged.labels) and judged.strength == 0.0
        assert len(judged.labels) == {None: 1, 1.0: 4, 0.5: 8}[segment_s]


def test_sound_clips_of_a_kind_tie() -> None:
    """Two sound clips differ in where things are, which is no reason to prefer one."""
    scenes = draw_scenes(3, 20)
    pairs = zip(scenes[:10], scenes[10:], strict=True)
    assert not np.any([JUDGE.compare(shot(one), shot(other), 0.5).labels for one, other in pairs])


@pytest.mark.parametrize("law", ["permanence", "dots"])
@pytest.mark.parametrize("segment_s", [None, 1.0, 0.5])
def test_exchanging_the_sides_flips_the_labels(law: str, segment_s: float | None) -> None:
    judge = world_judge(margin=0.01)
    for true, false, _ in faulty(law)[:4]:
        one, other = judge.compare(true, false, segment_s), judge.compare(false, true, segment_s)
        assert other.labels == tuple(-label for label in one.labels) and any(one.labels)
        assert one.strength is not None and other.strength == -one.strength < 0


def test_a_wide_margin_ties_all() -> None:
    true, false, _ = faulty("dots")[0]
    assert world_judge(margin=100.0).compare(true, false, 1.0).labels == (0,) * 4


def test_clips_of_another_world_are_refused() -> None:
    other = Shot(np.zeros((33, 64, 64, 3), np.uint8), FPS, "a dog on a beach")
    with pytest.raises(ValueError, match="is not one of the embedded world's"):
        JUDGE.compare(other, other, 1.0)
