"""What is installed, fetched and started is what was pinned, and nothing that runs here calls home."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rushes.backbones.folders import cached_folder, read_folder, repository_of
from rushes.cli import QUIET
from rushes.project.held_settings import begin_project, keep_commit
from rushes.project.model_presets import model_preset

from ..backbones.tiny_pipelines import write
from ..durability.crash_points import TINY
from ..forked import start_into
from ..projects import Rushes, new_project

REPOSITORY = Path(__file__).resolve().parents[2]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def pins(name: str) -> dict[str, str]:
    lines = (REPOSITORY / name).read_text().splitlines()
    return dict(match.groups() for line in lines if (match := re.match(r"([\w.-]+)==([^\s\\]+)", line)))  # type: ignore[misc]


def test_every_package_that_make_installs_is_pinned_as_it_is_here() -> None:
    ran = subprocess.run(
        [sys.executable, "scripts/pins", "--check"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert len(pins("constraints.txt")) > 100


def test_hashes_are_of_the_same_versions_and_name_no_place() -> None:
    locked, text = pins("locked.txt"), (REPOSITORY / "locked.txt").read_text()
    assert {name: version for name, version in pins("constraints.txt").items() if name in locked} == locked
    apart = set(pins("constraints.txt")) - set(locked)
    assert {"torch"} <= apart and all(re.match(r"torch|triton|nvidia|cuda", name) for name in apart), apart
    assert len(re.findall(r"--hash=sha256:[0-9a-f]{64}", text)) >= len(locked)
    assert "://" not in text and "/home" not in text and "file:" not in text


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the hub that has one model at one commit, on a machine without a network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("diffusers.pipelines.pipeline_utils.HF_HUB_CACHE", str(tmp_path / "hub"), raising=False)
    there = tmp_path / "hub" / "models--a--b"
    write("wan", there / "snapshots" / COMMIT)
    (there / "refs").mkdir()
    (there / "refs" / "main").write_text(COMMIT)
    return there


def test_a_name_on_the_hub_takes_a_revision(hub: Path) -> None:
    assert repository_of("hub:a/b@v1.0") == ("a/b", "v1.0") and repository_of("hub:a/b") == ("a/b", None)
    assert read_folder("hub:a/b").path.name == COMMIT == read_folder(f"hub:a/b@{COMMIT}").path.name
    assert cached_folder(f"hub:a/b@{COMMIT}").path.name == COMMIT
    for missing in ("hub:a/b@v2", f"hub:a/b@{COMMIT[::-1]}"):
        with pytest.raises(ValueError, match=r"cannot be fetched .* --revision"):
            read_folder(missing)
        with pytest.raises(ValueError, match=r"not in this machine's cache.*--revision"):
            cached_folder(missing)


def test_the_commit_that_was_fetched_is_written_into_the_settings(hub: Path, tmp_path: Path) -> None:
    preset = model_preset("hub:a/b", "sft")
    assert preset.settings.backbone.path == f"hub:a/b@{COMMIT}"
    later = preset.settings.model_copy(
        update={"backbone": preset.settings.backbone.model_copy(update={"path": "hub:a/b"})}
    )
    file = begin_project(tmp_path / "p", later)
    before = file.read_text()
    assert keep_commit(file.parent, "hub:a/c", hub / "snapshots" / COMMIT) == "hub:a/c"
    assert keep_commit(file.parent, "hub:a/b", tmp_path) == "hub:a/b" and file.read_text() == before
    assert keep_commit(file.parent, "hub:a/b", hub / "snapshots" / COMMIT) == f"hub:a/b@{COMMIT}"
    assert file.read_text() == before.replace('"hub:a/b"', f'"hub:a/b@{COMMIT}"')


# Commands one after the other in one process. Every attempt to reach another machine is noted and refused, and names of
# hosts are not looked up. What the tests' own environment says against libraries that would is taken back.
REFUSING = """
import os, socket, sys
import huggingface_hub.constants
huggingface_hub.constants.HF_HUB_OFFLINE = False
for name in ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
    os.environ.pop(name, None)
line = ""

def refuse(event, arguments):
    if event == "socket.connect":
        address = arguments[1][0] if isinstance(arguments[1], tuple) else "localhost"
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        address = arguments[0] or "localhost"
    else:
        return
    if str(address).strip("b'") not in ("localhost", "127.0.0.1", "::1"):
        print(f"{line}: {address}", file=attempts, flush=True)
        raise OSError("refused by the test")

attempts = open(noted, "a")
sys.addaudithook(refuse)
from rushes.cli import main
for line in lines:
    try:
        main(line)
    except SystemExit as end:
        assert end.code in (None, 0, 1, *refused), line
"""


def attempts(folder: Path, *lines: list[str], refused: tuple[int, ...] = ()) -> str:
    """What other machines commands try to reach."""
    noted, out, err = folder / "noted", folder / "words", folder / "errors"
    process = start_into(out, err, REFUSING, noted=str(noted), lines=list(lines), refused=refused)
    process.join(300)
    assert process.exitcode == 0, err.read_text()[-2000:]
    return noted.read_text()


def test_the_socket_that_refuses_is_seen(project: Path, tmp_path: Path) -> None:
    """A server by its number and by its name."""
    hosts = ("192.0.2.7", "models.invalid")
    words = ["label", str(project), "--by", "vlm", "--set", "endpoint.model=m", "--set", "endpoint.attempts=1"]
    seen = attempts(tmp_path, *([*words, "--set", f"endpoint.url=http://{host}/v1"] for host in hosts), refused=(2,))
    assert all(host in seen for host in hosts), seen


COMMANDS = (
    *(
        "status P",
        "health P",
        "report P",
        "verify P",
        "space P",
        "clean P",
        "judges P",
        "settings P",
        "recipes",
        "models",
    ),
    *("review P --progress", 'curate P --set curate.stages=["technical"]', "card P", "export P --out A --run realdpo"),
    *("labels export P --out B", "footage export P --out C", "backup P D"),
)


def test_no_command_calls_anybody(project: Path, tmp_path: Path) -> None:
    places = {name: str(tmp_path / name) for name in "ABCD"} | {"P": str(project)}
    assert attempts(tmp_path, *([places.get(word, word) for word in line.split()] for line in COMMANDS)) == ""


@pytest.mark.whole
def test_nor_does_a_whole_run(tmp_path: Path) -> None:
    lines = [["run", str(new_project(tmp_path / "p", TINY))], ["plan", "--model", "wan2.1-t2v-1.3b"], ["doctor"]]
    assert attempts(tmp_path, *lines) == ""


def test_statistics_of_libraries_are_off_unless_the_user_turns_them_on(
    rushes: Rushes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in QUIET:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "0")
    assert rushes("recipes")[0] == 0
    assert {name: os.environ[name] for name in QUIET} == {**QUIET, "HF_HUB_DISABLE_TELEMETRY": "0"}
