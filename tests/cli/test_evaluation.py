"""Comparing folders, gates, power and stopping, from the command line."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from rushes.evaluate.external import ExternalScores
from rushes.evaluate.judged import Verdicts, check_judges
from rushes.evaluate.systems import MEASURED, SystemsRequest, evaluate_systems
from rushes.evaluate.video_folders import Folders
from rushes.media.write import write_video
from rushes.progress import no_bar
from rushes.stats import Measure, detectable_difference

from ..projects import Rushes, WithoutTorch


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine prompts by two systems; the second is noisier."""
    root = tmp_path_factory.mktemp("folders")
    rng = np.random.default_rng(0)
    for system, noise in (("before", 2.0), ("after", 25.0)):
        (root / system).mkdir()
        for at in range(9):
            wall = np.random.default_rng(at).integers(60, 200, (1, 6, 8, 3)).repeat(8, 1).repeat(8, 2).repeat(8, 0)
            for frame in range(8):
                wall[frame, 10:30, 4 + 4 * frame : 24 + 4 * frame] = 20 + 25 * at
            write_video(
                root / system / f"{at}.mp4", np.clip(wall + rng.normal(0, noise, wall.shape), 0, 255).astype("u1"), 8
            )
    (root / "prompts.txt").write_text("one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\n")
    return root


@pytest.fixture(scope="module")
def compared(
    folders: Path,
    tmp_path_factory: pytest.TempPathFactory,
    without_torch: WithoutTorch,
) -> Path:
    """What `evaluate --systems` wrote, by a process that cannot import torch."""
    out = tmp_path_factory.mktemp("out")
    arguments = ("evaluate", "--systems", f"A={folders / 'before'}", f"B={folders / 'after'}", "--out", str(out))
    result = without_torch(*arguments, "--prompts", folders / "prompts.txt", "--json")
    assert result.returncode == 0, result.stderr
    facts = json.loads(result.stdout)
    assert set(facts) == {"verdicts", "notes", "table", "report"} and list(facts["verdicts"]) == ["A|B"]
    return out


def test_folders_give_a_table_and_a_report(compared: Path) -> None:
    table = json.loads((compared / "table.json").read_text())
    assert table["systems"] == ["A", "B"] and list(table["pairs"]) == ["A|B"]
    assert table["pairs"]["A|B"]["warping_error"]["lose"] >= 3
    assert (compared / "report.html").read_text().startswith("<!doctype html>")


def test_a_gate_ends_with_one_where_a_metric_is_worse(compared: Path, tmp_path: Path, rushes: Rushes) -> None:
    gate = tmp_path / "gate.toml"
    gate.write_text("[metrics]\nwarping_error = 0.5\n")
    code, out, _ = rushes("compare", compared, "--gate", gate)
    assert code == 1 and out.startswith("gate: B: warping_error: difference +")
    gate.write_text("[metrics]\nwarping_error = 200\n")
    code, out, _ = rushes("compare", compared / "table.json", "--gate", gate, "--json")
    assert code == 0 and json.loads(out)["breaches"] == []
    gate.write_text("[metrics]\nwarping_eror = 200\n")
    code, _, err = rushes("compare", compared, "--gate", gate)
    assert code == 2 and "which was not measured" in err


def test_runs_must_be_named_for_a_project(tmp_path: Path, rushes: Rushes) -> None:
    code, _, err = rushes("compare", tmp_path)
    assert code == 2 and "is not a project" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("evaluate",), "name a project, or give two folders"),
        (("evaluate", "p", "--systems", "A=a", "B=b"), "name a project, or give two folders"),
        (("evaluate", "--systems", "A=a", "B=b"), "--out is missing"),
        (("evaluate", "--systems", "a", "b", "--out", "o"), "NAME=PATH, got 'a'"),
        (("evaluate", "--systems", "A=a", "A=b", "--out", "o"), "names 'A' twice"),
        (("evaluate", "--systems", "A=a", "B=b", "--out", "o", "--read-videophy", "A=x"), "SA_FILE,PC_FILE"),
        (("sample-size", "some-project", "--points", "5"), "--points: only for a question without a project"),
        (("sample-size", "--difference", "1"), "--difference with --sd"),
        (("sample-size", "--points", "5", "--difference", "1", "--sd", "1"), "--points for a win rate"),
    ],
)
def test_what_is_missing_is_said(arguments: tuple[str, ...], words: str, rushes: Rushes) -> None:
    code, _, err = rushes(*arguments)
    assert code == 2 and words in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--headline", "nope"), "--headline: no metric 'nope' that defines better can be measured; choose one of"),
        (("--headline", "diversity"), "no metric 'diversity' that defines better"),
        (("--headline", "judged_sa"), "no metric 'judged_sa'"),
        (("--headline", "judged_sa", "--judge", "realdpo", "--set", "endpoint.model=m"), "no metric 'judged_sa'"),
        (("--judge", "metric:nope"), "no metric 'nope'"),
        (("--judge", "vlm"), "endpoint.model is empty"),
        (("--judge", "videophy"), "endpoint.model is empty"),
        (("--judge", "reward", "--set", "label.reward=nope"), "/nope: set it to a folder that holds scores.jsonl"),
        (("--run", "dpo"), "--run: only for a project; leave it out"),
    ],
)
def test_what_is_asked_is_checked_before_a_video_is_measured(
    options: tuple[str, ...],
    words: str,
    folders: Path,
    tmp_path: Path,
    rushes: Rushes,
) -> None:
    systems = (f"A={folders / 'before'}", f"B={folders / 'after'}")
    code, _, err = rushes("evaluate", "--systems", *systems, "--out", tmp_path, *options)
    assert code == 2 and words in err and err.count("\n") == 1
    assert not (tmp_path / MEASURED).exists()


