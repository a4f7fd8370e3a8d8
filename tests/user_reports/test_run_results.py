"""Results of other programs, and verdicts on folders of videos: public reports, one test each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from rushes.media.write import write_video

from ..projects import Rushes


def moving(steps: int, frames: int = 12) -> np.ndarray:
    """A textured square that crosses a textured wall, `steps` pixels a frame."""
    rng = np.random.default_rng(5)
    wall, square = (
        rng.integers(0, 255, size, dtype=np.uint8).repeat(4, 0).repeat(4, 1) for size in ((12, 24, 3), (5, 5, 3))
    )
    shown = np.repeat(wall[None] // 2 + 60, frames, 0)
    for frame in range(frames):
        shown[frame, 14:34, 4 + steps * frame : 24 + steps * frame] = square
    return shown


@pytest.fixture
def systems(tmp_path: Path) -> Path:
    for system in ("ours", "base"):
        for name in range(3):
            (tmp_path / system).mkdir(exist_ok=True)
            write_video(tmp_path / system / f"{name}.mp4", moving(2 + name), 8.0)
    return tmp_path


def vbench(path: Path, rows: Mapping[str, float] | list[tuple[str, float]]) -> Path:
    pairs = rows.items() if isinstance(rows, Mapping) else rows
    entries = [{"video_path": name, "video_results": score} for name, score in pairs]
    path.write_text(json.dumps({"subject_consistency": [0.5, entries]}))
    return path


def evaluate(rushes: Rushes, root: Path, *options: object) -> tuple[int, str, str]:
    folders = ("--systems", f"base={root / 'base'}", f"ours={root / 'ours'}")
    return rushes("evaluate", *folders, "--out", root / "out", *options)


def means(root: Path) -> dict[str, float]:
    table = json.loads((root / "out" / "table.json").read_text())
    row = table["metrics"]["vbench_subject_consistency"]
    return {system: row[system]["mean"] for system in ("base", "ours")}


def scores_of(root: Path, system: str, score: float) -> Path:
    videos = sorted((root / system).iterdir())
    return vbench(root / f"{system}.json", {str(path): score + at / 100 for at, path in enumerate(videos)})


@pytest.mark.parametrize("parent", ["ours", "elsewhere/ours/videos"])
def test_results_for_the_wrong_system(systems: Path, rushes: Rushes, parent: str) -> None:
    """VBench#28, #84, #87: results of one system, given for the other by mistake, must not turn the verdict round."""
    base = scores_of(systems, "base", 0.2)
    ours = vbench(systems / "o.json", {str(systems / parent / f"{n}.mp4"): 0.9 for n in range(3)})
    code, _, err = evaluate(rushes, systems, "--read-vbench", f"base={ours}", f"ours={base}")
    assert code == 2
    assert "3 of its rows are about videos of ours" in err and "give it as ours=o.json" in err
    code, _, err = evaluate(rushes, systems, "--read-vbench", f"base={base}", f"ours={ours}")
    assert code == 0, err
    assert means(systems) == pytest.approx({"base": 0.21, "ours": 0.9})


def test_a_second_row_for_one_video(systems: Path, rushes: Rushes) -> None:
    """VBench#28, #84, #87: two rows of one video; which one is right nobody knows, so neither is taken."""
    video = str(systems / "base" / "0.mp4")
    twice = vbench(systems / "twice.json", [(video, 0.9), (video, 0.1), (str(systems / "base" / "1.mp4"), 0.5)])
    code, _, err = evaluate(
        rushes, systems, "--read-vbench", f"base={twice}", f"ours={scores_of(systems, 'ours', 0.2)}"
    )
    assert code == 2 and f"two rows are about one video, {video}" in err and "delete" in err


def test_one_file_for_two_systems(systems: Path, rushes: Rushes) -> None:
    """VBench#28, #84, #87: the same results under two names would say that both systems are equal."""
    names = vbench(systems / "one.json", {f"/gone/{n}.mp4": 0.5 for n in range(3)})
    code, _, err = evaluate(rushes, systems, "--read-vbench", f"base={names}", f"ours={names}")
    assert code == 2 and "given 2 times" in err


def test_rows_placed_by_name_are_counted(systems: Path, rushes: Rushes) -> None:
    """VBench#28, #84, #87: results that were measured on another machine go by the file's name, which is reported."""
    files = {
        s: vbench(systems / f"{s}.json", {f"/gone/{n}.mp4": v for n in range(3)})
        for s, v in (("base", 0.2), ("ours", 0.4))
    }
    code, out, err = evaluate(rushes, systems, "--read-vbench", *(f"{s}={path}" for s, path in files.items()))
    assert code == 0, err
    assert "base.json has 3 rows placed by the file's name: /gone/0.mp4" in out
    assert means(systems) == pytest.approx({"base": 0.2, "ours": 0.4})


