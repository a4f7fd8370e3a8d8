"""Clips into the store: what is taken, what is refused and how, and what a second import does."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from rushes.config.tables import BackboneSettings, FootageSettings
from rushes.footage.preflight import Length, review
from rushes.footage.preflight_text import refusal as told_refusal
from rushes.footage.probe_cache import ProbeCache
from rushes.footage.world import import_world
from rushes.formats.listing import find_bench, find_footage
from rushes.media.images import write_image
from rushes.media.read import read_video
from rushes.store.database import Store
from rushes.world.verify import verify

from .reels import LENGTH, ask_for, film, take, take_bench


def footage_in(folder: Path, count: int = 4, **settings: object) -> FootageSettings:
    """A folder of `count` videos with captions."""
    for k in range(count):
        film(folder / f"{k}.mp4", seed=k).with_suffix(".txt").write_text(f"scene {k}")
    return FootageSettings.model_validate({"kind": "folder", "path": str(folder), **settings})


def refusal(store: Store, footage: FootageSettings, length: Length = LENGTH) -> str:
    """What the import says; nothing may have been stored."""
    with pytest.raises(ValueError) as caught:
        take(store, footage, length)
    assert store.clips() == () and store.candidates() == ()
    assert list((store.project / "media").rglob("*.mp4")) == []
    return str(caught.value)


# the embedded world


def test_world_clips_are_what_their_captions_say(store: Store) -> None:
    done, _ = import_world(store, FootageSettings(clips=6, eval_prompts=3), BackboneSettings(), seed=4)
    assert (done.clips, done.held_out) == (9, 3)
    assert [clip.split for clip in store.clips()] == ["train"] * 6 + ["eval"] * 3
    for clip in store.clips():
        video = read_video(store.media_path(clip.media), fps=clip.fps, size_px=(64, 64))
        assert (clip.frames, clip.fps, len(video.frames_FHWC)) == (33, 8.0, 33)
        assert verify(video.frames_FHWC, clip.caption).lost_dots == 0


def test_more_world_clips_are_the_same_and_some_more(store: Store, tmp_path: Path) -> None:
    import_world(store, FootageSettings(clips=3, eval_prompts=1), BackboneSettings(), seed=0)
    import_world(store, FootageSettings(clips=5, eval_prompts=2), BackboneSettings(), seed=0)
    with Store.create(tmp_path / "other") as other:
        import_world(other, FootageSettings(clips=5, eval_prompts=2), BackboneSettings(), seed=0)
        assert {(c.id, c.media) for c in store.clips()} == {(c.id, c.media) for c in other.clips()}
        import_world(other, FootageSettings(clips=1, eval_prompts=1), BackboneSettings(), seed=1)
        assert len(other.clips()) == 9
    assert len({clip.media for clip in store.clips()}) == 7


def test_world_of_chosen_scenes(store: Store) -> None:
    import_world(store, FootageSettings(clips=2, eval_prompts=0, scenes=("swing",)), BackboneSettings(), seed=0)
    assert all("swing" in clip.caption for clip in store.clips())
    with pytest.raises(ValueError, match="unknown kind 'dro'"):
        import_world(store, FootageSettings(clips=1, scenes=("dro",)), BackboneSettings(), seed=0)


# folders


def test_folder_becomes_clips_once(store: Store, tmp_path: Path) -> None:
    footage = footage_in(tmp_path / "clips")
    done = take(store, footage)
    assert done == take(store, footage)
    assert [clip.caption for clip in store.clips()] == [f"scene {k}" for k in range(4)]
    clip = store.clips()[0]
    assert (clip.width_px, clip.height_px, clip.frames, clip.fps, clip.split) == (48, 32, 20, 8.0, "train")
    assert clip.source == str(tmp_path / "clips" / "0.mp4")
    assert store.media_path(clip.media).read_bytes() == (tmp_path / "clips" / "0.mp4").read_bytes()


def test_footage_that_moved_is_not_taken_twice(store: Store, tmp_path: Path) -> None:
    footage = footage_in(tmp_path / "clips", eval_fraction=0.5)
    take(store, footage)
    before = store.clips()
    shutil.move(tmp_path / "clips", tmp_path / "moved")
    take(store, footage.model_copy(update={"path": str(tmp_path / "moved")}))
    assert store.clips() == before


def test_media_that_was_lost_comes_back(store: Store, tmp_path: Path) -> None:
    footage = footage_in(tmp_path / "clips", 2)
    take(store, footage)
    store.media_path(store.clips()[0].media).unlink()
    take(store, footage)
    assert store.media_path(store.clips()[0].media).is_file()


def test_copies_of_a_clip_are_counted(store: Store, tmp_path: Path) -> None:
    footage = footage_in(tmp_path / "clips", 2)
    for suffix in (".mp4", ".txt"):
        shutil.copy(tmp_path / "clips" / f"0{suffix}", tmp_path / "clips" / f"copy{suffix}")
    done = take(store, footage)
    assert (done.clips, done.duplicates) == (2, 1)


def test_every_unusable_file_is_named_at_once(store: Store, tmp_path: Path) -> None:
    footage = footage_in(tmp_path / "clips", 1, allow_empty_captions=True)
    folder = tmp_path / "clips"
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.mp4").write_text("not a video, whatever it is called")
    film(folder / "still.mp4", frames=1)
    whole = film(folder / "torn.mkv.mp4", frames=60).read_bytes()
    (folder / "torn.mkv.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    film(folder / "short.mp4", frames=10)
    film(folder / "shorter.mp4", frames=14, fps=16)
    told = refusal(store, footage).splitlines()
    for name, cause in (
        ("empty.mp4", "the file is empty (0 bytes); copy or download it again"),
        ("text.mp4", "cannot be opened as a video"),
        ("still.mp4", "it has a single frame; give a clip of two frames or more"),
        ("torn.mkv.mp4", "the file is cut short"),
        ("short.mp4", "1.25 s long, 10 frames at 8 fps"),
        ("shorter.mp4", "0.88 s long, 7 frames at 8 fps"),
    ):
        assert any(line.startswith(f"{folder / name}: ") and cause in line for line in told), told
    assert not any("0.mp4" in line.split(":")[0] for line in told)
    assert told[0] == "nothing was imported, because some files cannot be used:"
    assert told[-1].startswith("too short for backbone.frames = 17")
    assert "set backbone.frames to 5, which fits the shortest of them" in told[-1]


def test_frames_that_the_refusal_names_work(store: Store, tmp_path: Path) -> None:
    footage = footage_in(tmp_path / "clips", 1)
    film(tmp_path / "clips" / "0.mp4", frames=14, fps=12)  # 1.17 s: frames at 0, 1/8, ... 9/8 s
    assert "10 frames at 8 fps" in refusal(store, footage)
    take(store, footage, Length(9, 8.0, LENGTH.largest))
    clip = store.clips()[0]
    assert len(read_video(store.media_path(clip.media), fps=8.0, frames=10).frames_FHWC) == 10
    with pytest.raises(ValueError, match="10 frames"):
        read_video(store.media_path(clip.media), fps=8.0, frames=11)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file_is_named(store: Store, tmp_path: Path) -> None:
    footage = footage_in(tmp_path / "clips", 1)
    (tmp_path / "clips" / "0.mp4").chmod(0)
    assert "0.mp4: cannot be read (Permission denied)" in refusal(store, footage)


def test_wrong_extension_and_variable_rate_work(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    film(folder / "a.mp4").rename(folder / "a.avi")
    ticks = np.cumsum([0] + [60 + 50 * (k % 3) for k in range(29)])  # frames of 60, 110 or 160 ms
    with av.open(str(folder / "b.mp4"), "w") as file:
        stream = file.add_stream("libx264", rate=30)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for tick in ticks:
            frame = av.VideoFrame.from_ndarray(np.full((32, 48, 3), 90, np.uint8), format="rgb24")
            frame.pts, frame.time_base = int(tick), Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    footage = FootageSettings(kind="folder", path=str(folder), allow_empty_captions=True)
    assert take(store, footage).clips == 2
    for clip in store.clips():
        assert len(read_video(store.media_path(clip.media), fps=8.0, frames=17).frames_FHWC) == 17


def test_captions_must_be_there_and_in_the_right_number(store: Store, tmp_path: Path) -> None:
    footage = footage_in(tmp_path / "clips", 2)
    (tmp_path / "clips" / "1.txt").unlink()
    assert "1.mp4: no caption\n" in refusal(store, footage)
    (tmp_path / "clips" / "0.txt").unlink()
    (tmp_path / "clips" / "captions.txt").write_text("one\n")
    assert "1 caption for 2 videos" in refusal(store, footage)
    assert take(store, footage_in(tmp_path / "others", 2)).clips == 2


def test_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"footage\.path: .*nowhere is not a folder, tar or table; set it to the one with your videos$"
    ):
        find_footage(FootageSettings(kind="folder", path=str(tmp_path / "nowhere")))
    with pytest.raises(ValueError, match=r"github\.com/Vchitect/RealDPO"):
        find_footage(FootageSettings(kind="folder", path=str(tmp_path / "nowhere"), layout="realdpo"))
    with pytest.raises(ValueError, match=r"footage\.bench: .*nowhere is not a folder"):
        find_bench(tmp_path / "nowhere")


# what is held out


def held_out(store: Store) -> set[str]:
    return {clip.caption for clip in store.clips("eval")}


def test_share_is_held_out_and_stays_so(store: Store, tmp_path: Path) -> None:
    footage = footage_in(tmp_path / "clips", 8, eval_fraction=0.25)
    assert take(store, footage).held_out == 2
    first = held_out(store)
    take(store, footage_in(tmp_path / "clips", 16, eval_fraction=0.25))
    assert len(held_out(store)) == 4 and first < held_out(store)
    assert len(store.clips()) == 16


def test_at_least_one_clip_is_held_out_and_one_is_not(store: Store, tmp_path: Path) -> None:
    take(store, footage_in(tmp_path / "clips", 2, eval_fraction=0.01))
    assert [len(store.clips(split)) for split in ("train", "eval")] == [1, 1]


def test_clips_never_change_sides(store: Store, tmp_path: Path) -> None:
    footage = footage_in(tmp_path / "clips")
    take(store, footage)
    with pytest.raises(ValueError, match=r"footage\.eval_fraction: 2 of 4 clips should be held out, but only 0 can be"):
        take(store, footage.model_copy(update={"eval_fraction": 0.5}))
    assert held_out(store) == set()


@pytest.mark.parametrize("stopped_after", [1, 3, 5])
def test_stopped_import_holds_out_the_same(
    stopped_after: int, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    footage = footage_in(tmp_path / "clips", 6, eval_fraction=0.5)
    add, added = Store.add, 0

    def stopping(self: Store, rows: object) -> int:
        nonlocal added
        added += 1
        if added > stopped_after:
            raise KeyboardInterrupt
        return add(self, rows)  # type: ignore[arg-type]

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Store, "add", stopping)
        take(store, footage)
    assert len(store.clips()) == stopped_after
    take(store, footage)
    with Store.create(tmp_path / "whole") as whole:
        take(whole, footage)
        assert store.clips() == whole.clips()


# takes and other systems


@pytest.fixture
def realdpo(tmp_path: Path) -> Callable[..., FootageSettings]:
    """The layout of RealDPO's data: 2 videos, first frames, and 2 takes of each."""

    def make(**settings: object) -> FootageSettings:
        folder = tmp_path / "realdpo"
        (folder / "first_frames").mkdir(parents=True)
        (folder / "prompt.txt").write_text("a dog\na cat\n")
        for k in range(2):
            film(folder / "videos" / f"{k}.mp4", seed=k)
            write_image(folder / "first_frames" / f"videos_{k}.png", np.full((32, 48, 3), 40 * k, np.uint8))
            for j in range(2):
                film(folder / "negative_samples" / str(k) / f"{j}.mp4", seed=10 * k + j + 5)
        return FootageSettings.model_validate({"kind": "folder", "path": str(folder), **settings})

    return make


