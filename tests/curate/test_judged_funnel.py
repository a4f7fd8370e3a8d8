"""The stages that ask models, in the funnel: what is stored, what is asked again, an outage half-way."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rushes.config.curate import StageName
from rushes.curate import engines, funnel
from rushes.curate.base import make_stage
from rushes.curate.summary import Funnel
from rushes.judges.endpoint import EndpointError
from rushes.media.write import write_video
from rushes.progress import Tick, no_tick
from rushes.records import Clip
from rushes.store.database import Store
from rushes.world.mechanics import FPS, FRAMES, SIZE_PX
from rushes.world.render import render
from rushes.world.scenes import draw_scenes

from ..fake_endpoint import Does, FakeEndpoint, texts
from .staged import says, settings
from .test_fidelity import evolved

STAGES: tuple[StageName, ...] = ("reality", "captions", "dynamics", "fidelity", "diversity", "balance")
TABLES: dict[str, Any] = {
    "reality": {"second": {"model": "two"}, "frames": 3},
    "captions": {"write": "all", "frames": 3},
    "fidelity": {"keep": "top_k", "top_k": 7},
    "balance": {"topics": {"fall": ["falls"], "other ways": ["thrown", "collide", "swings", "waves"]}, "most": 3},
}


@contextmanager
def bar(what: str, count: int) -> Iterator[Tick]:
    yield no_tick


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.create(tmp_path / "project") as made:
        for at, scene in enumerate(draw_scenes([2, 0], 12)):
            write_video(tmp_path / f"{at}.mp4", render(scene), FPS, scale=2)
            media = made.put_media(tmp_path / f"{at}.mp4")
            made.add([Clip(f"clip {at:02}", media, scene.caption, SIZE_PX * 2, SIZE_PX * 2, FRAMES, FPS, f"{at}.mp4")])
        yield made


def pass_all(store: Store, fake: FakeEndpoint, stages: Sequence[StageName] = STAGES, **more: Any) -> Funnel:
    chosen = settings(fake, **TABLES, **more)
    made = [make_stage(name, chosen, store.project / "answers.db") for name in stages]
    return funnel.run(store, made, engines.local(1), bar, settings="s")


def number(request: dict[str, Any]) -> int:
    """The same for all questions about a clip's frames, and another for each clip."""
    images = [part["image_url"]["url"] for part in request["messages"][-1]["content"] if "image_url" in part]
    return zlib.crc32("".join(images).encode())


def answer(request: dict[str, Any]) -> Does:
    text = texts(request)
    if "Which kind of footage" in text:
        return says(reason="grain", footage="game" if number(request) % 4 == (request["model"] == "two") else "real")
    if "Describe the clip" in text:
        way = ("falls", "is thrown", "swings")[number(request) % 3]
        seen = f"Object {number(request)} {way} in a grey room. It was seen {number(request) % 97} times."
        return says(caption=f"{seen} Light comes from all sides and the camera rests.")
    if "hard motion" in text:
        return says(reason="it moves", dynamic="yes" if "falls" in text or "thrown" in text else "no")
    score = 1 + sum(map(ord, text.partition("Object ")[2][:6])) % 5
    return evolved(request, [[score] * n for n in (6, 6, 5)])


def test_all_stages_and_then_nothing_is_asked_again(store: Store, fake: FakeEndpoint, answers: Path) -> None:
    fake.answer = answer
    done = pass_all(store, fake)
    assert [p.stage for p in done.passages] == list(STAGES) and done.entered == 12 and 0 < done.kept < 12
    assert all(before.kept == after.entered for before, after in zip(done.passages, done.passages[1:], strict=False))
    kept = store.clips()
    assert len(kept) == done.kept and all(clip.caption.startswith("Object ") for clip in kept)
    assert all(clip.caption.startswith("a ") for clip in store.clips(dropped=True))  # their own are still there
    assert len(store.captions("evolved")) == done.passages[3].entered
    said = {caption.subject: caption.text for caption in store.captions("verdict") if "judge" in caption.text}
    assert len(said) == 12  # what each judge said of each clip
    totals = store.scores(metric="curate/fidelity/fidelity")
    assert len(totals) == done.passages[3].entered and all(score.value in (1, 8, 27, 64, 125) for score in totals)
    asked = len(fake.requests)
    again = pass_all(store, fake)
    assert len(fake.requests) == asked and again.decided == 0 and again.kept == done.kept


def test_an_outage_half_way_stops_and_the_end_is_the_same(
    store: Store, fake: FakeEndpoint, answers: Path, quick: None
) -> None:
    fake.answer = lambda request: answer(request) if len(fake.requests) <= 37 else Does(status=503)
    with pytest.raises(EndpointError, match="run the same command again"):
        pass_all(store, fake)
    assert len(store.clips()) == 12  # nothing is decided by half a funnel
    refused = sum(1 for _ in fake.requests[37:])
    fake.answer = answer
    done = pass_all(store, fake)
    distinct = {json.dumps(request, sort_keys=True) for request in fake.requests}
    assert len(fake.requests) - refused == len(distinct)  # what was answered was asked for once
    assert done.kept == len(store.clips()) and 0 < done.kept < 12


def test_a_stage_whose_model_is_down_is_skipped_only_when_asked(
    store: Store, fake: FakeEndpoint, answers: Path, quick: None
) -> None:
    fake.answer = lambda request: Does(status=503) if request["model"] == "two" else answer(request)
    done = pass_all(store, fake, ("reality", "captions"), when_down="skip")
    reality, captions = done.passages
    assert "503" in reality.skipped and reality.kept == 12 and captions.entered == 12 and not captions.skipped


def test_another_caption_is_read_anew_and_a_changed_threshold_is_not(
    store: Store, fake: FakeEndpoint, answers: Path
) -> None:
    fake.answer = answer
    pass_all(store, fake, ("fidelity",))
    captions = {clip.caption for clip in store.clips(dropped=True)}
    assert len(fake.requests) == 3 * len(captions)  # equal captions are asked about once
    chosen = settings(fake, **{**TABLES, "fidelity": {"keep": "top_k", "top_k": 2}})
    stage = make_stage("fidelity", chosen, store.project / "answers.db")
    assert funnel.run(store, [stage], engines.local(1), bar, settings="t").kept == 2
    assert len(fake.requests) == 3 * len(captions)
    pass_all(store, fake, ("captions", "fidelity"))
    assert len(fake.requests) == 3 * len(captions) + 12 + 36
