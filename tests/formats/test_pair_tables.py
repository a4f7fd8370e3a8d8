"""Tables of pairs as data sets have them: which column is which, what each cell holds, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rushes.config.tables import FootageSettings
from rushes.formats.pair_files import find_pairs
from rushes.formats.preferences import ForeignPairs
from rushes.formats.sides import PairColumns, find_columns
from rushes.media.write import encode_bytes

VIDEO = [encode_bytes(np.full((2, 16, 16, 3), 40 * k, np.uint8), 8.0) for k in range(4)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for k, data in enumerate(VIDEO):
        (tmp_path / f"{k}.mp4").write_bytes(data)
    return tmp_path


def read(path: Path, columns: str = "", *answers: str) -> ForeignPairs:
    unpacked = path.parent / "unpacked"
    unpacked.mkdir(exist_ok=True)
    return find_pairs(FootageSettings(path=str(path), columns=columns, answers=answers), unpacked)


def parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=1)
    return path


def sides(pairs: ForeignPairs) -> list[tuple[bytes, bytes, dict[str, int], str]]:
    return [(p.left.read_bytes(), p.right.read_bytes(), p.labels, p.prompt) for p in pairs.pairs]


@pytest.mark.parametrize(
    ("names", "columns"),
    [
        ("prompt chosen rejected score_chosen", PairColumns("prompt", "chosen", "rejected")),
        ("caption video_w video_l", PairColumns("caption", "video_w", "video_l")),
        ("text winner_path loser_path", PairColumns("text", "winner_path", "loser_path")),
        ("prompt text chosen_video rejected_video", PairColumns("prompt", "chosen_video", "rejected_video")),
        ("prompt mp4_w mp4_l", PairColumns("prompt", "mp4_w", "mp4_l")),
        ("prompt video_a video_b preference", PairColumns("prompt", "video_a", "video_b", "preference")),
        ("Prompt video_b video_a winner", PairColumns("Prompt", "video_a", "video_b", "winner")),
        (
            "video_prompt left_model left_video right_model right_video vote_type",
            PairColumns("video_prompt", "left_video", "right_video", "vote_type", models=("left_model", "right_model")),
        ),
        (
            "prompt video1 video2 weighted_results1_Preference weighted_results2_Preference weighted_results1_Motion",
            PairColumns(
                "prompt",
                "video1",
                "video2",
                shares={"overall": ("weighted_results1_Preference", "weighted_results2_Preference")},
            ),
        ),
    ],
)
def test_columns_that_say_what_they_are(names: str, columns: PairColumns) -> None:
    assert find_columns(Path("t"), names.split()) == columns


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("prompt good bad", "no column is the better or the left video; it has prompt, good, bad: assign the columns"),
        ("chosen rejected", "no column is the prompt"),
        ("caption text chosen rejected", "several columns could be the prompt: caption, text"),
        ("prompt chosen rejected chosen_video rejected_video", "several columns could be the better video: chosen"),
        ("prompt video_a video_b", "no column is what was preferred"),
        ("prompt video_a video_b winner label", "several columns could be what was preferred: winner, label"),
        ("prompt video_0 video_1 video_2 winner", "several columns could be the better or the left video"),
        ("prompt w l", "no column is the better or the left video"),
        ("prompt chosen_score rejected_score", "no column is the better or the left video"),
        ("prompt score_a score_b preference", "no column is the better or the left video"),
        ("", "no column is the prompt; it has no columns"),
    ],
)
def test_columns_that_do_not_say_it_are_refused_with_their_names(names: str, words: str) -> None:
    with pytest.raises(ValueError, match="--columns chosen=COLUMN,rejected=COLUMN,prompt=COLUMN, or left=") as error:
        find_columns(Path("t"), names.split())
    assert f"t: {words}" in str(error.value) and "\n" not in str(error.value)


def test_columns_that_the_user_names() -> None:
    names = ["prompt", "text", "good", "bad", "q"]
    assert find_columns(Path("t"), names, "chosen=good, rejected=bad") == PairColumns("prompt", "good", "bad")
    asked = "left=bad,right=good,answer=q,prompt=text"
    assert find_columns(Path("t"), names, asked) == PairColumns("text", "bad", "good", "q")
    for wrong, words in (
        ("chosen=good", "name chosen and rejected, or left, right and answer"),
        ("chosen=good,rejected=bad,answer=q", "name chosen and rejected"),
        ("chosen=good,rejected=worst", "has no column 'worst'; it has prompt, text, good, bad, q"),
        ("better=good", "write ROLE=COLUMN"),
        ("prompt=text,prompt=q", "each role once"),
    ):
        with pytest.raises(ValueError, match=words):
            find_columns(Path("t"), names, wrong)


def test_embedded_videos_and_paths_in_parquet(folder: Path) -> None:
    rows = [
        {
            "prompt": "a cat",
            "chosen": {"bytes": VIDEO[1], "path": "x.mp4"},
            "rejected": {"bytes": None, "path": "0.mp4"},
        },
        {"prompt": "a dog", "chosen": {"bytes": VIDEO[2], "path": None}, "rejected": {"bytes": VIDEO[3], "path": None}},
        {"prompt": "none", "chosen": {"bytes": b"", "path": None}, "rejected": {"bytes": VIDEO[3], "path": None}},
    ]
    pairs = read(parquet(folder / "p.parquet", rows))
    assert sides(pairs) == [
        (VIDEO[1], VIDEO[0], {"overall": 1}, "a cat"),
        (VIDEO[2], VIDEO[3], {"overall": 1}, "a dog"),
    ]
    assert pairs.entries == 3 and pairs.left_out == {"chosen is not text": 1}
    binary = [{"caption": "a cat", "video_l": VIDEO[0], "video_w": VIDEO[1]}]
    assert sides(read(parquet(folder / "b.parquet", binary))) == [(VIDEO[1], VIDEO[0], {"overall": 1}, "a cat")]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "json", "parquet"])
def test_answers_name_a_side_by_its_word_its_column_or_its_video(suffix: str, folder: Path) -> None:
    answers = ["a", "video_b", "0.mp4", "1.mp4", "tie", "B", "both bad", ""]
    rows = [{"prompt": "p", "video_a": "0.mp4", "video_b": "1.mp4", "preference": answer} for answer in answers]
    path = folder / f"p.{suffix}"
    if suffix == "parquet":
        parquet(path, rows)
    elif suffix == "csv":
        path.write_text("\n".join(["prompt,video_a,video_b,preference", *(",".join(row.values()) for row in rows)]))
    else:
        lines = [json.dumps(row) for row in rows]
        path.write_text("\n".join(lines) if suffix == "jsonl" else f"[{','.join(lines)}]")
    pairs = read(path)
    assert [pair.labels["overall"] for pair in pairs.pairs] == [1, -1, 1, -1, 0, -1, 0]
    assert pairs.left_out == {"no label": 1}


def test_a_number_is_a_side_only_where_the_columns_are_numbered_so(folder: Path) -> None:
    """0 and 1 are the first and the second to some, and the second and the first to others."""

    def rows(columns: str, *answers: object) -> Path:
        left, right = columns.split()
        each = [{"prompt": "p", left: "0.mp4", right: "1.mp4", "label": answer} for answer in answers]
        return parquet(folder / "p.parquet", each)

    def labels(path: Path, *more: str) -> list[int]:
        return [pair.labels["overall"] for pair in read(path, "", *more).pairs]

    assert labels(rows("video_0 video_1", 0, 1)) == [1, -1]
    assert labels(rows("video1 video2", 1, 2)) == [1, -1]
    for columns, answers in (
        ("video_a video_b", (1, 1)),
        ("video1 video2", (0, 1)),
        ("video_a video_b", (True, False)),
    ):
        with pytest.raises(ValueError, match=r"without a known meaning.*--answers"):
            read(rows(columns, *answers))
    assert labels(rows("video_a video_b", 0, 1), "0=right", "1=left") == [-1, 1]
    assert labels(rows("video_a video_b", 0.0, 1.0), "0.0=left", "1.0=right") == [1, -1]


def test_arenas_and_shares_of_people(folder: Path) -> None:
    votes = ["leftvote", "rightvote", "tievote", "bothbad_vote", "Pika"]
    rows = [
        {"video_prompt": "p", "left_model": "Kling", "left_video": "0.mp4", "right_model": "Pika",
         "right_video": "1.mp4", "vote_type": vote}
        for vote in votes
    ]  # fmt: skip
    pairs = read(parquet(folder / "votes.parquet", rows)).pairs
    assert [pair.labels["overall"] for pair in pairs] == [1, -1, 0, 0, -1]
    assert pairs[0].systems == ("Kling", "Pika")
    names = [f"weighted_results{k}_Preference" for k in (1, 2)]
    shares: list[dict[str, Any]] = [
        {"prompt": "p", "video1": "0.mp4", "video2": "1.mp4", names[0]: one, names[1]: two}
        for one, two in ((0.75, 0.25), (0.2, 0.8), (0.5, 0.5), (None, 0.5))
    ]
    read_pairs = read(parquet(folder / "shares.parquet", shares))
    assert [pair.labels["overall"] for pair in read_pairs.pairs] == [1, -1, 0]
    assert read_pairs.left_out == {"no label": 1}


def hub(folder: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        row = {"prompt": f"p{number}", "chosen": {"bytes": VIDEO[1], "path": "a.mp4"}, "rejected": f"{number}.mp4"}
        parquet(folder / "set" / name, [row])
        (folder / "set" / f"{number}.mp4").write_bytes(VIDEO[number])
    (folder / "set" / "README.md").write_text("a card")
    return folder / "set"


def test_the_shards_of_a_data_set(folder: Path) -> None:
    """Paths are relative to the shard's folder, or to the data set's; of several splits that for training is read."""
    names = [f"data/train-0000{k}-of-00002.parquet" for k in range(2)]
    pairs = read(hub(folder, *names, "data/test-00000-of-00001.parquet"))
    assert [(p.prompt, p.right.read_bytes()) for p in pairs.pairs] == [("p0", VIDEO[0]), ("p1", VIDEO[1])]
    assert pairs.pairs[1].place == "data/train-00001-of-00002.parquet, row 0"
    assert pairs.notes == ["passed over: 1 file of split test"]
    assert len({pair.left for pair in pairs.pairs}) == 2


def test_data_sets_that_are_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="has test, validation but no train"):
        read(hub(folder, "test/0.parquet", "val/0.parquet"))
    other = hub(folder / "b", "0.parquet")
    parquet(other / "1.parquet", [{"prompt": "p", "chosen": "0.mp4", "worse": "0.mp4"}])
    assert read(other).left_out == {"has no rejected": 1}
    for name, columns in (("0", ("video_w", "video_l")), ("1", ("winner", "loser"))):
        parquet(other / f"{name}.parquet", [{"prompt": "p", columns[0]: "0.mp4", columns[1]: "0.mp4"}])
    with pytest.raises(ValueError, match=r"1\.parquet and .*0\.parquet have different columns; name one"):
        read(other)
    (folder / "torn.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(ValueError, match=r"torn.parquet: not a readable Parquet file .*get the complete file"):
        read(folder / "torn.parquet")


def test_a_folder_of_videos_with_some_table_in_it_stays_one(folder: Path) -> None:
    (folder / "a").mkdir()
    for name in ("x_w.mp4", "x_l.mp4"):
        (folder / "a" / name).write_bytes(VIDEO[0])
    (folder / "a" / "x.txt").write_text("a cat")
    parquet(folder / "a" / "scores.parquet", [{"id": 1}])
    assert [pair.prompt for pair in read(folder / "a").pairs] == ["a cat"]
    with pytest.raises(ValueError, match="a folder of videos has no columns"):
        read(folder / "a", "prompt=x")
