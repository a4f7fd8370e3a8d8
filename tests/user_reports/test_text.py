"""Public reports by users of other tools about texts, tables and judges, tried here: each input is made by its test."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest

from rushes.media.write import write_video
from rushes.store.database import Store

from ..projects import Rushes

NAMES = ("a.mp4", "b.mp4", "c.mp4", "d.mp4")


class ImportText(Protocol):
    """Import four videos with these files beside them; code, what was said, and the captions that were stored."""

    def __call__(self, files: Mapping[str, bytes | str], *settings: str) -> tuple[int, str, dict[str, str]]: ...


@pytest.fixture
def imported(tmp_path: Path, rushes: Rushes) -> ImportText:
    def run(files: Mapping[str, bytes | str], *settings: str) -> tuple[int, str, dict[str, str]]:
        footage, project = tmp_path / "footage", tmp_path / "project"
        footage.mkdir()
        for seed, name in enumerate(NAMES):
            frames = np.random.default_rng(seed).integers(0, 255, (17, 32, 32, 3), np.uint8)
            write_video(footage / name, frames, 8)
        for name, content in files.items():
            (footage / name).write_bytes(content.encode() if isinstance(content, str) else content)
        assert rushes("init", project, "--footage", footage)[0] == 0
        code, _, err = rushes("import", project, *(part for text in settings for part in ("--set", text)))
        assert "Traceback" not in err
        assert all(line.isprintable() for line in err.splitlines()), "a control character was printed"
        with Store(project) as store:
            captions = {Path(clip.source).name: clip.caption for clip in store.clips()}
        return code, err, captions

    return run


SKIP = 'footage.on_refused="skip"'


def test_commas_without_quotes_do_not_cut_a_caption(imported: ImportText) -> None:
    """mindone#133, geoflow#109, video2dataset#117: `metadata.csv` with commas in its captions.

    Was: "a red dog" stored, exit 0."""
    table = 'file_name,text\na.mp4,a red dog, running fast\nb.mp4,"a cat, asleep"\nc.mp4\nd.mp4,a bird\n'
    code, err, captions = imported({"metadata.csv": table}, SKIP)
    assert code == 0 and captions == {"b.mp4": "a cat, asleep", "d.mp4": "a bird"}
    assert "line 2: 3 cells for 2 columns; quote cells that hold commas" in err
    assert "line 4: 1 cell for 2 columns; fill in" in err


def test_commas_without_quotes_end_an_import_that_may_not_skip(imported: ImportText) -> None:
    """video2dataset#117: the same where nothing may be left out."""
    code, err, captions = imported({"metadata.csv": "file_name,text\na.mp4,a dog, running\nb.mp4,c\nc.mp4,d\nd.mp4,e"})
    assert code == 2 and not captions and "metadata.csv, line 2: 3 cells for 2 columns" in err


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-16", "utf-8-sig"])
def test_captions_of_a_windows_editor(encoding: str, imported: ImportText) -> None:
    """sd-scripts#1759 and its kind: a caption as Notepad saves it; without a mark it was stored with NULs."""
    texts: dict[str, bytes | str] = {f"{name[0]}.txt": "a red dog, café".encode(encoding) for name in NAMES}
    code, err, captions = imported(texts)
    assert (code, set(captions.values())) == (0, {"a red dog, café"}), err


