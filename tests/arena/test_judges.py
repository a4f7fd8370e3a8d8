"""Both rates of both judges, per law and kind; `rushes bench world --world arena --only A7` has them on 1,000 each."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

from rushes.arena import arcs as second
from rushes.arena.arcs import arcs
from rushes.arena.drawing import render_play
from rushes.arena.inspection import MEASURES, inspect
from rushes.arena.plants import LAWS, losing_dots, plant
from rushes.arena.plays import BLOCK, KINDS, draw_plays

CASES = [(law, kind) for law, (_, kinds) in LAWS.items() for kind in kinds] + [("dots", kind) for kind in KINDS]


def test_sound_clips_pass() -> None:
    for play in draw_plays(31, 10):
        frames = render_play(play)
        seen = inspect(frames, play.caption)
        assert seen.passes and seen.caption_wrong < 1 and arcs(frames, play.caption).passes
        assert seen.dots_lost == 0 and seen.law_error < 0.4 and seen.balls_gone == 0


@pytest.mark.parametrize(("law", "kind"), CASES)
def test_planted_faults_are_caught(law: str, kind: str) -> None:
    for _, play in plant(law, kind, 32, 2):
        frames, caption = render_play(play), play.caption
        seen = inspect(frames, caption)
        assert not seen.passes
        assert {"dots": "dots", "permanence": "permanence"}.get(law, "law") in seen.broken
        assert not arcs(frames, caption).passes


def test_dots_are_counted_where_they_are_lost() -> None:
    rng = np.random.default_rng(5)
    for play in draw_plays(33, 8, ["drop", "throw", "swing", "collide"]):
        faulty = losing_dots(play, rng)
        seen = inspect(render_play(faulty), play.caption)
        assert np.array_equal(seen.lost_BKP, faulty.dots_FKP[1::BLOCK] == 0)
        assert seen.per_frame["dots_lost"] == pytest.approx(1 - faulty.dots_FKP.mean((1, 2)))
        assert arcs(render_play(faulty), play.caption).lost_F == pytest.approx(seen.per_frame["dots_lost"], abs=1 / 6)


def test_a_half_second_is_a_latent_frame() -> None:
    """Frame 0 is given; frames 1 to 4 are the first half second, and the first latent frame that is made."""
    (play,) = draw_plays(37, 1, ["throw"])
    faulty = losing_dots(play, np.random.default_rng(3), 1.0)
    halves = inspect(render_play(faulty), play.caption).per_segment(0.5)
    assert halves["dots_lost"] == pytest.approx(1 - faulty.dots_FKP[1:].reshape(8, -1).mean(1))
    seconds = inspect(render_play(faulty), play.caption).per_segment(1.0)
    assert seconds["dots_lost"] == pytest.approx(np.reshape(halves["dots_lost"], (4, 2)).mean(1))
    assert set(MEASURES) - set(seconds) == {"caption_wrong"}


def test_tempo_and_side_are_read_back() -> None:
    for play in draw_plays(34, 6, ["throw", "swing", "drop"]):
        assert inspect(render_play(play), play.caption).tempo == pytest.approx(play.tempo, rel=0.05)
    play = draw_plays(35, 1, ["throw"], worded=0)[0]
    other = {"left": "right", "right": "left"}[str(play.wording.side)]
    assert inspect(render_play(play), play.caption).caption_wrong == 0
    assert inspect(render_play(play), f"a ball is thrown to the {other}").caption_wrong == 1


def test_a_wrong_size_or_caption_is_refused() -> None:
    play = draw_plays(36, 1)[0]
    with pytest.raises(ValueError, match="64 x 64 x 3"):
        inspect(np.zeros((33, 32, 32, 3), np.uint8), play.caption)
    with pytest.raises(ValueError, match="9 frames or more"):
        inspect(render_play(play)[:5], play.caption)


def test_the_judges_share_no_code() -> None:
    """The second imports facts of the world alone: sizes, laws' constants and captions."""
    tree = ast.parse(Path(second.__file__).read_text(encoding="utf-8"))
    imported = {
        f"{node.module}.{name.name}" if node.module == "rushes.arena" else str(node.module)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("rushes")
        for name in node.names
    }
    assert imported == {"rushes.arena.mechanics", "rushes.arena.plays", "rushes.arrays"}
    used = {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in ("mechanics", "plays")
    }
    assert all(name.rpartition(".")[2].isupper() or name in ("plays.read_wording", "plays.Wording") for name in used)
