"""What is installed, fetched and started is what was pinned, and statistics of libraries are off."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest
from hatchling.build import get_requires_for_build_editable

from rushes.backbones.folders import cached_folder, read_folder, repository_of
from rushes.cli import QUIET
from rushes.project.held_settings import begin_project, keep_commit
from rushes.project.model_presets import model_preset

from ..backbones.tiny_pipelines import write
from ..projects import Rushes

REPOSITORY = Path(__file__).resolve().parents[2]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def pins(name: str) -> dict[str, str]:
    lines = (REPOSITORY / name).read_text().splitlines()
    return dict(match.groups() for line in lines if (match := re.match(r"([\w.-]+)==([^\s\\]+)", line)))  # type: ignore[misc]


def test_every_package_that_make_installs_is_pinned_as_it_is_here() -> None:
    ran = subprocess.run(
        [sys.executable, "scripts/pins", "--check"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert len(pins("constraints.txt")) > 100


def test_hashes_are_of_the_same_versions_and_name_no_place() -> None:
    locked, text = pins("locked.txt"), (REPOSITORY / "locked.txt").read_text()
    assert {name: version for name, version in pins("constraints.txt").items() if name in locked} == locked
    apart = set(pins("constraints.txt")) - set(locked)
    assert {"torch"} <= apart and all(re.match(r"torch|triton|nvidia|cuda", name) for name in apart), apart
    assert len(re.findall(r"--hash=sha256:[0-9a-f]{64}", text)) >= len(locked)
    assert "://" not in text and "/home" not in text and "file:" not in text


def test_hashes_have_what_the_build_of_rushes_itself_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """`make LOCKED=1` builds without an environment of its own, so that pip looks for nothing."""
    monkeypatch.chdir(REPOSITORY)
    asked = [*get_requires_for_build_editable(), *requires("hatchling")]  # type: ignore[misc]
    names = {re.split(r"[^\w.-]", text)[0] for text in asked if "python_version < '3.11'" not in text}
    assert names >= {"editables", "pathspec"} and names <= set(pins("locked.txt"))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the hub that has one model at one commit, on a machine without a network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("diffusers.pipelines.pipeline_utils.HF_HUB_CACHE", str(tmp_path / "hub"), raising=False)
    there = tmp_path / "hub" / "models--a--b"
    write("wan", there / "snapshots" / COMMIT)
    (there / "refs").mkdir()
    (there / "refs" / "main").write_text(COMMIT)
    return there


def test_a_name_on_the_hub_takes_a_revision(hub: Path) -> None:
    assert repository_of("hub:a/b@v1.0") == ("a/b", "v1.0") and repository_of("hub:a/b") == ("a/b", None)
    assert read_folder("hub:a/b").path.name == COMMIT == read_folder(f"hub:a/b@{COMMIT}").path.name
    assert cached_folder(f"hub:a/b@{COMMIT}").path.name == COMMIT
    for missing in ("hub:a/b@v2", f"hub:a/b@{COMMIT[::-1]}"):
        with pytest.raises(ValueError, match=r"cannot be fetched .* --revision"):
            read_folder(missing)
        with pytest.raises(ValueError, match=r"not in this machine's cache.*--revision"):
            cached_folder(missing)


def test_the_commit_that_was_fetched_is_written_into_the_settings(hub: Path, tmp_path: Path) -> None:
    preset = model_preset("hub:a/b", "sft")
    assert preset.settings.backbone.path == f"hub:a/b@{COMMIT}"
    later = preset.settings.model_copy(
        update={"backbone": preset.settings.backbone.model_copy(update={"path": "hub:a/b"})}
    )
    file = begin_project(tmp_path / "p", later)
    before = file.read_text()
    assert keep_commit(file.parent, "hub:a/c", hub / "snapshots" / COMMIT) == "hub:a/c"
    assert keep_commit(file.parent, "hub:a/b", tmp_path) == "hub:a/b" and file.read_text() == before
    assert keep_commit(file.parent, "hub:a/b", hub / "snapshots" / COMMIT) == f"hub:a/b@{COMMIT}"
    assert file.read_text() == before.replace('"hub:a/b"', f'"hub:a/b@{COMMIT}"')


def test_statistics_of_libraries_are_off_unless_the_user_turns_them_on(
    rushes: Rushes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in QUIET:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "0")
    assert rushes("recipes")[0] == 0
    assert {name: os.environ[name] for name in QUIET} == {**QUIET, "HF_HUB_DISABLE_TELEMETRY": "0"}
