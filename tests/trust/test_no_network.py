"""Nothing that runs here calls home: a socket that refuses, over every command of the command line."""

from __future__ import annotations

import re
from pathlib import Path
from string import ascii_uppercase

import pytest
import torch
from safetensors.torch import save_file

from rushes.media.write import write_video
from rushes.world.render import render
from rushes.world.scenes import draw_scenes

from .. import tiny_sd
from ..durability.crash_points import TINY
from ..forked import start_into
from ..projects import new_project

REPOSITORY = Path(__file__).resolve().parents[2]

# Every attempt to reach another machine, or to be reached from one, is noted and refused; names of hosts are not looked
# up. `line` is the command; processes that a command starts anew have this as their first module.
HOOK = """
import sys

def refuse(event, arguments):
    if event in ("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"):
        address = arguments[1][0] if isinstance(arguments[1], tuple) else "localhost"
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        address = "localhost" if arguments[0] is None else arguments[0]
    else:
        return
    if str(address).strip("b'") not in ("localhost", "127.0.0.1", "::1"):
        print(f"{line}: {event} {address}", file=attempts, flush=True)
        raise OSError("refused by the test")

attempts = open(noted, "a")
sys.addaudithook(refuse)
"""
# Commands one after the other in one process. What the tests' own environment says against libraries that would call
# home is taken back. A command that serves a page is left once the page was there.
REFUSING = """
import os, signal, threading, time, urllib.error, urllib.request
import huggingface_hub.constants, psutil
huggingface_hub.constants.HF_HUB_OFFLINE = False
for name in ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
    os.environ.pop(name, None)
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (started, os.environ.get("PYTHONPATH"))))
line = ""
exec(hook)
exec(before)
from rushes.cli import main

def leave():
    listening = []
    while not listening:
        time.sleep(0.05)
        every = psutil.Process().net_connections("inet")
        listening = [each.laddr.port for each in every if each.status == psutil.CONN_LISTEN]
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{listening[0]}/").read()
    except urllib.error.HTTPError:
        pass
    os.kill(os.getpid(), signal.SIGINT)

for line in lines:
    visitor = threading.Thread(target=leave, daemon=True)
    if "--port" in line:
        visitor.start()
    code = 0
    try:
        main(line)
    except SystemExit as end:
        code = end.code or 0
    assert code in (0, 1, *refused, *((130,) if "--port" in line else ())), (line, code)
    assert "--port" not in line or not visitor.join(30) and not visitor.is_alive(), line
"""


def attempts(
    folder: Path, *lines: list[str], refused: tuple[int, ...] = (), before: str = "", seconds: float = 300
) -> str:
    """What other machines commands try to reach, after the text of a program `before`."""
    noted, out, err = folder / "noted", folder / "words", folder / "errors"
    started = folder / "started"
    started.mkdir()
    (started / "sitecustomize.py").write_text(f"line, noted = 'a process of theirs', {str(noted)!r}\n{HOOK}")
    names = {"noted": str(noted), "started": str(started), "hook": HOOK}
    process = start_into(out, err, REFUSING, lines=list(lines), refused=refused, before=before, **names)
    process.join(seconds)
    assert process.exitcode == 0, err.read_text()[-2000:]
    return noted.read_text()


def words(line: str, project: Path, folder: Path) -> list[str]:
    """The words of a command: P is the project, another capital letter a place in the folder."""
    places = {name: str(folder / name) for name in ascii_uppercase} | {"P": str(project)}
    return [re.sub(r"^[A-Z](?=/|$)", lambda match: places[match[0]], word) for word in line.split()]


def test_the_socket_that_refuses_is_seen(project: Path, tmp_path: Path) -> None:
    """A server by its number and by its name."""
    hosts = ("192.0.2.7", "models.invalid")
    judge = ["label", str(project), "--by", "vlm", "--set", "endpoint.model=m", "--set", "endpoint.attempts=1"]
    seen = attempts(tmp_path, *([*judge, "--set", f"endpoint.url=http://{host}/v1"] for host in hosts), refused=(2,))
    assert all(host in seen for host in hosts), seen


def test_the_sockets_of_processes_that_are_started_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "library" / "rushes_calls").mkdir(parents=True)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "library"))
    calls = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', PROGRAM])\nmain = lambda line: None\n"
    program = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.7', 9))"
    names = {"noted": str(tmp_path / "noted"), "started": str(tmp_path)}
    (tmp_path / "sitecustomize.py").write_text(f"line, noted = 'theirs', {names['noted']!r}\n{HOOK}")
    process = start_into(
        tmp_path / "out",
        tmp_path / "err",
        REFUSING + calls,
        lines=[],
        refused=(),
        hook=HOOK,
        before="",
        PROGRAM=program,
        **names,
    )
    process.join(60)
    assert "192.0.2.7" in (tmp_path / "noted").read_text()


