"""Prompts that share a film, a caption or a first frame are one cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rushes.evaluate.prompt_clusters import clusters_of_folders, clusters_of_store
from rushes.evaluate.video_folders import Folders
from rushes.records import Candidate, Clip
from rushes.store.database import Store


@pytest.fixture
def takes(tmp_path: Path) -> dict[str, int]:
    """Number of the cluster of each prompt, in order of appearance."""
    shape: dict[str, Any] = {"width_px": 8, "height_px": 8, "frames": 4, "fps": 4.0}
    clips = [
        Clip("a", "m1", "a dog", **shape, source="one.mp4#t=0", film="one"),
        Clip("b", "m2", "a cat", **shape, source="one.mp4#t=4", film="one"),
        Clip("c", "m3", "A  Cat ", **shape, source="two.mp4"),  # joins its own film to that of b
        Clip("d", "m4", "a bird", **shape, source="three.mp4"),
        Clip("e", "m5", "", **shape, source="four.mp4"),
        Clip("f", "m6", "", **shape, source="five.mp4"),  # no caption is nothing to share
        Clip("g", "m7", "a ball", **shape, source="world:0/1/0", made_by="world"),
        Clip("h", "m8", "a ball", **shape, source="world:0/1/1", made_by="world"),
        Clip("i", "m9", "a bee", **shape, source="six.mp4", first_frame="still"),
        Clip("j", "m0", "a wasp", **shape, source="seven.mp4", first_frame="still"),
    ]
    rows = [
        Candidate(f"t{clip.id}{seed}", f"v{clip.id}{seed}", clip.caption, "take", clip.id, clip.id, "base", "w", seed,
                  **shape, split="eval")
        for clip in clips for seed in (0, 1)
    ]  # fmt: skip
    with Store.create(tmp_path) as store:
        store.add(clips)
        clusters = clusters_of_store(store, rows)
    order = {name: at for at, name in enumerate(dict.fromkeys(clusters.values()))}
    return {prompt: order[name] for prompt, name in clusters.items()}


def test_prompts_of_a_project(takes: dict[str, int]) -> None:
    assert takes == {"a": 0, "b": 0, "c": 0, "d": 1, "e": 2, "f": 3, "g": 4, "h": 5, "i": 6, "j": 6}


def test_prompts_of_folders(tmp_path: Path) -> None:
    for name, data in (("x", b"same"), ("y", b"same"), ("z", b"other")):
        (tmp_path / name).write_bytes(data)
    prompts = ("x", "y", "z", "0", "1")
    videos = {"A": {(prompt, 0): tmp_path for prompt in prompts}}
    captions = {"z": "a dog", "0": "a Dog"}
    clusters = clusters_of_folders(Folders(videos, captions, {name: tmp_path / name for name in "xyz"}, ()))
    assert clusters["x"] == clusters["y"] != clusters["z"] == clusters["0"] != clusters["1"]
    assert len(set(clusters.values())) == 3
