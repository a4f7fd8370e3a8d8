from __future__ import annotations

from pathlib import Path

import pytest

from rushes.store.own_files import own_path
from rushes.trust import link_word


def test_a_path_below_a_project_is_no_link_and_leads_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    (elsewhere / "one").mkdir(parents=True)
    (project / "reports").mkdir(parents=True)
    assert own_path(project, "runs", "one") == project / "runs" / "one"  # which is missing
    for part in ("", ".", "..", "a/b", "a\\b", "a\0b"):
        with pytest.raises(ValueError, match="not the name of a file"):
            own_path(project, "runs", part)
    (project / "reports" / "x.html").symlink_to(elsewhere / "one")
    with pytest.raises(ValueError, match=r"x\.html: a link"):
        own_path(project, "reports", "x.html")
    (project / "runs").symlink_to(elsewhere)
    with pytest.raises(ValueError, match="runs: a link"):
        own_path(project, "runs", "one")
    monkeypatch.setenv("RUSHES_TRUST", link_word(str(elsewhere)))
    assert own_path(project, "runs", "one").is_dir()
    (elsewhere / "two").symlink_to(elsewhere / "one")
    with pytest.raises(ValueError, match="two: a link"):
        own_path(project, "runs", "two")