LOOKING = (
    *("status P", "health P", "report P", "verify P", "space P", "clean P", "judges P", "settings P", "recipes"),
    *("models", "review P --progress"),
    'curate P --set curate.stages=["technical"] --set curate.technical.max_blur=1',  # clips of the world are soft
    *("card P", "export P --out A --run realdpo", "labels export P --out B", "footage export P --out C", "backup P D"),
)
WHOLE = {
    "a run": ("run Q", "run Q --rehearse", "plan --model wan2.1-t2v-1.3b", "doctor"),
    "the stages": (
        *("init I --footage F", "set I train.steps=2", "settings I", "captions I --by names"),
        *("preflight I", "import I", "prompts add I --pipeline S --prompts T --steps 2", "wrong-captions P --by rules"),
        *("generate P --set generate.takes=3", "label P --by world", "labels clips P --out E"),
        *("labels export P --out G", "labels import P F/pairs.csv --form trl", "train P --set train.name=again"),
        *("evaluate P", "encode P", "verify P --all", "clean P --yes"),
    ),
    "advice": (
        *("tune beta P --steps 1 --comparisons 8", "tune eta P --clips 2", "check-shortcuts P"),
        *("cache explain P", "cache reference P --set train.reference_cache=2 --set train.name=bank"),
        *("cache check-folder L", "sample-size P", "stop V", "compare P realdpo", "trust", "trust host:models.invalid"),
    ),
    "pages": (
        *("studio P --port 0", "review P --port 0", "label P --by human --port 0"),
        *("init I --footage F", "captions I --by human --port 0"),
        *("campaign P --people ada --pairs 2 --port 0 --set label.by=human", "vote P --port 0"),
    ),
    "benchmarks": (
        *("bench step --rounds 1 --shape tiny", "bench curation --clips 2", "bench metrics --scenes 10 --takes 10"),
        *("bench world --scenes 5 --clips 5 --only A4", "reproduce huvidpo --seeds 1 --out R"),
    ),
    "eight processes": ("bench generate",),
    "the demo": ("demo --out A",),
}
SMALLER = """
from rushes.lab.claims import run
run.BUDGETS["small"] = run.Budget(seeds=1, claims=(), clips=4, prompts=3, steps=2, batch=2)
"""


def test_every_command_is_tried() -> None:
    page = (REPOSITORY / "docs" / "commands.md").read_text(encoding="utf-8").partition("## Former names")[0]
    commands = re.findall(r"^\| `rushes ([a-z -]+)`", page, re.MULTILINE)
    lines = [f"{line} " for line in (*LOOKING, *(line for group in WHOLE.values() for line in group))]
    assert [name for name in commands if not any(line.startswith(f"{name} ") for line in lines)] == []


def test_no_command_that_looks_calls_anybody(project: Path, tmp_path: Path) -> None:
    assert attempts(tmp_path, *(words(line, project, tmp_path) for line in LOOKING)) == ""


@pytest.fixture
def places(tmp_path: Path) -> Path:
    """What commands are given: footage, an image pipeline, prompts, votes, latents of another trainer."""
    (tmp_path / "F").mkdir()
    for number, scene in enumerate(draw_scenes(3, 8)):
        write_video(tmp_path / "F" / f"{number}.mp4", render(scene).repeat(2, 1).repeat(2, 2), 8)
    (tmp_path / "F" / "pairs.csv").write_text("prompt,chosen,rejected\na ball,0.mp4,1.mp4\n")
    tiny_sd.write(tmp_path / "S")
    (tmp_path / "T").write_text("a ball swings in the rain\n")
    (tmp_path / "V").write_text("win\ntie\nloss\nwin\n")
    for name in ("video_latent/m/1x8x8/a", "lose_video_latent/m/1x8x8/a/0"):
        path = tmp_path / "L" / f"{name}.safetensors"
        path.parent.mkdir(parents=True)
        save_file({"x": torch.zeros(4, 2, 1, 1)}, path)
    new_project(tmp_path / "Q", TINY)
    return tmp_path


@pytest.mark.whole
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("group", WHOLE)
def test_no_command_that_works_calls_anybody(
    group: str, project: Path, places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(places / "config"))
    lines = [words(line, project, places) for line in WHOLE[group]]
    assert attempts(places, *lines, before=SMALLER if group == "benchmarks" else "", seconds=7200) == ""
