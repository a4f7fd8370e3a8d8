from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rushes.caption.writers import by_model, by_rules, by_world
from rushes.config.model_endpoint import EndpointSettings
from rushes.judges.base import evenly
from rushes.judges.endpoint import ChatEndpoint
from rushes.metrics.base import Shot
from rushes.world.render import render
from rushes.world.scenes import CAPTIONS, FPS, draw_scenes, other_captions, read_caption

from ..fake_endpoint import Does, FakeEndpoint, serve, texts


def shot(kind: str, seed: int = 0, caption: str = "") -> Shot:
    scene = draw_scenes(seed, 1, [kind])[0]
    return Shot(render(scene), FPS, caption or scene.caption)


def test_other_captions_differ_in_one_respect() -> None:
    others = other_captions("a red ball falls and bounces")
    assert len(others) == len(set(others)) == 5 + 3 and "a red ball falls and bounces" not in others
    assert {"a blue ball falls and bounces", "a red ball is thrown to the left"} < set(others)
    assert "a red ball and a blue ball collide" in other_captions("a red ball and a green ball collide")
    assert all(caption in other_captions(other) for caption in CAPTIONS for other in other_captions(caption))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["left", "right", "fall", "swing"])
def test_the_world_says_what_the_take_shows(kind: str, seed: int) -> None:
    """A take that shows another of the world's motions under a caption gets the caption of what it shows."""
    take = shot(kind, seed)
    _, colours = read_caption(take.caption)
    for told in {"left", "right", "swing"} - {kind}:
        caption = next(c for c, what in CAPTIONS.items() if what == (told, colours))
        wrong = by_world().write(caption, None, take, 0)
        assert read_caption(wrong) == (kind, colours)


@pytest.mark.parametrize("seed", range(3))
def test_the_world_names_the_colour_that_is_seen(seed: int) -> None:
    take = shot("swing", seed)
    true = "magenta" if "magenta" not in take.caption else "cyan"
    assert by_world().write(f"a {true} ball swings on a rope", None, take, 0) == take.caption


def test_a_true_take_gets_a_caption_that_is_wrong_in_one_respect() -> None:
    for kind in ("fall", "collide", "wave"):
        take = shot(kind)
        wrong = by_world().write(take.caption, None, take, 0)
        assert wrong in other_captions(take.caption)


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
        return writer.write("a ball falls", shot("fall"), shot("left"), 0, faults)


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
