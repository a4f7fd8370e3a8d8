"""Which pieces of a long video become clips, and the pieces as files of their own, cut in one pass by time stamps."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange
from av.video.stream import VideoStream

from rushes.files import MediaError
from rushes.media.read import exact
from rushes.media.video_reader import ShownFrame, VideoReader
from rushes.media.write import add_stream, even, open_mp4, tag_colours, to_yuv

TimeSpan = tuple[float, float]  # start and end in seconds from the first frame of the file


def cut_pieces(
    path: str | os.PathLike[str], spans_s: Sequence[TimeSpan], crf: int, folder: Path
) -> Iterator[tuple[TimeSpan, Path]]:
    """Yield each span of a video with its mp4 file, which is deleted when the next one is asked for.

    A piece begins with the frame on screen at its start and is as long as its span, in whole frames, each at its own
    time. Frames go from decoder to encoder untouched where they are 8-bit 4:2:0 video, upright and with square pixels;
    others go through RGB. Equal input gives equal bytes with the same FFmpeg build.

    Args:
        path: the long video.
        spans_s: sorted by their starts, none overlapping.
        crf: x264's quality, 1 (best) to 51.
        folder: where the files are written, in a folder of their own.

    Raises:
        MediaError: a file that does not decode as far as the last span.
    """
    left = list(spans_s)
    if not left:
        return
    with VideoReader(path) as footage, TemporaryDirectory(dir=folder, prefix=".cut-") as temporary:
        target = Path(temporary) / "piece.mp4"
        piece: _Piece | None = None
        for shown in footage.shown(exact(left[0][0])):
            if piece and piece.ends_before(shown):
                piece.close()
                yield left.pop(0), target
                piece = None
            if piece is None and left and shown.until_s > exact(left[0][0]):
                piece = _Piece(footage, shown, exact(left[0][1]) - exact(left[0][0]), crf, target)
            if piece:
                piece.add(shown)
            elif not left:
                return
        if piece:
            piece.close()
            yield left.pop(0), target
    if left:
        raise MediaError(
            f"{path}: the file changed and now ends before {left[0][0]:g} s, where a piece begins; import it again"
        )


class _Piece:
    """One mp4 file that is being written."""

    def __init__(self, footage: VideoReader, first: ShownFrame, length_s: Fraction, crf: int, path: Path) -> None:
        self._footage, self._tick_s = footage, footage.tick_s
        self._start_s, self._end_s = first.start_s, first.start_s + length_s
        self._ticks: dict[int, int] = {}  # time stamp of a frame that is being encoded -> how long it is shown
        self._plain = _is_plain(footage, first.frame)
        self._container: OutputContainer = open_mp4(path)
        image = self._image(first)
        rate = footage.stream.average_rate or footage.stream.guessed_rate or Fraction(25)
        self._size_px = image.height, image.width
        self._stream: VideoStream = add_stream(self._container, rate, self._size_px, crf, "veryfast")
        self._stream.codec_context.time_base = self._tick_s
        tag_colours(self._stream)
        if self._plain:
            _copy_tags(first.frame, self._stream)

    def ends_before(self, shown: ShownFrame) -> bool:
        return shown.start_s + self._tick_s / 2 >= self._end_s  # half a tick: spans come as floating point

    def add(self, shown: ShownFrame) -> None:
        frame = self._image(shown)
        frame.pts, frame.time_base = round((shown.start_s - self._start_s) / self._tick_s), self._tick_s
        self._ticks[frame.pts] = round((shown.end_s - shown.start_s) / self._tick_s)
        self._mux(frame)

    def close(self) -> None:
        self._mux(None)
        self._container.close()

    def _mux(self, frame: VideoFrame | None) -> None:
        for packet in self._stream.encode(frame):
            # x264 keeps no durations, so that the last frame of a varying rate would be as long as the one before.
            if packet.pts is not None and packet.time_base == self._tick_s:
                packet.duration = self._ticks.pop(packet.pts)
            self._container.mux(packet)

    def _image(self, shown: ShownFrame) -> VideoFrame:
        if self._plain:
            return shown.frame
        return to_yuv(even(self._footage.rgb(shown.frame)))


def _is_plain(footage: VideoReader, frame: VideoFrame) -> bool:
    """Whether a frame can be encoded as it is."""
    limited = frame.format.name == "yuv420p" and frame.color_range != ColorRange.JPEG
    return footage.is_upright(frame) and limited and frame.height % 2 == frame.width % 2 == 0


def _copy_tags(frame: VideoFrame, stream: VideoStream) -> None:
    """The colours of a frame that was not converted are what its file said of them."""
    context: Any = stream.codec_context
    for name in ("colorspace", "color_range", "color_primaries", "color_trc"):
        setattr(context, name, getattr(frame, name))


_SLACK = 1e-3  # of a piece: containers round their times


def scene_spans(cuts_s: Sequence[float], end_s: float) -> list[TimeSpan]:
    """Scenes between cuts, in seconds from the first frame; they cover the video."""
    edges = [0.0, *cuts_s, end_s]
    return [(start, end) for start, end in pairwise(edges) if end > start]


def pieces(scene: TimeSpan, shortest_s: float, longest_s: float) -> list[TimeSpan]:
    """A scene as consecutive pieces of `longest_s`; the last is shorter, and left out below `shortest_s`."""
    start, end = scene
    count = math.ceil((end - start) / longest_s * (1 - _SLACK))
    spans = [(start + k * longest_s, min(end, start + (k + 1) * longest_s)) for k in range(count)]
    return [(round(a, 6), round(b, 6)) for a, b in spans if b - a >= shortest_s * (1 - _SLACK)]


def cut_spans(cuts_s: Sequence[float], end_s: float, shortest_s: float, longest_s: float) -> list[TimeSpan]:
    """All pieces of a video, in order; none holds a cut."""
    return [piece for scene in scene_spans(cuts_s, end_s) for piece in pieces(scene, shortest_s, longest_s)]
