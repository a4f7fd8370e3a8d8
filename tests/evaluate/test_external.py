"""Files of VBench and VideoPhy: what they read, and what they write."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from rushes.evaluate.external import VBENCH_DIMENSIONS, ExternalScores, both, write_vbench, write_videophy
from rushes.evaluate.video_folders import Folders, find_folders


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    for system in ("a", "b"):
        for name in ("0.mp4", "1.mp4", "1-2.mp4"):
            path = tmp_path / system / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(f"{system} {name}".encode())
    (tmp_path / "prompts.txt").write_text('a dog, "running"\nein Hündchen')
    return find_folders({"A": tmp_path / "a", "B": tmp_path / "b"}, tmp_path / "prompts.txt")


def test_vbench_gets_flat_copies_and_a_prompt_for_each(folders: Folders, tmp_path: Path) -> None:
    out = tmp_path / "out"
    commands = write_vbench(folders, out)
    listed = json.loads((out / "A" / "prompts.json").read_text())
    assert {Path(path).name: prompt for path, prompt in listed.items()} == {
        "0.mp4": 'a dog, "running"',
        "1.mp4": "ein Hündchen",
        "1-2.mp4": "ein Hündchen",
    }
    assert sorted(path.name for path in (out / "A" / "videos").iterdir()) == ["0.mp4", "1-2.mp4", "1.mp4"]
    assert (out / "B" / "videos" / "1-2.mp4").read_bytes() == b"b 1-2.mp4"
    assert "--mode custom_input" in commands["A"] and all(name in commands["A"] for name in VBENCH_DIMENSIONS)


def test_videophy_gets_paths_and_captions(folders: Folders, tmp_path: Path) -> None:
    written = write_videophy(folders, tmp_path / "out")
    with Path(written["B"]).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {"videopath": str((tmp_path / "b" / "0.mp4").resolve()), "caption": 'a dog, "running"'}
    assert len(rows) == 3


def test_without_prompts_nothing_is_written(tmp_path: Path, folders: Folders) -> None:
    bare = find_folders({"A": tmp_path / "a", "B": tmp_path / "b"})
    for write in (write_vbench, write_videophy):
        with pytest.raises(ValueError, match="--prompts"):
            write(bare, tmp_path / "out")


def results(path: Path, scores: dict[str, float | bool], dimension: str = "dynamic_degree") -> Path:
    rows = [{"video_path": f"/elsewhere/{name}", "video_results": value} for name, value in scores.items()]
    path.write_text(json.dumps({dimension: [0.5, rows]}))
    return path


def test_results_of_vbench_become_metrics(folders: Folders, tmp_path: Path) -> None:
    a = results(tmp_path / "a_eval_results.json", {"0.mp4": True, "1.mp4": False, "1-2.mp4": True, "7.mp4": True})
    b = results(tmp_path / "b_eval_results.json", {"0.mp4": 0.25})
    notes: list[str] = []
    (measure,) = ExternalScores(vbench={"A": a, "B": b}).measures(folders, notes)
    assert (measure.name, measure.better) == ("vbench_dynamic_degree", "higher")
    assert measure.values["A"] == {("0", 0): 1.0, ("1", 0): 0.0, ("1", 2): 1.0}
    assert measure.values["B"] == {("0", 0): 0.25}
    assert notes == [
        "a_eval_results.json has 1 rows that fit no video: /elsewhere/7.mp4.",
        "a_eval_results.json has 3 rows placed by the file's name: "
        "/elsewhere/0.mp4, /elsewhere/1.mp4, /elsewhere/1-2.mp4.",
        "b_eval_results.json has 1 rows placed by the file's name: /elsewhere/0.mp4.",
        "vbench_dynamic_degree has no score for 2 videos of B: 1.mp4, 1-2.mp4.",
    ]


def test_results_of_videophy_with_and_without_header(folders: Folders, tmp_path: Path) -> None:
    sa, pc = tmp_path / "sa.csv", tmp_path / "pc.csv"
    videos = [str(path.resolve()) for path in folders.videos["A"].values()]
    sa.write_text(
        "".join(f'{path},"a, prompt",{score}\n' for path, score in zip(videos, (0.5, 0.9, 0.49), strict=True))
    )
    pc.write_text(
        ",caption,videopath,score\n" + "".join(f"0,x,{p},{s}\n" for p, s in zip(videos, (0.5, 0.4, 1), strict=True))
    )
    values = {m.name: m.values["A"] for m in ExternalScores(videophy={"A": (sa, pc)}).measures(folders, [])}
    assert list(values["videophy_sa"].values()) == [0.5, 0.9, 0.49]
    assert list(values["videophy_joint"].values()) == [1.0, 0.0, 0.0]  # one half is yes


def test_scores_of_videophy_2_need_their_threshold() -> None:
    sa, pc = {("0", 0): 4.0, ("1", 0): 5.0}, {("0", 0): 4.0, ("1", 0): 3.0}
    assert both(sa, pc, 4) == {("0", 0): 1.0, ("1", 0): 0.0}
    with pytest.raises(ValueError, match="--videophy-threshold 4"):
        both(sa, pc, 0.5)


def test_what_is_no_result_is_refused(folders: Folders, tmp_path: Path) -> None:
    odd = tmp_path / "odd"
    for text in ("{", "[1]", '{"x": 3}', '{"x": [1, [{"video_path": "a"}]]}'):
        odd.write_text(text)
        with pytest.raises(ValueError, match="not results of VBench"):
            ExternalScores(vbench={"A": odd}).measures(folders, [])
    good = tmp_path / "good"
    good.write_text("0.mp4,a,1\n")
    for text, words in (("", "no scores"), ("a,b\n", "line 1: 2 cells, expected 3"), ("a,b,much\n", "rows must be")):
        odd.write_text(text)
        with pytest.raises(ValueError, match=words):
            ExternalScores(videophy={"A": (good, odd)}).measures(folders, [])
    with pytest.raises(ValueError, match="no such file"):
        ExternalScores(vbench={"A": tmp_path / "nowhere"}).measures(folders, [])
    with pytest.raises(ValueError, match="results for C"):
        ExternalScores(vbench={"C": odd}).measures(folders, [])


@pytest.mark.parametrize(
    ("dimension", "value", "words"),
    [("imaging_quality", 0.62, "reaches 0.62, .* 0 to 100"), ("motion_smoothness", 98.2, "reaches 98.2, .* 0 to 1;")],
)
def test_results_on_another_scale_are_refused(
    dimension: str, value: float, words: str, folders: Folders, tmp_path: Path
) -> None:
    """One system from 0 to 100 and the other from 0 to 1. Was: "better", a hundredfold, without a word."""
    path = results(tmp_path / "r_eval_results.json", {"0.mp4": value, "1.mp4": value}, dimension)
    with pytest.raises(ValueError, match=words):
        ExternalScores(vbench={"A": path}).measures(folders, [])
