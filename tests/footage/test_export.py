"""The set as others read it, and back."""

from __future__ import annotations

import shutil
import tarfile
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from rushes.config.tables import FootageSettings
from rushes.files import content_hash
from rushes.footage.export import export_set, shards
from rushes.media.images import write_image
from rushes.records import Clip, Decision
from rushes.store.database import Store

from .reels import film, scenes, take

ODD = "café «l'été» \"x\" 日本, it's"


@pytest.fixture
def curated(store: Store, tmp_path: Path) -> Store:
    """Four clips, one of two captions: one was dropped, one has another caption than it came with; one is a bench's."""
    folder = tmp_path / "clips"
    for k, name in enumerate(("a", ODD, "c", "d")):
        film(folder / f"{name}.mp4", seed=k).with_suffix(".txt").write_text(f"{name} as it came")
    shutil.copy(folder / "a.mp4", folder / "twin.mp4")
    (folder / "twin.txt").write_text("a by another caption")
    take(store, FootageSettings(kind="folder", path=str(folder), eval_fraction=0.2))
    by_caption = {clip.caption: clip.id for clip in store.clips()}
    still = Clip("still", content_hash(b"x"), "a prompt", 32, 32, 1, 8.0, "", "eval")
    store.add([still, Decision("1", by_caption["c as it came"], False),
               Decision("2", by_caption["d as it came"], True, caption=f'"{ODD}", better')])  # fmt: skip
    return store


def known(store: Store) -> set[tuple[str, str, str, int, float]]:
    return {(c.id, c.media, c.caption, c.frames, c.fps) for c in store.clips() if c.frames > 1}


def renamed(clips: set[tuple[str, str, str, int, float]]) -> set[tuple[object, ...]]:
    """Without ids: a clip's is that of the caption it came with."""
    return {clip[1:] for clip in clips}


@pytest.mark.parametrize("form", ["parquet", "webdataset"])
def test_the_set_comes_back_as_it_was(curated: Store, tmp_path: Path, form: str) -> None:
    done = export_set(curated, tmp_path / "out", form, shard_mb=0.05)  # type: ignore[arg-type]
    assert (done.clips, done.stills_left_out) == (3, 1)
    assert done.lines()[0].startswith("3 clips exported: ") and "1 prompt with" in done.lines()[1]
    with Store.create(tmp_path / "other") as other:
        taken = take(other, FootageSettings(kind="folder", path=str(tmp_path / "out")))
        assert taken.clips == 3 and taken.alternatives == 1
        assert list(other.alternatives().values()) == [("a by another caption",)]
        assert renamed(known(other)) == renamed(known(curated))
        assert sum(clip.id in {c.id for c in curated.clips()} for clip in other.clips()) == 2  # all but the renamed one
        export_set(other, tmp_path / "again", form, shard_mb=0.05)  # type: ignore[arg-type]
        with Store.create(tmp_path / "third") as third:
            take(third, FootageSettings(kind="folder", path=str(tmp_path / "again")))
            assert known(third) == known(other)


def test_datasets_loads_the_table_and_its_videos(curated: Store, tmp_path: Path) -> None:
    import datasets

    done = export_set(curated, tmp_path / "out")
    assert done.videos == 3
    loaded = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"), split="train")
    loaded = loaded.cast_column("video", datasets.Video(decode=False))
    by_id = {clip.id: clip for clip in curated.clips()}
    assert len(loaded) == 4  # a row for each caption
    for row in loaded:
        clip = by_id[row["id"]]
        assert row["caption"] in (clip.caption, *curated.alternatives().get(clip.id, ()))
        assert (row["frames"], row["split"]) == (clip.frames, clip.split)
        assert content_hash(row["video"]["path"]) == clip.media


def test_datasets_loads_the_tars(curated: Store, tmp_path: Path) -> None:
    import datasets

    export_set(curated, tmp_path / "out", "webdataset", shard_mb=0.05)
    tars = sorted(str(path) for path in (tmp_path / "out").glob("*.tar"))
    assert len(tars) > 1
    loaded = datasets.load_dataset("webdataset", data_files=tars, cache_dir=str(tmp_path / "cache"), split="train")
    loaded = loaded.cast_column("mp4", datasets.Video(decode=False))
    by_id = {clip.id: clip for clip in curated.clips()}
    assert len(loaded) == 3
    for row in loaded:
        clip = by_id[row["__key__"]]
        assert (row["txt"], row["json"]["caption"]) == (clip.caption, clip.caption)
        assert content_hash(row["mp4"]["bytes"]) == clip.media


