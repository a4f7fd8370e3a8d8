from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from contextlib import nullcontext
from itertools import product
from pathlib import Path

import pytest

from rushes import files
from rushes.files import MediaError, content_hash, whole_file, with_checksum, without_checksum, write_json, write_text
from rushes.store.in_use import HeldProject


def test_hash_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    data = bytes(range(256)) * 5000
    (tmp_path / "a").write_bytes(data)
    assert content_hash(tmp_path / "a") == content_hash(str(tmp_path / "a")) == content_hash(data)
    assert content_hash(data) == hashlib.sha256(data).hexdigest()
    assert len(content_hash(b"")) == 64


def test_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with whole_file(path) as part:
        part.write_bytes(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    for error in (RuntimeError, KeyboardInterrupt):
        with pytest.raises(error), whole_file(path) as part:
            part.write_bytes(b"half")
            raise error
    assert path.read_bytes() == b"new" and list(tmp_path.iterdir()) == [path]


def test_a_file_is_on_disk_before_it_has_its_name_and_then_the_name_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    forced: list[tuple[int, bool]] = []
    monkeypatch.setattr(os, "fsync", lambda handle: forced.append((os.fstat(handle).st_ino, path.exists())))
    write_text(path, "new")
    assert forced == [(path.stat().st_ino, False), (tmp_path.stat().st_ino, True)]


def test_media_error_is_a_value_error() -> None:
    assert issubclass(MediaError, ValueError)


def test_json_is_written_whole_and_without_nan(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"é": [1]})
    assert (tmp_path / "a.json").read_text() == '{\n "\\u00e9": [\n  1\n ]\n}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", float("nan"))
    write_text(tmp_path / "b", "é")
    assert (tmp_path / "b").read_bytes() == "é".encode() and len(list(tmp_path.iterdir())) == 2


def test_a_drive_that_cannot_force_a_folder_to_disk_takes_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As some drives over a network answer; every write failed there."""

    def force(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode) == folders:
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", force)
    folders = True
    write_text(tmp_path / "a.txt", "a")
    assert (tmp_path / "a.txt").read_text() == "a"
    folders = False
    with pytest.raises(OSError, match="Invalid argument: nothing was written"):
        write_text(tmp_path / "b.txt", "b")


def test_a_drive_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(handle: int, wait: bool, shared: bool) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(files, "hold", refuse)
    with pytest.raises(OSError, match="this drive has no locks") as caught, files.locked(tmp_path / ".lock"):
        pass
    assert caught.value.filename == str(tmp_path / ".lock")
    share = HeldProject(tmp_path)  # a project can be used there, and nobody removes files
    with pytest.raises(OSError, match="this drive has no locks"), share.alone(""):
        pass


@pytest.mark.parametrize("indent", [None, 2])
def test_every_flipped_bit_of_json_with_a_checksum_is_noticed(indent: int | None) -> None:
    value = {"step": 3, "loss": 0.25, "name": "a, b", "list": [1, {"x": None}]}
    plain = json.dumps(value, indent=indent) + "\n"
    data = with_checksum(plain).encode()
    assert json.loads(data) == value | {"crc": json.loads(data)["crc"]}
    assert json.loads(without_checksum(data.decode()) or "") == value
    assert without_checksum(plain) == plain, "as older versions wrote it"
    for at, bit in product(range(len(data)), range(8)):
        flipped = bytes(byte ^ (1 << bit if k == at else 0) for k, byte in enumerate(data)).decode(errors="replace")
        text = without_checksum(flipped)
        with pytest.raises(ValueError, match=r".") if text is not None else nullcontext():
            json.loads(text or "{}")
