"""Folders of videos to a table and a report."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from rushes.evaluate.external import ExternalScores
from rushes.evaluate.judged import Verdicts, judge_all
from rushes.evaluate.systems import SystemsRequest, SystemsResult, evaluate_systems
from rushes.evaluate.video_folders import Folders
from rushes.judges.build import metric_judge as make
from rushes.media.write import write_video
from rushes.progress import no_bar
from rushes.report.model import MetricRow
from rushes.text_reader import checked_text

PROMPTS = 8


def no_judge(folders: Folders, notes: list[str]) -> Verdicts:
    return Verdicts()


def clip(seed: int, way: str) -> np.ndarray:
    rng = np.random.default_rng(seed)
    wall, square = (
        cv2.GaussianBlur(rng.integers(0, 255, size, dtype=np.uint8), (0, 0), 1.5) for size in ((48, 64, 3), (20, 20, 3))
    )
    frames = np.repeat(wall[None] // 2 + 60, 10, 0)
    for frame in range(10):
        frames[frame, 14:34, 4 + 3 * frame : 24 + 3 * frame] = square
    noise = np.random.default_rng([seed, len(way)]).normal(0, 12, frames.shape)
    ways: dict[str, Callable[[], np.ndarray]] = {
        "plain": lambda: frames,
        "frozen": lambda: frames[:1].repeat(10, 0),
        "noisy": lambda: np.clip(frames + noise, 0, 255).astype(np.uint8),
        "blurred": lambda: np.stack([cv2.GaussianBlur(frame, (0, 0), 2.5) for frame in frames]),
    }
    return ways[way]()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("systems")
    for way in ("plain", "frozen", "noisy", "blurred"):
        (folder / way).mkdir()
        for at in range(PROMPTS):
            write_video(folder / way / f"{at}.mp4", clip(at, way), 8.0)
    (folder / "prompts.txt").write_text("\n".join(f"a square crosses wall {k}" for k in range(PROMPTS)))
    return folder


def run(root: Path, out: Path, *ways: str, **more: Any) -> tuple[SystemsResult, dict[str, Any], dict[str, Any]]:
    asked = SystemsRequest({way: root / way for way in ways}, out, root / "prompts.txt", **more)
    result = evaluate_systems(asked, ExternalScores(), no_judge, no_bar)
    table, details = (json.loads(checked_text(out / name, "")) for name in ("table.json", "details.json"))
    return result, table, details


def test_noise_is_worse_and_the_table_has_the_documented_form(root: Path, tmp_path: Path) -> None:
    result, table, details = run(root, tmp_path, "plain", "noisy")
    assert set(table) == {"systems", "metrics", "pairs"} and table["systems"] == ["plain", "noisy"]
    row = table["pairs"]["plain|noisy"]["warping_error"]
    assert set(row) == {each.name for each in fields(MetricRow)} and row["unit"] == "grey levels of 255"
    assert row["low"] > 0 and (row["win"], row["tie"], row["lose"]) == (0, 0, PROMPTS)
    means = table["metrics"]["warping_error"]
    assert set(means["plain"]) == {"mean", "low", "high", "n"} and means["plain"]["n"] == PROMPTS
    assert row["difference"] == pytest.approx(means["noisy"]["mean"] - means["plain"]["mean"])
    assert result.verdicts["plain|noisy"].startswith("noisy against plain: worse on")
    assert "warping error" in result.verdicts["plain|noisy"]
    detail = details["pairs"]["plain|noisy"]["warping_error"]
    assert set(detail) == {"p", "p_adjusted", "effect", "prompts"} and detail["p_adjusted"] < 0.05
    assert all(detail[name] == row[name] for name in ("p", "p_adjusted", "prompts"))
    assert details["feature_distance"]["plain|noisy"]["value"] > 0
    assert details["directions"]["motion_speed"] == "higher"


def test_a_new_metric_is_measured_of_videos_that_were_measured_before(
    root: Path, tmp_path: Path, add_metric: Callable[[], str]
) -> None:
    _, before, details = run(root, tmp_path / "out", "plain", "noisy")
    name = add_metric()
    _, after, more = run(root, tmp_path / "out", "plain", "noisy")
    assert after["pairs"]["plain|noisy"][name]["n"] == PROMPTS
    assert after["metrics"].keys() == {*before["metrics"], name}
    assert details["meter"] != more["meter"]


def test_a_frozen_system_does_not_win(root: Path, tmp_path: Path) -> None:
    result, table, _ = run(root, tmp_path, "plain", "frozen")
    pairs = table["pairs"]["plain|frozen"]
    assert "warping_error" not in pairs and "flicker" not in pairs  # nothing moves, so nothing is perfect
    assert table["metrics"]["warping_error"]["frozen"]["n"] == 0
    assert pairs["motion_speed"]["lose"] == pairs["freeze_share"]["lose"] == PROMPTS
    verdict = result.verdicts["plain|frozen"]
    assert "worse on" in verdict and "motion speed" in verdict and "better" not in verdict
    assert any("warping_error had nothing to measure" in note for note in result.notes)


def test_equal_systems_show_no_change_and_blur_is_seen(root: Path, tmp_path: Path) -> None:
    _, table, _ = run(root, tmp_path / "same", "plain", "noisy", "blurred")
    assert list(table["pairs"]) == ["plain|noisy", "plain|blurred", "noisy|blurred"]
    blurred = table["pairs"]["plain|blurred"]["sharpness"]
    assert blurred["high"] < 0 and blurred["tie"] == PROMPTS  # a level without a better direction wins nothing
    copies = SystemsRequest({"one": root / "plain", "other": root / "plain"}, tmp_path / "copies", root / "prompts.txt")
    verdict = evaluate_systems(copies, ExternalScores(), no_judge, no_bar).verdicts["one|other"]
    assert verdict.startswith("No change shown: no metric distinguishes other from one (8 pairs")


def test_a_rerun_measures_nothing_and_is_identical_to_the_byte(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(root, tmp_path, "plain", "noisy")
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert set(first) == {"table.json", "details.json", "report.html"}
    monkeypatch.setattr("rushes.evaluate.measure.read_video", lambda path: pytest.fail("measured again"))
    run(root, tmp_path, "plain", "noisy")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == first
    assert not any(str(root).encode() in data for data in first.values())  # no path of this machine


def test_a_headline_gives_its_own_sentence_and_win_rate(root: Path, tmp_path: Path) -> None:
    result, _, _ = run(root, tmp_path, "plain", "noisy", headline="flicker")
    assert result.verdicts["plain|noisy"].startswith("Worse: flicker (grey levels of 255) rose from")
    assert "Pair by pair on flicker: 0 better" in (tmp_path / "report.html").read_text()
    for name in ("flikcer", "sharpness"):
        with pytest.raises(ValueError, match=f"no metric '{name}' that defines better"):
            run(root, tmp_path, "plain", "noisy", headline=name)


def test_missing_and_broken_videos_are_named(root: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for at in range(PROMPTS - 2):
        (broken / f"{at}.mp4").write_bytes((root / "noisy" / f"{at}.mp4").read_bytes())
    (broken / "3.mp4").write_bytes(b"no video")
    asked = SystemsRequest({"plain": root / "plain", "broken": broken}, tmp_path / "out", root / "prompts.txt")
    notes = evaluate_systems(asked, ExternalScores(), no_judge, no_bar).notes
    assert any("2 videos missing of broken: 6, 7." in note for note in notes)
    assert any(note.startswith("broken/3.mp4 could not be read") for note in notes)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "broken/3.mp4 could not be read" in page and "5 pairs" in page
    for path in broken.iterdir():
        path.write_bytes(b"no video")
    with pytest.raises(ValueError, match="broken: none of its videos can be read"):
        evaluate_systems(asked, ExternalScores(), no_judge, no_bar)


def test_clips_of_another_shape_are_said(root: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    for at in range(PROMPTS):
        write_video(small / f"{at}.mp4", clip(at, "plain")[:8, ::2, ::2], 4.0)
    asked = SystemsRequest({"plain": root / "plain", "small": small}, tmp_path / "out")
    notes = evaluate_systems(asked, ExternalScores(), no_judge, no_bar).notes
    assert any("differ in shape" in note and "32 x 24 px, 8 frames at 4 fps" in note for note in notes)


def test_clips_of_each_size_are_compared_apart(tmp_path: Path) -> None:
    for way in ("plain", "noisy"):
        (tmp_path / way).mkdir()
        for at in range(4):
            frames = clip(at, way)
            write_video(tmp_path / way / f"{at}.mp4", frames if at < 2 else frames.transpose(0, 2, 1, 3), 8.0)
    asked = SystemsRequest({way: tmp_path / way for way in ("plain", "noisy")}, tmp_path / "out")
    page = evaluate_systems(asked, ExternalScores(), no_judge, no_bar).report.read_text()
    assert "48 x 64 px, 10 frames (2 pairs)" in page and "64 x 48 px, 10 frames (2 pairs)" in page


def test_seeds_give_diversity_and_stay_one_cluster(root: Path, tmp_path: Path) -> None:
    for system, ways in (("a", ("plain", "noisy")), ("b", ("plain", "blurred"))):
        for at in range(3):
            for seed, way in enumerate(ways):
                path = tmp_path / system / str(at) / f"{seed}.mp4"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes((root / way / f"{at}.mp4").read_bytes())
    asked = SystemsRequest({name: tmp_path / name for name in "ab"}, tmp_path / "out")
    evaluate_systems(asked, ExternalScores(), no_judge, no_bar)
    table = json.loads((tmp_path / "out" / "table.json").read_text())
    assert table["metrics"]["diversity"]["a"]["n"] == 3
    assert table["metrics"]["motion_speed"]["a"]["n"] == 6
    details = json.loads((tmp_path / "out" / "details.json").read_text())
    assert details["pairs"]["a|b"]["motion_speed"]["prompts"] == 3


def test_judges_are_in_the_report(root: Path, tmp_path: Path) -> None:
    def judge(folders: Folders, notes: list[str]) -> Verdicts:
        return judge_all(make("motion_speed", 0.0), folders, notes)

    asked = SystemsRequest({way: root / way for way in ("plain", "frozen", "noisy")}, tmp_path, root / "prompts.txt")
    evaluate_systems(asked, ExternalScores(), judge, no_bar)
    page = (tmp_path / "report.html").read_text()
    assert "Judged side by side" in page and "metric:motion_speed" in page
    assert "or add a judge" not in page
    evaluate_systems(replace(asked, out=tmp_path / "other"), ExternalScores(), no_judge, no_bar)
    assert "or add a judge" in (tmp_path / "other" / "report.html").read_text()


@pytest.mark.slow
def test_the_real_bench(short_bench: Path, tmp_path: Path) -> None:
    systems = {name: short_bench / name for name in ("pretrain", "realdpo")}
    result = evaluate_systems(
        SystemsRequest(systems, tmp_path, short_bench / "prompts.txt"), ExternalScores(), no_judge, no_bar
    )
    table = json.loads((tmp_path / "table.json").read_text())
    assert result.notes == ()
    assert table["metrics"]["first_frame_fidelity"]["realdpo"]["n"] == 2
    assert table["pairs"]["pretrain|realdpo"]["motion_speed"]["win"] <= 2
    page = (tmp_path / "report.html").read_text()
    assert "2 prompts show a change of one metric four times in five" in page
    assert "Even 2 wins of 2 prompts can be chance" in page
    assert (tmp_path / "report.html").stat().st_size < 30_000_000
