"""The first hour of two people, typed into a terminal and clicked in a browser; each step prints its minutes.

python -m pytest --all tests/journeys -s
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ..backbones.tiny_pipelines import write
from .terminal import Terminal, clips, line_after, shot

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.slow, pytest.mark.whole, pytest.mark.timeout(7200)]
SMALL_MODEL = "--size 32x32 --frames 5"  # what two cores can do with random weights of Wan's class


def label(tab: Page, address: str, name: str, pairs: int) -> None:
    """Open the labelling page by an address, and label so many pairs by keyboard."""
    tab.goto(address)
    if name:
        tab.locator("#name").fill(name)
        tab.keyboard.press("Enter")
    tab.locator("#work").wait_for()
    done, began = 0, time.monotonic()
    while done < pairs:
        tab.keyboard.press("Shift+A" if done % 3 else "Shift+B")
        tab.keyboard.press("Enter")  # of no effect while the next pair is on its way
        tab.wait_for_timeout(500)
        done = int(re.findall(r"\d+", tab.locator("#count").inner_text())[0])
        assert time.monotonic() - began < 60 * pairs, f"{done} of {pairs} pairs are labelled"


def test_a_newcomer_on_a_laptop(tmp_path: Path, browser: Browser) -> None:
    me = Terminal(tmp_path)
    shown = me.type("rushes demo --out demo")
    assert "about three minutes" in shown.splitlines()[0] and "this page fills meanwhile: file://" in shown
    assert "Better: lost dots fell" in shown
    tab = browser.new_page(reduced_motion="no-preference")
    tab.goto((tmp_path / "demo" / "report.html").as_uri())
    assert "lost dots are gone" in tab.locator("header").inner_text()
    tab.locator("[data-player]").first.scroll_into_view_if_needed()
    tab.wait_for_function("() => [...document.querySelectorAll('video')].some(video => !video.paused)")
    me.say("the report says what became better, and pairs play by themselves")
    with me.serving(line_after(shown, "label some pairs")) as page:
        label(tab, page.addresses[0], "me", 10)
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
    assert "next: rushes preflight wan" in shown
    assert "next: rushes captions wan --by names" in me.type("rushes preflight wan", expect=1)
    me.type("rushes captions wan --by names")
    assert "all stages: " in me.type("rushes plan wan --gpu 4090", expect=0)
    few = "--set generate.steps=3 --set evaluate.steps=3"
    assert "every stage ran" in me.type(f"rushes run wan --rehearse {few}")
    log = line_after(me.type(f"rushes run wan --detach {few}"), "log")
    me.type("rushes status wan --follow")
    assert "report: " in Path(tmp_path / log).read_text()
    tab = browser.new_page()
    with me.serving("rushes studio wan") as page:
        tab.goto(page.addresses[0])
        tab.click("nav >> text=Footage")
        tab.click("text=Contact sheet")
        tab.wait_for_function("() => document.querySelectorAll('#sheet img').length === 12")
        assert tab.locator("#sheet .keeps").count() == 12  # 4:3 footage, of which the square model keeps the middle
        assert set(tab.locator("#sheet .lost").all_inner_texts()) == {"crop 25 %"}
        shot(tab, "b-contact-sheet")
        me.say("the contact sheet shows what the crop keeps of 12 clips")
        tab.click("nav >> text=Runs")
        tab.wait_for_selector("canvas")
    shown = me.type("rushes export wan --run realdpo --out out")
    assert "load_lora_weights" in shown
