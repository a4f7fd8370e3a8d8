from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rushes.formats.datasets import export_datasets
from rushes.records import Annotation, Candidate, Preference, plain
from rushes.store.database import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store.create(tmp_path / "project")
    common: dict[str, Any] = {"caption": "a cat", "kind": "take", "group": "g", "clip_id": "", "system": "base"}
    common |= {"made_by": "w", "seed": 0, "width_px": 32, "height_px": 32, "frames": 9, "fps": 8.0}
    for name in "ab":
        made.add([Candidate(id=name, media=made.put_media_bytes(name.encode(), ".mp4"), **common)])
    made.add(
        [
            Preference("p", "a", "b", (-1, 0, -1), "human:ada", 1.0, unjudged=(1,)),
            Preference("q", "a", "b", (1, -1), "human:bob", 1.0),
            Preference("r", "a", "b", (1,), "human:bob#again"),
            Annotation("n", "p", "human:ada", (("hand",), (), ()), "six fingers", strength="slightly", seconds=9.5),
            Annotation("m", "r", "human:bob#again", note="of a repeat"),
        ]
    )
    return made


def test_the_folder_loads_as_a_dataset_with_its_videos(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("datasets")
    out = tmp_path / "out"
    assert plain(export_datasets(store, out)) == {
        "pairs": 2, "videos": 2, "clips": 0, "candidates": 2, "preferences": 3, "annotations": 2, "scores": 0,
        "captions": 0, "decisions": 0, "personal_data": {"notes": 2, "people": 2},
    }  # fmt: skip
    assert export_datasets(store, out).videos == 2
    pairs = datasets.load_dataset(str(out), split="train", cache_dir=str(tmp_path / "cache"))
    first, second = pairs
    assert first["labels"] == [-1, 0, -1] and first["unjudged"] == [1] and first["prompt"] == "a cat"
    assert (out / first["video_left"]).read_bytes() == b"a"
    assert (first["chosen"], first["rejected"]) == (first["video_right"], first["video_left"])
    assert (second["chosen"], second["rejected"]) == ("", "") and second["judge"] == "human:bob"
    assert (first["reasons"], first["note"], first["strength"], first["seconds"]) == (
        [["hand"], [], []], "six fingers", "slightly", 9.5,
    )  # fmt: skip
    assert (second["reasons"], second["note"], second["strength"], second["seconds"]) == ([], "", "", None)
    rows = datasets.load_dataset(str(out), "preferences", split="train", cache_dir=str(tmp_path / "cache"))
    assert rows["id"] == ["p", "q", "r"] and json.dumps(rows[0]["by_slot"]) == "[]"
