"""Whether a second recording follows the first in one file, where players and FFmpeg stop at the end of the first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_FLV_HEADER, _FLV_TAG = 9, 11  # bytes


def is_followed(path: Path, container: str) -> bool:
    """Whether an MP4, a QuickTime or an FLV file is several that were joined byte by byte (`cat a.mp4 b.mp4`).

    Args:
        path: the file.
        container: FFmpeg's name of it, such as "mov,mp4,m4a,3gp,3g2,mj2".
    """
    with path.open("rb") as file:
        if "mov" in container.split(","):
            return list(_boxes(file)).count(b"moov") > 1
        return container == "flv" and _flv_again(file)


def _boxes(file: BinaryIO) -> Iterator[bytes]:
    """The names of the boxes at the top, up to the end or to what is no box."""
    at = 0
    while len(head := _read(file, at, 16)) >= 8:
        size = int.from_bytes(head[:4], "big")
        if size == 1:  # a long one, of which the size comes after the name
            size = int.from_bytes(head[8:], "big")
        yield head[4:8]
        if size < 8:  # 0: up to the end
            return
        at += size


def _flv_again(file: BinaryIO) -> bool:
    at = _FLV_HEADER + 4
    while len(head := _read(file, at, _FLV_TAG)) == _FLV_TAG:
        if head.startswith(b"FLV\x01"):
            return True
        at += _FLV_TAG + int.from_bytes(head[1:4], "big") + 4
    return False


def _read(file: BinaryIO, at: int, size: int) -> bytes:
    file.seek(at)
    return file.read(size)
