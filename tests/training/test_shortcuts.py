from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rushes.media.write import write_video
from rushes.metrics.quality import blockiness
from rushes.objectives.terms import Term
from rushes.training import shortcuts
from rushes.training.comparison import Comparison, View

LABELS = (0, 1, 1)
Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def same(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return frames


def brighter(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    lighter: np.ndarray = np.clip(frames.astype(int) + 6, 0, 255).astype(np.uint8)
    return lighter


def grainy(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.clip(frames + rng.normal(0, 6, frames.shape), 0, 255).astype(np.uint8)


def still(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.repeat(frames[:1], len(frames), 0)


def clip(rng: np.random.Generator) -> np.ndarray:
    """A soft picture that moves sideways."""
    coarse = rng.uniform(40, 200, (4, 10, 3))
    picture = np.kron(coarse, np.ones((16, 16, 1)))
    for _ in range(6):
        picture = (picture + np.roll(picture, 1, 0) + np.roll(picture, 1, 1) + np.roll(picture, -1, 0)) / 4
    return np.stack([picture[:, 2 * f : 2 * f + 96] for f in range(4)]).astype(np.uint8)


@pytest.fixture
def look(tmp_path: Path) -> Callable[..., dict[str, shortcuts.Shortcut]]:
    """Twenty winners and losers, of different scenes, the losers changed."""

    def run(change: Change, fps: float = 8.0) -> dict[str, shortcuts.Shortcut]:
        rng = np.random.default_rng(0)
        seen: dict[str, shortcuts.ShortcutFeatures] = {}
        pairs = []
        for at in range(shortcuts.LEAST):
            for side in "wl":
                frames, rate = clip(rng), 8.0
                if side == "l":
                    frames, rate = change(frames, rng), fps
                path = tmp_path / f"{side}{at}.mp4"
                write_video(path, frames, rate)
                seen[f"{side}{at}"] = shortcuts.ShortcutFeatures(frames, 8.0, path, False)
            pairs.append(shortcuts.ShortcutPair(f"{at}", View(f"w{at}", "a clip"), View(f"l{at}", "a clip")))
        return {each.name: each for each in shortcuts.measure(pairs, lambda view: seen[view.key])}

    return run


def test_sides_of_one_kind_have_no_shortcut(look: Callable[..., dict[str, shortcuts.Shortcut]]) -> None:
    found = look(same)
    assert found["all"].share.low < 0.5 and not found["blockiness"].significant
    # nothing is said of what is equal in all pairs: rate, size, length, and grain, of which there is none
    assert set(found) == {"all", "blockiness", *shortcuts.LOOK, "bytes_per_pixel", "motion_speed"}


@pytest.mark.parametrize(
    ("change", "names"), [(grainy, {"grain", "bytes_per_pixel"}), (still, {"motion_speed"})], ids=["grain", "motion"]
)
def test_a_difference_is_found_and_named(
    change: Change, names: set[str], look: Callable[..., dict[str, shortcuts.Shortcut]]
) -> None:
    found = look(change)
    assert found["all"].share.value > 0.9
    assert all(found[name].share.value > 0.9 and found[name].significant for name in names)
    assert not found["saturation"].significant
    assert [shortcuts.Shortcut.read(each.written()) for each in found.values()] == list(found.values())
    lines = shortcuts.warnings(tuple(found.values()))
    assert lines[0].startswith("shortcuts: plain features of the clips predict the winner") and len(lines) > 1


def test_a_rate_that_differs_is_found(look: Callable[..., dict[str, shortcuts.Shortcut]]) -> None:
    found = look(same, fps=12.0)
    assert found["file_fps"].share.value == 1.0 and found["file_seconds"].share.value == 1.0
    assert (found["file_fps"].winner, found["file_fps"].loser) == (8.0, 12.0)


def test_few_pairs_say_nothing() -> None:
    few = [shortcuts.ShortcutPair(f"{at}", View(f"w{at}", ""), View(f"l{at}", "")) for at in range(shortcuts.LEAST - 1)]
    one_prompt = [shortcuts.ShortcutPair("a", View(f"w{at}", ""), View(f"l{at}", "")) for at in range(shortcuts.LEAST)]
    unread: Callable[..., shortcuts.ShortcutFeatures] = pytest.fail
    assert shortcuts.measure(few, unread) == () == shortcuts.measure(one_prompt, unread)
    assert "needs 20 pairs from 5 prompts" in shortcuts.in_words(())[0] and shortcuts.warnings(()) == []


def test_what_is_learned_on_the_same_prompts_does_not_count() -> None:
    """Features of noise: with as many of them as pairs, a rule fits its own pairs and no others."""
    rng = np.random.default_rng(1)
    gaps = rng.normal(size=(40, 30))
    share = shortcuts._picked_share(gaps, [f"{at}" for at in range(40)])
    assert share.low < 0.5 < share.high
    # the same pair under one prompt many times is one pair
    twice = shortcuts._picked_share(np.repeat(gaps, 5, 0), [f"{at}" for at in range(40) for _ in range(5)])
    assert twice.low < 0.5 < twice.high


def test_pairs_follow_labels_and_leave_anchors_out() -> None:
    views = tuple(View(name, "a clip") for name in ("real", "take", "other"))
    anchor = Term("supervised", (1.0, 0.0, 0.0), LABELS, loss_type="error")
    first = Term("clip", (1.0, -1.0, 0.0), LABELS, 5.0)
    turned = Term("clip", (0.0, 1.0, -1.0), (0, -1, -1), 5.0)
    tied = Term("segment", (1.0, -1.0, 0.0), (0, 1, -1), 5.0, reduction="segment")
    found = shortcuts.pairs([Comparison("a", "prompt", views, (anchor, first, first, turned, tied))])
    assert [(pair.winner.key, pair.loser.key) for pair in found] == [("real", "take"), ("other", "take")]


def test_spread_out_takes_the_whole_list() -> None:
    many = [shortcuts.ShortcutPair(name, View(name, ""), View(name, "")) for name in "abcdefgh"]
    assert shortcuts.spread_out(many, 4) == many[::2] and shortcuts.spread_out(many[:2], 4) == many[:2]


def test_traces_by_hand() -> None:
    flat = np.full((64, 64), 100, np.uint8)
    rng = np.random.default_rng(0)
    noisy = np.clip(rng.normal(100, 5, (256, 256)), 0, 255).astype(np.uint8)
    assert shortcuts.grain(flat) == 0.0 and shortcuts.grain(noisy) == pytest.approx(5.0, rel=0.05)
    blocks = np.kron(rng.integers(60, 180, (8, 8)), np.ones((8, 8))).astype(np.uint8)
    assert blockiness(flat) == 1.0 and blockiness(blocks) > 50
    assert blockiness(noisy) == pytest.approx(1.0, rel=0.05)


def test_of_a_large_clip_some_frames_of_the_middle_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shortcuts.most_frames(480, 832, 81) == 20 and shortcuts.most_frames(32, 48, 17) == 17
    assert shortcuts.most_frames(2160, 3840, 81) == 2  # motion is between two
    frames = np.zeros((9, 4, 4, 3), np.uint8) + np.arange(9, dtype=np.uint8)[:, None, None, None]
    assert len(shortcuts.middle(frames)) == 9
    monkeypatch.setattr(shortcuts, "PIXELS", 3 * 16)
    assert shortcuts.middle(frames)[:, 0, 0, 0].tolist() == [3, 4, 5]
