"""One harness for every reader of what people bring: files that are right, changed at random places, and what must hold
of whatever a reader then does.

A reader either refuses the whole or accounts for all of it. It raises nothing but the errors that the command line says
in a sentence, which names the file or the line and what to do; and a terminal is shown no control character.
"""

from __future__ import annotations

import copy
import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import hypothesis
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st

from rushes.config.settings_files import SettingsError
from rushes.files import MediaError
from rushes.formats.preferences import UnusableEntry
from rushes.judges.endpoint import EndpointError

# Those of Python and of libraries that are also ValueErrors would be shown in their own words: they may not come out.
OUR_ERRORS = (ValueError, MediaError, SettingsError, UnusableEntry, EndpointError)
REMEDY = re.compile(
    r"\b(add|call|check|choose|close|convert|copy|correct|delete|download|export|fill|flatten|get|give|import|keep|leave|"
    r"list|lower|make|mean|mend|must|name|needs?|point|put|quote|raise|remove|rename|replace|run|save|say|score|set|"
    r"shorten|repair|restore|should|skip|start|store|take|unpack|upgrade|use|write)\b"
)
NO_FAULT = re.compile("cancelled or empty annotation|replaced by the person's newer|are the same video")
WORDS = ("", " ", "a", "NaN", "null", "-1", "1e999", "0", "left", "Left is worse", "../x.mp4", "/etc/passwd", "x" * 300,
         "a,b", 'a"b', "'", "caf\u00e9", "\u65e5\u672c", "\u200b", "\x00", "\x1b[2J", "\u202e", "\ud800", "\r", "\n",
         "http://x/y.mp4", "{}", "[]", "\ufeff", "a.mp4", "%00", "\\")  # fmt: skip
JUNK: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**70, 1e308, -0.5, float("nan"), float("inf"), [], {}, [None], [[]], [{}]),
    *({"": None}, {"a": {"b": []}}, [1, "a"], *WORDS),
)
BYTES = (b"\x00", b"\xff", b"\xfe\xff", b"\xef\xbb\xbf", b"\n", b"\r\n", b'"', b",", b"\t", b"}", b"[", b"{",
         b"\x1b[31m", b"\xed\xa0\x80", b"\xc3", b"=", b"'", b"[" * 3000, b"\0" * 700)  # fmt: skip
FILE_NAMES = ("A.MP4", "a.Mp4", "b .mp4", "caf\u00e9.mov", "cafe\u0301.mp4", "x.webp", "x.pdf", "no suffix", ".hidden",
              "a.txt", "A.TXT", "a.mp4.txt", "captions.txt", "video.txt", "metadata.csv", "captions.jsonl",
              "esc\x1b.mp4", "line\nend.mp4", "a.tar", "x.tar.gz", "100%.mp4", "#.mp4", "b.json")  # fmt: skip
Draw = Callable[[st.SearchStrategy[Any]], Any]
Files = dict[str, bytes]


@dataclass(frozen=True)
class Reader:
    """A reader, files that it reads, and how they are changed."""

    name: str
    files: Callable[[Draw], Files]  # by name; changed where they are made of rows
    read: Callable[[Path], Iterable[str]]  # asserts that all is accounted for, and gives every line that is shown
    bytes_of: tuple[str, ...] = ()  # files that are also changed in their bytes
    rename: bool = False  # files may get other names

    def __str__(self) -> str:
        return self.name


