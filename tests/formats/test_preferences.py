"""Files of other programs, written here as those programs write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rushes.config.tables import FootageSettings
from rushes.footage.pairs import import_pairs
from rushes.footage.preflight import Length, PreflightOptions
from rushes.formats.pair_files import read_pairs
from rushes.formats.preferences import FORMS, PreferenceFormat
from rushes.formats.scores import media_needed
from rushes.media.write import write_video
from rushes.store.database import Store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "videos").mkdir()
    for k in range(4):
        write_video(tmp_path / f"videos/{k}.mp4", np.full((9, 32, 48, 3), 40 * k, np.uint8), 8)
    return tmp_path


ASK = PreflightOptions(Length(9, 8.0, lambda frames: frames), 48, 32, FootageSettings())


def written(path: Path, data: object) -> Path:
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


VIDEOREWARD = """path_A,path_B,A_model,B_model,prompt,VQ,MQ,TA,Overall,fps_A
videos/0.mp4,videos/1.mp4,Kling,Pika,"a cat, asleep",A,same,B,A,24
videos/2.mp4,videos/3.mp4,Kling,Pika,a dog,,,,,24
videos/2.mp4,videos/1.mp4,Kling,Pika,a dog,,B,,,24
"""


def test_videoreward_has_three_questions_and_an_overall_one(folder: Path) -> None:
    read = read_pairs(written(folder / "train.csv", VIDEOREWARD), "videoreward")
    assert [dict(pair.labels) for pair in read.pairs] == [
        {"visual_quality": 1, "motion": 0, "text": -1, "overall": 1},
        {"motion": -1},
    ]
    assert read.pairs[0].prompt == "a cat, asleep" and read.pairs[0].systems == ("Kling", "Pika")
    assert read.left_out == {"no label": 1}


def test_videodpo_names_videos_by_place_and_says_which_is_better(folder: Path) -> None:
    written(folder / "metadata.json", [{"basic": {"clip_path": f"videos/{k}.mp4"}, "misc": {}} for k in range(4)])
    pairs = [
        {"video1": 0, "video2": 1, "label": 0, "frame_caption": ["a cat"]},
        {"video1": 2, "video2": 3, "label": 1, "frame_caption": "a dog"},
    ]
    read = read_pairs(written(folder / "pair.json", pairs), "videodpo")
    assert [(p.left.name, p.right.name, p.prompt, p.labels["overall"]) for p in read.pairs] == [
        ("0.mp4", "1.mp4", "a cat", 1),
        ("2.mp4", "3.mp4", "a dog", -1),
    ]


@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
def test_trl_has_a_chosen_and_a_rejected_one(suffix: str, folder: Path) -> None:
    rows = [{"prompt": "a cat", "chosen": "videos/1.mp4", "rejected": "videos/0.mp4"}]
    text = json.dumps(rows) if suffix == ".json" else "\n".join(map(json.dumps, rows))
    (pair,) = read_pairs(written(folder / f"pairs{suffix}", text), "trl").pairs
    assert (pair.left.name, pair.right.name, pair.labels) == ("1.mp4", "0.mp4", {"overall": 1})


def task(*annotations: dict[str, Any]) -> dict[str, Any]:
    data = {"video1": "/data/local-files/?d=videos/0.mp4", "video2": "/data/videos/1.mp4", "prompt": "a cat"}
    return {"id": 1, "data": data, "annotations": list(annotations)}


def choice(name: str, said: str) -> dict[str, Any]:
    return {"from_name": name, "to_name": "video1,video2", "type": "choices", "value": {"choices": [said]}}


TWO = "videos/0.mp4,videos/1.mp4"
ANSWERED = {"annotations": [{"completed_by": 1, "result": [choice("overall", "left")]}]}


def test_label_studio_has_people_questions_and_cancelled_tasks(folder: Path) -> None:
    pairwise = {"from_name": "pw", "to_name": "a,b", "type": "pairwise", "value": {"selected": "right"}}
    tasks = [
        task(
            {"completed_by": 7, "was_cancelled": False, "result": [choice("Motion", "Left is better"), pairwise]},
            {"completed_by": {"id": 8, "email": "b@c.d"}, "result": [choice("overall", "Tie")]},
            {"completed_by": 9, "was_cancelled": True, "result": [choice("overall", "Left")]},
            {"completed_by": 9, "result": []},
        )
    ]
    read = read_pairs(written(folder / "export.json", tasks), "labelstudio")
    assert [(p.judge, dict(p.labels)) for p in read.pairs] == [
        ("human:labelstudio-7", {"motion": 1, "overall": -1}),
        ("human:labelstudio-b-c-d", {"overall": 0}),
    ]
    assert read.pairs[0].left == folder / "videos/0.mp4" and read.pairs[0].right == folder / "videos/1.mp4"
    assert read.left_out == {"cancelled or empty annotation": 2}


def test_videos_are_kept_once_and_a_second_import_adds_nothing(folder: Path) -> None:
    read = read_pairs(written(folder / "train.csv", VIDEOREWARD), "videoreward")
    with Store.create(folder / "project") as store:
        result = import_pairs(store, read, ASK)
        assert (result.entries, result.pairs, result.videos, result.labels, result.new_rows) == (3, 2, 3, 5, 9)
        assert result.left_out == {"left out, no label": 1}
        assert import_pairs(store, read_pairs(folder / "train.csv", "videoreward"), ASK).new_rows == 0
        rows = {row.id: row for row in store.candidates(split="train", kind="imported")}
        assert {(row.system, row.frames, row.fps, row.width_px) for row in rows.values()} == {
            ("Kling", 9, 8.0, 48), ("Pika", 9, 8.0, 48),
        }  # fmt: skip
        first = store.preferences()[0]
        assert rows[first.left].group == rows[first.right].group and rows[first.left].system == "Kling"
        needed = list(media_needed(store))
        assert len(needed) == 3 and all(Path(line["file"]).is_file() for line in needed)


@pytest.mark.parametrize(
    ("form", "name", "data", "message"),
    [
        ("videoreward", "x.csv", "path_A,prompt\na,b\n", "line 2: has no path_B: it has path_A, prompt"),
        ("videoreward", "x.csv", f"path_A,path_B,prompt,VQ\n{TWO},c,maybe\n", "'maybe' .1, first at line 2."),
        ("videodpo", "pair.json", [{"video1": 0, "video2": 9, "label": 0}], "entry 1: expected video1 and video2"),
        ("videodpo", "pair.json", [{"video1": 0, "video2": 1, "label": 2}], "entry 1: its label is neither 0 nor 1"),
        ("videodpo", "pair.json", 3, "not a list of objects"),
        ("trl", "x.jsonl", '{"prompt": "p", "chosen": "yes", "rejected": "no"}', "line 1: no such file: .*yes; name a"),
        ("trl", "x.jsonl", "{", "line 1: bad row: not JSON"),
        ("labelstudio", "x.json", [task()], "entry 1: has no annotation"),
        ("labelstudio", "x.json", [{**ANSWERED, "data": {"video": "a.mp4"}}], "its data name fewer than two videos"),
        ("labelstudio", "x.json", "[", "not JSON"),
        ("labelstudio", "x.json", "[" * 100_000, "not JSON"),
    ],
)
def test_what_does_not_fit_is_said_with_its_place(
    form: PreferenceFormat, name: str, data: object, message: str, folder: Path
) -> None:
    written(folder / "metadata.json", [{"video": "videos/0.mp4"}, {"video": "videos/1.mp4"}])
    with pytest.raises(ValueError, match=message):
        read_pairs(written(folder / name, data), form)


def test_a_missing_video_costs_its_row_and_a_missing_file_is_said(folder: Path) -> None:
    read = read_pairs(written(folder / "x.csv", VIDEOREWARD.replace("0.mp4", "9.mp4")), "videoreward")
    assert len(read.pairs) == 1 and read.left_out == {"no label": 1, "no such file": 1}
    assert "9.mp4; name a video" in read.examples["no such file"]
    for form in FORMS:
        with pytest.raises(ValueError, match="no such file"):
            read_pairs(folder / "nothing.json", form)


def test_a_damaged_video_costs_its_pairs(folder: Path) -> None:
    (folder / "videos/0.mp4").write_bytes(b"no video")
    read = read_pairs(written(folder / "train.csv", VIDEOREWARD), "videoreward")
    with Store.create(folder / "project") as store:
        result = import_pairs(store, read, ASK)
        assert (result.pairs, sum(result.left_out.values())) == (1, 2)
        assert len(store.candidates()) == 2
