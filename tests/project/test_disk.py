"""A disk without room: one sentence, nothing half-written, and the stage goes on once there is room."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ..projects import Command, ReadContents, Stage

LIMIT = """
import resource

def hook(event, parameters):
    if event == "open" and {part!r} in str(parameters[0]) and parameters[1] and "w" in parameters[1]:
        resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, resource.RLIM_INFINITY))

if {part!r}:
    sys.addaudithook(hook)
else:
    resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, resource.RLIM_INFINITY))
"""


@pytest.mark.parametrize(
    ("stage", "part", "limit_bytes"),
    [
        pytest.param("import", "", 2_000, marks=pytest.mark.slow),  # not even the database opens
        pytest.param("import", "", 60_000, marks=pytest.mark.slow),  # videos fit, the database's log does not
        ("import", "media/", 2_000),  # no video fits
        pytest.param("generate", "", 50_000, marks=pytest.mark.slow),
        pytest.param("generate", "media/", 2_000, marks=pytest.mark.slow),
        pytest.param("label", "", 40_000, marks=pytest.mark.slow),
        ("train", "", 1_000_000),  # no checkpoint fits
        pytest.param("evaluate", "media/", 2_000, marks=pytest.mark.slow),
        ("report", "", 50_000),
    ],
)
def test_full_disk_is_one_sentence_and_loses_nothing(
    stage: str,
    part: str,
    limit_bytes: int,
    tmp_path: Path,
    stages: dict[str, Stage],
    command: Command,
    whole: Callable[[Path], None],
    contents: ReadContents,
) -> None:
    project = Path(shutil.copytree(stages[stage].before, tmp_path / "project"))
    result = command(stage, project, "--json", before=LIMIT.format(part=part, limit=limit_bytes))
    assert (result.code, result.out) == (2, ""), result.err
    (told,) = [line for line in result.err.splitlines() if line.startswith("rushes: ")]
    assert "free" in told and "Traceback" not in result.err
    whole(project)
    assert list(project.rglob("*.part")) == []
    result = command(stage, project, "--json")
    assert result.code == 0, result.err
    json.loads(result.out)
    assert contents(project) == contents(stages[stage].after)
