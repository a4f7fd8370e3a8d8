"""The reader of all text that people bring: files, their lines, the rows of their tables, and captions.

What cannot be read is said with its file and line. A caption or a row that cannot be used has a `problem`, so that it
costs itself and not the whole file.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
import tomllib
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from rushes.files import without_checksum

MOST_CHARACTERS = 10_000  # of a caption: what models read ends after 1,024 tokens at most
MOST_BYTES = 2**20  # of a file that holds one caption
MOST_TEXT_BYTES = 2**28  # of a file of rows, lines or settings, which is read whole
_MARKS = (  # the longer before those that they begin with
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_USER = re.compile(r"(?<=://)[^/\s?#]*@")  # of an address, with what may be a password
_QUERY_KEY = re.compile(r"([?&][^=&\s]*(?:key|token|secret|passw\w*|auth|sig\w*)=)[^&\s'\"]+", re.IGNORECASE)
_SPACES = frozenset("\t\n\r\x0b\x0c\x85")  # control characters that part words
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")  # letters and marks that show nothing
_BYTES = frozenset(map(chr, range(0xDC80, 0xDD00)))  # that are no UTF-8, see `read_by_line`
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_SUFFIX = re.compile(r"\.[A-Za-z]\w{1,4}$")  # of a file's name
# As programs write a cell that is empty, and spreadsheets one whose formula failed, such as a caption after "=" or "-".
_MISSING = frozenset(
    (
        *("nan", "null", "none", "n/a", "na", "<na>", "nat", "undefined", "#n/a", "#na", "#name?", "#value!", "#ref!"),
        *("#null!", "#num!", "#div/0!", "err:508", "err:509"),
    )
)


class Caption(NamedTuple):
    """A caption in one line, "" = none; or why what is there cannot be used, with the remedy."""

    text: str
    problem: str = ""


class CaptionLength(NamedTuple):
    """How much of a caption a model's own tokenizer passes on."""

    tokens: int  # of all of it, without marks at its ends
    most: int  # that the model is given
    seen: str  # the last words that it is given, where it is not given all; else ""
    tokenizer: str = ""  # which of the model's; "" = it has one way to read


@dataclass(frozen=True)
class TableRow:
    """A row of a table; where `problem` is not "", its cells are not to be used but to say whose row it is."""

    line: int  # of the file, from 1; of several the last
    cells: Mapping[Any, Any]
    problem: str = ""
    ragged: bool = False  # it has more or fewer cells than the header


def caption_of(text: str) -> Caption:
    """A text as a caption: spaces made single, "" where nothing of it can be seen or a program wrote "NaN" for nothing.

    One with control characters, or of more than `MOST_CHARACTERS`, has a problem.
    """
    flat = text  # of megabytes no space is looked at: 2 kB of a table may say them in each of its rows
    if len(text) <= MOST_BYTES:
        if problem := unprintable(text):
            return Caption("", f"{problem}; write the caption anew")
        flat = " ".join(text.replace("\ufeff", "").split())  # the mark of an encoding is there twice in joined files
    if len(flat) > MOST_CHARACTERS:
        return Caption("", f"a caption of {len(flat):,} characters; shorten it to {MOST_CHARACTERS:,}")
    return Caption("" if _is_blank(flat) or flat.casefold() in _MISSING else flat)


def unprintable(text: str) -> str:
    """The first control character, half of a pair or byte that is not text, in words; "" where there is none."""
    if text.isprintable():
        return ""
    at = next((k for k, c in enumerate(text) if c not in _SPACES and unicodedata.category(c) in ("Cc", "Cs")), None)
    if at is None:
        return ""
    if text[at] in _BYTES:
        return f"not UTF-8: the byte 0x{ord(text[at]) - 0xDC00:02X} after {at} characters"
    return f"the control character U+{ord(text[at]):04X} after {at} characters"


def printable(text: str) -> str:
    """A text as a terminal may have it: what would steer it, and halves of pairs, are escaped; line ends stay.

    What turns the direction of text is escaped as well, as it can make a name look like another. Passwords and keys in
    addresses are masked.
    """
    text = without_password(text)
    return text if text.isprintable() else "".join(ascii(c)[1:-1] if _steers(c) else c for c in text)


def without_password(text: str) -> str:
    """A text in which the user, the password and keys of each address are masked: http://***@HOST/v1?key=***."""
    return _QUERY_KEY.sub(r"\1***", _USER.sub("***@", text)) if "://" in text else text


def _steers(c: str) -> bool:
    return c != "\n" and (unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or c in _TURNING)


def _is_blank(text: str) -> bool:
    """Whether nothing of a text can be seen: spaces, formats such as joiners, fillers, variation selectors."""
    return all(
        c in _INVISIBLE or unicodedata.category(c)[0] in "ZC" or "\ufe00" <= c <= "\ufe0f" or "\u180b" <= c <= "\u180f"
        for c in text
    )


