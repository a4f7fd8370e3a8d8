"""Projects to be damaged."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Path:
    """A project of its own that went through all stages."""
    return Path(shutil.copytree(finished, tmp_path / "project"))
