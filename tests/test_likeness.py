from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rushes import likeness
from rushes.media.write import write_video
from rushes.records import Candidate, Clip
from rushes.store.database import Store
from rushes.world.mechanics import FPS
from rushes.world.render import render
from rushes.world.scenes import draw_scenes


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.create(tmp_path / "project") as opened:
        yield opened


def put(store: Store, frames: np.ndarray, fps: float = FPS) -> str:
    path = store.project / "clip.mp4"
    write_video(path, frames, fps, scale=2)
    return store.put_media(path)


@pytest.fixture
def clip(store: Store) -> Clip:
    return Clip("clip", put(store, render(draw_scenes(0, 1, frames=17)[0])), "a ball", 128, 128, 17, FPS, "world")


def take(store: Store, name: str, frames: np.ndarray) -> Candidate:
    size = (128, 128, len(frames), FPS)
    return Candidate(name, put(store, frames), "a ball", "take", "clip", "clip", "base", "w", 0, *size)


def test_the_more_alike_the_higher(store: Store, clip: Clip) -> None:
    frames = render(draw_scenes(0, 1, frames=17)[0])
    rng = np.random.default_rng(0)
    takes = [
        take(store, "itself", frames),
        take(store, "grain", np.clip(frames + rng.normal(0, 10, frames.shape), 0, 255).astype(np.uint8)),
        take(store, "late", np.concatenate([frames[:1], frames[:-1]])),
        take(store, "stuck", np.repeat(frames[:1], 17, 0)),
        take(store, "other", render(draw_scenes(9, 6, frames=17)[5])),
    ]
    likeness.measure(store, takes, {"clip": clip}, "crop")
    scores = store.scores(metric=likeness.LIKENESS)
    values = [score.value for score in scores]
    assert [score.subject for score in scores] == [one.id for one in takes]
    assert values == sorted(values, reverse=True) and values[0] > 0.995 and values[-1] < values[1] - 0.05


def test_each_is_measured_once_and_others_not_at_all(store: Store, clip: Clip) -> None:
    takes = [
        take(store, "one", render(draw_scenes(0, 1, frames=17)[0])),
        take(store, "two", render(draw_scenes(1, 1, frames=17)[0])),
    ]
    stray = replace(takes[0], id="stray", clip_id="nobody")
    assert likeness.unmeasured(store, [*takes, stray], {"clip": clip}) == takes
    likeness.measure(store, takes[:1], {"clip": clip}, "crop")
    assert likeness.unmeasured(store, [*takes, stray], {"clip": clip}) == takes[1:]


def test_a_longer_and_faster_real_clip_is_compared_by_time(store: Store) -> None:
    frames = render(draw_scenes(0, 1, frames=33)[0])
    twice = put(store, frames.repeat(2, 0)[:-1], 2 * FPS)
    long = Clip("clip", twice, "a ball", 128, 128, 65, 2 * FPS, "world")
    likeness.measure(store, [take(store, "start", frames[:17])], {"clip": long}, "crop")
    assert store.scores()[0].value > 0.995