def fuzz(reader: Reader, examples: int) -> None:
    """Read many changed copies of a reader's files, and check what every reader must keep to."""

    @hypothesis.settings(max_examples=examples, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @hypothesis.given(st.data())
    def run(data: st.DataObject) -> None:
        files = reader.files(data.draw)
        for name in reader.bytes_of:
            if name in files and data.draw(st.booleans()):
                files[name] = changed_bytes(data.draw, files[name])
        if reader.rename and data.draw(st.booleans()):
            name = data.draw(st.sampled_from(sorted(files)))
            files[data.draw(st.sampled_from(FILE_NAMES))] = files.pop(name)
        with TemporaryDirectory() as folder:
            for name, content in files.items():
                (Path(folder) / name).parent.mkdir(exist_ok=True)
                (Path(folder) / name).write_bytes(content)
            check(reader, Path(folder))

    run()


def check(reader: Reader, folder: Path) -> None:
    """Read a folder. Fails for an error that is not ours, or one without place or remedy."""
    try:
        lines = list(reader.read(folder))
    except ValueError as error:
        assert type(error) in OUR_ERRORS, f"{type(error).__name__}: {error}"
        check_refusal(str(error), folder)
        return
    for line in lines:
        check_refusal(line, folder)


def check_refusal(text: str, folder: Path) -> None:
    """A refusal says where, and what to do."""
    assert folder.name in text or re.search(r"\b(line|entry|row) \d|^http|override|^the gate names", text), (
        f"no place: {text}"
    )
    if not NO_FAULT.search(text):
        assert REMEDY.search(text.replace(str(folder), "")), f"no remedy: {text}"


def changed_bytes(draw: Draw, content: bytes) -> bytes:
    """A file cut short, with bytes in place of others, with a part twice, or in another encoding."""
    for _ in range(draw(st.integers(1, 2))):
        at, end = sorted((draw(st.integers(0, len(content))), draw(st.integers(0, len(content)))))
        how = draw(st.integers(0, 6))
        if how == 0:
            content = content[:at]
        elif how == 1:
            content = content[:at] + draw(st.sampled_from(BYTES)) + content[at:]
        elif how == 2:
            content = content[:at] + content[at + 1 :]
        elif how == 3:
            content = content[:at] + bytes([draw(st.integers(0, 255))]) + content[at + 1 :]
        elif how == 4:
            content = content[:end] + content[at:]
        elif how == 5:
            content = content[:at] + content[end:]
        else:
            encoding = draw(st.sampled_from(("utf-16", "utf-16-le", "utf-8-sig", "cp1252", "utf-32")))
            content = content.decode("utf-8", "replace").encode(encoding, "replace")
    return content


def changed_tree(draw: Draw, tree: Any) -> Any:
    """A JSON value with one to three of its places changed: something else there, gone, or twice."""
    tree = json.loads(json.dumps(tree))
    for _ in range(draw(st.integers(0, 3))):
        at = tree
        while isinstance(at, dict | list) and at:
            key = draw(st.sampled_from(list(at) if isinstance(at, dict) else range(len(at))))
            if not isinstance(at[key], dict | list) or draw(st.integers(0, 4)) == 0:
                _change(draw, at, key)
                break
            at = at[key]
    return tree


def _change(draw: Draw, at: Any, key: Any) -> None:
    how = draw(st.integers(0, 5))
    if how == 0:
        del at[key]
    elif how == 1 and isinstance(at, list):
        at.append(at[key])
    elif how == 1:
        at[draw(st.sampled_from(WORDS))] = at[key]
    else:
        at[key] = copy.deepcopy(draw(st.sampled_from(JUNK)))


def json_text(value: Any) -> bytes:
    """JSON as careless programs write it: NaN and lone surrogates are let pass."""
    return json.dumps(value).encode()


def json_lines(draw: Draw, rows: Sequence[Any]) -> bytes:
    """Changed rows, an object a line."""
    tree = changed_tree(draw, list(rows))
    return b"\n".join(map(json_text, tree if isinstance(tree, list) else [tree]))


def changed_rows(draw: Draw, rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Rows of a table, header included, with some cells, rows or lengths changed."""
    table = [list(row) for row in rows]
    for _ in range(draw(st.integers(0, 3))):
        if not table:
            break
        at = draw(st.integers(0, len(table) - 1))
        how, column = draw(st.integers(0, 5)), draw(st.integers(0, max(0, len(table[at]) - 1)))
        if how == 0:
            del table[at]
        elif how == 1:
            table.insert(at, list(table[at]))
        elif how == 2:
            table[at] = table[at][:column]
        elif table[at]:
            table[at][column] = draw(st.sampled_from(WORDS))
        if how == 3 and at < len(table):
            table[at].append("more")
    return table


def csv_text(draw: Draw, rows: Sequence[Sequence[str]]) -> bytes:
    """A changed table as CSV, also with other delimiters, line ends or no quotation marks."""
    table, text = changed_rows(draw, rows), io.StringIO()
    delimiter = draw(st.sampled_from(",,,\t;"))
    if draw(st.integers(0, 4)) == 0:
        text.write("\n".join(delimiter.join(row) for row in table))
    else:
        csv.writer(text, delimiter=delimiter, lineterminator=draw(st.sampled_from(("\n", "\r\n")))).writerows(table)
    return text.getvalue().encode(errors="surrogatepass")


def parquet(draw: Draw, columns: Mapping[str, Sequence[Any]]) -> bytes:
    """A Parquet table, some of whose columns are gone, renamed, or of an odd type."""
    arrays = {name: pa.array(values) for name, values in columns.items()}
    count = len(next(iter(columns.values())))
    for name in list(arrays):
        how = draw(st.integers(0, 9))
        if how == 0:
            del arrays[name]
        elif how == 1:
            arrays[name.upper()] = arrays.pop(name)
        elif how < 4:
            arrays[name] = draw(st.sampled_from(ODD_COLUMNS))(count)
    out = io.BytesIO()
    pq.write_table(pa.table(arrays), out, row_group_size=max(1, count // 2))
    return out.getvalue()


def _odd(value: Any, kind: pa.DataType | None = None) -> Callable[[int], pa.Array]:
    return lambda count: pa.array([value] * count, kind)


ODD_COLUMNS: tuple[Callable[[int], pa.Array], ...] = (
    _odd(None), _odd(3), _odd(float("nan")), _odd(True), _odd(b"\xff\x00", pa.binary()), _odd(b"ab", pa.binary(2)),
    _odd(datetime(2024, 1, 1, tzinfo=UTC)), _odd(Decimal("1.5")), _odd(["a.mp4"]), _odd([]), _odd({"a": 1}),
    _odd({"bytes": b"\0\0\0\x18ftyp", "path": None}), _odd({"bytes": None, "path": "a.mp4"}), _odd("", pa.string()),
    _odd({"bytes": "text", "path": 5}), _odd({"path": "a.mp4"}), _odd("a.mp4", pa.large_string()),
    _odd("a\x1b[2J", pa.string()), _odd(2**63, pa.uint64()), _odd([("a", 1)], pa.map_(pa.string(), pa.int64())),
    lambda count: pa.array(["a.mp4"] * count).dictionary_encode(),
    lambda count: pa.array([5] * count, pa.duration("s")), lambda count: pa.array([0.5] * count, pa.float16()),
)  # fmt: skip
