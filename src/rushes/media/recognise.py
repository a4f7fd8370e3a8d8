"""Whether a file is a video, by what is in it: names are what people and cameras made of them."""

from __future__ import annotations

from pathlib import Path

from rushes.files import MediaError
from rushes.media.video_reader import VideoReader

HEAD_BYTES = 640
_BEGINNINGS = (
    b"\x1a\x45\xdf\xa3",  # Matroska, WebM
    b"\x00\x00\x01\xba",  # MPEG program stream
    b"FLV\x01",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF: WMV
    b"OggS",
    b"\x06\x0e\x2b\x34",  # MXF
    b"nut/multimedia container",
    b"DKIF",  # IVF
    b"YUV4MPEG2 ",
    b"\x00\x00\x01\xb3",  # a raw MPEG-1 or MPEG-2 stream
    b"GIF8",
)
_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide")  # of MP4 and QuickTime, after four bytes of length
_PACKETS = ((0, 188), (4, 192), (0, 204))  # of MPEG transport streams: where the first one begins, and their length


def begins_as_video(head: bytes) -> bool:
    """Whether the first bytes of a file, `HEAD_BYTES` or all of it, are those of a container that holds video."""
    if head.startswith(_BEGINNINGS) or head[4:8] in _BOXES or (head[:4] == b"RIFF" and head[8:12] == b"AVI "):
        return True
    return any(head[at : at + 3 * size : size] == b"GGG" for at, size in _PACKETS)


def is_video_file(path: Path) -> bool:
    """Whether a file opens as video. A damaged one, or one of sound alone, does not."""
    try:
        with path.open("rb") as file:
            if not begins_as_video(file.read(HEAD_BYTES)):
                return False
        with VideoReader(path):
            return True
    except (MediaError, OSError):
        return False
