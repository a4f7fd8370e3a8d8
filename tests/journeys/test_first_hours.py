"""The first hour of three people, typed into a terminal and clicked in a browser; each step prints its minutes.

python -m pytest --all tests/journeys -s
"""

from __future__ import annotations

import os
import pty
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from rushes.media.write import encode_bytes

from ..backbones.tiny_pipelines import write

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.slow, pytest.mark.whole]
SMALL_MODEL = "--size 32x32 --frames 5"  # what two cores can do with random weights of Wan's class


@dataclass
class Terminal:
    """A person's terminal, in a folder."""

    folder: Path
    began: float = field(default_factory=time.monotonic)

    def type(self, command: str, *, expect: int = 0, minutes: float = 30) -> str:
        """Run a command as in a terminal; all that it showed. `rushes` is this checkout's."""
        began, (leader, follower) = time.monotonic(), pty.openpty()
        words = [sys.executable, "-P", "-m", *shlex.split(command)]
        process = subprocess.Popen(
            words, cwd=self.folder, stdin=follower, stdout=follower, stderr=follower, close_fds=True
        )
        os.close(follower)
        shown, first = b"", None
        while True:
            try:
                part = os.read(leader, 65536)
            except OSError:  # the terminal is closed at the end
                part = b""
            if not part:
                break
            first = first or time.monotonic() - began
            shown += part
            assert time.monotonic() - began < 60 * minutes, shown[-2000:]
        os.close(leader)
        code, text = process.wait(), shown.decode(errors="replace").replace("\r\n", "\n")
        self.say(f"$ {command}   ({(time.monotonic() - began) / 60:.1f} min, first word after {first or 0:.1f} s)")
        assert code == expect, text[-3000:]
        return text

    def say(self, line: str) -> None:
        print(f"{(time.monotonic() - self.began) / 60:5.1f} min  {line}")

    @contextmanager
    def serving(self, command: str) -> Iterator[list[str]]:
        """The addresses that a command prints, while it serves them."""
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", *shlex.split(command), "--port", "0"],
            cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1,
        )  # fmt: skip
        assert process.stdout is not None
        addresses: list[str] = []
        try:
            for line in process.stdout:
                addresses += re.findall(r"http://\S+?(?=;|\s|$)", line)
                if "#key=" in line:
                    break
            yield addresses
        finally:
            process.terminate()
            process.stdout.close()
            process.wait()


def label(tab: Page, address: str, name: str, pairs: int) -> None:
    """Open the labelling page by an address, and label so many pairs by keyboard."""
    tab.goto(address)
    if name:
        tab.locator("#name").fill(name)
        tab.keyboard.press("Enter")
    for number in range(pairs):
        tab.locator("#work").wait_for()
        before = tab.locator("#count").inner_text()
        tab.keyboard.press("Shift+A" if number % 3 else "Shift+B")
        tab.keyboard.press("Enter")
        tab.wait_for_function("before => document.querySelector('#count').innerText !== before", arg=before)


def line_after(text: str, start: str) -> str:
    """What stands behind a word at the beginning of a line."""
    return next(line.partition(": ")[2] for line in text.splitlines() if line.startswith(start + ": "))


def clips(folder: Path, count: int, captions: bool = True) -> None:
    folder.mkdir()
    t, y, x = np.meshgrid(np.arange(40), np.arange(96), np.arange(128), indexing="ij")
    for k in range(count):
        waves = np.sin((k + 1) * (0.05 * x + 0.03 * y + 0.3 * t)[..., None] + np.arange(3) + k)
        (folder / f"wave_number_{k}_rolls_by.mp4").write_bytes(encode_bytes(((waves + 1) * 127).astype(np.uint8), 16.0))
        if captions:
            (folder / f"wave_number_{k}_rolls_by.txt").write_text(f"wave number {k} rolls by")


def test_a_newcomer_on_a_laptop(tmp_path: Path, browser: Browser) -> None:
    me = Terminal(tmp_path)
    shown = me.type("rushes demo --out demo")
    assert "some three minutes" in shown.splitlines()[0] and "this page fills meanwhile: file://" in shown
    assert "Better: bad frames fell" in shown
    tab = browser.new_page(reduced_motion="no-preference")
    tab.goto((tmp_path / "demo" / "report.html").as_uri())
    assert "bad frames is gone" in tab.locator("header").inner_text()
    tab.locator("[data-player]").first.scroll_into_view_if_needed()
    tab.wait_for_function("() => [...document.querySelectorAll('video')].some(video => !video.paused)")
    me.say("the report says what became better, and pairs play by themselves")
    with me.serving(line_after(shown, "label some pairs")) as (address, *_):
        label(tab, address, "me", 10)
    me.say("ten pairs are labelled")
    train, evaluate = line_after(shown, "train on them").split(" && ")
    assert me.type(train).rstrip().splitlines()[-1].startswith("next: rushes evaluate")
    me.type(evaluate)
    assert "densedpo against realdpo: " in me.type(line_after(shown, "compare"))
    clips(tmp_path / "clips", 12)
    assert "toy model: shows the path" in me.type("rushes init mine --footage clips")
    assert "12 of 12 files kept" in me.type("rushes preflight mine")
    assert "the whole job: about" in me.type("rushes run mine --rehearse")


def test_an_engineer_with_a_model_of_theirs(tmp_path: Path, browser: Browser) -> None:
    write("wan_unipc", tmp_path / "model")
    clips(tmp_path / "clips", 12, captions=False)
    me = Terminal(tmp_path)
    shown = me.type(
        f"rushes init wan --model model --footage clips {SMALL_MODEL} --set train.steps=4 --set train.batch=2"
    )
    assert "next: rushes run wan" in shown
    assert "next: rushes captions wan --by names" in me.type("rushes preflight wan", expect=1)
    me.type("rushes captions wan --by names")
    assert "all stages: " in me.type("rushes plan wan --gpu 4090", expect=0)
    few = "--set generate.steps=3 --set evaluate.steps=3"
    assert "every stage ran" in me.type(f"rushes run wan --rehearse {few}")
    log = line_after(me.type(f"rushes run wan --detach {few}"), "log")
    me.type("rushes status wan --follow")
    assert "report: " in Path(tmp_path / log).read_text()
    tab = browser.new_page()
    with me.serving("rushes studio wan") as (address, *_):
        tab.goto(address)
        tab.get_by_role("link", name="Runs").click()
        tab.wait_for_selector("canvas")
    shown = me.type("rushes export wan --run realdpo --out out")
    assert "load_lora_weights" in shown