def test_a_caption_with_a_comma_in_results(systems: Path, rushes: Rushes) -> None:
    """mindone#133: an unquoted comma moves the score by a cell; the row is refused with its line."""
    bad, good = systems / "sa.csv", systems / "pc.csv"
    bad.write_text("0.mp4,a dog,1\n1.mp4,a dog, 2,0.5\n")
    good.write_text("0.mp4,a dog,1\n1.mp4,a dog,0.5\n")
    code, _, err = evaluate(rushes, systems, "--read-videophy", f"base={bad},{good}")
    assert code == 2 and "sa.csv, line 2: 4 cells, expected 3" in err


def test_results_that_are_nested_too_deeply(systems: Path, rushes: Rushes) -> None:
    """JSON nested a hundred thousand deep is one sentence, no traceback."""
    deep = systems / "deep.json"
    deep.write_text("[" * 100_000 + "]" * 100_000)
    code, _, err = evaluate(rushes, systems, "--read-vbench", f"base={deep}")
    assert code == 2 and "Traceback" not in err and "deep.json: not results of VBench" in err


def test_frame_rates_that_differ(systems: Path, rushes: Rushes) -> None:
    """What depends on the frame rate is not compared, so no verdict rests on it."""
    for name in range(3):
        write_video(systems / "ours" / f"{name}.mp4", moving(1 + name, 24), 16.0)
    code, out, err = evaluate(rushes, systems)
    assert code == 0, err
    assert "jerk cannot compare clips that differ in frame rate, so it leaves out 3 of 3." in out
    table = json.loads((systems / "out" / "table.json").read_text())
    assert not {"jerk", "warping_error", "flicker", "freeze_share"} & set(table["metrics"])
    assert "motion_speed" in table["metrics"] and "jerk" not in out.splitlines()[0]
    code, _, err = evaluate(rushes, systems, "--headline", "jerk")
    assert code == 2 and "--headline jerk: cannot compare clips that differ in frame rate" in err
    assert "measure" not in err  # before hours of measuring


def test_options_that_would_do_nothing_are_refused(systems: Path, rushes: Rushes, tmp_path: Path) -> None:
    """A threshold without scores, and options of a comparison where only inputs are written."""
    code, _, err = evaluate(rushes, systems, "--videophy-threshold", 4)
    assert code == 2 and "--videophy-threshold: only for --read-videophy" in err
    code, _, err = evaluate(rushes, systems, "--write-vbench", tmp_path / "to")
    assert code == 2 and "--out: only for a comparison" in err and not (tmp_path / "to").exists()
    code, _, err = rushes("evaluate", tmp_path, "--videophy-threshold", 4)
    assert code == 2 and "--videophy-threshold: only for folders of videos (--systems)" in err


def test_one_file_on_both_sides_is_named(systems: Path, rushes: Rushes) -> None:
    """VBench#28, its kind: a video that both systems have is nothing to compare, and nothing was said of it."""
    code, _, err = evaluate(rushes, systems, "--judge", "metric:nope")
    assert code == 2 and "no metric 'nope'" in err and "measure" not in err  # before hours of measuring
    code, out, err = evaluate(rushes, systems)
    assert code == 0 and "base and ours have 3 videos with equal content: 0.mp4, 1.mp4, 2.mp4." in out, err


# kinds of the above that were still open


def test_a_dimension_that_stands_twice(systems: Path, rushes: Rushes) -> None:
    """VBench#28, its kind: of two lists under one name the last was taken, and turned the verdict round."""
    path = scores_of(systems, "ours", 0.7)
    first = path.read_text()
    path.write_text(f"{first[:-1]}, {first[1:].replace('0.7', '0.1')}")
    base = scores_of(systems, "base", 0.5)
    code, _, err = evaluate(rushes, systems, "--read-vbench", f"base={base}", f"ours={path}")
    assert code == 2 and "the key 'subject_consistency' appears twice in one object; keep one" in err


def test_results_of_one_system_alone(systems: Path, rushes: Rushes) -> None:
    """VBench#87, its kind: results that can be compared with nothing: "No change shown", without a word of them."""
    code, out, err = evaluate(rushes, systems, "--read-vbench", f"base={scores_of(systems, 'base', 0.5)}")
    assert code == 0, err
    assert "vbench_subject_consistency has no results for ours, so nothing is compared with base." in out
