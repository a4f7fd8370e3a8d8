"""Long footage into clips: what is cut, once, and on which side pieces come to lie."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from rushes.config.tables import FootageSettings
from rushes.footage import ingest
from rushes.media.cut import cut_pieces
from rushes.media.read import probe, read_video
from rushes.records import Clip
from rushes.store.database import Store

from .reels import LENGTH, film, look, scenes, take


def films(folder: Path, count: int = 1, **settings: object) -> FootageSettings:
    """Each of scenes of 2.5, 1, 5 and 2.2 s: of 17 frames at 8 fps they give 1, 0, 2 and 1 pieces."""
    for k in range(count):
        scenes(folder / f"film {k}.mp4", (2.5, 1.0, 5.0, 2.2), seed=10 + k).with_suffix(".txt").write_text(f"film {k}")
    return FootageSettings.model_validate({"kind": "folder", "path": str(folder), "cut": "scenes", **settings})


SPANS = ["0.000,2.125", "3.500,5.625", "5.625,7.750", "8.500,10.625"]


def test_scenes_become_clips_of_the_backbones_length(store: Store, tmp_path: Path) -> None:
    done = take(store, films(tmp_path / "in"))
    assert (done.clips, done.held_out) == (4, None)
    source = tmp_path / "in" / "film 0.mp4"
    assert [clip.source for clip in store.clips()] == [f"{source}#t={span}" for span in SPANS]
    for clip in store.clips():
        assert (clip.caption, clip.frames, clip.fps) == ("film 0", 34, 16)
        start = float(clip.source.rpartition("=")[2].split(",")[0])
        piece = read_video(store.media_path(clip.media), fps=8, frames=17).frames_FHWC
        own = read_video(source, fps=8, frames=17, start_s=start).frames_FHWC
        assert abs(piece.astype(int) - own).mean() < 2


def test_a_second_import_cuts_nothing(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    footage = films(tmp_path / "in")
    take(store, footage)
    before, files = store.clips(), sorted((store.project / "media").rglob("*.mp4"))
    shutil.move(tmp_path / "in", tmp_path / "moved")
    monkeypatch.setattr(ingest, "cut_pieces", None)
    take(store, footage.model_copy(update={"path": str(tmp_path / "moved")}))
    assert store.clips() == before and sorted((store.project / "media").rglob("*.mp4")) == files


@pytest.mark.parametrize("stopped_after", [1, 2, 3])
def test_a_stopped_import_cuts_the_rest(
    stopped_after: int, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    footage = films(tmp_path / "in", 2, eval_fraction=0.4)
    add, cut, wanted = Store.add, cut_pieces, list[object]()

    def stopping(self: Store, rows: list[Clip]) -> int:
        if len(self.clips()) == stopped_after:
            raise KeyboardInterrupt
        return add(self, rows)

    def counting(path: Path, spans: list[object], *rest: object) -> Iterator[object]:
        wanted.extend(spans)
        return cut(path, spans, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Store, "add", stopping)
        take(store, footage)
    monkeypatch.setattr(ingest, "cut_pieces", counting)
    take(store, footage)
    assert len(wanted) == 8 - stopped_after
    with Store.create(tmp_path / "whole") as whole:
        take(whole, footage)
        assert store.clips() == whole.clips()


def test_a_lost_piece_comes_back_with_its_bytes(store: Store, tmp_path: Path) -> None:
    footage = films(tmp_path / "in")
    take(store, footage)
    lost = store.media_path(store.clips()[2].media)
    data = lost.read_bytes()
    lost.unlink()
    take(store, footage)
    assert store.media_path(store.clips()[2].media).read_bytes() == data and len(store.clips()) == 4


def test_pieces_of_one_film_are_on_one_side(store: Store, tmp_path: Path) -> None:
    footage = films(tmp_path / "in", 3, eval_fraction=0.3)
    take(store, footage)
    sides = {clip.source.partition("#")[0]: set() for clip in store.clips()}  # type: ignore[var-annotated]
    for clip in store.clips():
        sides[clip.source.partition("#")[0]].add(clip.split)
    assert sorted(map(sorted, sides.values())) == [["eval"], ["train"], ["train"]]
    held = {clip.source.partition("#")[0] for clip in store.clips("eval")}
    shorter = footage.model_copy(update={"shortest_s": 0.9, "eval_fraction": 0.0})  # new pieces follow their film
    take(store, shorter)
    assert {clip.source.partition("#")[0] for clip in store.clips("eval")} == held
    assert len(store.clips("eval")) > 4


def test_one_film_is_parted_by_scenes(store: Store, tmp_path: Path) -> None:
    take(store, films(tmp_path / "in", eval_fraction=0.5))
    both = {"3.500,5.625", "5.625,7.750"}  # of one scene
    held = {clip.source.rpartition("=")[2] for clip in store.clips("eval")}
    assert len(held) == 2 and (held == both or not held & both)
    one = FootageSettings(kind="folder", path=str(scenes(tmp_path / "one" / "a.mp4", (5.0,)).parent), cut="scenes",
                  allow_empty_captions=True, eval_fraction=0.5)  # fmt: skip
    with (
        Store.create(tmp_path / "other") as other,
        pytest.raises(ValueError, match="all clips have one origin"),
    ):
        take(other, one)


def test_longer_and_shorter_pieces(store: Store, tmp_path: Path) -> None:
    footage = films(tmp_path / "in", shortest_s=0.8, longest_s=4.0)
    assert take(store, footage).clips == 5
    lengths = [probe(store.media_path(clip.media)).duration_s for clip in store.clips()]
    assert lengths == pytest.approx([2.5, 1.0, 4.0, 1.0, 2.2], abs=0.07)
    with pytest.raises(ValueError, match=r"footage\.shortest_s: pieces cannot be at least 5 s and at most 4 s"):
        take(store, footage.model_copy(update={"shortest_s": 5.0}))


def test_a_film_without_a_long_scene_is_refused(store: Store, tmp_path: Path) -> None:
    scenes(tmp_path / "in" / "a.mp4", (1.0, 1.5, 1.0))
    footage = FootageSettings(kind="folder", path=str(tmp_path / "in"), cut="scenes", allow_empty_captions=True)
    with pytest.raises(ValueError, match=r"a\.mp4: 3\.50 s long, and no scene of it lasts 2\.12 s"):
        take(store, footage)
    assert look(store, footage.model_copy(update={"cut": "none"})).clips


def test_takes_belong_to_whole_clips(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "realdpo"
    film(folder / "videos" / "0.mp4")
    film(folder / "negative_samples" / "0" / "0.mp4", seed=1)
    (folder / "prompt.txt").write_text("a dog\n")
    with pytest.raises(ValueError, match=r"footage\.cut: .* belong to whole clips"):
        take(store, FootageSettings(kind="folder", path=str(folder), cut="scenes"), LENGTH)


def test_a_file_gives_clips_at_several_places(store: Store, tmp_path: Path) -> None:
    """Evenly from start to end, whether they overlap or not; a file that is as long as a clip is taken whole."""
    folder = tmp_path / "in"
    for name, frames in (("long", 100), ("short", 50), ("just", 34)):
        film(folder / f"{name}.mp4", frames=frames, fps=16, seed=frames).with_suffix(".txt").write_text(name)
    settings = {"kind": "folder", "path": str(folder), "windows": 3, "eval_fraction": 0.6}
    done = take(store, FootageSettings.model_validate(settings))
    clips = store.clips()
    assert done.clips == len(clips) == 7
    starts = {
        name: sorted(clip.source.partition("#t=")[2] for clip in clips if clip.caption == name)
        for name in ("long", "just")
    }
    assert starts == {"long": ["0.000,2.125", "2.000,4.125", "4.125,6.250"], "just": [""]}
    for clip in clips:
        assert clip.frames == 34 and (clip.film != "") == ("#t=" in clip.source)
    assert {len({clip.split for clip in clips if clip.caption == name}) for name in ("long", "short")} == {1}
    for clip in (each for each in clips if each.caption == "short"):
        start = float(clip.source.rpartition("=")[2].split(",")[0])
        piece = read_video(store.media_path(clip.media), fps=8, frames=17).frames_FHWC
        own = read_video(folder / "short.mp4", fps=8, frames=17, start_s=start).frames_FHWC
        assert abs(piece.astype(int) - own).mean() < 4
    before = store.clips()
    assert take(store, FootageSettings.model_validate(settings)).clips == 7 and store.clips() == before


def test_takes_of_a_whole_file_are_no_takes_of_its_windows(store: Store, tmp_path: Path) -> None:
    """They are refused by name, not left out in silence."""
    folder = tmp_path / "train"
    film(folder / "videos" / "a.mp4", frames=40)
    film(folder / "negative_samples" / "a" / "0.mp4", frames=40, seed=1)
    (folder / "prompt.txt").write_text("a cat\n")
    (folder / "videos.txt").write_text("videos/a.mp4\n")
    settings = FootageSettings.model_validate({"kind": "folder", "path": str(folder), "windows": 2})
    (refused,) = look(store, settings).failures()
    assert refused.reason == "comes with takes" and "footage.windows" in refused.words
