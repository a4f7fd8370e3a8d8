"""Decoded frames to the pictures that a viewer sees: whole fields, opaque, in the right colours."""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterator
from fractions import Fraction
from itertools import pairwise

import numpy as np
from av.error import BlockingIOError as NotYet
from av.error import EOFError as AtEnd
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace, Interpolation

from rushes.arrays import Frames

INTERLACED = "interlaced, deinterlaced by bwdif"
TRANSPARENT = "transparent, laid over black"
WOVEN = "looks interlaced, though not marked as interlaced, and is used unchanged"
DEINTERLACE = "ffmpeg -i FILE -vf bwdif=deint=all OUT"
UNTAGGED = "no colour matrix given; BT.709 is assumed, as for all HD"

_UNSPECIFIED = 2  # AVCOL_SPC_UNSPECIFIED
_HD_WIDTH_PX, _HD_HEIGHT_PX = 1280, 576  # players take BT.709 from this width on, or above this height
_ALPHA = ("rgba", "bgra", "argb", "abgr", "yuva", "gbrap", "ya8", "ya16", "ayuv", "vuya", "rgbaf", "pal8")


def treatments(frame: VideoFrame, already: Container[str] = ()) -> list[str]:
    """What is done to a frame that its file leaves open, in words, but for what is in `already`; empty for the most."""
    rules = {INTERLACED: lambda f: f.interlaced_frame, TRANSPARENT: _is_transparent, UNTAGGED: _is_untagged_hd}
    return [words for words, holds in rules.items() if words not in already and holds(frame)]


def to_rgb(frame: VideoFrame) -> Frames:
    """A frame as stored, [H,W,3] uint8 RGB, as `ffmpeg -pix_fmt rgb24` converts it: chroma by bicubic interpolation.

    Transparent pixels lie over black, as players show them. A picture of 1280 px or more across, or of more than 576
    lines, that names no colour matrix is read by BT.709, smaller ones by BT.601.
    """
    matrix = Colorspace.ITU709 if _is_untagged_hd(frame) else None
    if _has_alpha(frame):
        rgba = _converted(frame, "rgba", matrix)
        colour, alpha = rgba[..., :3].astype(np.uint16), rgba[..., 3:].astype(np.uint16)
        return ((colour * alpha + 127) // 255).astype(np.uint8)
    return _converted(frame, "rgb24", matrix)


def _converted(frame: VideoFrame, form: str, matrix: Colorspace | None) -> Frames:
    image = frame.to_ndarray(format=form, src_colorspace=matrix, interpolation=Interpolation.BICUBIC, threads=1)
    return np.asarray(image, np.uint8)


def _has_alpha(frame: VideoFrame) -> bool:
    return frame.format.name.startswith(_ALPHA)


def _is_transparent(frame: VideoFrame) -> bool:
    return _has_alpha(frame) and bool(_converted(frame, "rgba", None)[..., 3].min() < 255)


def _is_untagged_hd(frame: VideoFrame) -> bool:
    large = frame.width >= _HD_WIDTH_PX or frame.height > _HD_HEIGHT_PX
    return large and frame.colorspace == _UNSPECIFIED and frame.format.name.startswith(("yuv", "nv", "p0", "p2"))


def deinterlaced(stamped: Iterator[tuple[VideoFrame, int]], tick_s: Fraction) -> Iterator[tuple[VideoFrame, int]]:
    """Frames and their times, those that are marked as two fields made whole by FFmpeg's bwdif, one for one.

    Up to the first such frame nothing is filtered; progressive frames after it pass the filter unchanged.
    """
    graph: Graph | None = None
    shape: tuple[int, int, str] | None = None
    waiting: deque[tuple[int, int]] = deque()
    for frame, at in stamped:
        here = (frame.width, frame.height, frame.format.name)
        if graph is not None and here != shape:
            graph.push(None)
            yield from _timed(graph, waiting)
            graph = None
        if graph is None:
            if not frame.interlaced_frame:
                yield frame, at
                continue
            graph, shape = filtered(frame, tick_s, "bwdif", "mode=send_frame:deint=interlaced"), here
        waiting.append((at, frame.duration))
        frame.pts, frame.time_base = at, tick_s
        graph.push(frame)
        yield from _timed(graph, waiting)
    if graph is not None:
        graph.push(None)
        yield from _timed(graph, waiting)


def filtered(frame: VideoFrame, tick_s: Fraction, name: str, options: str = "", threads: int = 0) -> Graph:
    """A graph of one of FFmpeg's filters, for frames like this one; 0 threads = one for each processor."""
    graph = Graph()
    graph.threads = threads
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=tick_s)
    chain = [source, graph.add(name, options), graph.add("buffersink")]
    for before, after in pairwise(chain):
        before.link_to(after)
    graph.configure()
    return graph


def pulled(graph: Graph) -> Iterator[VideoFrame]:
    """The frames that are ready at the end of a graph."""
    while True:
        try:
            frame = graph.pull()
        except (NotYet, AtEnd):
            return
        assert isinstance(frame, VideoFrame)
        yield frame


def _timed(graph: Graph, waiting: deque[tuple[int, int]]) -> Iterator[tuple[VideoFrame, int]]:
    for frame in pulled(graph):
        at, frame.duration = waiting.popleft()
        yield frame, at