def test_the_metrics_of_a_questionnaire_may_be_the_headline(folders: Path, tmp_path: Path) -> None:
    judged = check_judges(["videophy", "metric:jerk"], ("endpoint.model=m",), tmp_path)
    assert judged == ("judged_sa", "judged_pc", "judged_both")
    systems = {"A": folders / "before", "B": folders / "after"}
    asked = SystemsRequest(systems, tmp_path, headline="judged_sa", judged=judged)

    def answered(folders: Folders, notes: list[str]) -> Verdicts:
        values = {system: {key: float(system == "B") for key in of} for system, of in folders.videos.items()}
        return Verdicts(measures=[Measure("judged_sa", "higher", values, "share of videos")])

    verdict = evaluate_systems(asked, ExternalScores(), answered, no_bar).verdicts["A|B"]
    assert "judged_sa" in verdict.replace(" ", "_")


@pytest.mark.parametrize("option", [("--headline", "jerk"), ("--judge", "vlm"), ("--out", "o"), ("--seed", "3")])
def test_options_of_folders_do_nothing_for_a_project(option: tuple[str, str], project: Path, rushes: Rushes) -> None:
    code, _, err = rushes("evaluate", project, *option)
    assert code == 2 and err == f"rushes: {option[0]}: only for folders of videos (--systems); leave it out\n"


def test_a_run_that_is_not_there_is_said_before_clips_are_encoded(
    finished: Path, tmp_path: Path, rushes: Rushes
) -> None:
    copy = Path(shutil.copytree(finished, tmp_path / "copy"))
    shutil.rmtree(copy / "latents")
    for command in (("generate", copy), ("evaluate", copy), ("export", copy, "--out", tmp_path / "rows")):
        code, _, err = rushes(*command, "--run", "nope")
        assert code == 2 and "no run 'nope' is finished" in err, err
    assert not [*(copy / "latents").glob("*.safetensors")] and not [*(tmp_path / "rows").iterdir()]


def test_a_gate_is_read_against_the_metrics_before_runs_are_compared(
    finished: Path, tmp_path: Path, rushes: Rushes
) -> None:
    copy = Path(shutil.copytree(finished, tmp_path / "copy"))
    gate = tmp_path / "gate.toml"
    gate.write_text("[metrics]\nlost_dot = 0.1\n")
    code, _, err = rushes("compare", copy, "realdpo", "--gate", gate)
    assert code == 2 and "the gate names lost_dot, which was not measured; name one of lost_dots" in err
    assert not (copy / "reports" / "compare.json").exists()
    gate.write_text("[metrics]\nlost_dots = 1\n")
    code, out, _ = rushes("compare", copy, "realdpo", "--gate", gate)  # held out on a handful of prompts
    assert code == 1 and "use 8 or more" in out and "Too few held-out prompts to say" in out


def test_power_in_words_and_numbers(rushes: Rushes) -> None:
    assert rushes("sample-size", "--points", 5)[1] == "779 prompts show 5 points with a chance of 80%\n"
    assert json.loads(rushes("sample-size", "--points", 5, "--prompts", 779, "--json")[1])["chance"] == pytest.approx(
        0.8, abs=0.001
    )
    assert rushes("sample-size", "--difference", 0.3, "--sd", 0.6)[1].startswith("34 prompts show 0.3 ")
    code, out, _ = rushes("sample-size", "--prompts", 9)
    assert code == 0 and "a win rate of 91 % or more, or a change of 1.07 standard deviations" in out
    assert "3 prompts show no win rate" in rushes("sample-size", "--prompts", 3)[1]
    table = rushes("sample-size")[1].splitlines()
    assert table[0] == out.rstrip() and [int(line.split()[0]) for line in table] == [9, 20, 50, 100, 200, 500]