def test_shards_keep_their_limit_and_equal_sets_give_equal_bytes(curated: Store, tmp_path: Path) -> None:
    for limit in (0.03, 0.1, 100.0):
        out = tmp_path / f"{limit}"
        export_set(curated, out, "webdataset", shard_mb=limit)
        tars = sorted(out.iterdir())
        for path in tars:
            with tarfile.open(path) as tar:
                samples = {name.partition(".")[0] for name in tar.getnames()}
            assert path.stat().st_size <= limit * 1e6 or len(samples) == 1
        first = [content_hash(path) for path in tars]
        tars[-1].unlink()
        export_set(curated, out, "webdataset", shard_mb=limit)
        assert [content_hash(path) for path in sorted(out.iterdir())] == first


@given(st.lists(st.integers(1, 100), max_size=30), st.integers(1, 150))
def test_shards_hold_every_item_once(sizes: list[int], limit: int) -> None:
    found = shards(sizes, limit)
    assert bool(found) == bool(sizes)
    assert [k for part in found for k in part] == list(range(len(sizes)))
    for part, following in zip_longest(found, found[1:], fillvalue=range(0)):
        total = sum(sizes[k] for k in part)
        assert total <= limit or len(part) == 1
        assert not following or total + sizes[following[0]] > limit  # no shard ends before it must


def test_first_frames_travel_with_the_table_alone(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "realdpo"
    film(folder / "videos" / "0.mp4")
    (folder / "prompt.txt").write_text("a dog\n")
    (folder / "first_frames").mkdir()
    write_image(folder / "first_frames" / "videos_0.png", film_frame())
    take(store, FootageSettings(kind="folder", path=str(folder)))
    assert store.clips()[0].first_frame
    with pytest.raises(ValueError, match=r"1 clips have their own first frame.*--form parquet"):
        export_set(store, tmp_path / "tars", "webdataset")
    export_set(store, tmp_path / "out")
    with Store.create(tmp_path / "other") as other:
        take(other, FootageSettings(kind="folder", path=str(tmp_path / "out")))
        assert [(c.id, c.first_frame) for c in other.clips()] == [(c.id, c.first_frame) for c in store.clips()]


def film_frame() -> NDArray[np.uint8]:
    return np.full((32, 48, 3), 80, np.uint8)


def test_pieces_of_films_come_back(store: Store, tmp_path: Path) -> None:
    scenes(tmp_path / "in" / "a.mp4", (2.5, 5.0)).with_suffix(".txt").write_text("a film")
    take(store, FootageSettings(kind="folder", path=str(tmp_path / "in"), cut="scenes"))
    export_set(store, tmp_path / "out")
    with Store.create(tmp_path / "other") as other:
        take(other, FootageSettings(kind="folder", path=str(tmp_path / "out")))
        assert renamed(known(other)) == renamed(known(store))
        assert len(other.clips()) == 3


def test_folders_that_hold_something_else(curated: Store, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"holds thesis\.txt.*choose a new or empty folder"):
        export_set(curated, tmp_path / "out")
    with Store.create(tmp_path / "empty") as empty, pytest.raises(ValueError, match="run `rushes import`"):
        export_set(empty, tmp_path / "new")
    with pytest.raises(ValueError, match="--shard-mb must be above 0"):
        export_set(curated, tmp_path / "new", "webdataset", 0.0)


def test_scenarios_travel_with_the_table(store: Store, tmp_path: Path) -> None:
    for k in range(2):
        film(tmp_path / "in" / f"{k}.mp4", seed=k)
    (tmp_path / "in" / "captions.csv").write_text("file,caption,scenario\n0.mp4,a,sea\n1.mp4,b,\n")
    take(store, FootageSettings(kind="folder", path=str(tmp_path / "in")))
    export_set(store, tmp_path / "out")
    with Store.create(tmp_path / "other") as other:
        take(other, FootageSettings(kind="folder", path=str(tmp_path / "out")))
        assert other.scenarios() == store.scenarios() and list(other.scenarios().values()) == ["sea"]
