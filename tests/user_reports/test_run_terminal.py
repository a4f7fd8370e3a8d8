"""The terminal: output of any encoding, Ctrl-C at any moment, arguments out of range."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rushes.files import odd_name

from ..projects import Rushes

# Ctrl-C comes while this module is imported for the first time; sys.argv holds the arguments.
STRIKE = """
import os, runpy, signal, sys

class Strike:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Strike())
runpy.run_module("rushes", run_name="__main__")
"""


@pytest.mark.parametrize("module", ["rushes.cli", "rushes.project.recipe_table"])
def test_ctrl_c_at_the_start(module: str) -> None:
    """Ctrl-C in the first tenths of a second, while modules are imported, is one line. Was: a traceback."""
    program = [sys.executable, "-c", STRIKE.format(module=module), "recipes"]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "rushes: stopped; what was stored is safe, run the same command to continue\n"


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_names_that_the_output_lacks(tmp_path: Path, encoding: str) -> None:
    """A name that the output's encoding lacks, or that is no Unicode, ends no command: it is shown escaped."""
    folder = tmp_path / "films"
    folder.mkdir()
    odd = os.fsencode(folder) + "/狗".encode() + b"caf\xe9.mp4"
    Path(os.fsdecode(odd)).write_bytes(b"no film")
    program = [sys.executable, "-m", "rushes", "evaluate", "--systems", f"a={folder}", f"b={folder}", "--out", "out"]
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(program, capture_output=True, env=environment, timeout=60, check=False, cwd=tmp_path)
    words = done.stderr.decode(encoding)
    assert done.returncode == 2 and "Traceback" not in words and "none of its videos can be read" in words
    assert r"caf\udce9.mp4" in words and ("狗" if encoding == "utf-8" else r"\u72d7") in words


@pytest.mark.parametrize("port", ["99999999", "65536", "-1"])
@pytest.mark.parametrize("command_name", ["label", "review"])
def test_a_port_that_is_none(project: Path, rushes: Rushes, command_name: str, port: str) -> None:
    """A port beyond 65535 is refused before the page is opened. Was: OverflowError, a traceback."""
    code, out, err = rushes(command_name, project, "--port", port)
    assert (code, out) == (2, "")
    assert err == f"rushes: --port: give a number from 0 to 65535, not {port}; see `rushes {command_name} --help`\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["stop", "votes.txt", "--margin", "5"], "--margin: give a number from 0 to 0.5"),
        (["stop", "votes.txt", "--margin", "nan"], "--margin: give a number from 0 to 0.5"),
        (["plan", "p", "--frames", "-1"], "--frames: give a number of 0 or more"),
        (["evaluate", "--systems", "a=a", "b=b", "--out", "o", "--seed", "-1"], "--seed: give a number of 0 or more"),
        (["judges", "p", "--static", "-1"], "--static: give a number of 0 or more"),
        (["sample-size", "--alike", "2"], "--alike: give a number from 0 to 1"),
        (["check-shortcuts", "p", "--comparisons", "-3"], "--comparisons: give a number of 0 or more"),
        (["plan", "p", "--tflops", "-1"], "--tflops: give a number of 0 or more"),
        (["bench", "curation", "--rows", "100", "--rows", "-5"], "--rows: give a number of 0 or more"),
        (["footage", "export", "p", "--out", "o", "--shard-mb", "nan"], "--shard-mb: give a number of 0 or more"),
    ],
)
def test_a_number_out_of_its_range(rushes: Rushes, arguments: list[str], words: str) -> None:
    """Was: a margin of 5 let a study stop at once as "equal", and a plan of -1 frames was that of none."""
    code, out, err = rushes(*arguments)
    assert code == 2 and not out and err.startswith(f"rushes: {words}, not ") and err.count("\n") == 1, err
    assert err.endswith(" --help`\n")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["stop", "v", "--margin", "x"],
            'Invalid value for --margin: unable to convert "x" into float; see',
        ),
        (["recipes", "x"], "'x': more than the command takes; see"),
        (
            ["footage", "export", "p"],
            'Command "footage export" parameter --out requires an argument; see',
        ),
        (
            ["curate", "p", "--engine", "x"],
            'Invalid value "x" for --engine. Choose from: "local", "ray"; see',
        ),
    ],
)
def test_words_that_do_not_fit_a_command(rushes: Rushes, arguments: list[str], line: str) -> None:
    """Was: a box of five lines."""
    code, out, err = rushes(*arguments)
    assert (code, out) == (2, "") and err.startswith(f"rushes: {line}") and err.count("\n") == 1, err


