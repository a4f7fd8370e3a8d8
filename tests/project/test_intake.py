"""Preflight and import as commands: what they cost, say and leave behind, and what a kill does."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rushes.cli import main
from rushes.config.tables import BackboneSettings, FootageSettings, Settings, TrainSettings
from rushes.media.write import write_video
from rushes.project.comparisons import comparisons_of_a_clip
from rushes.project.presets import preset
from rushes.project.settings import write_settings
from rushes.store.database import Store
from rushes.training.recipe import recipe_names

from ..forked import start_into


@pytest.mark.parametrize(
    ("recipe", "mode", "takes", "expected"),
    [
        ("sft", "", 3, 1),
        ("realdpo", "", 3, 1),  # one comparison holds all losers
        ("dfdpo", "", 3, 1),
        ("physhpo", "", 3, 1),
        ("densedpo", "dense", 2, 1),
        ("densedpo", "vanilla", 2, 1),
        ("densedpo", "dense", 4, 6),  # all pairs of the takes of one clip
        ("huvidpo", "", 4, 6),
    ],
)
def test_comparisons_of_a_clip(recipe: str, mode: str, takes: int, expected: int) -> None:
    settings = preset(recipe)
    settings = settings.model_copy(update={"generate": settings.generate.model_copy(update={"takes": takes})})
    if mode:
        settings.train.options["mode"] = mode
    assert len(comparisons_of_a_clip(settings)) == expected
    mirrored = settings.model_copy(update={"train": settings.train.model_copy(update={"mirror": True})})
    again = 0 if recipe == "physhpo" else expected  # which shows another clip too
    assert len(comparisons_of_a_clip(mirrored)) == expected + again


def test_every_recipe_can_be_asked() -> None:
    assert all(comparisons_of_a_clip(preset(name)) for name in recipe_names())


def project(folder: Path, clips: Path, **footage: object) -> Path:
    folder.mkdir()
    settings = FootageSettings.model_validate({"kind": "folder", "path": str(clips), **footage})
    train, shape = TrainSettings(recipe="sft"), BackboneSettings(frames=17)
    write_settings(folder, Settings(footage=settings, train=train, backbone=shape))
    return folder


def films(folder: Path, count: int, frames: int = 20) -> Path:
    folder.mkdir()
    for k in range(count):
        write_video(folder / f"{k}.mp4", np.random.default_rng(k).integers(0, 255, (frames, 32, 48, 3), np.uint8), 8)
        (folder / f"{k}.txt").write_text(f"film {k}")
    return folder


@pytest.fixture
def said(rushes: Callable[..., tuple[int, str, str]]) -> Callable[..., tuple[int, str]]:
    """Run a command: exit code, and what it says on the stream for that code."""

    def run(*arguments: object) -> tuple[int, str]:
        code, out, err = rushes(*arguments)
        return code, out if code != 2 else err

    return run


def test_preflight_tells_and_keeps_what_it_found(tmp_path: Path, said: Callable[..., tuple[int, str]]) -> None:
    clips = films(tmp_path / "clips", 5)
    write_video(clips / "4.mp4", np.zeros((9, 32, 48, 3), np.uint8), 8)
    work = project(tmp_path / "p", clips, eval_fraction=0.25)
    code, out = said("preflight", work)
    assert code == 1
    assert "refused, too short: 1.12 s long, 9 frames at 8 fps" in out
    assert "4 of 5 files kept, 4 clips: 4 trimmed (8.5 of 10.0 s used)" in out
    assert "3 comparisons: 3 clips to train on, 1 each (recipe sft" in out
    assert "would have given at most 1 more: 1 too short" in out
    assert "4 clips, 3*" in out
    code, out = said("preflight", work, "--json", "--set", "footage.on_refused=skip")
    facts = json.loads(out)
    assert code == 0 and (facts["usable"], facts["refused"], facts["comparisons"]) == (4, 1, 3)
    assert {row["source"]: row["reason"] for row in json.loads((work / "preflight.json").read_text())["each"]} == {
        str(clips / f"{k}.mp4"): "too short" if k == 4 else "" for k in range(5)
    }
    with Store.open(work) as store:
        assert store.clips() == ()


def test_preflight_of_other_footage(tmp_path: Path, said: Callable[..., tuple[int, str]]) -> None:
    work = project(tmp_path / "p", films(tmp_path / "clips", 1))
    code, out = said("preflight", work, "--footage", films(tmp_path / "others", 3), "--json")
    assert code == 0 and json.loads(out)["usable"] == 3
    assert json.loads(said("preflight", work, "--json")[1])["usable"] == 1


def test_refused_clips_end_the_import_or_stay_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], said: Callable[..., tuple[int, str]]
) -> None:
    clips = films(tmp_path / "clips", 3)
    (clips / "1.mp4").write_bytes(b"no video")
    work = project(tmp_path / "p", clips)
    code, text = said("import", work)
    assert code == 2 and f"{clips / '1.mp4'}: cannot be opened" in text and "footage.on_refused = skip" in text
    main(["import", str(work), "--set", "footage.on_refused=skip"])
    captured = capsys.readouterr()
    assert f"left out: {clips / '1.mp4'}: cannot be opened" in captured.err and captured.out.startswith("2 clips")
    for k in (0, 2):
        (clips / f"{k}.mp4").write_bytes(b"no video")
    code, text = said("import", work, "--set", "footage.on_refused=skip")
    assert code == 2 and "none of 3 clips can be used; 3 unreadable" in text


def test_the_set_is_exported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], said: Callable[..., tuple[int, str]]
) -> None:
    work = project(tmp_path / "p", films(tmp_path / "clips", 2))
    main(["import", str(work)])
    capsys.readouterr()
    code, out = said("footage", "export", work, "--out", tmp_path / "tars", "--form", "webdataset", "--json")
    assert code == 0 and json.loads(out).items() >= {"clips": 2, "stills_left_out": 0, "shards": 1}.items()
    again = project(tmp_path / "q", tmp_path / "tars" / "shard-000000.tar")
    assert json.loads(said("import", again, "--json")[1])["clips"] == 2


@pytest.mark.slow
def test_a_killed_import_goes_on_to_the_same_project(tmp_path: Path) -> None:
    """Killed as its files appear, three times, then run to its end."""
    clips = films(tmp_path / "clips", 12)
    whole, killed = (
        project(tmp_path / "whole", clips, eval_fraction=0.3),
        project(tmp_path / "p", clips, eval_fraction=0.3),
    )
    main(["import", str(whole)])
    kills, nowhere, arguments = 0, Path(os.devnull), ["import", str(killed)]
    for files in (2, 6, 9):
        process = start_into(nowhere, nowhere, "from rushes.cli import main; main(arguments)", arguments=arguments)
        while process.is_alive():
            if len(list((killed / "media").glob("*/*.mp4"))) >= files:
                process.kill()
                process.join()
                kills += 1
            time.sleep(0.01)
    main(["import", str(killed)])
    assert kills
    with Store.open(whole) as one, Store.open(killed) as other:
        assert one.clips() == other.clips()
    assert {p.name for p in (whole / "media").glob("*/*.mp4")} == {p.name for p in (killed / "media").glob("*/*.mp4")}
