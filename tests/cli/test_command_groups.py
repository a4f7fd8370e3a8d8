"""Commands stand in groups, and their former names do what those of today do."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from rushes.cli.command_groups import FORMER, app, with_current_command
from rushes.cli.overview import groups
from rushes.cli.studio import Page

from ..projects import Rushes


def test_every_command_is_in_one_group_and_help_has_them_in_that_order(rushes: Rushes) -> None:
    names = [command.name for commands in groups().values() for command in commands]
    assert len(names) == len(set(names)) and set(names) == {name for name in app if not name.startswith("-")}
    text = rushes("--help")[1]
    assert re.findall(r"^  ([a-z-]+)  ", text, re.MULTILINE) == [*names, "--help", "--version"]
    assert re.findall(r"^(\w+)$", text, re.MULTILINE) == [*groups(), "Other"]
    assert rushes()[1] == text == rushes("-h")[1]


def test_the_list_of_commands_says_what_each_says_of_itself() -> None:
    """Help reads a table, so that it need not import what it lists."""
    for name in (command.name for commands in groups().values() for command in commands):
        command = app[name].default_command
        assert command is None or app[name].help == " ".join(str(command.__doc__).split()), name


@pytest.mark.parametrize("columns", [60, 80, 300])
def test_help_fits_its_terminal(columns: int, rushes: Rushes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert max(map(len, rushes("--help")[1].splitlines())) < min(columns, 121)


def test_help_imports_no_library() -> None:
    program = "import sys; from rushes.cli import main; main(['--help']); print(*sys.modules)"
    words = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True).stdout.split()
    assert "rushes.cli.overview" in words
    assert not {"cyclopts", "rich", "pydantic", "numpy", "markdown_it", "rushes.cli.console"} & {*words}


@pytest.mark.parametrize("old", sorted(FORMER))
def test_a_former_name_is_read_and_said_on_standard_error_alone(old: str, rushes: Rushes) -> None:
    code, out, err = rushes(old, "--help")
    assert code == 0 and out == rushes(*FORMER[old].split(), "--help")[1]
    assert err.splitlines() == [
        f"rushes: `rushes {old}` is now `rushes {FORMER[old]}`; the old name is read until 0.2",
    ]
    assert old not in app and not re.search(rf"^  {old} ", rushes("--help")[1], re.MULTILINE)


def test_a_word_that_is_not_the_command_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert with_current_command(["health", "power"]) == ["health", "power"]
    assert with_current_command([]) == []
    monkeypatch.setenv("RANK", "1")
    assert with_current_command(["eta", "p", "--clips", "3"]) == ["tune", "eta", "p", "--clips", "3"]


def test_what_is_mistyped_gets_the_nearest(rushes: Rushes, tmp_path: Path) -> None:
    (tmp_path / "wave").mkdir()
    (tmp_path / "wave" / "rushes.toml").touch()
    for arguments, words in (
        (("traim", "P"), 'Unknown command "traim". Did you mean "train"?; see `rushes --help`'),
        (("campaign", "P", "--people", "ada", "bob"), "between people's names are commas, as in --people ada,bob"),
        (("status", tmp_path / "wawe"), f"did you mean {tmp_path / 'wave'}? Or make one with `rushes init"),
        (("init", tmp_path / "p", "--model", "wann"), "did you mean wan2.1-t2v-1.3b?"),
    ):
        code, _, err = rushes(*arguments)
        assert code == 2 and words in err and "Available" not in err, err


def test_people_are_named_apart_by_blanks_or_commas() -> None:
    assert Page(annotators=("ada,bob", " cleo ", "dan, eve,")).annotators == ("ada", "bob", "cleo", "dan", "eve")
    words = ["label", "p", "--by", "human", "--annotators", "ada", "bob", "--port", "1"]
    assert app.parse_args(words, print_error=False, exit_on_error=False)[1].kwargs["annotators"] == ("ada", "bob")
