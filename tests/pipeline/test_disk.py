"""A disk without room: one sentence, nothing half-written, and the stage goes on once there is room."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ORDER = ("import", "generate", "label", "train", "evaluate", "report")
LIMIT = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, ({bytes}, resource.RLIM_INFINITY))
"""


@pytest.mark.parametrize(
    ("stage", "limit_bytes"),
    [
        ("import", 2_000),  # no video fits
        ("import", 60_000),  # videos do, the database's log does not
        ("generate", 2_000),
        ("label", 40_000),
        ("train", 1_000_000),  # no checkpoint fits
        ("evaluate", 2_000),
        ("report", 50_000),
    ],
)
def test_full_disk_is_one_sentence_and_loses_nothing(
    stage: str,
    limit_bytes: int,
    project: Path,
    finished: Path,
    command: Callable[..., Any],
    whole: Callable[[Path], None],
    contents: Callable[[Path], dict[str, Any]],
) -> None:
    for name in ORDER[: ORDER.index(stage)]:
        assert command(name, project).code == 0
    result = command(stage, project, "--json", before=LIMIT.format(bytes=limit_bytes))
    assert (result.code, result.out) == (2, ""), result.err
    (told,) = [line for line in result.err.splitlines() if line.startswith("rushes: ")]
    assert "free" in told and "Traceback" not in result.err
    whole(project)
    assert list(project.rglob("*.part")) == []
    for name in ORDER[ORDER.index(stage) :]:
        result = command(name, project, "--json")
        assert result.code == 0, result.err
        json.loads(result.out)
    assert contents(project) == contents(finished)
