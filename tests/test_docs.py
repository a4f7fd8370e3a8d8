"""The commands in README.md and docs/: each ```sh block after `<!-- run -->` runs in a folder of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
MARK = "<!-- run -->"
BLOCK = re.compile(re.escape(MARK) + r"\s*\n```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def run(commands: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def blocks() -> list[object]:
    return [
        pytest.param(match[1], id=f"{page.name}-{number}")
        for page in PAGES
        for number, match in enumerate(BLOCK.finditer(page.read_text(encoding="utf-8")), start=1)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("commands", blocks())
def test_commands_of_the_documents_run(commands: str, tmp_path: Path) -> None:
    result = run(commands, tmp_path)
    assert result.returncode == 0, f"{commands}\n{result.stdout}{result.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_mark_is_followed_by_a_block(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert len(BLOCK.findall(text)) == text.count(MARK)


def test_failing_commands_are_noticed(tmp_path: Path) -> None:
    (commands,) = BLOCK.findall(
        f"text\n\n{MARK}\n\n```sh\ntouch a\nfalse | true\ntouch b\n```\nmore\n```sh\ntouch c\n```\n"
    )
    assert run(commands, tmp_path).returncode != 0
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []
