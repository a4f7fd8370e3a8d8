"""A vision-language model as a judge, against a scripted endpoint: honest, biased, refusing, broken."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from rushes.config.model_endpoint import EndpointSettings
from rushes.judges.base import sampled
from rushes.judges.endpoint import ChatEndpoint, EndpointError
from rushes.judges.protocols import PROMPTS, Prompt
from rushes.judges.vlm import AnswerCounts, VisionJudge, parts_of, rating_judge
from rushes.metrics.base import Shot

from ..fake_endpoint import Does, FakeEndpoint, serve

BRIGHT, DARK = 200, 60
Make = Callable[..., VisionJudge]


def shot(*levels: int, caption: str = "a cat") -> Shot:
    """Seconds of grey, four frames each."""
    frames = np.repeat(np.array(levels, np.uint8), 4)[:, None, None, None]
    return Shot(np.broadcast_to(frames, (4 * len(levels), 32, 32, 3)).copy(), 4.0, caption)


def brightness(request: dict[str, Any]) -> list[float]:
    """Mean grey level of each clip in a request, in the order shown."""
    clips: list[list[float]] = [[]]
    for part in request["messages"][-1]["content"]:
        if part["type"] == "text":
            clips.append([])
        else:
            data = np.frombuffer(base64.b64decode(part["image_url"]["url"].partition(",")[2]), np.uint8)
            image = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
            assert image is not None
            clips[-1].append(float(image.mean()))
    return [float(np.mean(clip)) for clip in clips if clip]


def choice(name: str) -> Does:
    return Does(json.dumps({"reason": "seen", "choice": name}))


def honest(request: dict[str, Any]) -> Does:
    first, second = brightness(request)
    return choice("tie" if abs(first - second) < 10 else "first" if first > second else "second")


@pytest.fixture
def fake() -> Iterator[FakeEndpoint]:
    with serve(FakeEndpoint(honest)) as running:
        yield running


@pytest.fixture
def make(fake: FakeEndpoint, tmp_path: Path) -> Iterator[Make]:
    made: list[ChatEndpoint] = []

    def build(prompt: str = "artefacts", frames_per_s: float = 2.0, **changes: Any) -> VisionJudge:
        settings = EndpointSettings.model_validate({"url": fake.url, "model": "m", "timeout_s": 5.0, **changes})
        made.append(ChatEndpoint(settings, tmp_path / "answers.db"))
        return VisionJudge(made[-1], PROMPTS[prompt], frames_per_s)

    yield build
    for endpoint in made:
        endpoint.close()


def test_each_segment_is_asked_in_both_orders(fake: FakeEndpoint, make: Make) -> None:
    found = make().compare(shot(BRIGHT, DARK, DARK), shot(DARK, BRIGHT + 8, DARK + 4), 1.0)
    assert found.labels == (1, -1, 0) and found.by_slot == (1, -1, 0, -1, 1, 0)
    assert found.unjudged == () and found.strength is None
    assert len(fake.requests) == 6
    images = [part for part in fake.requests[0]["messages"][0]["content"] if part["type"] == "image_url"]
    assert len(images) == 4  # two clips, one second at two frames a second


def test_a_whole_clip_is_one_question_in_two_orders(fake: FakeEndpoint, make: Make) -> None:
    assert make().compare(shot(BRIGHT, DARK), shot(DARK, DARK), None).labels == (1,)
    assert len(fake.requests) == 2


def test_exchanging_the_clips_flips_the_labels_and_costs_nothing(fake: FakeEndpoint, make: Make) -> None:
    judge, left, right = make(), shot(BRIGHT, DARK), shot(DARK, DARK)
    there, back = judge.compare(left, right, 1.0), judge.compare(right, left, 1.0)
    assert back.labels == tuple(-label for label in there.labels)
    assert len(fake.requests) == 3  # the second segments are alike, so both orders are one question


@pytest.mark.parametrize(("slot", "name"), [(1, "first"), (-1, "second")])
def test_a_liking_for_one_place_gives_ties_and_shows(slot: int, name: str, fake: FakeEndpoint, make: Make) -> None:
    fake.answer = lambda request: choice(name)
    found = make().compare(shot(BRIGHT, DARK), shot(DARK, BRIGHT), 1.0)
    assert found.labels == (0, 0) and found.by_slot == (slot,) * 4 and found.unjudged == ()


def test_what_cannot_be_read_is_unjudged_and_counted(fake: FakeEndpoint, make: Make) -> None:
    def moody(request: dict[str, Any]) -> Does:
        first, second = brightness(request)
        if (first + second) / 2 > 180:
            return Does(refusal="no")
        return Does("hm") if first > second else choice("second")

    fake.answer = moody
    judge = make()
    found = judge.compare(shot(BRIGHT, BRIGHT, DARK), shot(BRIGHT, DARK, DARK), 1.0)
    assert found.labels == (0, 0, 0) and found.unjudged == (0, 1)
    facts = judge.account.facts()
    assert facts["refused"] == 2 and facts["not JSON"] == 1 and facts["answered"] == 3


def test_the_caption_is_asked_about_only_where_it_matters(fake: FakeEndpoint, make: Make) -> None:
    for prompt, told in (("artefacts", False), ("physics", True)):
        fake.requests.clear()
        make(prompt).compare(shot(BRIGHT, caption='a "{cat}"'), shot(DARK), None)
        assert ('a "{cat}"' in json.dumps(fake.requests[0], ensure_ascii=False).replace('\\"', '"')) is told


def test_the_name_changes_with_every_word_of_the_prompt(make: Make) -> None:
    name = make().name
    assert name.startswith("vlm:m:artefacts.1@") and make("physics").name != name != make(model="n").name
    prompt = PROMPTS["artefacts"]
    assert Prompt("artefacts", 1, prompt.text + " ").signature != prompt.signature
    assert len({prompt.signature for prompt in PROMPTS.values()}) == len(PROMPTS)


def test_a_stopped_comparison_goes_on_where_it_was(fake: FakeEndpoint, make: Make) -> None:
    left, right = shot(BRIGHT, DARK, DARK), shot(DARK, BRIGHT + 4, DARK + 4)
    with pytest.raises(EndpointError, match="max_calls"):
        make(max_calls=4, parallel=1).compare(left, right, 1.0)
    assert len(fake.requests) == 4
    assert make(max_calls=6, parallel=1).compare(left, right, 1.0).labels == (1, -1, 0)
    assert len(fake.requests) == 6


def test_clips_of_unequal_length_are_refused(make: Make) -> None:
    with pytest.raises(ValueError, match="clips of 2 and 3 segments"):
        make().compare(shot(1, 2), shot(1, 2, 3), 1.0)


def test_ratings_prefer_the_higher_mean_and_miss_where_an_answer_is_missing(fake: FakeEndpoint, make: Make) -> None:
    def points(request: dict[str, Any]) -> Does:
        (level,) = brightness(request)
        return Does("no idea") if level < 30 else Does(json.dumps({"answers": [round(level / 25)] * 5}))

    fake.answer = points
    account = AnswerCounts()
    judge = rating_judge(make().endpoint, PROMPTS["realdpo"], 2.0, 0.5, account)
    found = judge.compare(shot(BRIGHT, DARK, 10), shot(DARK, DARK, DARK), 1.0)
    assert found.labels == (1, 0, 0) and found.unjudged == (2,)
    assert judge.rate(shot(BRIGHT)) == pytest.approx(8.0)
    assert account.facts()["unreadable"] == 4 and judge.name.startswith("vlm:m:realdpo.2@")


def test_parts_cover_the_clip_and_the_last_takes_the_rest() -> None:
    clip = Shot(np.zeros((17, 32, 32, 3), np.uint8), 8.0)
    assert [len(part) for part in parts_of(clip, 1.0)] == [8, 9]
    assert [len(part) for part in parts_of(clip, 0.5)] == [4, 4, 4, 5]
    assert [len(part) for part in parts_of(clip, None)] == [len(part) for part in parts_of(clip, 9.0)] == [17]


def test_sampled_frames_are_evenly_spaced_and_at_least_one() -> None:
    frames = np.arange(24, dtype=np.uint8)[:, None, None, None] * np.ones((1, 32, 32, 3), np.uint8)
    assert [int(frame[0, 0, 0]) for frame in sampled(frames, 24.0, 8.0)] == [1, 4, 7, 10, 13, 16, 19, 22]
    assert len(sampled(frames[:3], 24.0, 1.0)) == 1 and len(sampled(frames, 24.0, 99.0)) == 24
