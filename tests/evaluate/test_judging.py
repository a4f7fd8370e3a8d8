"""Questionnaires and judges behind an endpoint, over folders of videos."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rushes.evaluate.judged import judge_folders
from rushes.evaluate.video_folders import Folders, find_folders
from rushes.media.write import write_video
from rushes.progress import no_bar

from ..fake_endpoint import Does, FakeEndpoint, serve, texts


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    for system, level in (("a", 60), ("b", 180)):
        (tmp_path / system).mkdir()
        for at in range(2):
            write_video(tmp_path / system / f"{at}.mp4", np.full((8, 32, 32, 3), level + 30 * at, np.uint8), 8.0)
    (tmp_path / "prompts.txt").write_text("a dog runs\na cat sits")
    return find_folders({"A": tmp_path / "a", "B": tmp_path / "b"}, tmp_path / "prompts.txt")


def ask(fake: FakeEndpoint, names: list[str], folders: Folders, out: Path) -> tuple[Any, list[str]]:
    notes: list[str] = []
    with serve(fake):
        overrides = (f"endpoint.url={fake.url}", "endpoint.model=m", "label.frames_per_s=2.0")
        return judge_folders(names, overrides, out, no_bar, folders, notes), notes


def test_realdpos_questions_are_asked_of_every_clip(folders: Folders, tmp_path: Path) -> None:
    def answer(request: dict[str, Any]) -> Does:
        text = texts(request)
        if "stutter" in text:
            return Does(json.dumps({"answers": [9, 9, 9, 9, 9]}))
        if "key action" in text:
            assert "a dog runs" in text or "a cat sits" in text
            return Does(json.dumps({"answers": [1, 2, 3, 4]}))  # one is missing
        return Does(json.dumps({"answers": [5, 5, 5, 5, 5]}))

    fake = FakeEndpoint(answer)
    said, notes = ask(fake, ["realdpo"], folders, tmp_path / "out")
    found = {m.name: m.values for m in said.measures}
    assert set(found) == {"judged_visual_alignment", "judged_motion_quality", "judged_human_quality"}
    assert found["judged_motion_quality"]["B"] == {("0", 0): 90.0, ("1", 0): 90.0}
    assert notes == ["4 answers on text_alignment could not be read and are left out."]
    assert len(fake.requests) == 16
    images = [part for part in fake.requests[0]["messages"][-1]["content"] if part["type"] == "image_url"]
    assert len(images) == 2  # two frames of each second
    ask(fake, ["realdpo"], folders, tmp_path / "out")


def test_videophys_questions_give_the_share_of_both(folders: Folders, tmp_path: Path) -> None:
    def answer(request: dict[str, Any]) -> Does:
        return Does(json.dumps({"yes": "physics" not in texts(request) or len(fake.requests) > 4}))

    fake = FakeEndpoint(answer)
    said, notes = ask(fake, ["videophy"], folders, tmp_path / "out")
    found = {m.name: m.values for m in said.measures}
    assert set(found) == {"judged_sa", "judged_pc", "judged_both"} and notes == []
    assert sum(found["judged_both"]["A"].values()) == 0 and sum(found["judged_both"]["B"].values()) == 2


def test_a_model_that_likes_the_first_place_decides_nothing(folders: Folders, tmp_path: Path) -> None:
    fake = FakeEndpoint(lambda request: Does('{"reason": "so", "choice": "first"}'))
    said, notes = ask(fake, ["vlm"], folders, tmp_path / "out")
    (found,) = said.rows
    assert found.judge.startswith("vlm:m") and (found.wins.wins, found.wins.ties, found.wins.losses) == (0, 2, 0)
    assert found.disagreed == 2 and found.first_slot is not None and found.first_slot.value == 1.0
    assert said.strengths == {} and "all comparisons are ties" in notes[0]
