"""What a stranger's file, or a slip of the finger, may cost: numbers have ranges, pictures sizes, JSON a depth."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from fractions import Fraction
from importlib.resources import files
from itertools import chain
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import annotated_types
import av
import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from av.video.stream import VideoStream
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from safetensors import SafetensorError

from rushes.cli import OUT_OF_MEMORY
from rushes.cli.remedies import with_project
from rushes.config.backbone import BackboneSettings
from rushes.config.ranges import RangeReason
from rushes.config.settings_files import SettingsError, load_settings
from rushes.config.tables import FootageSettings, LabelSettings, Settings
from rushes.files import MediaError
from rushes.formats import entries
from rushes.formats.entries import parquet_rows
from rushes.media import images
from rushes.media.images import MOST_PIXELS, read_image, write_image
from rushes.media.read import read_video
from rushes.media.video_reader import VideoReader
from rushes.media.write import write_video
from rushes.text_reader import caption_of
from rushes.training.recipe import load_recipe, recipe_names

from ..projects import SMALL, Rushes, new_project

BY_RECIPE = "train.options[1]"  # whose tables follow
OPTIONS: dict[str, type[BaseModel]] = {f"{name}:": load_recipe(name).Options for name in recipe_names()}


def numbers(table: type[BaseModel], where: str) -> Iterator[tuple[str, list[Any]]]:
    """Path and marks of each number that a setting is or holds: in tables of tables, lists, tuples and dicts."""
    for name, field in table.model_fields.items():
        yield from held(field.annotation, field.metadata, f"{where}{name}")


def held(kind: Any, marks: list[Any], where: str) -> Iterator[tuple[str, list[Any]]]:
    """The same of a type."""
    if kind in (int, float):
        yield where, marks
    elif isinstance(kind, type) and issubclass(kind, BaseModel):
        yield from numbers(kind, f"{where}.")
    elif hasattr(kind, "__metadata__"):
        inner = (mark.metadata if isinstance(mark, FieldInfo) else [mark] for mark in kind.__metadata__)
        yield from held(kind.__origin__, [*marks, *chain.from_iterable(inner)], where)
    elif get_origin(kind) in (list, tuple, dict, Union, UnionType):
        for at, each in enumerate(get_args(kind)):
            yield from held(each, [], f"{where}[{at}]")
    else:
        leaf = kind in (str, bool, NoneType, ...) or get_origin(kind) is Literal
        assert leaf or where == BY_RECIPE, f"{where}: the walk does not know what {kind} holds"


TABLES: list[tuple[str, type[BaseModel]]] = [("", Settings), *OPTIONS.items()]
ALL = [entry for where, table in TABLES for entry in numbers(table, where)]
# Ranges that validators check, as an empty list is allowed or a number stands for another.
BELOW_BY_VALIDATOR = ("backbone.sizes[", "backbone.lengths[")


def ends(marks: list[Any]) -> tuple[float | None, float | None]:
    low = [mark.ge if isinstance(mark, annotated_types.Ge) else mark.gt for mark in marks
           if isinstance(mark, annotated_types.Ge | annotated_types.Gt)]  # fmt: skip
    high = [mark.le if isinstance(mark, annotated_types.Le) else mark.lt for mark in marks
            if isinstance(mark, annotated_types.Le | annotated_types.Lt)]  # fmt: skip
    return (max(map(float, low), default=None), min(map(float, high), default=None))  # type: ignore[arg-type]


@pytest.mark.parametrize(("path", "marks"), ALL, ids=[path for path, _ in ALL])
def test_every_number_in_settings_has_a_range_with_its_reason(path: str, marks: list[Any]) -> None:
    low, high = ends(marks)
    assert high is not None, "give it a type of rushes.config.ranges, or an end of its own"
    assert low is not None or path.startswith(BELOW_BY_VALIDATOR)
    assert any(isinstance(mark, RangeReason) for mark in marks), "say why: a type of rushes.config.ranges does"


def test_the_walk_finds_numbers_wherever_they_stand() -> None:
    class Inner(BaseModel):
        size: tuple[float, int] | None = None

    class Outer(BaseModel):
        inner: Inner = Inner()
        many: dict[str, list[int]] = {}
        tables: list[Inner] = []
        word: str = ""

    size = ["size[0][0]", "size[0][1]"]
    paths = [path for path, _ in numbers(Outer, "")]
    assert paths == [*(f"inner.{name}" for name in size), "many[1][0]", *(f"tables[0].{name}" for name in size)]
    assert len(ALL) > 150

    class Unknown(BaseModel):
        numbers: set[float] = set()

    with pytest.raises(AssertionError, match="the walk does not know"):
        list(numbers(Unknown, ""))


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("backbone.height_px=1000000000", "no codec here writes longer sides"),
        ("backbone.frames=1000000001", "models make seconds"),
        ("label.segment_s=1e-300", "time stamps have milliseconds"),
        ("train.lora_rank=1000000000", "no layer is wider"),
        ("generate.takes=1000000000", "of each prompt"),
        ("train.batch=100000000", "all of it is in memory at once"),
        ("footage.clips=100000000000", "a row of the database"),
        ("train.learning_rate=1e9", "moves each weight"),
        ("backbone.fps=1e-300", "no camera"),
        ("generate.mask=30.0", "1 is all there is"),
        ("backbone.sizes=[[32, 1000000000]]", "no codec here writes longer sides"),
        ("backbone.lengths=[17, 1000000001]", "models make seconds"),
        ("backbone.rates=[1e-300]", "no camera"),
        ("curate.balance.wanted={cook = 100000000000}", "a row of the database"),
        ("train.first_frame_noise=[-1e9, 0.5]", "must be a number"),
        ("generate.eta=[0.5, 30.0]", "1 is pure noise"),
    ],
)
def test_a_number_out_of_its_range_is_a_sentence_with_the_reason(setting: str, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "rushes.toml"
    file.write_text("")
    with pytest.raises(SettingsError) as caught:
        load_settings(file, [setting])
    assert setting.partition("=")[0] in str(caught.value) and reason in str(caught.value)


@pytest.mark.parametrize(
    ("text", "override"),
    [
        (f"[train]\nsteps = {'9' * 5000}", ""),
        (f"[train]\nsteps = 0x{'f' * 5000}", ""),
        ("", f"train.steps={'9' * 5000}"),
        ("", f"train.steps=0x{'f' * 5000}"),
    ],
    ids=["file", "file, hexadecimal", "option", "option, hexadecimal"],
)
def test_a_number_of_thousands_of_digits_is_named(text: str, override: str, tmp_path: Path) -> None:
    """Python's own error named neither file nor setting, and advised a call of Python."""
    (file := tmp_path / "rushes.toml").write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_settings(file, [override] if override else [])
    assert ("train.steps" in str(caught.value) or str(file) in str(caught.value)) and len(str(caught.value)) < 300
    assert "set_int_max" not in str(caught.value)


