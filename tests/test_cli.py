"""The command line as a user meets it: streams, exit codes, and one clear sentence for all that can be mended."""

from __future__ import annotations

import json
import logging
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from rushes import __version__
from rushes.cli import main
from rushes.config.settings_files import load_settings
from rushes.media.write import write_video
from rushes.store.database import Store
from rushes.store.schema import SCHEMA

from .projects import Rushes, WithoutTorch

REPOSITORY = Path(__file__).resolve().parents[1]
TINY = (
    *("--set", "footage.clips=6", "--set", "footage.eval_prompts=6", "--set", "generate.steps=1"),
    *("--set", "train.steps=2", "--set", "train.batch=2", "--set", "evaluate.prompts=6", "--set", "evaluate.steps=1"),
)


@pytest.fixture
def refused(rushes: Rushes) -> Callable[..., str]:
    """Run a command that must fail with exit code 2, nothing on standard output and no traceback; what it says."""

    def run(*arguments: object) -> str:
        code, out, err = rushes(*arguments)
        assert (code, out) == (2, ""), err
        assert "Traceback" not in err
        return err

    return run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of the embedded world that went through all stages. Do not write to it."""
    folder = tmp_path_factory.mktemp("cli") / "project"
    main(["init", str(folder)])
    main(["run", str(folder), *TINY])
    return folder


@pytest.fixture
def project(tmp_path: Path, trained: Path) -> Path:
    """A copy of the trained project."""
    return Path(shutil.copytree(trained, tmp_path / "project"))


@pytest.fixture
def empty(tmp_path: Path, rushes: Rushes) -> Path:
    """A project that was only begun."""
    assert rushes("init", tmp_path / "empty")[0] == 0
    return tmp_path / "empty"


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(("rushes: ", "override: "))]


# what goes where


def test_json_is_one_object_and_all_else_is_on_standard_error(project: Path, rushes: Rushes) -> None:
    keys = {
        ("run",): {"import", "generate", "train", "run", "metrics", "seconds", "seed", "version", "report"},
        ("import",): {"clips", "held_out"},
        ("generate",): {"takes", "new"},
        ("label", "--by", "world"): {"by", "pairs", "left", "tie", "right"},
        ("train",): {"run", "steps", "steps_now", "comparisons", "held_out"},
        ("evaluate",): {"run", "metrics", "seconds", "seed", "version"},
        ("report",): {"report"},
        ("export", "--out", str(project / "out")): {"clips", "candidates", "preferences", "scores"},
    }
    for (name, *rest), expected in keys.items():
        code, out, err = rushes(name, project, *rest, *TINY, "--json")
        assert code == 0, err
        assert out.count("\n") == 1
        assert expected <= set(json.loads(out, parse_constant=pytest.fail))
    code, out, _ = rushes("recipes", "--json")
    assert {"sft", "realdpo", "densedpo"} <= {row["name"] for row in json.loads(out)}
    assert all(set(row) == {"name", "paper", "needs", "backbones"} for row in json.loads(out))


def test_metrics_have_the_promised_keys_and_finite_values(project: Path, rushes: Rushes) -> None:
    path = project / "reports" / "realdpo.json"
    summary = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert {"lost_dots", "law_error", "missing_balls", "caption_errors", "speed"} <= set(summary["metrics"])
    for row in summary["metrics"].values():
        assert {"base", "trained", "difference", "low", "high", "n", "better"} <= set(row)
        assert row["low"] <= row["difference"] <= row["high"]
    assert {"metrics", "seconds", "seed", "version"} <= set(summary)
    assert {"import", "generate", "train", "evaluate"} <= set(summary["seconds"])
    rushes("evaluate", project, *TINY, "--set", "evaluate.prompts=1")  # one prompt: an interval without ends
    row = json.loads(path.read_text(), parse_constant=pytest.fail)["metrics"]["lost_dots"]
    assert (row["n"], row["low"], row["high"]) == (1, None, None)
    code, out, _ = rushes("report", project, *TINY)
    assert code == 0 and out.startswith("report: ")


def test_stages_say_one_line_each_where_there_is_no_terminal(empty: Path, rushes: Rushes) -> None:
    code, out, err = rushes("import", empty, *TINY)
    assert (code, err) == (0, "import: 12\n")
    assert out == f"12 clips, 6 of them held out\nnext: rushes generate {empty}\n"


def test_bar_moves_on_a_terminal(empty: Path, rushes: Rushes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rushes.cli.console.screen", Console(stderr=True, force_terminal=True, width=100))
    code, out, err = rushes("import", empty, *TINY, "--json")
    assert code == 0 and json.loads(out).items() >= {"clips": 12, "held_out": 6}.items()
    assert "import" in err and "12/12" in err


def test_help_names_exit_codes_and_every_command(rushes: Rushes) -> None:
    code, out, _ = rushes("--help")
    assert code == 0
    for word in (
        "init",
        "import",
        "generate",
        "label",
        "train",
        "evaluate",
        "report",
        "run",
        "export",
        "demo",
        "recipes",
    ):
        assert word in out
    assert "Exit codes" in out and "130" in out
    assert rushes("--version")[1].strip() == __version__


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["trian", "x"], 'Did you mean "train"?'),
        (["train", "x", "--recipy", "sft"], "Did you mean --recipe?"),
        (["train"], "requires an argument"),
        (["bench", "stp"], 'Did you mean "step"?'),
        (["export", "x", "--out", "y", "--form", "csv"], "parquet"),
    ],
)
def test_unknown_words_are_answered_with_known_ones(
    arguments: list[str], said: str, refused: Callable[..., str]
) -> None:
    assert said in " ".join(refused(*arguments).replace("│", " ").split())


# without torch


def test_reports_rows_and_help_need_no_torch(project: Path, without_torch: WithoutTorch) -> None:
    (project / "reports" / "realdpo.html").unlink()
    for arguments in (("--help",), ("report", project), ("export", project, "--out", project / "out")):
        result = without_torch(*arguments)
        assert result.returncode == 0, result.stderr
    assert (project / "reports" / "realdpo.html").is_file()
    program = "import sys, rushes, rushes.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
    assert "torch is blocked" in without_torch("train", project).stderr


# settings


def test_all_wrong_settings_are_named_at_once(empty: Path, refused: Callable[..., str]) -> None:
    told = refused(
        "train", empty, "--set", "train.learning_rate=-1", "--set", "trian.steps=4", "--set", "label.by=word"
    ).splitlines()
    assert [line.removeprefix("rushes: ").split(" (")[0] for line in told] == [
        "override: label.by: Input should be 'none', 'human', 'world', 'metric', 'vlm' or 'reward'",
        "override: train.learning_rate: Input should be greater than 0",
        "override: trian: unknown setting; did you mean: train",
    ]


def test_all_unknown_names_are_told_at_once(empty: Path, refused: Callable[..., str]) -> None:
    values = (
        "footage.scenes=['dro']",
        "label.by=metric",
        "label.metric=jerc",
        "backbone.name=tinny",
        "train.recipe=readpo",
    )
    told = refused("run", empty, *(word for value in values for word in ("--set", value)))
    for path, hint in (
        ("backbone.name", "did you mean tiny?"),
        ("footage.scenes", "did you mean drop?"),
        ("label.metric", "did you mean jerk?"),
        ("train.recipe", "did you mean realdpo?"),
    ):
        assert any(line.removeprefix("rushes: ").startswith(f"{path}: ") and hint in line for line in told.splitlines())
    assert "options.bta: unknown setting (got 1); did you mean: beta" in refused(
        "train", empty, "--set", "train.options.bta=1"
    )


def test_sizes_that_the_codec_cannot_take_are_told_before_any_work(empty: Path, refused: Callable[..., str]) -> None:
    told = refused("run", empty, "--set", "backbone.frames=18", "--set", "backbone.height_px=30")
    assert "backbone.frames: tiny needs 1 + 4 k frames, got 18; use 17 or 21" in told
    assert "backbone.height_px, width_px: tiny needs heights and widths that are multiples of 16 px" in told
    with Store.open(empty) as store:
        assert store.clips() == ()


# commands out of order, and things that are not there


def test_commands_out_of_order_say_which_comes_first(empty: Path, refused: Callable[..., str]) -> None:
    assert f"run `rushes import {empty}` first" in refused("generate", empty, *TINY)
    assert f"0 takes (made by `rushes generate {empty}`)" in refused("train", empty, *TINY)
    told = refused("train", empty, "--recipe", "densedpo")
    assert f"`rushes generate {empty} --set generate.kind=guided`" in told and f"`rushes label {empty}`" in told
    assert "label.by is 'none', so nobody labels; set it to human, world, metric, vlm" in refused("label", empty)
    assert f"run `rushes generate {empty}`" in refused("label", empty, "--by", "world")
    assert f"run `rushes train {empty}` to its end" in refused("report", empty)
    assert f"run `rushes import {empty}`" in refused("evaluate", empty)
    assert f"run `rushes train {empty}` to its end" in refused(
        "export", empty, "--out", empty / "out", "--run", "realdpo"
    )


def test_evaluation_needs_a_finished_run(project: Path, refused: Callable[..., str]) -> None:
    told = refused("evaluate", project, *TINY, "--run", "sft")
    assert "no run 'sft' is finished" in told and "there is realdpo" in told


def test_folders_that_are_no_projects(tmp_path: Path, refused: Callable[..., str], empty: Path) -> None:
    assert "make one with `rushes init" in refused("train", tmp_path)
    assert "no such project or settings file" in refused("run", tmp_path / "nowhere")
    assert "already exists" in refused("init", empty)
    assert "no recipe 'realdop'; did you mean realdpo?" in refused("init", tmp_path / "new", "--recipe", "realdop")
    assert "is not a folder" in refused("init", tmp_path / "new", "--footage", tmp_path / "nowhere")
    assert not (tmp_path / "new").exists()


def test_project_of_a_newer_version_is_refused_whatever_its_settings_say(
    empty: Path, refused: Callable[..., str]
) -> None:
    with sqlite3.connect(empty / "rushes.db") as database:
        database.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    database.close()
    (empty / "rushes.toml").write_text("[future]\nx = 1\n")
    for command in ("run", "import", "train", "report"):
        assert "written by a newer Rushes" in refused(command, empty)


def test_weights_that_are_damaged_are_named(project: Path, refused: Callable[..., str], rushes: Rushes) -> None:
    weights = project / "runs" / "realdpo" / "weights.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:5000])
    assert f"{weights}: cannot be read" in refused("evaluate", project, *TINY)
    weights.write_bytes(whole[:-4] + bytes(4))
    assert "not the final weights of run 'realdpo'" in refused("evaluate", project, *TINY)
    weights.unlink()
    assert f"{weights}: cannot be read" in refused("evaluate", project, *TINY)
    assert rushes("train", project, *TINY)[0] == 0
    assert rushes("evaluate", project, *TINY)[0] == 0
    (project / "base.safetensors").write_bytes(b"nothing of the kind")
    told = refused("evaluate", project, *TINY, "--set", f"backbone.path={project / 'base.safetensors'}")
    assert "base.safetensors: not the weights of a tiny backbone" in told


def test_run_keeps_its_name_to_itself(project: Path, refused: Callable[..., str]) -> None:
    told = refused("train", project, *TINY, "--set", "train.learning_rate=1e-4")
    assert "--set train.name=NEW" in told
    main(["train", str(project), *TINY, "--set", "train.learning_rate=1e-4", "--set", "train.name=other"])


def test_other_recipe_brings_its_own_settings(project: Path, rushes: Rushes) -> None:
    shorter = ("--set", "train.steps=1", "--set", "train.batch=2", *TINY[:4], *TINY[-4:])
    assert rushes("train", project, "--recipe", "sft", *shorter)[0] == 0
    assert rushes("evaluate", project, "--run", "sft", *shorter)[0] == 0
    assert rushes("report", project, "--run", "sft")[0] == 0
    with Store.open(project) as store:
        settings = store.runs()[-1].settings["train"]
    assert (settings["recipe"], settings["steps"], settings["learning_rate"], settings["options"]) == (
        "sft",
        1,
        3e-4,
        {},
    )
    assert (project / "reports" / "sft.html").is_file()


# settings files


def test_settings_file_and_project_that_differ(tmp_path: Path, rushes: Rushes, refused: Callable[..., str]) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[footage]\nclips = 6\n[train]\nsteps = 0\n")
    assert "train.steps" in refused("run", file, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    file.write_text("[footage]\nclips = 6\neval_prompts = 0\n")
    told = refused("run", file, "--out", tmp_path / "out")  # begun, and stopped for another reason
    assert "the project has no held-out clips; set footage.eval_prompts above 0" in told
    file.write_text("[footage]\nclips = 7\neval_prompts = 0\n")
    told = refused("run", file, "--out", tmp_path / "out")
    assert "differs from" in told and "footage.clips is 6, not 7" in told
    assert "--out: only for a settings file" in refused("run", tmp_path / "out", "--out", tmp_path / "other")


@pytest.mark.parametrize("example", sorted((REPOSITORY / "examples").glob("*.toml")), ids=lambda path: path.stem)
def test_every_example_loads(example: Path) -> None:
    from rushes.project.settings_checks import check_settings

    check_settings(load_settings(example))


def test_example_without_its_data_says_where_to_get_them(tmp_path: Path, refused: Callable[..., str]) -> None:
    told = refused("run", REPOSITORY / "examples" / "realaction.toml", "--out", tmp_path / "out")
    assert "is not a folder" in told and "github.com/Vchitect/RealDPO" in told


@pytest.mark.slow
def test_example_of_real_clips_runs(real_data: Path, short_bench: Path, tmp_path: Path, rushes: Rushes) -> None:
    out = tmp_path / "out"
    folders = ("--footage", real_data / "realaction" / "train", "--prompts", short_bench, "--out", out)
    short = ("--set", "train.steps=2", "--set", "evaluate.prompts=2", "--set", "evaluate.steps=4", "--json")
    code, told, err = rushes("run", REPOSITORY / "examples" / "realaction.toml", *folders, *short)
    assert code == 0, err
    facts = json.loads(told)
    assert facts["import"].items() >= {"clips": 1, "takes": 3, "prompts": 2, "imported_of_systems": 6}.items()
    assert facts["metrics"]["warping_error"]["n"] == 2
    assert set(facts["arms"]) == {f"{name} (imported) against pretrain (imported)" for name in ("realdpo", "sft")}
    assert "pretrain (imported)" in (out / "reports" / "realdpo.html").read_text()


# footage of one's own


def film(path: Path, frames: int = 20, fps: float = 8, seed: int = 0) -> Path:
    """A bright square that drifts over noise."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 60, (frames, 48, 64, 3), np.uint8)
    for k, image in enumerate(images):
        top, left = 10 + k % 20, (5 + 2 * k + 11 * seed) % 40  # each seed its own path: noise alone makes copies
        image[top : top + 14, left : left + 14] = 230
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, images, fps)
    return path


