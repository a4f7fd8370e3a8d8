"""Projects to be damaged; a stranger's project, and code of a stranger's that says when it runs."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rushes.config.settings_files import load_settings
from rushes.config.tables import Settings
from rushes.project.settings import write_settings


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Path:
    """A project of its own that went through all stages."""
    return Path(shutil.copytree(finished, tmp_path / "project"))


@pytest.fixture
def theirs(tmp_path: Path, finished: Path) -> Path:
    """A project that somebody sends: it went through all stages."""
    return Path(shutil.copytree(finished, tmp_path / "theirs"))


def change(project: Path, **tables: dict[str, Any]) -> Path:
    """Write settings into a project's file, as a stranger does with an editor."""
    file = project / "rushes.toml"
    data = load_settings(file, own=True).model_dump()
    for table, values in tables.items():
        data[table] |= values
    return write_settings(project, Settings.model_validate(data))


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The mark that a module `stranger.recipe` or `stranger.part` leaves when it is imported; it works as a recipe."""
    monkeypatch.syspath_prepend(tmp_path / "library")
    package, mark = tmp_path / "library" / "stranger", tmp_path / "it-ran"
    package.mkdir(parents=True)
    text = f"import pathlib\nfrom rushes.recipes.sft import *\npathlib.Path({str(mark)!r}).write_text('x')\n"
    for name in ("recipe", "part"):
        (package / f"{name}.py").write_text(text)
    yield mark
    for name in [name for name in sys.modules if name.split(".")[0] == "stranger"]:
        del sys.modules[name]


@pytest.fixture
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user who has allowed nothing: the folder of their configurations."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config"