@pytest.mark.parametrize(("setting", "most"), [("train.name", 100), ("generate.negative_prompt", 10_000)])
def test_a_text_in_settings_is_bounded(setting: str, most: int, tmp_path: Path) -> None:
    """A run's name of 300 characters was an error of the file system, half-way; a prompt of megabytes none."""
    (file := tmp_path / "rushes.toml").write_text("")
    with pytest.raises(SettingsError, match=f"{setting}.* at most {most} characters") as caught:
        load_settings(file, [f"{setting}={'x' * (most + 1)}"])
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(("_", "table"), TABLES)
def test_every_table_bounds_its_texts(_: str, table: type[BaseModel]) -> None:
    kinds = [field.annotation for field in table.model_fields.values()]
    tables = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
    assert all(each.model_config.get("str_max_length") for each in (table, *tables))


def test_lengths_and_sizes_are_bounded_too() -> None:
    for values in ({"lengths": [10**9]}, {"sizes": [(10**9, 32)]}, {"frames": 17, "lengths": [17, 0]}):
        with pytest.raises(ValidationError):
            BackboneSettings.model_validate(values)


def png(width: int, height: int) -> bytes:
    """One colour, in a few kilobytes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    packer, row = zlib.compressobj(9), bytes(1 + (width + 7) // 8)
    body = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [12_000, 25_000])
def test_a_small_file_of_many_pixels_is_refused_before_it_is_decoded(
    side: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(png(side, side))
    assert bomb.stat().st_size < 100_000 and side * side > MOST_PIXELS

    def decode(*_: object) -> None:
        raise AssertionError("it was decoded")

    monkeypatch.setattr("rushes.media.images.cv2.imdecode", decode)
    with pytest.raises(MediaError, match="more pixels than the 134 million"):
        read_image(bomb)


def gif(side: int, frames: int = 1) -> bytes:
    """A screen of this side, and on it so many pictures of one pixel."""
    head = b"GIF89a" + struct.pack("<HHBBB", side, side, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    control = b"\x21\xf9\x04\x00\x04\x00\x00\x00"
    picture = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + bytes([2, 2, 0x44, 0x01, 0])
    return head + (control + picture) * frames + b";"


@pytest.mark.parametrize("data", [gif(30_000), b"P5\n30000 30000\n255\n" + b"\0" * 10], ids=["gif", "pgm"])
def test_a_format_whose_size_nobody_looks_at_is_not_decoded(
    data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """43 bytes of a gif named .png took 10 GiB."""
    (tmp_path / "a.png").write_bytes(data)
    decoded = list[int]()
    monkeypatch.setattr("rushes.media.images.cv2.imdecode", lambda *_: decoded.append(1))
    with pytest.raises(MediaError, match="give a png, jpeg or webp file"):
        read_image(tmp_path / "a.png")
    assert not decoded


def test_few_frames_of_many_pixels_are_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """480 bytes of a gif of 121 million pixels took 8 GB: 17 frames are held, as some codecs reorder so many."""
    (tmp_path / "a.gif").write_bytes(gif(11_000, frames=20))
    with pytest.raises(MediaError, match="more pixels than 36 million"):
        VideoReader(tmp_path / "a.gif")
    (tmp_path / "a.gif").write_bytes(gif(64, frames=30))
    decoded = []
    for held in (2**29, 3 * 64 * 64 * 4):
        monkeypatch.setattr("rushes.media.video_reader._HELD_BYTES", held)
        with VideoReader(tmp_path / "a.gif") as footage:
            shown = footage.shown()
            next(shown)
            decoded.append(footage.count)
            assert 1 + len(list(shown)) == 30
    assert decoded[0] > 16 and decoded[1] < 8


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_ffmpeg_does_not_decode_a_still_to_see_its_size(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no width of what it did not: 560 kB of a png took 550 MiB."""
    data = cv2.imencode(suffix, np.zeros((40, 50, 3), np.uint8))[1]
    (tmp_path / f"a{suffix}").write_bytes(data.tobytes())
    opened, widths = av.open, list[int]()

    def look(*values: Any, **options: Any) -> Any:
        container = opened(*values, **options)
        widths.extend(stream.codec_context.width for stream in container.streams.video)
        return container

    monkeypatch.setattr("rushes.media.images.av.open", look)
    assert read_image(tmp_path / f"a{suffix}").shape == (40, 50, 3) and widths == [50]
    monkeypatch.setattr(images, "MOST_PIXELS", 1999)
    with pytest.raises(MediaError, match="more pixels"):
        read_image(tmp_path / f"a{suffix}")
    assert widths == [50, 0]


