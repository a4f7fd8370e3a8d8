"""Five tasks of somebody who has read the README and no other page, typed and clicked: how many strokes each takes.

`pytest tests/web/test_five_tasks.py --all -s` prints the strokes and the seconds of each.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rushes.project import demo
from rushes.project.presets import tiny_train
from rushes.store.database import Store
from rushes.training.recipe import load_recipe

from ..projects import Rushes
from .conftest import NewTab

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.whole]

SECONDS = 120  # that a task may take a person; a script types faster, so strokes are what is held low
STEPS, LIVE_STEPS = 6, 400  # of the demo's run; of the one that is watched, as long as a few looks of the page


@dataclass
class Hand:
    """Clicks and types as a person does; a click, a key and a command that is pasted are a stroke each."""

    tab: Page
    strokes: int = 0

    def click(self, selector: str) -> None:
        self.strokes += 1
        self.tab.click(selector)

    def keys(self, keys: str) -> None:
        for key in keys.split():
            self.strokes += 1
            self.tab.keyboard.press(key)

    @contextmanager
    def task(self, name: str, at_most: int) -> Iterator[None]:
        """Count what a task takes; more strokes than this fail."""
        self.strokes, began = 0, time.monotonic()
        yield
        seconds = time.monotonic() - began
        print(f"{name}: {self.strokes} strokes, {seconds:.1f} s")
        assert self.strokes <= at_most, f"{name} took {self.strokes} strokes"
        assert seconds < SECONDS


@contextmanager
def terminal(command: str) -> Iterator[subprocess.Popen[str]]:
    """A command as the product printed it, in a terminal of its own, which is closed at the end."""
    words = [sys.executable, "-m", *command.split()]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.communicate()


def demo_project(out: Path, rushes: Rushes, monkeypatch: pytest.MonkeyPatch) -> str:
    """What `rushes demo` prints at its end, with few clips and steps."""
    short = tiny_train(demo.RECIPE, load_recipe(demo.RECIPE)).model_copy(update={"steps": STEPS, "batch": 2})
    monkeypatch.setattr(demo, "CLIPS", 6)
    monkeypatch.setattr(demo, "PROMPTS", 4)
    monkeypatch.setattr(demo, "tiny_train", lambda name, recipe: short)
    code, printed, err = rushes("demo", "--out", out)
    assert code == 0, err
    return printed


def ready(tab: Page) -> None:
    """Wait for a pair with nothing marked and nothing under way."""
    tab.wait_for_selector("#work[aria-busy=false]:visible, #work:not([aria-busy]):visible")
    tab.wait_for_selector(".cell[data-mark]", state="detached")


def test_a_newcomer_finds_everything(
    tmp_path: Path, rushes: Rushes, monkeypatch: pytest.MonkeyPatch, tab_of: NewTab
) -> None:
    printed = demo_project(tmp_path, rushes, monkeypatch)
    command = printed.rpartition("next: ")[2].strip()
    project = command.removeprefix("rushes studio ")
    began = time.monotonic()
    with terminal(f"{command} --port 0") as studio:
        assert studio.stderr is not None
        address = next(match[0] for line in studio.stderr if (match := re.search(r"http://[^\s;]+", line)))
        tab = tab_of(address, expected="status of 4")
        tab.wait_for_selector("#command:has-text('rushes')")
        print(f"open the demo's project: 2 strokes, the command and the address, {time.monotonic() - began:.1f} s")
        hand = Hand(tab)
        with hand.task("label three pairs", at_most=20):
            label_three(hand)
        with hand.task("correct the second", at_most=4):
            correct_the_second(hand)
        watch_a_run(hand, project)
        with hand.task("find the report", at_most=1):
            hand.click("nav >> text=Report")
            tab.frame_locator("#report-frame").locator("h1, h2").first.wait_for()
    with Store.open(Path(project)) as store:
        marks = [row.labels for row in store.preferences() if row.judge == "human:ada"]
    assert len(marks) == 3 and [set(row) for row in marks].count({0}) == 1


def label_three(hand: Hand) -> None:
    """By the keys that the welcome names, by the whole clip, and by mouse."""
    tab = hand.tab
    hand.click("nav >> text=Label")
    tab.wait_for_selector("#name:focus")
    hand.keys("a d a Enter")
    ready(tab)
    hand.keys("a b a b Enter")
    ready(tab)
    hand.keys("Shift+B Enter")
    ready(tab)
    for button in ("#whole", "footer [data-mark='1']", "#save"):
        hand.click(button)
    tab.wait_for_function("() => document.querySelector('#count').textContent.startsWith('3 of')")


def correct_the_second(hand: Hand) -> None:
    """It was not B: neither is better."""
    ready(hand.tab)
    hand.click("text=My labels")
    hand.click("#mine-list li:nth-child(2) button")
    hand.tab.wait_for_function("() => document.querySelector('.cell').dataset.mark")
    hand.keys("Shift+T Enter")
    ready(hand.tab)


def watch_a_run(hand: Hand, project: str) -> None:
    """The README's command in another terminal; its steps come to the page by themselves."""
    first = "#runs tbody tr:has(input[data-run=again])"
    with terminal(f"rushes train {project} --set train.name=again --set train.steps={LIVE_STEPS}") as training:
        with hand.task("watch a run live", at_most=2):
            hand.strokes += 1  # the command
            hand.click("nav >> text=Runs")
            hand.tab.wait_for_selector(f"{first}:has-text('training')", timeout=60_000)
            hand.tab.wait_for_selector(f"{first} td >> text=/^[1-9]/", timeout=60_000)
        assert training.stderr is not None
        training.stderr.read()  # until it is done
    hand.tab.wait_for_selector(f"{first}:has-text('{LIVE_STEPS} of {LIVE_STEPS}')", timeout=30_000)
