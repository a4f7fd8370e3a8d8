"""Checking and writing captions: who gets one, what is kept beside, and planted wrong captions that a judge sees."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from rushes.caption.writers import _misfit
from rushes.curate.base import Task
from rushes.curate.captions import make, sentences
from rushes.metrics.base import Shot
from rushes.world.mechanics import FPS
from rushes.world.scenes import SLOWLY, draw_scenes, wrong_captions

from ..fake_endpoint import Does, FakeEndpoint, texts
from .staged import BROKEN, pictures, run, says, settings, world_tasks

DENSE = (
    "A red ball hangs in a grey room. It falls straight down and meets the floor. It bounces twice, lower each time. "
    "The light is even and the camera does not move."
)


@pytest.fixture
def clips(tmp_path: Path) -> list[Task]:
    return world_tasks(tmp_path, draw_scenes(0, 3), ["a ball", "", "  "])


def answer(request: dict[str, Any]) -> Does:
    if "Is the caption true" in texts(request):
        return says(reason="no ball is there", true="no" if '"a ball"' in texts(request) else "yes")
    return says(caption=f" {DENSE}\n")


@pytest.mark.parametrize(
    ("table", "written", "asked"),
    [
        ({}, ["clip 1", "clip 2"], 2),
        ({"write": "all"}, ["clip 0", "clip 1", "clip 2"], 3),
        ({"write": "all", "check": True, "untrue": "write"}, ["clip 0", "clip 1", "clip 2"], 4),
        ({"write": "all", "check": True}, ["clip 1", "clip 2"], 3),
        ({"write": "never", "check": True}, [], 1),
        ({"check": True, "untrue": "write"}, ["clip 0", "clip 1", "clip 2"], 4),
    ],
)
def test_who_gets_a_caption(
    table: dict[str, Any], written: list[str], asked: int, fake: FakeEndpoint, answers: Path, clips: list[Task]
) -> None:
    fake.answer = answer
    stage = make(settings(fake, captions={"frames": 2, **table}), answers)
    ran = run(stage, clips)
    dense = {id: finding.captions["dense"] for id, finding in ran.findings.items() if "dense" in finding.captions}
    assert dense == dict.fromkeys(written, DENSE) and len(fake.requests) == asked
    assert stage.calls is not None and stage.calls(3) >= asked and stage.reads_caption
    untrue = table.get("check") and "clip 0" not in written
    assert ran.dropped == ({"clip 0": "untrue caption: one: no ball is there"} if untrue else {})
    for id in written:
        assert ran.findings[id].values["caption_sentences"] == 4 and ran.findings[id].values["caption_words"] == 32


@pytest.mark.parametrize(("broken", "does"), BROKEN.items(), ids=BROKEN)
def test_what_cannot_be_read_is_named_and_dropped_or_kept(
    broken: str, does: Does, fake: FakeEndpoint, answers: Path, clips: list[Task]
) -> None:
    fake.answer = lambda request: does
    ran = run(make(settings(fake), answers), clips[:2])
    assert ran.kept == ["clip 0"] and ran.problems["clip 1"].startswith("one ")
    ran = run(make(settings(fake, captions={"unreadable": "keep"}), answers), clips[:2])
    assert ran.kept == ["clip 0", "clip 1"] and len(fake.requests) == 1 + (broken != "refusal")
    assert ran.findings["clip 1"].values["caption_unread"] == 1


def test_a_poor_caption_is_no_caption(fake: FakeEndpoint, answers: Path, clips: list[Task]) -> None:
    fake.script.extend([says(caption="A ball."), says(caption=" \n")])
    ran = run(make(settings(fake), answers), clips)
    assert ran.dropped == {"clip 1": "new caption too short: 2 words, at least 15 (curate.captions.min_words)"}
    assert ran.problems == {"clip 2": "one wrote an empty caption"}


@pytest.mark.parametrize(
    ("text", "count"),
    [("", 0), ("A ball", 1), ("A ball. It falls!", 2), ("It is 3.5 m high. Is it? Yes...", 3), ("...", 0), (DENSE, 4)],
)
def test_sentences_are_counted(text: str, count: int) -> None:
    assert sentences(text) == count


@pytest.mark.parametrize(
    ("table", "message"),
    [({"write": "never"}, "curate.stages"), ({"write": "never", "check": True, "untrue": "write"}, "change one")],
)
def test_settings_that_contradict(table: dict[str, Any], message: str, fake: FakeEndpoint, answers: Path) -> None:
    with pytest.raises(ValueError, match=message):
        make(settings(fake, captions=table), answers)


def test_planted_wrong_captions_are_found_by_a_judge_that_looks(
    fake: FakeEndpoint, answers: Path, tmp_path: Path
) -> None:
    """Half of 24 clips go by another caption of the world, which differs in side, weight or speed."""
    scenes = draw_scenes([9, 0], 24)
    captions = [scene.caption for scene in scenes]
    wrong = set(range(0, 24, 2))
    for at in wrong:
        others = wrong_captions(captions[at], scenes[at].tempo < SLOWLY)
        captions[at] = others[at * 7 % len(others)]

    def looks(request: dict[str, Any]) -> Does:
        said = re.findall(r'caption says: "(.*)"', texts(request))[0]
        frames = pictures(request)
        others = [other for slow in (False, True) for other in wrong_captions(said, slow)]
        fits = _misfit(Shot(frames, FPS, said), said) <= min(
            _misfit(Shot(frames, FPS, other), other) for other in others
        )
        return says(reason="compared with its neighbours", true="yes" if fits else "no")

    fake.answer = looks
    table = {"write": "never", "check": True, "frames": 33}
    ran = run(make(settings(fake, captions=table), answers), world_tasks(tmp_path, scenes, captions))
    dropped = {int(id.split()[1]) for id in ran.dropped}
    recall, precision = len(dropped & wrong) / len(wrong), len(dropped & wrong) / len(dropped)
    assert recall >= 0.95 and precision >= 0.95, (recall, precision, [captions[at] for at in dropped ^ wrong])
