"""The demo is an ordinary project with a report beside it, here with few clips and steps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from threading import Event, Thread

import pytest

from rushes.project import demo
from rushes.project.labeling_page import open_labeling_session
from rushes.project.presets import tiny_train
from rushes.project.settings import read_settings
from rushes.training.recipe import load_recipe

from ..projects import Rushes


@contextmanager
def pages_of(path: Path) -> Iterator[list[str]]:
    """What a browser that looks often sees at a path."""
    seen, over = [""], Event()

    def look() -> None:
        while not over.wait(0.005):
            with suppress(FileNotFoundError):
                text = path.read_text(encoding="utf-8")
                if text != seen[-1]:
                    seen.append(text)

    thread = Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def test_the_demo_is_a_project_whose_commands_go_on(
    tmp_path: Path, rushes: Rushes, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = tiny_train(demo.RECIPE, load_recipe(demo.RECIPE)).model_copy(update={"steps": 2, "batch": 2})
    monkeypatch.setattr(demo, "CLIPS", 4)
    monkeypatch.setattr(demo, "PROMPTS", 4)
    monkeypatch.setattr(demo, "tiny_train", lambda name, recipe: short)
    with pages_of(tmp_path / "report.html") as seen:
        code, out, err = rushes("demo", "--out", tmp_path, "--seed", 3)
    assert code == 0, err
    assert err.startswith("about three minutes") and (tmp_path / "report.html").as_uri() in err.splitlines()[0]
    live = [page for page in seen if 'http-equiv="refresh"' in page]
    assert "PyTorch is being loaded" in live[0] and "<svg" in live[-1]
    assert all(any(f'row">{stage}' in page for page in live) for stage in ("import", "generate", "train", "evaluate"))
    folder = tmp_path / "project-3"
    assert f"project: {folder}" in out and read_settings(folder) == demo.demo_settings(3)
    assert len((folder / "rushes.toml").read_text(encoding="utf-8").splitlines()) <= 26, "25 and the seed"
    with open_labeling_session(folder, read_settings(folder)) as session:
        assert session.progress("ada")["pairs"] == 4, "there is something to label"
    assert "\n4 takes\n" in rushes("status", folder)[1]
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<title>Rushes demo" in page and 'http-equiv="refresh"' not in page
    arms = json.loads(files("rushes.project").joinpath("demo_recipes.json").read_text(encoding="utf-8"))["arms"]
    assert all(f"{name} (stored)" in page for name in arms)
    assert ("Only the first row was run here" in page) == bool(arms)
    for command in ("train", "report"):
        code, out, err = rushes(command, folder)
        assert code == 0, err
    page, following = out.splitlines()
    assert Path(page.removeprefix("report: ")).is_file() and following.startswith("next: rushes sample-size")
    code, _, err = rushes("demo", "--out", tmp_path, "--seed", 3)  # what is there is not made again
    assert code == 0 and "train" not in err.split(), err
