"""The sections of the studio, which are found by their modules."""

from __future__ import annotations

from pathlib import Path

from rushes.web.site import all_sections

from .studio.studying import only_folder


def test_sections_stand_in_their_order_in_the_navigation(tmp_path: Path) -> None:
    """Nothing of the project is read for it, and no two claim one place."""
    sections = all_sections(only_folder(tmp_path / "none"))
    titles = ["Home", "Footage", "Takes", "Label", "Runs", "Compare", "Vote", "Campaign", "Report"]
    assert [section.title for section in sections] == titles
    assert len({section.place for section in sections}) == len(sections)


def test_a_command_in_a_text_names_the_project_as_a_shell_takes_it(tmp_path: Path) -> None:
    assert only_folder(tmp_path / "a b").named_in("`rushes train {project}`") == f"`rushes train '{tmp_path}/a b'`"
