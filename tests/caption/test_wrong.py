"""Wrong captions are rows: one for each clip or take, written once, each of them signed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from rushes.caption.writers import Writer, by_rules, by_world
from rushes.caption.wrong import wanted, write_wrong
from rushes.media.write import write_video
from rushes.metrics.base import Shot
from rushes.records import Candidate, Clip
from rushes.store.database import Store
from rushes.world.mechanics import FPS, FRAMES
from rushes.world.render import render
from rushes.world.scenes import draw_scenes, wrong_captions


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.create(tmp_path / "project") as made:
        yield made


@pytest.fixture
def clips(store: Store) -> list[Clip]:
    """Two clips of the world; each is also the media of two takes."""
    made = []
    for k, scene in enumerate(draw_scenes(1, 2, ["drop", "swing"])):
        path = store.project / f"{k}.mp4"
        write_video(path, render(scene), FPS, scale=2)
        made.append(Clip(f"clip {k}", store.put_media(path), scene.caption, 128, 128, FRAMES, FPS, "world"))
    store.add(made)
    return made


def takes_of(clips: list[Clip]) -> dict[str, list[Candidate]]:
    def take(clip: Clip, k: int) -> Candidate:
        size = (128, 128, FRAMES, FPS)
        return Candidate(f"{clip.id}.{k}", clip.media, clip.caption, "take", clip.id, clip.id, "base", "w", k, *size)

    return {clip.id: [take(clip, k) for k in range(2)] for clip in clips}


def test_who_sees_writes_about_each_take_and_who_does_not_about_each_clip(clips: list[Clip]) -> None:
    takes = takes_of(clips)
    assert wanted(clips, takes, by_rules()) == [(clip, None) for clip in clips]
    assert wanted(clips, takes, by_world()) == [(clip, take) for clip in clips for take in takes[clip.id]]
    assert wanted(clips, {"clip 1": takes["clip 1"][:1]}, by_world()) == [(clips[1], takes["clip 1"][0])]


def test_rows_say_what_they_are_about_and_are_written_once(store: Store, clips: list[Clip]) -> None:
    pairs = wanted(clips, takes_of(clips), by_world())
    assert write_wrong(store, by_world(), pairs, settings_hash="s") == {"written": 4}
    rows = store.captions("wrong")
    assert [(row.subject, row.about) for row in rows] == [(clip.id, take.id) for clip, take in pairs if take]
    assert {(row.made_by, row.settings_hash) for row in rows} == {("world", "s")}
    others = {clip.id: [w for slow in (True, False) for w in wrong_captions(clip.caption, slow)] for clip in clips}
    assert all(row.text in others[row.subject] for row in rows)
    assert write_wrong(store, by_world(), pairs, settings_hash="s") == {"there": 4}
    assert write_wrong(store, by_rules(), wanted(clips, {}, by_rules()), settings_hash="s") == {"written": 2}
    assert [row.about for row in store.captions("wrong")[4:]] == ["", ""]
    assert write_wrong(store, by_world(), pairs, settings_hash="other") == {"written": 4}


def test_a_writer_gets_the_real_clip_and_the_take_at_its_size(store: Store, clips: list[Clip]) -> None:
    seen: list[tuple[str, Shot | None, Shot | None]] = []

    def write(caption: str, real: Shot | None, take: Shot | None, seed: int, faults: Sequence[str] = ()) -> str:
        seen.append((caption, real, take))
        return "x"

    writer = Writer("me", True, (32, 32), write)
    takes = takes_of(clips)
    takes["clip 0"] = [replace(takes["clip 0"][0], media=clips[1].media)]
    write_wrong(store, writer, wanted(clips[:1], takes, writer), settings_hash="s")
    ((caption, real, take),) = seen
    assert caption == clips[0].caption and real is not None and take is not None
    assert real.frames_FHWC.shape == take.frames_FHWC.shape == (33, 32, 32, 3)
    assert abs(real.frames_FHWC.astype(int) - take.frames_FHWC).max() > 50


def test_faults_that_people_found_make_another_caption(store: Store, clips: list[Clip]) -> None:
    def write(caption: str, real: Shot | None, take: Shot | None, seed: int, faults: Sequence[str] = ()) -> str:
        return " and ".join(["wrong", *faults])

    writer, takes = Writer("me", True, (32, 32), write), takes_of(clips)
    (pair,) = wanted(clips[:1], {"clip 0": takes["clip 0"][:1]}, writer)
    faults = {takes["clip 0"][0].id: ["hand", "flicker"]}
    assert write_wrong(store, writer, [pair], settings_hash="s") == {"written": 1}
    assert write_wrong(store, writer, [pair], settings_hash="s", faults=faults) == {"written": 1}
    assert write_wrong(store, writer, [pair], settings_hash="s", faults=faults) == {"there": 1}
    assert [row.text for row in store.captions("wrong")] == ["wrong", "wrong and flicker and hand"]


def test_what_is_not_changed_is_counted_and_asked_again(store: Store, clips: list[Clip]) -> None:
    for text in ("", clips[0].caption):
        writer = Writer("me", False, None, lambda *_: text)  # noqa: B023
        assert write_wrong(store, writer, [(clips[0], None)], settings_hash="s") == {"unchanged": 1}
    assert store.captions() == ()


def test_what_was_written_before_a_failure_is_kept(store: Store, clips: list[Clip]) -> None:
    def write(caption: str, real: Shot | None, take: Shot | None, seed: int, faults: Sequence[str] = ()) -> str:
        if caption == clips[1].caption:
            raise ValueError("the endpoint is gone")
        return "wrong"

    with pytest.raises(ValueError, match="gone"):
        write_wrong(store, Writer("me", False, None, write), [(clip, None) for clip in clips], settings_hash="s")
    assert [row.text for row in store.captions()] == ["wrong"]