def test_what_the_evaluation_of_a_project_could_show(finished: Path, rushes: Rushes) -> None:
    code, out, _ = rushes("sample-size", finished, "--json")
    rows = {row["name"]: row for row in json.loads(out)["metrics"]}
    metric = json.loads((finished / "reports" / "realdpo.json").read_text())["metrics"]["lost_dots"]
    assert code == 0 and rows["lost_dots"]["smallest"] == pytest.approx(
        detectable_difference(metric["spread"], metric["prompts"])
    )
    code, out, _ = rushes("sample-size", finished)
    assert out.splitlines()[0].startswith(f"{next(iter(rows))}: a change of ")


def test_runs_to_compare_are_named(finished: Path, tmp_path: Path, rushes: Rushes) -> None:
    assert rushes("compare", finished)[2].endswith("to compare with its base: there is realdpo\n")
    copy = Path(shutil.copytree(finished, tmp_path / "copy"))
    assert rushes("compare", copy, "realdpo")[1].startswith("realdpo against base: ")


def test_a_study_may_stop_or_goes_on(tmp_path: Path, rushes: Rushes) -> None:
    votes = tmp_path / "votes.csv"
    votes.write_text("prompt,vote\n" + "".join(f"p{k},{'loss' if k % 5 == 0 else 'win'}\n" for k in range(150)))
    code, out, _ = rushes("stop", votes)
    assert code == 0 and out.startswith("better: win rate 0.800") and "may stop since" in out
    votes.write_text("win\nloss\n")
    assert json.loads(rushes("stop", votes, "--json")[1])["decision"] == "undecided"


def test_other_programs_inputs_are_written_and_their_results_read(
    folders: Path, compared: Path, tmp_path: Path, rushes: Rushes
) -> None:
    systems = ("--systems", f"A={folders / 'before'}", f"B={folders / 'after'}", "--prompts", folders / "prompts.txt")
    code, out, _ = rushes("evaluate", *systems, "--write-vbench", tmp_path / "v", "--write-videophy", tmp_path / "p")
    assert code == 0 and "vbench, A: python evaluate.py --mode custom_input" in out
    scores = {}
    for system, value in (("A", 0.9), ("B", 0.2)):
        with (tmp_path / "p" / f"{system}.csv").open(newline="") as file:
            paths = [row["videopath"] for row in csv.DictReader(file)]
        scores[system] = [tmp_path / f"{system}-{part}.csv" for part in ("sa", "pc")]
        for file_of_part in scores[system]:
            file_of_part.write_text("".join(f"{path},x,{value}\n" for path in paths))
        listed = json.loads((tmp_path / "v" / system / "prompts.json").read_text())
        rows = [{"video_path": path, "video_results": value} for path in listed]
        (tmp_path / f"{system}.json").write_text(json.dumps({"motion_smoothness": [value, rows]}))
    read = [f"--read-vbench={name}={tmp_path / name}.json" for name in "AB"]
    read += [f"--read-videophy={name}={scores[name][0]},{scores[name][1]}" for name in "AB"]
    code, out, err = rushes("evaluate", *systems, "--out", compared, *read)
    assert code == 0, err
    table = json.loads((compared / "table.json").read_text())
    assert table["metrics"]["vbench_motion_smoothness"]["B"]["mean"] == pytest.approx(0.2)
    assert (
        table["metrics"]["videophy_joint"]["A"]["mean"] == 1.0
        and table["metrics"]["videophy_joint"]["B"]["mean"] == 0.0
    )
    assert table["pairs"]["A|B"]["videophy_joint"]["lose"] == 9


def test_any_judge_may_judge(folders: Path, compared: Path, rushes: Rushes) -> None:
    systems = ("--systems", f"A={folders / 'before'}", f"B={folders / 'after'}")
    code, _, err = rushes("evaluate", *systems, "--out", compared, "--judge", "metric:warping_error")
    assert code == 0, err
    assert "metric:warping_error" in (compared / "report.html").read_text()
    code, _, err = rushes("evaluate", *systems, "--out", compared, "--judge", "taste")
    assert code == 2 and "label.by" in err
    code, _, err = rushes("evaluate", *systems, "--out", compared, "--judge", "realdpo")
    assert code == 2 and "endpoint.model is empty" in err
