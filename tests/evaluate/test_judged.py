"""Judges over folders of systems."""

from __future__ import annotations

from pathlib import Path

import pytest

from rushes.evaluate.judged import head_to_head, judge_all, rate_all, read_shot
from rushes.evaluate.video_folders import Folders, find_folders
from rushes.judges.build import metric_judge as make
from rushes.judges.protocols import Duel
from rushes.metrics.base import Shot
from rushes.stats import win_rate

from .conftest import Maker

NAMES = ["0", "1", "2"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, make_system: Maker) -> Folders:
    root = tmp_path_factory.mktemp("judged")
    (root / "prompts.txt").write_text("one\ntwo\nthree")
    ways = {"plain": "plain", "still": "frozen", "soft": "blurred"}
    return find_folders({n: make_system(root / n, NAMES, way) for n, way in ways.items()}, root / "prompts.txt")


def test_every_pair_is_judged_and_the_second_system_wins_where_it_is_better(folders: Folders) -> None:
    notes: list[str] = []
    said = judge_all(make("motion_speed", 0.0), folders, notes)
    by_pair = {(r.first, r.second): r for r in said.rows}
    still = by_pair["plain", "still"]
    assert (still.wins.wins, still.wins.ties, still.wins.losses) == (0, 0, 3)
    soft = by_pair["still", "soft"]
    assert (soft.wins.wins, soft.disagreed, soft.unreadable) == (3, 0, 0)
    assert soft.first_slot is not None and soft.first_slot.value == 0.5
    assert said.strengths == {} and "never lost" in notes[0]  # a system that never wins has no finite strength


def test_counts_and_the_interval_over_prompts() -> None:
    duels = {
        ("a", 0): Duel(1, True, 1, 2),
        ("a", 1): Duel(1, True, 1, 2),
        ("b", 0): Duel(0, False, 2, 2),
        ("c", 0): None,
    }
    result = head_to_head("a judge", "A", "B", duels, {})
    assert result is not None
    assert (result.wins.wins, result.wins.ties, result.wins.losses) == (2, 1, 0)
    assert (result.disagreed, result.unreadable) == (1, 1)
    assert result.first_slot is not None and result.first_slot.value == pytest.approx(4 / 6)
    assert result.wins.rate == win_rate([0, 0, 0], [1, 1, 0], "higher", clusters=["a", "a", "b"]).rate
    alike = head_to_head("a judge", "A", "B", duels, {"a": "film", "b": "film"})
    assert alike is not None and (alike.wins.rate.low, alike.wins.rate.high) == (0, 1)
    assert head_to_head("a judge", "A", "B", {("a", 0): None}, {}) is None


def test_clips_are_scored_alone_and_unreadable_answers_counted(folders: Folders) -> None:
    def rate(shot: Shot) -> dict[str, float | None]:
        return {"sa": 1.0, "pc": None if shot.caption == "two" else 0.0, "motion_quality": 40.0}

    notes: list[str] = []
    found = {m.name: m for m in rate_all(rate, folders, notes)}
    assert notes == ["3 answers on pc could not be read and are left out."]
    assert found["judged_pc"].values["plain"] == {("0", 0): 0.0, ("2", 0): 0.0}
    assert found["judged_both"].values["plain"] == {("0", 0): 0.0, ("2", 0): 0.0}
    assert found["judged_motion_quality"].values["soft"]["1", 0] == 40.0


def test_a_shot_has_prompt_and_size(folders: Folders) -> None:
    shot = read_shot(folders, "plain", ("1", 0), (32, 32))
    assert (shot.caption, shot.frames_FHWC.shape) == ("two", (10, 32, 32, 3))
    assert Path(folders.videos["plain"]["1", 0]).name == "1.mp4"
