"""Faults that `test_fuzz.py` and `test_fuzz_files.py` showed, each as the smallest file that has it.

What came out before stands beside each: an error of a library's own, a sentence without place or remedy, or nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from rushes.backbones.folders import read_folder
from rushes.backbones.texts import TextCache
from rushes.config.model_endpoint import EndpointSettings
from rushes.config.settings_files import load_settings
from rushes.evaluate.compare import read_gate
from rushes.evaluate.result import read_evaluation
from rushes.evaluate.table_file import load_table
from rushes.files import MediaError
from rushes.footage.probe_cache import ProbeCache
from rushes.formats.clip_tables import read_tables
from rushes.formats.exchange import import_project, read_rows, write_rows
from rushes.formats.layouts import Part, RefusedVideo, SourceVideo, folder_files, read_bench
from rushes.formats.pair_files import read_pairs
from rushes.formats.scores import import_scores
from rushes.judges import endpoint
from rushes.media.read import probe
from rushes.records import Clip
from rushes.store.database import Store
from rushes.store.latents import LatentStore
from rushes.text_reader import caption_of, printable
from rushes.training import checkpoint

from ..footage.reels import film
from ..projects import Rushes
from ..store.conftest import RowMaker

KEY = "f" * 24
PAIR = {"prompt": "a dog", "chosen": "a.mp4", "rejected": "b.mp4"}
TABLE = {"systems": ["a", "b"], "metrics": {"flicker": {"a": {"mean": 1}, "b": {"mean": 2}}}, "pairs": {}}


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def write(path: Path, content: object) -> Path:
    data = content if isinstance(content, bytes) else str(content).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def text_of(read: Callable[[], object]) -> str:
    with pytest.raises(ValueError) as refused:
        read()
    assert type(refused.value) is ValueError or type(refused.value).__module__.startswith("rushes.")
    return str(refused.value)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"prompt": ', "line 2: bad row: not JSON: .*; correct or delete the line"),  # "not an object: 'not JSON (Exp"
        ('{"prompt": "x", "prompt": "y"}', "line 2: bad row: not JSON: the key 'prompt' appears twice"),  # nothing
        (json.dumps({**PAIR, "prompt": [{"content": "a \x1b dog"}]}), "line 2: bad prompt: .*write the caption anew"),
        (json.dumps({**PAIR, "chosen": 3}), "line 2: chosen is not text: 3; correct or delete it"),  # no remedy
    ],
)  # fmt: skip
def test_a_bad_line_of_pairs(line: str, words: str, videos: Path) -> None:
    path = write(videos / "p.jsonl", f"{json.dumps(PAIR)}\n{line}")
    pairs = read_pairs(path, "trl")
    assert len(pairs.pairs) == 1
    (example,) = pairs.examples.values()
    assert re.search(words, example), example


def test_pairs_of_an_empty_list(videos: Path) -> None:
    """Was "no pair of its 0 entries can be used (it has no entries)"."""
    path = write(videos / "p.json", "[]")
    assert text_of(lambda: read_pairs(path, "trl")) == (
        f"{path}: the file has no entries; name the file that holds the preferences"
    )


def test_the_mark_of_an_encoding_is_no_part_of_a_caption() -> None:
    """Was stored: files that are joined have it twice, or within."""
    assert caption_of("\ufeffa dog\ufeff runs").text == "a dog runs"


def test_a_bench_that_lacks_a_video(tmp_path: Path) -> None:
    """Was without remedy."""
    write(tmp_path / "prompts.txt", "a\nb")
    write(tmp_path / "ours" / "0.mp4", "x")
    assert "missing or unexpected: 1; give each prompt one file, named by" in text_of(lambda: read_bench(tmp_path))


@pytest.mark.parametrize("name", ["a\x1b[2J.mp4", "a\0.mp4"])
def test_a_name_in_parquet_with_a_control_character(name: str, tmp_path: Path) -> None:
    """Was "leads out of the folder: lstat: embedded null character", or printed as it is."""
    pq.write_table(pa.table({"file_name": [name], "caption": ["a dog"]}), tmp_path / "t.parquet")
    (row,) = read_tables(folder_files(tmp_path), [tmp_path / "t.parquet"]).refused
    assert isinstance(row, RefusedVideo) and row.reason == "bad row" and "of its name; write it anew" in row.words


def test_a_table_of_videos_that_lost_its_column(tmp_path: Path) -> None:
    """Was an IndexError."""
    (tmp_path / "project").mkdir()
    pq.write_table(pa.table({"caption": ["a dog"]}), tmp_path / "t.parquet")
    with ProbeCache(tmp_path / "project") as facts:
        fact = facts.of(SourceVideo(tmp_path / "t.parquet", "", "row 0", part=Part("", 0, column="video")))
    assert "import it again" in fact.problem


def test_rows_whose_pages_are_torn(tmp_path: Path, make: RowMaker) -> None:
    """Was an OSError, "Couldn't deserialize thrift", without the file's name."""
    path = tmp_path / "clips.parquet"
    write_rows(Clip, [make.clip()], path)
    content = path.read_bytes()
    path.write_bytes(content[:4] + bytes(len(content) // 3) + content[4 + len(content) // 3 :])
    text = text_of(lambda: list(read_rows(Clip, path)))
    assert text.startswith(f"{path}") and text.endswith("get the complete file")


def test_rows_that_contradict_those_of_the_project(tmp_path: Path, store: Store, make: RowMaker) -> None:
    """Was "clips: 'c' is stored already with other content; rows are never edited"."""
    store.add([make.clip()])
    write_rows(Clip, [make.clip(caption="a cat")], tmp_path / "clips.jsonl")
    text = text_of(lambda: import_project(store, tmp_path))
    assert text.startswith(f"{tmp_path}: clips: 'c' is") and text.endswith("import it into a new project")


def test_a_score_of_a_name_too_long_for_a_file(tmp_path: Path, store: Store) -> None:
    """Was an OSError."""
    path = write(tmp_path / "s.csv", f"video,score\n{'x' * 300},3")
    assert "is not a clip or take of this project; give its id" in text_of(lambda: import_scores(store, path))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a = 1\n[\n", "not a TOML file: .*line 2.*; correct it there"),
        ("caf\u00e9 = 1".encode("cp1252"), "not UTF-8 text .*; save it as UTF-8"),
        (b"a = " + b"[" * 3000, "the TOML is nested too deeply; flatten it"),  # RecursionError
    ],
)
@pytest.mark.parametrize("read", [load_settings, read_gate])
def test_toml_that_is_none(read: Callable[[Path], Any], content: bytes, words: str, tmp_path: Path) -> None:
    path = write(tmp_path / "x.toml", content)
    with pytest.raises(ValueError, match=words) as refused:
        read(path)
    assert str(path) in str(refused.value)


def test_settings_that_do_not_exist_and_overrides_that_are_none(tmp_path: Path) -> None:
    """Were without remedy; one nested too deep was a RecursionError."""
    path = write(tmp_path / "x.toml", "[train]\nqwertz = 1")
    assert text_of(lambda: load_settings(path)) == f"{path}: train.qwertz: unknown setting (got 1); delete it"
    path.write_text("")
    assert "write KEY=VALUE" in text_of(lambda: load_settings(path, ["train"]))
    assert "must be a table, written as [train]" in text_of(lambda: load_settings(path, ["train=1"]))
    assert "override: train.steps: " in text_of(lambda: load_settings(path, ["train.steps=" + "[" * 3000]))


@pytest.mark.parametrize(
    "table",
    [
        {**TABLE, "metrics": {"flicker": {"a": {"mean": 1}}}},  # KeyError
        {**TABLE, "metrics": {"flicker": {"a": 1.5, "b": {}}}},  # TypeError
        {**TABLE, "pairs": {"a|b": {"flicker": {"difference": None, "low": 0, "high": 1}}}},  # TypeError
        {**TABLE, "systems": ["a"]},
        [],
    ],
)
def test_a_table_of_a_comparison_that_is_none(table: object, tmp_path: Path) -> None:
    path = write(tmp_path / "table.json", json.dumps(table))
    assert "name a table.json that `rushes evaluate --systems` wrote" in text_of(lambda: load_table(path))


@pytest.mark.parametrize("details", [b"[1]", b'{"directions": 3}', b"\xff", b"{"])
def test_details_of_a_comparison_that_are_none(details: bytes, tmp_path: Path) -> None:
    """Were a TypeError, and errors of Python's JSON."""
    path = write(tmp_path / "table.json", json.dumps(TABLE))
    write(tmp_path / "details.json", details)
    assert text_of(lambda: load_table(path)).startswith(f"{tmp_path / 'details.json'}: ")


@pytest.mark.parametrize("content", [b"[]", b"{}", b'{"metrics": {"x": {}}}', b'{"metrics": 3}', b"\xff"])
def test_a_result_that_is_none(content: bytes, tmp_path: Path) -> None:
    """Was a KeyError, a TypeError, an AttributeError."""
    path = write(tmp_path / "first.json", content)
    assert text_of(lambda: read_evaluation(path)).startswith(f"{path}: ")


@pytest.mark.parametrize("usage", [3, "many", {"prompt_tokens": [1], "completion_tokens": 1}, {"prompt_tokens": -5}])
def test_a_server_that_counts_tokens_oddly(usage: object) -> None:
    """Was an AttributeError or a TypeError, after the answer was paid for."""
    settings = EndpointSettings(url="http://localhost/v1", model="m")
    assert endpoint._cost({"usage": usage}, settings) == 0
    limited = settings.model_copy(update={"max_cost": 1.0, "price_in": 1.0, "price_out": 1.0})
    assert "does not report how many tokens" in text_of(lambda: endpoint._cost({"usage": usage}, limited))


@pytest.mark.parametrize("part", [["diffusers", [1]], ["", "x"], [".x", "y"], [3, "x"]])
def test_an_index_of_a_model_with_odd_classes(part: object, tmp_path: Path) -> None:
    """Was a TypeError or "Empty module name"."""
    write(tmp_path / "model_index.json", json.dumps({"_class_name": "WanPipeline", "vae": part}))
    assert "Rushes loads only classes of diffusers and transformers" in text_of(lambda: read_folder(str(tmp_path)))
    write(tmp_path / "model_index.json", json.dumps({"_class_name": "WanPipeline", "vae": ["diffusers", "Vae"]}))
    assert "the installed version does not have; upgrade" in text_of(lambda: read_folder(str(tmp_path)).cls("vae"))
    write(tmp_path / "vae" / "config.json", "[1]")
    assert "not JSON (" in text_of(lambda: read_folder(str(tmp_path)).config("vae"))


def test_side_files_without_what_is_written_in_them(tmp_path: Path) -> None:
    """Were an AttributeError, a KeyError and errors of Python's JSON."""
    weights = {"c": torch.ones(1, 1, 1, 1)}
    folder = tmp_path / "runs"
    folder.mkdir()
    save_file(weights, folder / "step-00000001.safetensors")
    assert checkpoint.latest(folder) is None and checkpoint.newest_facts(folder) is None
    cache = TextCache(tmp_path / "texts", {})
    cache.folder.mkdir(parents=True)
    save_file(weights, cache.path("a dog"), {"caption": "{"})
    assert cache.get("a dog") is None  # said in the log, and read again when it is needed
    (tmp_path / "latents").mkdir()
    save_file(weights, tmp_path / "latents" / f"{KEY}-{KEY}.safetensors", {"fingerprint": KEY, "sha256": "["})
    (fault,) = LatentStore(tmp_path / "latents", KEY).verify()
    assert f"{KEY}-{KEY}.safetensors: incomplete or not a safetensors file" in fault


@pytest.mark.parametrize("width", [b"\0\1\0\0", b"\x40\0\0\0"])
def test_pixels_of_an_impossible_shape(width: bytes, tmp_path: Path) -> None:
    """Was a width of 0, which ended the command with another's words, or one of gigabytes."""
    path = film(tmp_path / "a.mp4")
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 80  # of the width on screen, in 16.16 pixels
    content[at : at + 4] = width
    path.write_bytes(content)
    with pytest.raises(MediaError, match=r"a\.mp4: its pixels are not square .*: ffmpeg"):
        probe(path)


def test_no_control_character_reaches_the_terminal(tmp_path: Path, rushes: Rushes) -> None:
    """Names of files went to it as they are."""
    name = "x\x1b[2J\u202egpj.toml"
    code, out, err = rushes("report", tmp_path / name)
    assert code == 2 and "\\x1b[2J\\u202egpj" in err and all(line.isprintable() for line in (out + err).split("\n"))
    assert printable("a\tb\u2028c \u65e5\u672c\u3000\nd\ud800") == "a\\tb\\u2028c \u65e5\u672c\u3000\nd\\ud800"