def decode(data: bytes, place: object) -> str:
    """Bytes as text with all line ends as \\n: UTF-8, or UTF-16 and UTF-32 by their marks, UTF-16 also by its zeros.

    Raises ValueError, which begins with `place`, for any other encoding.
    """
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "") or _by_zeros(data)
    try:
        text = data.decode(encoding or "utf-8")
    except UnicodeDecodeError as error:
        name = encoding.removesuffix("-sig") or "utf-8"
        raise ValueError(
            f"{place}: not {name.upper()} text ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _by_zeros(data: bytes) -> str:
    """UTF-16 without a mark: of Latin letters every other byte is zero; "" where it is not so."""
    low, high = data[0::2].count(0), data[1::2].count(0)
    least = len(data) / 3
    if len(data) % 2 or min(low, high) > least / 8 or max(low, high) < least:
        return ""
    return "utf-16-le" if high > low else "utf-16-be"


def read_text(path: Path) -> str:
    """The text of a file, by `decode`. Raises ValueError as that does, and for a file that is too long for text."""
    return decode(_bytes_of(path), path)


def _bytes_of(path: Path) -> bytes:
    if (size := path.stat().st_size) > MOST_TEXT_BYTES:
        raise ValueError(
            f"{path}: {size / 2**20:.0f} MiB are more than the {MOST_TEXT_BYTES // 2**20} MiB allowed for a text file; "
            "check that it is the right file, or split it"
        )
    return path.read_bytes()


def read_by_line(path: Path) -> str:
    """The text of a file of lines; a byte that is no UTF-8 becomes half of a pair, which costs its line: `unprintable`.

    Raises ValueError as `decode` does where that is so in most of its lines, as its encoding is another.
    """
    data = _bytes_of(path)
    try:
        return decode(data, path)
    except ValueError:
        lines = [line for line in data.removeprefix(codecs.BOM_UTF8).splitlines() if line.strip()]
        texts = [line.decode(errors="surrogateescape") for line in lines]
        odd = sum(not _BYTES.isdisjoint(text) for text in texts)
        if 2 * odd > len(lines) or b"\0" in data:
            raise
    return data.removeprefix(codecs.BOM_UTF8).decode(errors="surrogateescape").replace("\r\n", "\n").replace("\r", "\n")


def raw_lines(path: Path) -> tuple[str, ...]:
    """Lines as they are; blank ones at the end do not count."""
    text = read_by_line(path).rstrip()
    return tuple(text.split("\n")) if text else ()


def read_lines(path: Path) -> tuple[str, ...]:
    """One text a line, stripped; blank lines at the end do not count, those between are empty texts.

    Raises ValueError for a line with control characters.
    """
    lines = raw_lines(path)
    for number, line in enumerate(lines, start=1):
        if problem := unprintable(line):
            raise ValueError(f"{path}, line {number}: {problem}; write the line anew")
    return tuple(line.strip() for line in lines)


def read_caption(path: Path) -> Caption:
    """All of a small file as one caption; what cannot be read is its problem, which names the file."""
    try:
        if (size := path.stat().st_size) > MOST_BYTES:
            return Caption(
                "", f"{path}: {size:,} bytes are too long for a caption; shorten it to {MOST_CHARACTERS:,} characters"
            )
        caption = caption_of(read_text(path))
    except OSError as error:
        return Caption("", f"{path}: cannot be read ({error.strerror}); check its permissions")
    except ValueError as error:
        return Caption("", str(error))
    return Caption("", f"{path}: {caption.problem}") if caption.problem else caption


def checked_text(path: Path, remedy: str) -> str:
    """The text of a JSON file that `write_json` wrote, without its checksum if it has one.

    Raises ValueError as `read_text` does, and for a file that was altered since.
    """
    text = without_checksum(read_text(path))
    if text is None:
        raise ValueError(f"{path}: altered since it was written, as its checksum shows; {remedy}")
    return text


def parse_json(text: str, place: object) -> Any:
    """A JSON text. Raises ValueError, which begins with `place`, for what is none, is too deep, or has a key twice."""
    try:
        return json.loads(text, object_pairs_hook=_no_key_twice)
    except RecursionError:
        raise ValueError(f"{place}: the JSON is nested too deeply; flatten it") from None
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file. Raises ValueError for what is none, OSError where it cannot be read."""
    text = read_text(path)
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError(f"{path}: the TOML is nested too deeply; flatten it") from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: not a TOML file: {error}; correct it there") from None
    except ValueError:  # which says no place
        raise ValueError(f"{path}: a number has over 4,300 digits; correct it there") from None


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} appears twice in one object; keep one")
    return entries


def read_rows(path: Path) -> Iterator[TableRow]:
    """The rows of a CSV or JSONL file, those that cannot be used with their problem.

    A CSV's cells are parted by commas or, where its header has none, by tabs or semicolons, and have no spaces at their
    ends. A row with more or fewer cells than the header, or with control characters, cannot be used.

    Raises:
        ValueError: not a table at all, two columns of one name, or a quotation mark that is never closed.
    """
    return csv_rows(path) if path.suffix.lower() == ".csv" else _jsonl_rows(path)


def csv_rows(path: Path) -> Iterator[TableRow]:
    """The rows of a CSV file, whatever its suffix, as `read_rows` gives them."""
    text = read_by_line(path)
    head = text.lstrip("\n").partition("\n")[0]
    delimiter = next((mark for mark in ",\t;" if mark in head), ",")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True, delimiter=delimiter)
    names: list[str] = []
    try:
        before = 0  # lines of the rows above
        for row in reader:
            first, before = before + 1, reader.line_num
            cells = [cell.strip() for cell in row]
            if not cells:
                continue
            if not names:
                names = _header(path, cells)
                continue
            uneven = ragged(len(cells), len(names))
            problem = _joined(cells, delimiter, first) or uneven or _unprintable(cells)
            yield TableRow(reader.line_num, dict(zip(names, cells, strict=False)), problem, ragged=bool(uneven))
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}; close or remove the quotation "
            "mark") from error  # fmt: skip


def _joined(cells: list[str], delimiter: str, first: int) -> str:
    """What is wrong with a row, from line `first` on, that took in others as two quotation marks stray; "" = nothing.

    A cell may hold line ends. A line of it is a row of its own where it has cells too, one with the suffix that a cell
    of this row ends in: b.mp4.
    """
    texts = [cell for cell in cells if "\n" in cell]
    names = {match[0].casefold() for cell in cells if texts and (match := _SUFFIX.search(cell)) and cell not in texts}
    for line in (line for text in texts for line in text.split("\n") if names and delimiter in line):
        if any(part.strip(' "').casefold().endswith(tuple(names)) for part in line.split(delimiter)):
            return (
                f"the quotation mark on line {first} is not closed and swallows other rows, such as {line!r:.60}; "
                "close or delete it"
            )
    return ""


def _header(path: Path, names: list[str]) -> list[str]:
    twice = next((name for name in names if name and names.count(name) > 1), "")
    if twice:
        raise ValueError(f"{path}: two columns have the name {twice!r}; rename or delete one")
    if problem := _unprintable(names):
        raise ValueError(f"{path}: the header has {problem}")
    return names


def ragged(cells: int, columns: int) -> str:
    """What is wrong with a row of so many cells under so many columns; "" = nothing."""
    if cells == columns:
        return ""
    what = f"{counted(cells, 'cell')} for {counted(columns, 'column')}"
    return f"{what}; {'quote cells that hold commas' if cells > columns else 'fill in the missing cells'}"


def counted(number: int, noun: str, several: str = "") -> str:
    """A number and what there are of it: 1 answer, 2 answers; `several` where the plural has no s alone."""
    return f"{number} {noun if number == 1 else several or f'{noun}s'}"


def _unprintable(cells: list[Any]) -> str:
    problems = (unprintable(cell) for cell in cells if isinstance(cell, str))
    problem = next(filter(None, problems), "")
    return f"{problem} of a cell; write it anew" if problem else ""


def _jsonl_rows(path: Path) -> Iterator[TableRow]:
    text = read_by_line(path)
    if text.lstrip().startswith("[") and _is_array(text):
        raise ValueError(f"{path}: a JSON array; write one object per line, without the brackets around them")
    yield from json_rows(text)


def json_rows(text: str) -> Iterator[TableRow]:
    """The objects of a text with one a line, those that cannot be used with their problem."""
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield _json_row(number, line)


def _is_array(text: str) -> bool:
    """Whether the text as a whole, not each of its lines, is a list of objects."""
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError):
        return text.strip() == "[" or text.lstrip().split("\n")[0].strip() == "["
    return isinstance(entries, list) and any(isinstance(entry, dict) for entry in entries)


def _json_row(number: int, line: str) -> TableRow:
    try:
        row = parse_json(line, "not JSON")
    except ValueError as error:
        return TableRow(number, {}, f"{error}; correct or delete the line")
    if not isinstance(row, dict):
        return TableRow(number, {}, f"not an object: {line.strip()!r:.60}; correct or delete the line")
    problem = unprintable(line) if not _BYTES.isdisjoint(line) else ""
    return TableRow(number, row, f"{problem}; write the line anew" if problem else _unprintable([*row, *row.values()]))


Refuse = Callable[[str, str], None]  # called with the place and what is wrong there
