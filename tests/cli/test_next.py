"""Commands after which a user goes on end with the command that comes next."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from shlex import split

import pytest

from rushes.cli.command_groups import app

from ..projects import Rushes


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Path:
    """A project of its own that went through all stages."""
    return Path(shutil.copytree(finished, tmp_path / "my project"))


def test_commands_on_a_project_end_with_the_command_that_comes_next(project: Path, rushes: Rushes) -> None:
    for line in (
        ("set", project, "report.cases=2"), ("health", project), ("report", project), ("compare", project, "realdpo"),
        ("judges", project), ("review", project, "--progress"), ("export", project, "--out", project / "out"),
    ):  # fmt: skip
        code, out, err = rushes(*line)
        assert code == 0, err
        mark, program, command, place, *_ = split(out.splitlines()[-1])
        assert (mark, program, place) == ("next:", "rushes", str(project)) and command in app, out


def test_a_result_as_json_is_one_line(project: Path, rushes: Rushes) -> None:
    for line in (("health", project), ("set", project, "report.cases=2"), ("compare", project, "realdpo")):
        code, out, _ = rushes(*line, "--json")
        assert code == 0 and len(out.splitlines()) == 1 and json.loads(out), line


def test_what_is_damaged_is_looked_at_again(project: Path, rushes: Rushes) -> None:
    assert rushes("verify", project)[1].splitlines()[-1] == "all is whole"
    next((project / "media").glob("*/*.mp4")).write_bytes(b"")
    code, out, _ = rushes("verify", project)
    assert code == 1 and out.splitlines()[-1] == f"next: mend what is named, then rushes verify '{project}'"