def test_folder_of_clips_from_init_to_report(tmp_path: Path, rushes: Rushes) -> None:
    clips = [film(tmp_path / "clips" / f"{k}.mp4", seed=k) for k in range(6)]
    (tmp_path / "clips" / "captions.txt").write_text("".join(f"square {path.stem} drifts\n" for path in clips))
    code, out, _ = rushes("init", tmp_path / "project", "--footage", tmp_path / "clips", "--recipe", "sft")
    toy = "toy model: shows the path; real results need a GPU and --model"
    assert code == 0 and f"note: {toy}" in out and f"next: rushes preflight {tmp_path / 'project'}" in out
    code, told, err = rushes("run", tmp_path / "project", *TINY[4:], "--json")
    assert code == 0 and toy in err, err
    facts = json.loads(told)
    assert facts["import"].items() >= {"clips": 6, "held_out": 1}.items()
    assert facts["headline"] == ""
    assert toy in Path(facts["report"]).read_text(encoding="utf-8")


def test_captions_that_are_missing_or_miscounted(tmp_path: Path, rushes: Rushes, refused: Callable[..., str]) -> None:
    film(tmp_path / "clips" / "a.mp4")
    film(tmp_path / "clips" / "b.mp4", seed=1)
    rushes("init", tmp_path / "project", "--footage", tmp_path / "clips")
    told = refused("import", tmp_path / "project")
    assert "a.mp4: no caption\n" in told and "b.mp4: no caption\n" in told
    (tmp_path / "clips" / "captions.txt").write_text("one\ntwo\nthree\n")
    assert "3 captions for 2 videos" in refused("import", tmp_path / "project")


def test_world_judge_refuses_footage(tmp_path: Path, rushes: Rushes, refused: Callable[..., str]) -> None:
    film(tmp_path / "clips" / "a.mp4")
    rushes("init", tmp_path / "project", "--footage", tmp_path / "clips")
    assert "label.by: the world's verifier knows only the embedded world" in refused(
        "label", tmp_path / "project", "--by", "world"
    )


def test_ctrl_c_is_one_line_and_130(monkeypatch: pytest.MonkeyPatch, empty: Path, rushes: Rushes) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Store, "put_media_bytes", interrupted)
    code, out, err = rushes("import", empty, *TINY)
    assert (code, out) == (130, "")
    assert err.splitlines()[-1] == "rushes: stopped; what was stored is safe, run the same command to continue"


def test_a_line_on_torchvision_which_nothing_needs_is_left_out() -> None:
    with suppress(SystemExit):
        main(["--help"])
    logger = logging.getLogger("transformers.utils.import_utils")
    words = {"`CLIPImageProcessor` requires torchvision (not installed); falling back": False, "another line": True}
    for text, shown in words.items():
        record = logger.makeRecord(logger.name, logging.WARNING, "", 0, text, (), None)
        assert bool(logger.filter(record)) == shown