def test_takes_come_with_their_clip(store: Store, realdpo: Callable[..., FootageSettings]) -> None:
    footage = realdpo()
    done = take(store, footage)
    assert (done.clips, done.takes) == (2, 4)
    assert take(store, footage) == done
    dog, cat = store.clips()
    assert dog.first_frame and dog.first_frame != cat.first_frame
    assert [(t.clip_id, t.caption, t.seed) for t in store.candidates(kind="imported")] == [
        *((dog.id, "a dog", 0), (dog.id, "a dog", 1)),
        *((cat.id, "a cat", 0), (cat.id, "a cat", 1)),
    ]


def test_takes_of_held_out_clips_are_left_out_and_counted(
    store: Store, realdpo: Callable[..., FootageSettings]
) -> None:
    done = take(store, realdpo(eval_fraction=0.5))
    assert (done.takes, done.takes_left_out) == (2, 2)
    assert {t.split for t in store.candidates()} == {"train"}


def test_damaged_first_frame_is_named(store: Store, realdpo: Callable[..., FootageSettings]) -> None:
    footage = realdpo()
    (Path(footage.path) / "first_frames" / "videos_1.png").write_bytes(b"no picture")
    assert "videos_1.png: not an image" in refusal(store, footage)


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    """Two prompts, by two systems that made the same video for the first one."""
    folder = tmp_path / "bench"
    (folder / "first_frames").mkdir(parents=True)
    (folder / "prompts.txt").write_text("a dog\na cat\n")
    for k in range(2):
        write_image(folder / "first_frames" / f"{k}.png", np.full((32, 48, 3), 40 * k, np.uint8))
        for system in ("realdpo", "sft"):
            film(folder / system / f"{k}.mp4", seed=k if system == "sft" else 0)
    return folder


