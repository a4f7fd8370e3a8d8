"""Both rates of both judges, per law and kind; `rushes bench world --only A7` has them on 1,000 each."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

from rushes.world import arcs as second
from rushes.world.arcs import arcs
from rushes.world.plants import LAWS, losing_dots, plant
from rushes.world.render import render
from rushes.world.scenes import BLOCK, KINDS, draw_scenes
from rushes.world.verify import MEASURES, verify

CASES = [(law, kind) for law, (_, kinds) in LAWS.items() for kind in kinds] + [("dots", kind) for kind in KINDS]


def test_sound_clips_pass() -> None:
    for scene in draw_scenes(31, 10):
        frames = render(scene)
        seen = verify(frames, scene.caption)
        assert seen.passes and seen.caption_errors < 1 and arcs(frames, scene.caption).passes
        assert seen.lost_dots == 0 and seen.law_error < 0.4 and seen.missing_balls == 0


@pytest.mark.parametrize(("law", "kind"), CASES)
def test_planted_faults_are_caught(law: str, kind: str) -> None:
    for _, scene in plant(law, kind, 32, 2):
        frames, caption = render(scene), scene.caption
        seen = verify(frames, caption)
        assert not seen.passes
        assert {"dots": "dots", "permanence": "permanence"}.get(law, "law") in seen.broken
        assert not arcs(frames, caption).passes


def test_dots_are_counted_where_they_are_lost() -> None:
    rng = np.random.default_rng(5)
    for scene in draw_scenes(33, 8, ["drop", "throw", "swing", "collide"]):
        faulty = losing_dots(scene, rng)
        seen = verify(render(faulty), scene.caption)
        assert np.array_equal(seen.lost_BKP, faulty.dots_FKP[1::BLOCK] == 0)
        assert seen.per_frame["lost_dots"] == pytest.approx(1 - faulty.dots_FKP.mean((1, 2)))
        assert arcs(render(faulty), scene.caption).lost_F == pytest.approx(seen.per_frame["lost_dots"], abs=1 / 6)


def test_a_half_second_is_a_latent_frame() -> None:
    """Frame 0 is given; frames 1 to 4 are the first half second, and the first latent frame that is made."""
    (scene,) = draw_scenes(37, 1, ["throw"])
    faulty = losing_dots(scene, np.random.default_rng(3), 1.0)
    halves = verify(render(faulty), scene.caption).per_segment(0.5)
    assert halves["lost_dots"] == pytest.approx(1 - faulty.dots_FKP[1:].reshape(8, -1).mean(1))
    seconds = verify(render(faulty), scene.caption).per_segment(1.0)
    assert seconds["lost_dots"] == pytest.approx(np.reshape(halves["lost_dots"], (4, 2)).mean(1))
    assert set(MEASURES) - set(seconds) == {"caption_errors"}


def test_tempo_and_side_are_read_back() -> None:
    for scene in draw_scenes(34, 6, ["throw", "swing", "drop"]):
        assert verify(render(scene), scene.caption).tempo == pytest.approx(scene.tempo, rel=0.05)
    scene = draw_scenes(35, 1, ["throw"], worded=0)[0]
    other = {"left": "right", "right": "left"}[str(scene.wording.side)]
    assert verify(render(scene), scene.caption).caption_errors == 0
    assert verify(render(scene), f"a ball is thrown to the {other}").caption_errors == 1


def test_a_wrong_size_or_caption_is_refused() -> None:
    scene = draw_scenes(36, 1)[0]
    with pytest.raises(ValueError, match="64 x 64 x 3"):
        verify(np.zeros((33, 32, 32, 3), np.uint8), scene.caption)
    with pytest.raises(ValueError, match="9 frames or more"):
        verify(render(scene)[:5], scene.caption)


def test_the_judges_share_no_code() -> None:
    """The second imports facts of the world alone: sizes, laws' constants and captions."""
    tree = ast.parse(Path(second.__file__).read_text(encoding="utf-8"))
    imported = {
        f"{node.module}.{name.name}" if node.module == "rushes.world" else str(node.module)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("rushes")
        for name in node.names
    }
    assert imported == {"rushes.world.mechanics", "rushes.world.scenes", "rushes.arrays"}
    used = {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in ("mechanics", "scenes")
    }
    assert all(name.rpartition(".")[2].isupper() or name in ("scenes.read_wording", "scenes.Wording") for name in used)
