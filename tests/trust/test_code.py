"""Python runs no code of the current folder's or of a model's folder."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from rushes.backbones.folders import read_folder

from ..projects import Rushes

SOURCE = Path(__file__).resolve().parents[2] / "src"
# What ours import, what those look for, and what of the standard library comes after the command's first line.
SHADOWS = (
    "numpy",
    "rich",
    "cyclopts",
    "pydantic",
    "torch",
    "triton",
    "flash_attn",
    "sqlite3",
    "json",
    "signal",
    "typing",
)


def run_in(folder: Path, modules: Iterable[str], *words: str) -> list[str]:
    """Run `python -m rushes` in a folder that has such modules: those that ran."""
    for name in modules:
        (folder / f"{name}.py").write_text(f"open('{name}-ran', 'w')\n")
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    environment.pop("PYTHONSAFEPATH", None)
    command = [sys.executable, "-m", "rushes", *words]
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    there = [path.name for path in folder.glob("*-ran")]
    assert there or ran.returncode == 0, ran.stderr
    return there


def test_python_m_does_not_see_the_current_folder(tmp_path: Path) -> None:
    assert run_in(tmp_path, SHADOWS, "trust") == []


@pytest.mark.slow
def test_workers_do_not_see_the_current_folder(theirs: Path) -> None:
    """Python starts them by `-c`, which puts the current folder first, before any line of ours."""
    stages = ("--set=curate.stages=['technical']", "--set=curate.technical.max_blur=1")  # clips of the world are soft
    assert run_in(theirs, [*SHADOWS, "socket", "random", "struct"], "curate", ".", "--jobs", "2", *stages) == []


def functions_with(text: str) -> list[tuple[str, str]]:
    """Place and source of every function, or module, in whose own lines a text stands."""
    places = []
    for path in sorted((SOURCE / "rushes").rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        if text in source:
            tree = ast.parse(source)
            inner = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
            segments = [ast.get_source_segment(source, node) or "" for node in inner]
            places += [(f"{path.name}", segment) for segment in segments if text in segment] or [(path.name, source)]
    return places


def test_every_python_that_is_started_has_the_safe_path() -> None:
    places = functions_with("sys.executable")
    assert {name for name, _ in places} >= {"doctor.py", "processes.py"}
    assert not [name for name, source in places if '"-P"' not in source]


def test_everything_that_is_loaded_by_name_runs_no_code_of_its_folder() -> None:
    places = functions_with(".from_pretrained")
    assert {name for name, _ in places} >= {"folders.py", "renderings.py", "reward.py", "embeddings.py"}
    for name, source in places:
        calls = source.count(".from_pretrained")
        assert source.count("trust_remote_code=False") + source.count("**self._no_code(") >= calls, name
        assert "trust_remote_code=True" not in source


def index(folder: Path, **parts: object) -> Path:
    folder.mkdir(exist_ok=True)
    named = {"_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.30.0", **parts}
    (folder / "model_index.json").write_text(json.dumps(named))
    return folder


def test_a_models_index_imports_nothing(theirs: Path, code: Path, rushes: Rushes, tmp_path: Path) -> None:
    model = index(tmp_path / "model", _class_name="WanPipeline", scheduler=["stranger.part", "X"])
    (model / "scheduler").mkdir()
    (model / "scheduler" / "scheduler_config.json").write_text("{}")
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a ball\n")
    footage = ("--set", "footage.kind=folder", "--set", f"footage.path={theirs / 'media'}", "--set", "label.by=none")
    wan = ("--set", "backbone.name=wan", "--set", f"backbone.path={model}")
    for words in (
        ("prompts", "add", theirs, "--pipeline", model, "--prompts", prompts, *footage),
        ("init", tmp_path / "p", "--model", model),
        ("plan", "--model", model, "--clips", 9),
        ("generate", theirs, *wan),
    ):
        status, _, err = rushes(*words)
        assert status == 2 and "scheduler is a stranger.part.X, but Rushes loads only classes of diffusers" in err, err
    assert not code.exists()


@pytest.mark.parametrize(
    ("library", "name"),
    [
        ("stranger.part", "X"),
        ("os", "system"),
        ("diffusers.utils", "deprecate"),
        ("transformers", "_LazyModule"),
        ("transformers", "models.auto"),
        (".", "X"),
        ("..", "X"),
        ("Wan", "X"),
        (3, "X"),
        ("diffusers", 3),
    ],
)
def test_parts_of_a_model_are_public_classes_of_two_libraries(library: object, name: object, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"model_index\.json: vae is a .* only classes of diffusers and transformers"):
        read_folder(str(index(tmp_path / "model", vae=[library, name])))


def test_what_models_name_today_is_read(tmp_path: Path) -> None:
    parts = {
        "vae": ["diffusers", "AutoencoderKL"],
        "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
    }
    empty = {"feature_extractor": [None, None], "requires_safety_checker": False}
    text = {"text_encoder": ["transformers", "CLIPTextModel"], "connectors": ["ltx2", "LTX2TextConnectors"]}
    assert read_folder(str(index(tmp_path / "model", **parts, **empty, **text))).has("connectors")
    folder = read_folder(str(index(tmp_path / "model", vae=["diffusers", "logging"])))
    with pytest.raises(ValueError, match="the installed version does not have"):
        folder.cls("vae")


def test_a_pipeline_with_code_of_its_own_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Rushes never runs that"):
        read_folder(str(index(tmp_path / "model", _class_name=["mine", "Mine"])))
