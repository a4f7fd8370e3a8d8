"""The page that says who is trusted with what names the test of each promise, and no test of a promise is left out."""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / "docs" / "trust.md"


def promises() -> dict[str, list[str]]:
    """Each promise of the page's table, and the files of tests beside it."""
    section = PAGE.read_text(encoding="utf-8").partition("## What is promised")[2].partition("\n## ")[0]
    rows = [line.strip("|").rsplit("|", 1) for line in section.splitlines() if line.startswith("|")][2:]
    return {words.strip(): re.findall(r"`([^`]+)`", files) for words, files in rows}


def test_each_promise_names_tests_that_are_there() -> None:
    assert len(promises()) > 20
    for words, files in promises().items():
        assert files, words
        for file in files:
            path = REPOSITORY / file
            assert path.is_file() and "\ndef test_" in path.read_text(encoding="utf-8"), (words, file)


def test_every_test_of_this_folder_holds_a_promise() -> None:
    named = {file for files in promises().values() for file in files}
    here = {f"tests/trust/{path.name}" for path in Path(__file__).parent.glob("test_*.py")}
    assert here - named == {f"tests/trust/{Path(__file__).name}"}