TABLES = {
    "captions.txt": "a dog\ncaf\xe9\na cat\na bird\n",
    "captions.csv": "file,caption\na.mp4,a dog\nb.mp4,caf\xe9\nc.mp4,a cat\nd.mp4,a bird\n",
    "metadata.csv": "file_name,text\na.mp4,a dog\nb.mp4,caf\xe9\nc.mp4,a cat\nd.mp4,a bird\n",
    "captions.jsonl": "".join(
        f'{{"file": "{name}", "caption": "{text}"}}\n'
        for name, text in zip(NAMES, ("a dog", "caf\xe9", "a cat", "a bird"), strict=True)
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_byte_that_is_no_text_costs_its_row_alone(name: str, imported: ImportText) -> None:
    """sd-scripts#1759 and its kind: one row pasted from an older program ended the import of all, also with skip."""
    code, err, captions = imported({name: TABLES[name].encode("latin-1")}, SKIP)
    assert code == 0 and captions == {"a.mp4": "a dog", "c.mp4": "a cat", "d.mp4": "a bird"}, err
    assert "not UTF-8: the byte 0xE9 after " in err and f"{name}, line " in err


def test_a_file_of_another_encoding_is_refused_whole(imported: ImportText) -> None:
    """The same where most rows are so, which are captions that could be read, were the encoding known."""
    table = "file,caption\na.mp4,r\xe9gion\nb.mp4,caf\xe9\nc.mp4,na\xefve\nd.mp4,a bird\n"
    code, err, captions = imported({"captions.csv": table.encode("latin-1")}, SKIP)
    assert code == 2 and not captions and "captions.csv: not UTF-8 text" in err and "save it as UTF-8" in err


def test_control_characters_are_refused(imported: ImportText) -> None:
    """finetrainers#426 and its kind: NUL and ESC in a caption went into the store, and to the terminal."""
    files: dict[str, bytes | str] = {"a.txt": b"a red\0 dog", "b.txt": b"a \x1b[31mdog", "c.txt": b"ok", "d.txt": b"ok"}
    code, err, captions = imported(files, SKIP)
    assert code == 0 and set(captions) == {"c.mp4", "d.mp4"}
    assert "a.txt: the control character U+0000 after 5 characters" in err and "U+001B after 2" in err


@pytest.mark.parametrize("settings", [(), ("footage.allow_empty_captions=true",)])
def test_a_suffix_in_capital_letters_is_one(settings: tuple[str, ...], imported: ImportText) -> None:
    """GooglePhotosTakeoutHelper#223 and its kind: `a.TXT` was not seen, and where captions may be empty lost."""
    code, err, captions = imported({"a.TXT": "one", "b.txt": "two", "c.Txt": "three", "d.txt": "four"}, *settings)
    assert code == 0, err
    assert captions == {"a.mp4": "one", "b.mp4": "two", "c.mp4": "three", "d.mp4": "four"}


def test_two_tables_of_one_folder_are_refused(imported: ImportText) -> None:
    """datasets' videofolder: `metadata.csv` and `metadata.jsonl` were both read, so that each video was two clips."""
    rows = [{"file_name": name, "text": "from jsonl"} for name in NAMES]
    table = "file_name,text\n" + "".join(f"{name},from csv\n" for name in NAMES)
    code, err, captions = imported({"metadata.csv": table, "metadata.jsonl": "\n".join(map(json.dumps, rows))})
    assert code == 2 and not captions and "metadata.csv, metadata.jsonl are tables with the same name" in err


@pytest.mark.parametrize("text", ["\u200b\ufeff", "\u2800", "NaN", "None"])
def test_what_shows_nothing_is_no_caption(text: str, imported: ImportText) -> None:
    """LTX-Video#28 and its kind: zero-width characters and pandas' NaN counted as captions."""
    rows = [{"file_name": name, "text": text if name == "a.mp4" else "a dog"} for name in NAMES]
    code, err, captions = imported({"metadata.jsonl": "\n".join(map(json.dumps, rows))}, SKIP)
    assert code == 0 and set(captions) == {"b.mp4", "c.mp4", "d.mp4"} and "a.mp4: no caption" in err


def test_a_text_of_a_novel_is_no_caption(imported: ImportText) -> None:
    """finetrainers#426: 5,000 words went in, of which the model sees 77 to 1,024 tokens, without a word."""
    files = {f"{name[0]}.txt": "a dog" for name in NAMES} | {"a.txt": "word " * 5000}
    code, err, captions = imported(files, SKIP)
    assert code == 0 and len(captions) == 3 and "a caption of 24,999 characters; shorten it to 10,000" in err


@pytest.mark.parametrize(
    "table",
    [
        "file_name\ttext\na.mp4\ta red dog, running\nb.mp4\tb\nc.mp4\tc\nd.mp4\td\n",
        'file_name, text\na.mp4, "a red dog, running"\nb.mp4, b\nc.mp4, c\nd.mp4, d\n',
        "File_Name;Text\r\na.mp4;a red dog, running\r\nb.mp4;b\r\nc.mp4;c\r\nd.mp4;d\r\n",
    ],
    ids=["tabs", "spaces after commas", "semicolons and capitals"],
)
def test_tables_of_spreadsheets(table: str, imported: ImportText) -> None:
    """musubi-tuner#67 and its kind: the header was not understood, and each clip had "no caption; write one"."""
    code, err, captions = imported({"metadata.csv": table})
    assert code == 0, err
    assert captions == {"a.mp4": "a red dog, running", "b.mp4": "b", "c.mp4": "c", "d.mp4": "d"}


def test_one_bad_line_of_a_table_costs_one_clip(imported: ImportText) -> None:
    """video2dataset#117 and its kind: a line that is not JSON ended all, whatever `on_refused` says."""
    lines = [json.dumps({"file_name": name, "text": name[0]}) for name in NAMES]
    lines[1] = lines[1][:-1]
    code, err, captions = imported({"metadata.jsonl": "\n".join(lines)}, SKIP)
    assert code == 0 and captions == {"a.mp4": "a", "c.mp4": "c", "d.mp4": "d"}
    assert "metadata.jsonl, line 2: not JSON: Expecting ',' delimiter" in err


def test_a_json_array_is_named(imported: ImportText) -> None:
    """TRL's users: a JSON array in `.jsonl` gave messages that contradict themselves."""
    rows = [{"file": name, "caption": "x"} for name in NAMES]
    code, err, _ = imported({"captions.jsonl": json.dumps(rows, indent=1)})
    assert code == 2 and "captions.jsonl: a JSON array; write one object per line" in err


def test_json_that_is_too_deep_is_refused(imported: ImportText) -> None:
    """A nested file of a hostile or broken program was a traceback."""
    files = {f"{name[0]}.json": "" for name in NAMES} | {"captions.jsonl": "[" * 200_000}
    code, err, _ = imported(files)
    assert code == 2 and "captions.jsonl, line 1: not JSON: the JSON is nested too deeply" in err


def test_captions_that_the_model_does_not_read_to_their_end_are_counted(
    imported: ImportText, rushes: Rushes, tmp_path: Path
) -> None:
    """LTX-Video#28, finetrainers#426: the tokenizer cuts long captions, and nothing says so."""
    words = [f"word{at}" for at in range(60)]
    code, err, captions = imported({f"{name[0]}.txt": "a dog" for name in NAMES} | {"a.txt": " ".join(words)})
    assert code == 0 and len(captions) == 4 and "1 caption is longer than the model reads" in err
    code, out, _ = rushes("preflight", tmp_path / "project")
    assert code == 0 and "caption cut after 48 of 60 tokens: ...word43 word44 word45 word46 word47|" in out
    assert "1 caption is longer than the model reads" in out


# kinds of the above that were still open


def test_columns_that_differ_in_capital_letters_alone_are_refused(imported: ImportText) -> None:
    """finetrainers#426, its kind: of `Text` and `text` one was read without a word, here the first, there the last."""
    rows = "".join(f"{name},one,two\n" for name in NAMES)
    code, err, captions = imported({"metadata.csv": f"file_name,Text,text\n{rows}"}, SKIP)
    assert (code, captions) == (2, {}) and "'Text' and 'text' have the same name; rename or delete one" in err


def test_columns_of_captions_csv_that_differ_in_capital_letters_alone(imported: ImportText) -> None:
    """The same of captions.csv."""
    rows = "".join(f"{name},one,two\n" for name in NAMES)
    code, err, captions = imported({"captions.csv": f"file,Caption,caption\n{rows}"}, SKIP)
    assert (code, captions) == (2, {}) and "captions.csv: two of its columns, file, Caption, caption" in err


def test_a_cell_that_is_no_text_is_not_called_empty(imported: ImportText) -> None:
    """VATEX, its kind: a list of captions was "no caption; write one", or an empty one where that is allowed."""
    texts = [["a dog", "one dog"], 5, None, "a bird"]
    lines = "\n".join(json.dumps({"file_name": n, "text": t}) for n, t in zip(NAMES, texts, strict=True))
    code, err, captions = imported({"metadata.jsonl": lines}, SKIP, "footage.allow_empty_captions=true")
    assert code == 0 and captions == {"c.mp4": "", "d.mp4": "a bird"}
    assert "line 1: 'text' is ['a dog', 'one dog'], which is not text; write one caption there" in err


def test_captions_in_a_tar_that_are_none_or_two(rushes: Rushes, tmp_path: Path) -> None:
    """finetrainers#426, its kind: stored as "['a dog', 'one dog']"; of a.txt and a.TXT the last was taken."""
    path, members = tmp_path / "in.tar", dict[str, bytes]()
    for seed, name in enumerate(NAMES):
        frames = np.random.default_rng(seed).integers(0, 255, (17, 32, 32, 3), np.uint8)
        write_video(tmp_path / name, frames, 8)
        members[name] = (tmp_path / name).read_bytes()
    members |= {
        "a.json": b'["a dog", "one dog"]',
        "b.txt": b"one",
        "b.TXT": b"two",
        "c.json": b'"a cat"',
        "d.txt": b"d",
    }
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    assert rushes("init", tmp_path / "p", "--footage", path)[0] == 0
    code, _, err = rushes("import", tmp_path / "p", "--set", SKIP)
    with Store(tmp_path / "p") as store:
        assert code == 0 and {clip.caption for clip in store.clips()} == {"a cat", "d"}
    assert "a.json: ['a dog', 'one dog'] is not a caption; write a text, or an object with a caption" in err
    assert "b.txt is there twice, in lower and in upper case; keep one" in err


@pytest.mark.parametrize("line", ["{}\t{} runs", "{} | {} runs", "videos/{},{} runs"])
def test_lines_that_name_their_videos_are_not_taken_by_order(line: str, imported: ImportText) -> None:
    """mindone#133's kind: lines `NAME caption` in an order of their own, where lines go by the order of the videos.

    Was: a.mp4 got "d.mp4 a dog runs", exit 0."""
    lines = "".join(line.format(name, f"a {name[0]}") + "\n" for name in reversed(NAMES))
    code, err, captions = imported({"captions.txt": lines})
    assert code == 2 and not captions and "captions.txt, line 1: " in err and "save it as captions.csv" in err


def test_lines_that_begin_with_stems_are_not_taken_by_order(imported: ImportText) -> None:
    """The same without suffixes."""
    code, err, captions = imported({"captions.txt": "d|a dog\nc|a cat\nb|a bird\na|an ape\n"})
    assert code == 2 and not captions and "save it as captions.csv" in err


def test_captions_with_commas_are_no_names(imported: ImportText) -> None:
    """A caption may begin as a video is called."""
    code, err, captions = imported({"captions.txt": "a, then b\na dog\nc: a cat, in the style of v2.0\nd\n"})
    assert code == 0 and captions["c.mp4"].startswith("c: a cat"), err


def test_cells_of_formulas_that_failed_are_no_captions(imported: ImportText) -> None:
    """sd-scripts#1759's kind, "NaN": what Excel and LibreOffice save for a caption that begins with = or -."""
    table = "file,caption\na.mp4,#NAME?\nb.mp4,#N/A\nc.mp4,NA\nd.mp4,a bird\n"
    code, err, captions = imported({"captions.csv": table}, SKIP)
    assert code == 0 and captions == {"d.mp4": "a bird"} and "no caption" in err


@pytest.mark.parametrize("columns", ["start,end", "Start_timestamp,End_timestamp", "start time,duration"])
def test_rows_of_parts_of_a_video_are_not_captions_of_all_of_it(columns: str, imported: ImportText) -> None:
    """video2dataset#117's kind: InternVid and ActivityNet name a film once for each captioned part.

    Was: the caption of second 30 stored as another caption of the first two seconds, exit 0."""
    rows = "a.mp4,0,2,a dog\na.mp4,30,32,a cat\nb.mp4,0,2,c\nc.mp4,0,2,d\nd.mp4,0,2,e\n"
    code, err, captions = imported({"metadata.csv": f"file_name,{columns},caption\n{rows}"})
    assert code == 2 and not captions and "metadata.csv, line 3: 'a.mp4' has another" in err and "cut the parts" in err


def test_columns_of_parts_are_said_where_each_video_has_one(
    imported: ImportText, caplog: pytest.LogCaptureFixture
) -> None:
    """MSR-VTT's clips are cut already and its table still has their times; several captions of a clip share them."""
    rows = "a.mp4,9,11,a dog\na.mp4,9,11,an animal\nb.mp4,0,2,c\nc.mp4,0,2,d\nd.mp4,0,2,e\n"
    code, err, captions = imported({"metadata.csv": f"file_name,start time,end time,caption\n{rows}"})
    assert code == 0 and len(captions) == 4, err
    assert "the columns start time and end time are not read" in caplog.text


def test_parts_in_a_table_of_captions_are_said(imported: ImportText, caplog: pytest.LogCaptureFixture) -> None:
    """The same of captions.jsonl, in which a video has one row."""
    rows = [{"file": name, "caption": f"a {name[0]}", "start_s": 30, "end_s": 32} for name in NAMES]
    code, err, captions = imported({"captions.jsonl": "".join(json.dumps(row) + "\n" for row in rows)})
    assert code == 0 and len(captions) == 4, err
    assert "captions.jsonl: the columns start_s and end_s are not read" in caplog.text