def test_bench_becomes_held_out_prompts_and_imported_systems(store: Store, bench: Path) -> None:
    done = take_bench(store, bench)
    assert done == (2, 4)  # prompts, takes
    assert take_bench(store, bench, Length(9, 4.0, LENGTH.largest)) == done  # other settings, same rows
    assert [(clip.caption, clip.split, clip.frames) for clip in store.clips()] == [
        ("a dog", "eval", 1),
        ("a cat", "eval", 1),
    ]
    assert {t.system for t in store.candidates()} == {"realdpo (imported)", "sft (imported)"}  # no name of a run
    assert len(store.candidates()) == 4


def test_damaged_still_of_a_bench_stores_nothing(store: Store, bench: Path) -> None:
    (bench / "first_frames" / "1.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"1\.png: not an image"):
        take_bench(store, bench)
    assert store.clips() == () and store.candidates() == ()


def test_footage_and_bench_are_checked_together(store: Store, bench: Path, tmp_path: Path) -> None:
    footage = footage_in(tmp_path / "clips", 1)
    found = find_footage(footage)
    for path in (found.footage[0].path, bench / "sft" / "1.mp4"):
        path.write_bytes(b"")
    with ProbeCache(store.project) as facts:
        text = told_refusal(review(facts, found, find_bench(bench), ask_for(footage)), ask_for(footage), tmp_path)
    assert str(found.footage[0].path) in text and str(bench / "sft" / "1.mp4") in text


def test_bench_without_first_frames(bench: Path) -> None:
    shutil.rmtree(bench / "first_frames")
    with pytest.raises(ValueError, match="has no folder first_frames"):
        find_bench(bench)
    with pytest.raises(ValueError, match=r"set footage\.bench to it"):
        find_footage(FootageSettings(kind="folder", path=str(bench)))


def test_scenarios_of_a_table_are_taken_and_taken_again_where_they_change(store: Store, tmp_path: Path) -> None:
    for k in range(3):
        film(tmp_path / "in" / f"{k}.mp4", seed=k)
    table = tmp_path / "in" / "captions.csv"
    footage = FootageSettings(kind="folder", path=str(tmp_path / "in"))

    def named(*names: str) -> list[str]:
        rows = [f"{k}.mp4,clip {k},{name}" for k, name in enumerate(names)]
        table.write_text("\n".join(["file,caption,scenario", *rows]))
        take(store, footage)
        return [store.scenarios().get(clip.id, "") for clip in store.clips()]

    assert named("cooking", "", "sport") == ["cooking", "", "sport"]
    assert len(store.captions("scenario")) == 2
    assert named("cooking", "sea", "cooking") == ["cooking", "sea", "cooking"]
    assert named("cooking", "sea", "sport") == ["cooking", "sea", "sport"]
    assert len(store.captions("scenario")) == 5
