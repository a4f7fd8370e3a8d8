"""Tables of videos: which columns are read, where videos lie, and what is refused."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rushes.files import MediaError
from rushes.formats.clip_tables import find_columns, read_tables
from rushes.formats.contents import Contents
from rushes.formats.layouts import Listing, folder_files
from rushes.formats.listing import detect_layout, list_footage

ODD = 'un café «l\'été» "x", 日本.mp4'


def videos(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def read(place: Path, **columns: str) -> Listing:
    return list_footage(folder_files(place), detect_layout(folder_files(place), **columns), **columns)


def found(listing: Listing) -> list[tuple[str, str]]:
    return [(one.path.name, one.caption) for one in listing.footage]


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_a_table_names_videos_relative_to_itself(tmp_path: Path, form: str) -> None:
    videos(tmp_path, "clips/1.mp4", f"clips/{ODD}", "clips/2.mp4")
    rows = [{"path": f"clips/{ODD}", "text": " odd "}, {"path": "clips/1.mp4", "text": "one, two"}]
    path = tmp_path / f"list.{form}"
    if form == "csv":
        quoted = ODD.replace('"', '""')
        path.write_text(f'path,text\n"clips/{quoted}", odd \nclips/1.mp4,"one, two"\n')
    elif form == "jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    assert detect_layout(folder_files(tmp_path)) == detect_layout(folder_files(path)) == "table"
    listing = read(tmp_path)
    assert found(listing) == [(ODD, "odd"), ("1.mp4", "one, two")]
    assert listing.passed_over == (str(tmp_path / "clips" / "2.mp4"),)
    assert found(read(path)) == found(listing)


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_a_column_names_the_scenario_of_each_video(tmp_path: Path, form: str) -> None:
    videos(tmp_path, "1.mp4", "2.mp4")
    rows = [
        {"file_name": "1.mp4", "text": "one", "scenario": " water  sports\n", "kind": "sea"},
        {"file_name": "2.mp4", "text": "two", "scenario": "", "kind": "air"},
    ]
    path = tmp_path / f"metadata.{form}"
    if form == "csv":
        path.write_text('file_name,text,scenario,kind\n1.mp4,one," water  sports\n",sea\n2.mp4,two,,air\n')
    elif form == "jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    assert [one.scenario for one in read(tmp_path).footage] == ["water sports", ""]
    assert [one.scenario for one in list_footage(folder_files(path), "table", scenario_column="kind").footage] == [
        "sea",
        "air",
    ]
    with pytest.raises(
        ValueError, match=r"footage.scenario_column: .*metadata.* has no column 'topic'; it has file_name"
    ):
        list_footage(folder_files(path), "table", scenario_column="topic")


def test_columns_by_name_and_by_setting(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,video,caption,prompt,mine\n7,a.mp4,one,two,three\n")
    assert (find_columns(path).video, find_columns(path).caption) == ("video", "caption")
    assert find_columns(path, "id", "mine").video == "id"
    videos(tmp_path, "a.mp4")
    assert found(read(tmp_path, caption_column="mine")) == [("a.mp4", "three")]
    with pytest.raises(ValueError, match=r"footage\.caption_column: .* no column 'yours'; it has id, video, caption"):
        find_columns(path, "", "yours")
    path.write_text("id,prompt\n1,two\n")
    with pytest.raises(ValueError, match=r"none of its columns \(id, prompt\) holds videos; set footage\.video_column"):
        find_columns(path)


@pytest.mark.parametrize("struct", [True, False])
def test_bytes_in_parquet_are_read_one_at_a_time(tmp_path: Path, struct: bool) -> None:
    data = [bytes([k]) * (1000 + k) for k in range(7)]
    cells = [{"bytes": one, "path": f"{k}.webm"} for k, one in enumerate(data)] if struct else data
    table = pa.table({"video": cells, "caption": [f"clip {k}" for k in range(7)]})
    (tmp_path / "data").mkdir()
    pq.write_table(table, tmp_path / "data" / "train-00000-of-00001.parquet", row_group_size=3)
    listing = read(tmp_path)
    assert [one.caption for one in listing.footage] == [f"clip {k}" for k in range(7)]
    with closing(Contents(tmp_path)) as contents:
        for k in (0, 1, 2, 3, 6, 5, 5, 0):  # forwards, backwards, and the same again
            path = contents.file(listing.footage[k])
            assert path.read_bytes() == data[k] and path.suffix == (".webm" if struct else ".mp4")
            assert len(list(path.parent.iterdir())) == 1


def test_what_datasets_writes_is_read(tmp_path: Path) -> None:
    """A Video column, written by the library itself."""
    import datasets

    videos(tmp_path / "raw", "a.mp4", "b.mp4")
    files = [str(tmp_path / "raw" / name) for name in ("a.mp4", "b.mp4")]
    made = datasets.Dataset.from_dict({"video": files, "text": ["one", "two"]})
    made = made.cast_column("video", datasets.Video(decode=False))
    (tmp_path / "hub").mkdir()
    held = [{"bytes": Path(file).read_bytes(), "path": Path(file).name} for file in files]  # as push_to_hub embeds them
    made = datasets.Dataset.from_dict({"video": held, "text": made["text"]}, features=made.features)
    made.to_parquet(tmp_path / "hub" / "train.parquet")
    listing = read(tmp_path / "hub")
    assert [one.caption for one in listing.footage] == ["one", "two"]
    with closing(Contents(tmp_path)) as contents:
        assert [contents.file(one).read_bytes() for one in listing.footage] == [b"a.mp4", b"b.mp4"]


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_a_videofolder(tmp_path: Path, form: str) -> None:
    for split in ("train", "test"):
        videos(tmp_path, f"{split}/1.mp4", f"{split}/more/{split}.mp4")
        rows = [{"file_name": "1.mp4", "text": f"{split} 1"}, {"file_name": f"more/{split}.mp4", "text": split}]
        path = tmp_path / split / f"metadata.{form}"
        if form == "parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)
        elif form == "jsonl":
            path.write_text("\n".join(map(json.dumps, rows)))
        else:
            path.write_text("\n".join(["file_name,text", *(f"{row['file_name']},{row['text']}" for row in rows)]))
    assert detect_layout(folder_files(tmp_path)) == "videofolder"
    assert found(read(tmp_path)) == [
        ("1.mp4", "test 1"),
        ("test.mp4", "test"),
        ("1.mp4", "train 1"),
        ("train.mp4", "train"),
    ]


def test_rows_that_lead_out_or_name_nothing_are_refused(tmp_path: Path) -> None:
    videos(tmp_path, "in/a.mp4", "out/b.mp4")
    (tmp_path / "in" / "link.mp4").symlink_to(tmp_path / "out" / "b.mp4")
    rows = ["a.mp4", "../out/b.mp4", str(tmp_path / "out" / "b.mp4"), "link.mp4", ""]
    lines = "\n".join(json.dumps({"file": row, "caption": "x"}) for row in rows)
    (tmp_path / "in" / "list.jsonl").write_text(lines + '\n{"file": 7, "caption": "x"}\n{"caption": "x"}')
    listing = read(tmp_path / "in" / "list.jsonl")
    assert found(listing) == [("a.mp4", "x")]
    assert [one.reason for one in listing.refused] == ["points outside the folder"] * 3 + ["no video"] * 3
    assert "line 2" in listing.refused[0].source and "copy the file there" in listing.refused[0].words
    refused = read(tmp_path / "in").refused  # a link in the folder itself, as in every layout
    assert (refused[-1].source, refused[-1].reason) == (str(tmp_path / "in" / "link.mp4"), "link")


def test_captions_beside_videos_go_before_tables(tmp_path: Path) -> None:
    videos(tmp_path, "a.mp4")
    (tmp_path / "measures.csv").write_text("file,caption\nb.mp4,not this\n")
    assert detect_layout(folder_files(tmp_path)) == "table"
    (tmp_path / "a.txt").write_text("this")
    assert found(read(tmp_path)) == [("a.mp4", "this")]


def test_damaged_tables(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"video": [b"x" * 100] * 50, "caption": ["c"] * 50}), path)
    (one, *_) = read(path).footage
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"a\.parquet: not a readable Parquet file"):
        read(path)
    pq.write_table(pa.table({"video": pa.array([], pa.binary()), "caption": pa.array([], pa.string())}), path)
    with closing(Contents(tmp_path)) as contents, pytest.raises(MediaError, match="no longer has this row"):
        contents.file(one)
    with pytest.raises(ValueError, match=r"set footage\.path to the table's file"):
        read_tables(folder_files(tmp_path), [])
    (tmp_path / "list.txt").write_text("a")
    with pytest.raises(ValueError, match=r"not a folder, \.tar"):
        detect_layout(folder_files(tmp_path / "list.txt"))