def test_a_still_of_many_bytes_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image(tmp_path / "a.png", np.zeros((32, 48, 3), np.uint8))
    assert read_image(tmp_path / "a.png").shape == (32, 48, 3)
    monkeypatch.setattr(images, "MOST_BYTES", 50)
    with pytest.raises(MediaError, match="allowed for a still"):
        read_image(tmp_path / "a.png")


def test_frames_of_many_pixels_are_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_video(tmp_path / "a.mp4", np.zeros((3, 32, 48, 3), np.uint8), 8)
    monkeypatch.setattr("rushes.media.video_reader.MOST_PIXELS", 32 * 48 - 1)
    with pytest.raises(MediaError, match="its frames have more pixels"):
        VideoReader(tmp_path / "a.mp4")


@pytest.mark.parametrize(
    ("sides", "words"), [((12_000,), "its first frame cannot be read, or its frames"), ((48, 12_000), "after 1 frames")]
)
def test_a_frame_larger_than_its_video_says_is_not_decoded(sides: tuple[int, ...], words: str, tmp_path: Path) -> None:
    """1 MB of such a video took 4 GiB."""
    with av.open(tmp_path / "a.mov", "w") as container:
        stream = container.add_stream("png", rate=8)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 48, 48, "monob"
        container.start_encoding()
        for number, side in enumerate(sides):
            packet = av.Packet(png(side, side))
            packet.pts = packet.dts = number
            packet.time_base, packet.stream, packet.is_keyframe = Fraction(1, 8), stream, True
            container.mux(packet)
    with pytest.raises(MediaError, match=words):
        read_video(tmp_path / "a.mov")


