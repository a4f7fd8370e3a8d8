"""Votes of a study from a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from rushes.evaluate.human_votes import read_votes


def test_votes_a_line_and_by_prompt(tmp_path: Path) -> None:
    path = tmp_path / "votes.txt"
    path.write_text("win\nTie\n\nloss\n")
    assert read_votes(path) == [1.0, 0.5, 0.0]
    path.write_text("prompt,vote\nb,win\na,loss\nb,tie\n")
    assert read_votes(path) == [0.75, 0.0]  # prompts in the order in which they were begun


@pytest.mark.parametrize(
    ("text", "words"), [("win\nmaybe\n", "line 2: 'maybe'"), ("", "no votes"), ("prompt,vote\n", "no votes")]
)
def test_other_files_are_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "votes.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=words):
        read_votes(path)
    with pytest.raises(ValueError, match="no such file"):
        read_votes(tmp_path / "nowhere")
