"""Refusals name the project that was typed, so that their commands can be copied."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from shlex import split

import pytest
from cyclopts import App

from rushes.cli.command_groups import app
from rushes.cli.remedies import WITHOUT, project_in, with_project
from rushes.project.settings import SETTINGS_FILE, write_settings
from rushes.store.database import Store

from ..projects import SMALL, Rushes


def commands(group: App, path: tuple[str, ...] = ()) -> Iterator[tuple[str, list[str]]]:
    """All commands, and the names of what each takes."""
    for name in group:
        if not name.startswith("-"):
            yield from commands(group[name], (*path, name))
            if command := group[name].default_command:
                yield " ".join((*path, name)), [*inspect.signature(command).parameters]


def test_every_command_that_works_on_a_project_gets_it() -> None:
    for name, parameters in commands(app):
        takes = parameters[:1] in (["project"], ["target"]) and name not in ("init", "sample-size")
        words = f"run `rushes {name}` first, or `rushes {name} --some option`; see `rushes {name} --help`"
        place = " 'a b'" if takes else ""
        assert with_project(words, "a b") == (
            f"run `rushes {name}{place}` first, or `rushes {name}{place} --some option`; see `rushes {name} --help`"
        ), name
        assert takes or {name, name.partition(" ")[0]} & WITHOUT, name


def test_what_names_a_project_or_needs_none_stays() -> None:
    for words in ("`rushes import mine`", "`rushes trust host:x`", "`rushes evaluate --systems`", "rushes import"):
        assert with_project(words, "other") == words
    assert with_project("`rushes set PROJECT a.b=c`, PROJECTS", "p\\1") == "`rushes set 'p\\1' a.b=c`, PROJECTS"
    assert with_project("`rushes set PROJECT a.b=c`", "") == "`rushes set PROJECT a.b=c`"


def test_a_refusal_of_a_reader_can_be_copied(tmp_path: Path, rushes: Rushes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my project").mkdir()
    write_settings(Path("my project"), SMALL)
    Store.create(Path("my project")).close()
    code, _, err = rushes("card", "my project")
    command = err.partition("`")[2].partition("`")[0]
    assert code == 2 and split(command) == ["rushes", "curate", "my project"], err
    err = rushes("caption", "my project")[2]
    assert "`rushes wrong-captions 'my project'`; `rushes captions 'my project' --by" in err and "PROJECT" not in err


def test_the_project_is_the_folder_that_was_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("import", "mine"):
        (tmp_path / name).mkdir()
        (tmp_path / name / SETTINGS_FILE).write_text("")
    assert project_in(["import", "--add", "./mine"]) == "./mine"
    assert project_in(["import", "--rows", "x" * 5000, "new"]) == project_in([]) == ""
