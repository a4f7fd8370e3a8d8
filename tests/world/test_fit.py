from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

from rushes.world import fit as second
from rushes.world.render import render
from rushes.world.scenes import draw_scenes
from rushes.world.violations import VIOLATIONS


def fits(kind: str, violation: str = "") -> list[second.Fit]:
    rng = np.random.default_rng(3)
    scenes = draw_scenes([7, 1], 30, (kind,))
    return [second.fit(render(VIOLATIONS[violation][0](s, rng) if violation else s)) for s in scenes]


@pytest.mark.parametrize("kind", ["fall", "left", "right", "collide", "swing", "wave"])
def test_true_clips_lose_nothing_and_move_smoothly(kind: str) -> None:
    found = fits(kind)
    assert max(f.lost for f in found) < 0.06
    assert np.mean([f.roughness for f in found]) < 0.9  # impacts included


@pytest.mark.parametrize("kind", ["fall", "collide", "swing"])
def test_a_vanished_object_is_lost_for_as_long_as_it_is_gone(kind: str) -> None:
    assert np.mean([f.lost for f in fits(kind, "vanish")]) > 0.2


@pytest.mark.parametrize("kind", ["fall", "left", "collide", "wave"])
def test_a_jump_is_rough(kind: str) -> None:
    assert np.mean([f.roughness for f in fits(kind, "teleport")]) > 1.3 * np.mean([f.roughness for f in fits(kind)])


def test_a_darker_clip_is_the_same_clip() -> None:
    (scene,) = draw_scenes([7, 2], 1, ("fall",))
    frames = render(scene)
    assert second.fit((frames * 0.9).astype(np.uint8)).lost == second.fit(frames).lost == 0.0


def test_it_shares_nothing_with_the_first_judge() -> None:
    tree = ast.parse(Path(second.__file__).read_text(encoding="utf-8"))
    names = [a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names]
    names += [n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    assert [name for name in names if name.startswith("rushes")] == ["rushes.arrays"]  # names of types alone


def test_a_short_clip_is_refused() -> None:
    with pytest.raises(ValueError, match="needs 5 frames"):
        second.fit(np.zeros((4, 32, 32, 3), np.uint8))
