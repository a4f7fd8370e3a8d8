"""Captions as people keep them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rushes.formats.caption_files import captions_of, natural, shown


def folder_of(folder: Path, **files: str | bytes) -> list[Path]:
    """Two videos and the captions files that are given; `_` in a name stands for the dot."""
    for name, content in ({"1_mp4": b"", "2_mp4": b""} | files).items():
        data = content.encode() if isinstance(content, str) else content
        (folder / name.replace("_", ".")).write_bytes(data)
    return [folder / "1.mp4", folder / "2.mp4"]


def read(folder: Path, **files: str | bytes) -> list[str]:
    """The captions; in place of one that cannot be used, what is wrong with it."""
    return [caption.problem or caption.text for caption in captions_of(folder, folder_of(folder, **files))]


def test_names_sort_as_people_count() -> None:
    names = [
        "a.mp4",
        "a/02.mp4",
        "a/2.mp4",
        "a/10.mp4",
        "a 1/1.mp4",
        "clip.mp4",
        "clip2.mp4",
        "clip2b.mp4",
        "clip10.mp4",
        "x01.mp4",
    ]
    assert [path.as_posix() for path in sorted(map(Path, reversed(names)), key=natural)] == names
    assert [path.name for path in sorted(map(Path, ["b.mp4", "10.mp4", "9.mp4"]), key=natural)] == [
        "9.mp4", "10.mp4", "b.mp4",
    ]  # fmt: skip


def by_parts(path: Path) -> tuple[object, ...]:
    """The same order, spelled out: each part as numbers, which come first, and texts."""
    parts = (re.findall(r"([0-9]+)|([^0-9]+)", part) for part in (*path.parent.parts, path.stem))
    return tuple(tuple((not n, int(n or 0), n or text) for n, text in part) for part in parts), path.as_posix()


@given(st.lists(st.text("ab019. /é-_"), unique=True))
def test_numbers_count_by_value(names: list[str]) -> None:
    paths = list({Path(name) for name in names})
    assert sorted(paths, key=natural) == sorted(paths, key=by_parts)


@given(st.lists(st.text("ab019. /é"), unique=True))
def test_any_names_have_one_order(names: list[str]) -> None:
    paths = list({Path(name) for name in names})
    assert sorted(paths, key=natural) == sorted(reversed(paths), key=natural)


def test_at_most_five_names_are_shown() -> None:
    assert shown("abc") == "a, b, c" and shown("abcde") == "a, b, c, d, e"
    assert shown("abcdefgh") == "a, b, c, d, e and 3 more"


@pytest.mark.parametrize("name", ["captions_txt", "prompts_txt", "prompt_txt"])
def test_one_line_each(tmp_path: Path, name: str) -> None:
    assert read(tmp_path, **{name: "one\ntwo"}) == ["one", "two"]


def test_both_counts_and_the_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"captions.txt: 3 captions for 2 videos"):
        read(tmp_path, captions_txt="one\ntwo\nthree")


def test_a_text_beside_each_video(tmp_path: Path) -> None:
    assert read(tmp_path, **{"1_txt": "one\nstill one\r\n", "2_txt": "two"}) == ["one still one", "two"]


def test_a_video_may_be_called_captions(tmp_path: Path) -> None:
    for name in ("captions.mp4", "captions.txt"):
        (tmp_path / name).write_text("of this one")
    assert list(captions_of(tmp_path, [tmp_path / "captions.mp4"])) == [("of this one", "")]


def test_no_captions_are_empty_ones(tmp_path: Path) -> None:
    assert read(tmp_path) == ["", ""]
    assert read(tmp_path, **{"2_txt": "two"}) == ["", "two"]


@pytest.mark.parametrize(
    "files",
    [
        {"captions_txt": "one\ntwo", "prompts_txt": "one\ntwo"},
        {"captions_txt": "one\ntwo", "1_txt": "one"},
        {"captions_csv": "file,caption", "captions_jsonl": ""},
    ],
)
def test_captions_kept_in_two_ways_are_refused(tmp_path: Path, files: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"captions stand in .* and in .*; keep one"):
        read(tmp_path, **files)


def test_tables(tmp_path: Path) -> None:
    table = '\ufefffile,caption,seconds\r\n./2.mp4,"two, with a ""comma""\r\nand a line",3\r\n1.mp4, one ,4\r\n'
    assert read(tmp_path, captions_csv=table) == ["one", 'two, with a "comma" and a line']
    (tmp_path / "captions.csv").unlink()
    assert read(tmp_path, captions_jsonl='{"file": "1.mp4", "caption": "é"}\r\n\n') == ["é", ""]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("csv", "file,caption\n1.mp4,one\n3.mp4,three", "line 3: '3.mp4' names no video"),
        ("csv", "file,caption\n1.mp4,one\n./1.mp4,again", "line 3: './1.mp4' names a video for the second time"),
        ("csv", "file,caption\n1.mp4,one, two", "line 2: 3 cells for 2 columns; quote cells that hold commas"),
        ("csv", "file,caption\n1.mp4", "line 2: 1 cell for 2 columns; fill in"),
        ("csv", 'file,caption\n1.mp4,"one', "line 2: unexpected end of data"),
        ("csv", "name,text\n1.mp4,one", "name, text; rename two of them to file and caption"),
        ("csv", "file,caption,file\n1.mp4,one,2.mp4", "two columns have the name 'file'"),
        ("jsonl", '{"file": "1.mp4", "caption": "one"}\n{"file": ', "line 2: not JSON: Expecting value"),
        ("jsonl", '{"file": "1.mp4", "file": "2.mp4"}', "line 1: not JSON: the key 'file' appears twice"),
        ("jsonl", '{"file": "1.mp4", "caption": null}', "line 1: has no caption"),
        ("jsonl", '["1.mp4", "one"]', "line 1: not an object"),
        ("jsonl", '[\n{"file": "1.mp4", "caption": "one"}\n]', "a JSON array; write one object per line"),
    ],
)
def test_bad_tables(tmp_path: Path, name: str, content: str, reason: str) -> None:
    try:
        words = "\n".join(read(tmp_path, **{f"captions_{name}": content}))
    except ValueError as error:
        words = str(error)
    assert f"captions.{name}" in words and reason in words


def test_a_bad_row_costs_its_video_alone(tmp_path: Path) -> None:
    rows = "file,caption\n1.mp4,one, two\n2.mp4,two\n3.mp4,three\n"
    refused: list[str] = []
    videos = folder_of(tmp_path, captions_csv=rows)
    first, second = captions_of(tmp_path, videos, lambda place, words: refused.append(f"{place}: {words}"))
    assert "3 cells for 2 columns" in first.problem and second == ("two", "")
    (problem,) = refused
    assert (
        problem == f"{tmp_path}/captions.csv, line 4: '3.mp4' names no video in the folder; correct or delete the line"
    )
