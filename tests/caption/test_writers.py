from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rushes.caption.writers import by_model, by_rules, by_world
from rushes.config.model_endpoint import EndpointSettings
from rushes.judges.base import evenly
from rushes.judges.endpoint import ChatEndpoint
from rushes.metrics.base import Shot
from rushes.world.mechanics import FPS
from rushes.world.render import render
from rushes.world.scenes import KINDS, SIDES, SLOWLY, draw_scenes, read_wording, wrong_captions

from ..fake_endpoint import Does, FakeEndpoint, serve, texts


def shot(kind: str, seed: int = 0, caption: str = "") -> Shot:
    scene = draw_scenes(seed, 1, [kind])[0]
    return Shot(render(scene), FPS, caption or scene.caption)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["throw", "roll", "swing"])
def test_the_world_says_to_which_side_the_take_goes(kind: str, seed: int) -> None:
    """Take and clip are of one tempo and differ in their side alone: the side is what is wrong."""
    take = shot(kind, seed)
    wording = read_wording(take.caption)
    true = replace(wording, side=SIDES[wording.side == SIDES[0]], slow=None)
    real = shot(kind, seed, true.text)
    assert by_world().write(true.text, real, take, 0) == replace(true, side=wording.side).text


def test_the_world_says_how_fast_the_take_goes() -> None:
    """The caption of a clip that says nothing of its tempo gets the word for the other one."""
    scenes = draw_scenes(2, 12, ["drop"], worded=0.0)
    slow, quick = (sorted(scenes, key=lambda scene: scene.tempo)[at] for at in (0, -1))
    clips = [Shot(render(scene), FPS, scene.caption) for scene in (slow, quick)]
    assert by_world().write(slow.caption, clips[0], clips[1], 0) == "a ball drops and bounces, quickly"
    assert by_world().write(quick.caption, clips[1], clips[0], 0) == "a ball drops and bounces, slowly"


@pytest.mark.parametrize("kind", KINDS)
def test_a_true_take_gets_a_caption_that_is_wrong_in_one_respect(kind: str) -> None:
    take = shot(kind)
    slow = draw_scenes(0, 1, [kind])[0].tempo < SLOWLY
    assert by_world().write(take.caption, take, take, 0) in wrong_captions(take.caption, slow)


def test_rules_need_no_video() -> None:
    assert not by_rules().sees and by_rules().write("a ball falls", None, None, 1) == "a ball rises"


def test_frames_are_spread_from_first_to_last() -> None:
    frames = np.arange(9, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    assert [int(f[0, 0, 0]) for f in evenly(frames, 3)] == [1, 4, 7]
    assert len(evenly(frames[:2], 4)) == 2


@pytest.fixture
def fake() -> Iterator[FakeEndpoint]:
    with serve(FakeEndpoint()) as running:
        yield running


def ask(fake: FakeEndpoint, tmp_path: Path, faults: Sequence[str] = ()) -> str:
    settings = EndpointSettings(url=fake.url, model="m", timeout_s=5.0)
    with closing(ChatEndpoint(settings, tmp_path / "answers.db")) as endpoint:
        writer = by_model(endpoint, 3)
        assert writer.sees and writer.name == "model m"
        return writer.write("a ball falls", shot("drop"), shot("throw"), 0, faults)


def test_the_model_sees_both_clips_and_the_caption(fake: FakeEndpoint, tmp_path: Path) -> None:
    fake.script.append(Does(json.dumps({"caption": " a ball \n rises "})))
    assert ask(fake, tmp_path) == "a ball rises"
    (request,) = fake.requests
    parts: list[dict[str, Any]] = request["messages"][-1]["content"]
    assert [part["type"] for part in parts] == ["text", *["image_url"] * 3, "text", *["image_url"] * 3, "text"]
    images = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    assert len(set(images)) == 6
    assert "real video" in parts[0]["text"] and "generated video" in parts[4]["text"]
    assert "\na ball falls\n" in texts(request) and "People who" not in texts(request)
    fake.script.append(Does(json.dumps({"caption": "a ball flickers"})))
    assert ask(fake, tmp_path, ["flicker", "hand"]) == "a ball flickers"
    assert "found this wrong with it: flicker, hand." in texts(fake.requests[1])


@pytest.mark.parametrize("content", ["I cannot", '{"text": "a ball rises"}', '{"caption": 3}'])
def test_an_answer_that_is_none_is_no_caption(content: str, fake: FakeEndpoint, tmp_path: Path) -> None:
    fake.script.append(Does(content))
    assert ask(fake, tmp_path) == ""