@pytest.mark.parametrize("arguments", [["init", ""], ["init", " "], ["import", ""], ["export", "p", "--out", ""]])
def test_an_empty_argument(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rushes: Rushes, arguments: list[str]
) -> None:
    """`rushes init "$FOLDER"` with that variable not set writes nothing into the current folder."""
    monkeypatch.chdir(tmp_path)
    code, _, err = rushes(*arguments)
    assert code == 2 and "rushes: an argument is empty (after " in err and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("place", "cause"), [("/dev/null/x", "Not a directory"), ("/proc/x", "No such file or directory")]
)
def test_a_folder_that_cannot_be_made(rushes: Rushes, place: str, cause: str) -> None:
    """Was: "/dev/null/x/media: Not a directory", and for /proc/x no such file, of a folder that was to be made."""
    code, out, err = rushes("init", place)
    assert (code, out) == (2, "") and err == f"rushes: cannot make the folder {place} ({cause}); name another folder\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "--steps", "6", "--set", "train.steps=7"], "--steps 6 and --set train.steps=7"),
        (["train", "--recipe", "dpo", "--set", "train.recipe=realdpo"], "--recipe dpo and --set train.recipe=realdpo"),
        (["label", "--by", "world", "--set", "label.by = vlm"], "--by world and --set label.by=vlm"),
        (["preflight", "--footage", "a", "--set", "footage.path=b"], "--footage a and --set footage.path=b"),
    ],
)
def test_an_option_and_a_setting_that_contradict(
    project: Path, rushes: Rushes, arguments: list[str], words: str
) -> None:
    """Was: the option won, without a word, and the setting that was given beside it went."""
    code, out, err = rushes(arguments[0], project, *arguments[1:])
    assert (code, out) == (2, "") and err == f"rushes: {words} set the same thing; leave one of them out\n"


def test_a_name_that_the_locale_lacks(tmp_path: Path) -> None:
    """Was: "its name is not Unicode; rename the file" of naïve.mp4, where names are read as ASCII."""
    (tmp_path / "naïve.mp4").touch()
    (tmp_path / "t.csv").write_text("file_name,text\nnaïve.mp4,a dog\n", encoding="utf-8")
    program = (
        "import sys; from pathlib import Path; from rushes.formats.clip_tables import read_tables; "
        "from rushes.formats.layouts import folder_files; folder = Path('.')\n"
        "for each in read_tables(folder_files(folder), [folder / 't.csv']).refused: print(each.source, each.words)"
    )
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "utf-8:replace"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, env=environment, timeout=60, check=False, cwd=tmp_path
    )
    words = "its name is not ASCII, the encoding of names in this locale; set PYTHONUTF8=1 in the environment"
    assert done.stdout.decode().count(words) == 2, done.stderr
    assert odd_name("caf\udce9.mp4") == "its name is not Unicode; rename the file"


def test_whoever_reads_may_stop_early() -> None:
    """`rushes recipes | head -1`. Was: "rushes: [Errno 32] Broken pipe"."""
    read, write = os.pipe()
    os.close(read)
    program = [sys.executable, "-m", "rushes", "recipes"]
    done = subprocess.run(program, stdout=write, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")
