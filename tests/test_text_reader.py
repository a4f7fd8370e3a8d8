"""Encodings, what no text may hold, rows that do not fit their header."""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rushes.text_reader import (
    MOST_CHARACTERS,
    MOST_TEXT_BYTES,
    caption_of,
    decode,
    parse_json,
    read_by_line,
    read_lines,
    read_rows,
    read_text,
)


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"one\ntwo", ("one", "two")),
        (b"one\ntwo\n\n\n", ("one", "two")),
        (b"\xef\xbb\xbfone\r\ntwo\r\n", ("one", "two")),
        (b"one\rtwo", ("one", "two")),
        (b" one \n\n\ttwo", ("one", "", "two")),
        ("a\u2028b\x0cc\x85d".encode(), ("a\u2028b\x0cc\x85d",)),
        (b"", ()),
        (b"\xef\xbb\xbf\n", ()),
    ],
)
def test_lines(tmp_path: Path, content: bytes, lines: tuple[str, ...]) -> None:
    (tmp_path / "captions.txt").write_bytes(content)
    assert read_lines(tmp_path / "captions.txt") == lines


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("text", ["a red dog, café", "a", "一只狗 runs, and then it jumps over all of it"])
def test_encodings_with_and_without_marks(encoding: str, text: str) -> None:
    assert decode(text.encode(encoding), "x") == text


@given(st.text())
def test_utf8_is_never_taken_for_another(text: str) -> None:
    if "\0" not in text:
        assert decode(text.encode(), "x") == text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


@given(st.binary(max_size=40))
def test_any_bytes_are_text_or_refused_by_place(data: bytes) -> None:
    try:
        assert isinstance(decode(data, "file 7"), str)
    except ValueError as error:
        assert str(error).startswith("file 7: not ") and "save it as UTF-8" in str(error)


ODD = "not UTF-8: the byte 0xE9 after"


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_byte_that_is_no_text_costs_its_line_alone(mark: bytes, tmp_path: Path) -> None:
    lines = ["file,caption", "1.mp4,a dog", "2.mp4,caf\xe9", "3.mp4,\u00fcber"]
    data = [line.encode("latin-1" if "\xe9" in line else "utf-8") for line in lines]
    (tmp_path / "t.csv").write_bytes(mark + b"\r\n".join(data))
    first, odd, last = read_rows(tmp_path / "t.csv")
    assert (
        first.cells["caption"] == "a dog" and last.cells["caption"] == "\u00fcber" and not first.problem + last.problem
    )
    assert odd.problem.startswith(f"{ODD} 3 characters") and odd.line == 3
    (tmp_path / "t.jsonl").write_bytes(mark + b'{"a": {"b": "x"}}\n{"a": {"b": "caf\xe9"}}\n{"a": "\xc3\xbc"}')
    assert [row.problem[: len(ODD)] for row in read_rows(tmp_path / "t.jsonl")] == ["", ODD, ""]


@pytest.mark.parametrize("data", [b"caf\xe9\nna\xefve\nplain", b"\xe9", b"a\nb\n\0\xe9"])
def test_where_most_lines_are_no_utf8_the_encoding_is_another(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_bytes(data)
    with pytest.raises(ValueError, match=r"t\.txt: not UTF-8 text .*; save it as UTF-8"):
        read_by_line(tmp_path / "t.txt")


@pytest.mark.parametrize("data", ["é".encode("latin-1"), b"\xff\xfea", b"\x93quoted\x94"])
def test_other_encodings_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"x: not UTF-(8|16) text .*; save it as UTF-8"):
        decode(data, "x")


@pytest.mark.parametrize(
    "text", ["", " \t", "\u200b\ufeff", "\u2800\u3164", "\u00a0\u2003", "\u200d\ufe0f", "NaN", "None", " n/a "]
)
def test_what_shows_nothing_is_no_caption(text: str) -> None:
    assert caption_of(text) == ("", "")


@pytest.mark.parametrize("text", ["a red dog", "👩\u200d🚀 waves", "nan bread", "がん"])
def test_captions_stay_as_they_are(text: str) -> None:
    assert caption_of(f"  {text}\r\n") == (text, "")


@pytest.mark.parametrize("text", ["a\0b", "a\x1b[31mb", "a\x7f", "a\x9bb", "a\ud800b"])
def test_control_characters_are_refused_where_they_stand(text: str) -> None:
    caption = caption_of(text)
    assert caption.text == "" and f"U+{ord(text[1]):04X} after 1 characters" in caption.problem
    assert caption.problem.isprintable()


def test_a_caption_has_a_limit() -> None:
    assert caption_of("w" * MOST_CHARACTERS).text and "shorten it" in caption_of("w" * (MOST_CHARACTERS + 1)).problem


def test_json_that_is_too_deep_is_refused() -> None:
    with pytest.raises(ValueError, match=r"place: the JSON is nested too deeply"):
        parse_json("[" * 100_000, "place")


@pytest.mark.parametrize("delimiter", [",", "\t", ";", ", "])
def test_cells_are_parted_as_the_header_is(delimiter: str, tmp_path: Path) -> None:
    rows = [["file_name", "text"], ["a.mp4", "a red dog"], ["b.mp4", '"b, c; d\te"']]
    (tmp_path / "x.csv").write_text("\n".join(map(delimiter.join, rows)))
    cells = [row.cells for row in read_rows(tmp_path / "x.csv")]
    assert cells == [{"file_name": "a.mp4", "text": "a red dog"}, {"file_name": "b.mp4", "text": "b, c; d\te"}]


cells = st.lists(st.lists(st.text('ab ,"\0é', max_size=4), min_size=1, max_size=4), min_size=1, max_size=6)


@given(cells)
def test_each_row_of_a_table_is_read_or_has_a_problem(rows: list[list[str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, quoting=csv.QUOTE_ALL).writerows([["file", "text"], *rows])
        read = list(read_rows(path))
    assert len(read) == len(rows)
    for row, given_row in zip(read, rows, strict=True):
        good = len(given_row) == 2 and "\0" not in "".join(given_row)
        assert bool(row.problem) is not good
        assert not good or row.cells == {"file": given_row[0].strip(), "text": given_row[1].strip()}


def test_a_file_that_is_too_long_for_text_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "captions.jsonl"
    with path.open("wb") as file:
        file.truncate(MOST_TEXT_BYTES + 1)  # a hole, which takes no room on the disk
    for read in (read_text, read_by_line):
        with pytest.raises(ValueError, match="allowed for a text file"):
            read(path)