def jumping(path: Path, at_s: list[int]) -> Path:
    """A video whose frames stand at these seconds."""
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=1)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for number, second in enumerate(at_s):
            frame = av.VideoFrame.from_ndarray(np.full((32, 48, 3), 9 * number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = second, Fraction(1)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_a_jump_of_the_clock_makes_no_pieces_without_end(tmp_path: Path, rushes: Rushes) -> None:
    footage = FootageSettings(kind="folder", path=str(tmp_path / "in"), cut="scenes", longest_s=4.0)
    tables = {"footage": footage, "label": LabelSettings(by="none")}
    project = new_project(tmp_path / "p", SMALL.model_copy(update=tables))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("a ball")
    for at_s, words in (
        ([*range(18), 30_000_000, 30_000_001], "its clock jumps by 29999983 s, 17.00 s in"),
        ([*range(18), 3000, 3001], "of 20 frames give 7"),
    ):
        jumping(tmp_path / "in" / "a.mkv", at_s)
        status, out, err = rushes("import", project)
        assert (status, out) == (2, "") and words in err, err


def test_a_value_that_a_table_holds_once_is_in_memory_a_few_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """2 kB of a table, whose rows all had one caption of 21 MB, took over 8 GB, and ten minutes of looking at each."""
    rows, text = 1000, "a ball " * 40_000
    column = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([text]))
    pq.write_table(pa.table({"text": column}), tmp_path / "a.parquet", compression="zstd", store_schema=False)
    assert (tmp_path / "a.parquet").stat().st_size < 5000
    monkeypatch.setattr(entries, "_ROWS_BYTES", 4 * len(text))
    before, read = pa.total_allocated_bytes(), parquet_rows(tmp_path / "a.parquet", ["text"])
    assert next(read) == (0, {"text": text}) and pa.total_allocated_bytes() - before < 20 * len(text)
    assert [at for at, _ in read] == [*range(1, rows)]
    reading = re.compile("iter_batches|read_row_group")
    source = {path.name for path in Path(str(files("rushes"))).rglob("*.py") if reading.search(path.read_text())}
    assert source == {"entries.py"}, "read tables by parquet_rows"
    assert caption_of("x" * 2**21) == ("", "a caption of 2,097,152 characters; shorten it to 10,000")


DEEP = "[" * 100_000 + "]" * 100_000
READ = {  # and a command that reads it
    "reports/realdpo.json": "report",
    "seconds.json": "status",
    "runs/realdpo/metrics.jsonl": "health",
    "reports/curation.json": "card",
}


def test_json_of_a_project_that_is_nested_deep_is_no_traceback(project: Path, rushes: Rushes) -> None:
    for name, command in READ.items():
        (project / name).write_text(DEEP)
        status, _, err = rushes(command, project)  # a traceback would be raised here
        assert status in (0, 2) and "Traceback" not in err, (command, err)


ENDS = (
    (MemoryError(), OUT_OF_MEMORY),
    (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"), OUT_OF_MEMORY),
    (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"), OUT_OF_MEMORY),
    (RecursionError("maximum recursion depth exceeded"), "nested too deeply"),
    (SafetensorError("Error while serializing: No space left on device"), "`rushes verify PROJECT`"),
)


@pytest.mark.parametrize(("error", "words"), ENDS)
def test_what_fills_memory_or_disk_ends_in_a_sentence_with_the_remedy(
    error: Exception, words: str, tmp_path: Path, rushes: Rushes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("rushes.project.intake.import_footage", fail)
    project = new_project(tmp_path / "p", SMALL)
    status, out, err = rushes("import", project)
    assert (status, out) == (2, "") and with_project(words, str(project)) in err and err.count("\n") == 1, err
