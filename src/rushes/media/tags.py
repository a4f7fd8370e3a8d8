"""What a video's file says beside its pictures, such as where and by whom it was taken; and copies that do not say it.

What stands in the pictures themselves, and in the stream of a codec, is not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet

from rushes.files import MediaError
from rushes.media.video_reader import VideoReader
from rushes.media.write import open_bitexact

# By what a tag's name has in it, the first that fits. Cameras write "location", "com.apple.quicktime.make", "artist".
KINDS = {
    "places": re.compile(r"loc(ation|i\b)|gps|xyz|iso6709|geo", re.IGNORECASE),
    "devices": re.compile(r"\bmake|model|device|serial|lens|firmware|com\.android|camera|reel_name", re.IGNORECASE),
    "persons": re.compile(r"artist|author|director|performer|composer|copyright|owner|publisher|user", re.IGNORECASE),
    "dates": re.compile(r"creat\w*_?time|creationdate|date|timecode", re.IGNORECASE),
    "texts": re.compile(r"title|comment|description|synopsis|keywords|album|lyrics", re.IGNORECASE),
}
PROGRAMS, OTHERS = "programs", "others"  # what wrote it; streams of data, cover pictures, and tags of other names
# What every file has: of the container, the codec and the handler of a stream.
_PLAIN = re.compile(
    r"major_brand|minor_version|compatible_brands|language|duration|"
    r"number_of_\w+|_statistics\w*|bps|rotate|alpha_mode|stereo_mode|tbr",
    re.IGNORECASE,
)
_WRITERS = re.compile(r"encoder|handler_name|vendor_id|software|encoded_by|writing\w*", re.IGNORECASE)
_NO_PROGRAM = re.compile(r"(Video|Sound)Handler|Lav[fc][\d. ]*(\w+)?|(\[0\]){4}|FFMP")  # what FFmpeg writes by itself
_SPOKEN = re.compile(r"-(eng|und|\w{3})$")  # ends the name of a tag that has a language
_MUXERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".webm": "webm", ".mkv": "matroska"}


def tags_of(path: Path) -> frozenset[str]:
    """Which kinds of tags a video has: of `KINDS`, `PROGRAMS` and `OTHERS`. Raises MediaError for what is no video."""
    with VideoReader(path) as footage:
        return frozenset(_kinds(footage.container))


def write_untagged(source: Path, target: Path) -> None:
    """Copy a video's pictures and sound as they are into a new file without tags, cover pictures and streams of data.

    Args:
        source: the video.
        target: where the copy goes; the suffix of `source` says its container.

    Raises:
        MediaError: no video, or one that cannot be written without its tags.
    """
    try:
        with VideoReader(source) as footage:
            form = _MUXERS.get(source.suffix.lower(), footage.container.format.name.partition(",")[0])
            streams = [footage.stream, *footage.container.streams.audio]
            with open_bitexact(target, form) as copy:
                _copy_packets(footage.container, copy, streams)
        same = list(_packets(source)) == list(_packets(target))
    except (av.FFmpegError, ValueError) as error:
        if isinstance(error, MediaError):
            raise
        raise MediaError(f"{source}: {_UNWRITTEN} ({error}); {_REMEDY}", "tags") from error
    if not same:
        raise MediaError(f"{source}: {_UNWRITTEN} unchanged; {_REMEDY}", "tags")


def untagged(path: Path) -> bytes:
    """The bytes of a video without tags; as they are, where it is no video that can be read, or has none that FFmpeg
    reads and cannot be written anew."""
    try:
        tags = tags_of(path)
    except MediaError:
        return path.read_bytes()
    with TemporaryDirectory() as folder:
        try:
            write_untagged(path, copy := Path(folder) / path.name)  # boxes that FFmpeg does not read go with the others
        except MediaError:
            if tags:
                raise
            return path.read_bytes()
        return copy.read_bytes()


_UNWRITTEN = "its pictures cannot be written without its tags"
_REMEDY = "convert it to mp4 before you import it (ffmpeg -i FILE -map_metadata -1 out.mp4), or leave --strip out"


def _kinds(container: InputContainer) -> Iterator[str]:
    """The kind of each tag of a file and its streams."""
    for tagged in (container, *container.streams):
        for name, value in tagged.metadata.items():
            plain = _SPOKEN.sub("", name)
            if _WRITERS.search(plain):
                yield from () if _NO_PROGRAM.fullmatch(value) else (PROGRAMS,)
            elif value and not _PLAIN.fullmatch(plain):
                yield next((kind for kind, words in KINDS.items() if words.search(plain)), OTHERS)
    if any(stream.type not in ("video", "audio") for stream in container.streams) or len(container.streams.video) > 1:
        yield OTHERS
    if container.chapters():  # which have titles
        yield "texts"


def _copy_packets(source: InputContainer, copy: Any, streams: list[Any]) -> None:
    copies = {stream.index: copy.add_stream_from_template(stream) for stream in streams}
    for stream in copies.values():
        stream.metadata.clear()
    waiting: dict[int, list[Packet[Any]]] = {stream.index: [] for stream in streams}  # at the start of a stream
    for packet in source.demux(streams):
        early = waiting[packet.stream.index]
        if packet.size and packet.dts is None:  # Matroska has no times of decoding, and the first are not worked out
            early.append(packet)
            continue
        for before, late in enumerate(reversed(early), start=1):
            late.dts = (packet.dts or 0) - before * max(1, late.duration or 0)
        for each in (*early, *([packet] if packet.size else [])):
            each.stream = copies[each.stream.index]
            copy.mux(each)
        early.clear()


def _packets(path: Path) -> Iterator[tuple[int, int]]:
    """Time on screen from the first, to a millisecond, and size of every packet of the pictures."""
    with VideoReader(path) as footage:
        rows = [(packet.pts, packet.size) for packet in footage.container.demux(footage.stream) if packet.size]
        first = min((pts for pts, _ in rows if pts is not None), default=0)
        for pts, size in rows:
            yield -1 if pts is None else round((pts - first) * footage.tick_s * 1000), size
