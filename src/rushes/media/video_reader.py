"""An open video file as frames in the order and at the times at which a player shows them."""

from __future__ import annotations

import heapq
import os
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import ColorTrc
from av.video.stream import VideoStream

from rushes.arrays import Frames
from rushes.files import MediaError
from rushes.media.joined import is_followed
from rushes.media.pictures import deinterlaced, to_rgb, treatments
from rushes.media.resize import resize_frame

# Without the list, stills, text art and playlists would open too, and a playlist names other files.
_CONTAINERS = "mov,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg,mxf,nut,ivf,gif,apng,dv,rm,yuv4mpegpipe"
_RAW = "h264,hevc,m4v,mpegvideo"  # a codec's stream without a container; most have no times
_RAW_BEGINNING = re.compile(rb"\x00?\x00\x00\x01(?!\xba)")  # 0xBA begins a program stream
MOST_PIXELS = 8192 * 4352  # of a frame: the largest of H.264, H.265, VP9 and AV1 at their highest levels
_BOUND = {"max_pixels": str(MOST_PIXELS)}  # of FFmpeg's decoders
_REORDER, _HELD_BYTES = 16, 2**29  # frames that H.264 and H.265 may hold back, fewer of large ones
_LOOKED_AT = 50  # packets behind a damaged one
_WIDEST = 16  # shape of pixels, in width over height or height over width; none in use goes beyond 4
LONGEST_S = 3600  # that one frame is on screen; a jump of the clock would make pieces without end
_SEEK_FROM_S = 5  # below, decoding from the start is as fast as looking for a key frame


@dataclass(frozen=True)
class ShownFrame:
    """One frame and its time on screen in seconds, counted from the first frame of the file.

    `until_s` is `end_s` less half a tick of the container's clock: containers round time stamps to ticks (1 ms in
    Matroska), so a frame due at 66.67 ms may be stamped 67 and must still count as shown at 66.67.
    """

    frame: VideoFrame
    start_s: Fraction
    end_s: Fraction
    until_s: Fraction


class VideoReader:
    """A video file open for one pass over its main video stream. Raises MediaError for what is not a video."""

    def __init__(self, path: str | os.PathLike[str], *, allow_truncated: bool = False) -> None:
        self.path = Path(path)
        self.allow_truncated = allow_truncated
        self.broken = ""  # why decoding stopped before the end of the stream
        self.cure = ""  # of that
        self.count = 0  # frames decoded since the start or the last seek
        self.treated: dict[str, None] = {}  # what was done to frames that the file leaves open, in words
        _check_file(self.path)
        self._open()

    def _open(self) -> None:
        try:
            # The prefix keeps a name with a colon from being read as a network address.
            with self.path.open("rb") as file:
                raw = f",{_RAW}" if _RAW_BEGINNING.match(file.read(5)) else ""
            options = {"protocol_whitelist": "file", "format_whitelist": _CONTAINERS + raw, "export_xmp": "1"}
            options |= _BOUND  # as FFmpeg decodes a frame of some formats to look at it
            self.container: InputContainer = av.open(f"file:{self.path}", options=options)
        except (av.FFmpegError, OSError) as error:
            raise MediaError(
                f"{self.path}: cannot be opened as a video ({error.strerror}): it has another format, or was cut short "
                "before its index was written; give a complete mp4, mov, mkv, webm, avi, ts, mpg, gif or y4m file"
            ) from error
        try:
            self.stream = self._main_video()
            self._decoder = _decoder_of(self.stream)
            self.tick_s = self.stream.time_base or Fraction(1, 1000)
            self._step = self._raw_step()
        except BaseException:
            self.container.close()
            raise

    def _main_video(self) -> VideoStream:
        """The stream that is marked as the default one, else the first; cover pictures are none."""
        streams = self.container.streams
        moving = [s for s in streams.video if not s.disposition & Disposition.attached_pic]
        if not moving:
            held = ", ".join(sorted({s.type for s in streams})) or "no stream at all"
            raise MediaError(f"{self.path}: there is no video in this file ({held}); give a file with a video stream")
        main = next((s for s in moving if s.disposition & Disposition.default), moving[0])
        if main.codec_context is None:
            raise MediaError(f"{self.path}: no decoder for this video; convert it to h264: ffmpeg -i FILE out.mp4")
        pixels = main.codec_context.width * main.codec_context.height
        if not 0 < pixels <= MOST_PIXELS:
            doubt = "" if pixels else "its first frame cannot be read, or "  # FFmpeg says 0 of both
            raise MediaError(
                f"{self.path}: {doubt}its frames have more pixels than {MOST_PIXELS / 1e6:.0f} million; make "
                "them smaller",
                "large",
            )
        return main

    def _raw_step(self) -> int:
        """Ticks from frame to frame of a raw stream, by the frame rate in its headers; 0 = frames have times."""
        name = self.container.format.name
        if name not in _RAW.split(","):
            return 0
        rate = self._decoder.framerate
        if not rate:
            raise MediaError(
                f"{self.path}: a raw {name} stream without a frame rate; convert it and give its frame rate, here 25: "
                "ffmpeg -framerate 25 -i FILE -c copy out.mp4",
                "no frame rate",
            )
        self.treated[f"a raw stream, timed by the {float(rate):g} fps of its headers"] = None
        # MPEG-2 says of each frame how long it is shown, by which FFmpeg times it.
        return 0 if self.stream.codec.canonical_name == "mpeg2video" else round(1 / (rate * self.tick_s))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.container.close()

    def shown(self, from_s: Fraction = Fraction(0)) -> Iterator[ShownFrame]:
        """Every frame, at the latest from the one on screen at `from_s`, in display order.

        After the last good frame of a damaged or truncated file: MediaError, unless `allow_truncated`. A file of one
        frame is a still: MediaError, too.
        """
        origin, stamped = self._stamped_from(from_s)
        stamped = deinterlaced(stamped, self.tick_s)
        frame, at = next(stamped)
        sought = at > origin
        gap = 0
        for following, then in stamped:
            gap = then - at
            yield self._show(frame, origin, at, gap)
            frame, at = following, then
        rate = self.stream.average_rate or self.stream.guessed_rate
        nominal = max(1, round(1 / (rate * self.tick_s))) if rate else 1
        last = self._show(frame, origin, at, frame.duration or gap or nominal)
        still = self.count == 1 and not sought
        if not still:
            yield last
        if self.broken and not self.allow_truncated:
            good = "" if sought else f", after {self.count} frames that decode"
            raise MediaError(
                f"{self.path}: {self.broken} {float(last.end_s):.2f} s in{good}; "
                f"{self.cure or 'get the complete file, or a copy that is cut before that'}",
                "joined" if self.cure else "cut short" if "cut short" in self.broken else "corrupt",
            )
        if still:
            raise MediaError(
                f"{self.path}: a still, not a video: it has a single frame; give a clip of two frames or more", "still"
            )

    def size_px(self, frame: VideoFrame) -> tuple[int, int]:
        """(height, width) of a frame as shown: upright, with square pixels."""
        turned, _, _ = _orientation(frame)
        width = self._square_width(frame)
        return (width, frame.height) if turned else (frame.height, width)

    def is_upright(self, frame: VideoFrame) -> bool:
        """Whether a frame is shown as it is stored: not turned or mirrored, and with square pixels."""
        return not any(_orientation(frame)) and self._square_width(frame) == frame.width

    def rgb(self, frame: VideoFrame) -> Frames:
        """A frame as shown, [H,W,3] uint8 RGB. Raises MediaError for high dynamic range.

        The conversion is FFmpeg's default one (see `to_rgb`): it rounds down, so colours are about one level of 255
        darker than the encoder meant. A rotation goes to the nearest quarter turn.
        """
        self.check_colours(frame)
        image = resize_frame(to_rgb(frame), (frame.height, self._square_width(frame)), "stretch")
        turned, flip_x, flip_y = _orientation(frame)
        if turned:
            image = image.swapaxes(0, 1)
        return np.ascontiguousarray(image[:: -1 if flip_y else 1, :: -1 if flip_x else 1])

    def check_colours(self, frame: VideoFrame) -> None:
        """Raise MediaError for high dynamic range."""
        if frame.color_trc in (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67):
            raise MediaError(
                f"{self.path}: high dynamic range (PQ or HLG), whose colours would come out wrong; tone-map it to "
                "BT.709 first, for example with ffmpeg's zscale and tonemap filters",
                "high dynamic range",
            )

    def _square_width(self, frame: VideoFrame) -> int:
        aspect = self.stream.sample_aspect_ratio
        if aspect and not 1 / _WIDEST <= aspect <= _WIDEST:
            raise MediaError(
                f"{self.path}: its pixels are not square ({float(aspect):.3g} times as wide as high); repair it: "
                "ffmpeg -i FILE -vf setsar=1 out.mp4",
                "corrupt",
            )
        return max(1, round(frame.width * aspect)) if aspect else frame.width

    def _show(self, frame: VideoFrame, origin: int, at: int, gap: int) -> ShownFrame:
        end = at + gap
        if gap * self.tick_s > LONGEST_S:
            after = float((at - origin) * self.tick_s)
            raise MediaError(
                f"{self.path}: its clock jumps by {float(gap * self.tick_s):.0f} s, {after:.2f} s in; convert it to "
                "one continuous clock: ffmpeg -i FILE out.mp4",
                "its clock jumps",
            )
        # A clock as coarse as the frames (AVI: one tick, one frame) has nothing to round.
        slack = Fraction(1, 2) if gap >= 5 else Fraction(0)
        start_s, end_s, until_s = ((t - origin) * self.tick_s for t in (at, end, end - slack))
        return ShownFrame(frame, start_s, end_s, until_s)

    def _stamped_from(self, from_s: Fraction) -> tuple[int, Iterator[tuple[VideoFrame, int]]]:
        stamped = self._stamped()
        first = next(stamped, None)
        if first is None:
            why = self.broken or "the stream is empty"
            raise MediaError(
                f"{self.path}: none of its frames can be decoded ({why}); download the file again", "corrupt"
            )
        origin = first[1]
        if from_s <= _SEEK_FROM_S or not {"mov", "matroska"} & set(self.container.format.name.split(",")):
            return origin, chain([first], stamped)
        target = origin + int((from_s - 1) / self.tick_s)
        try:
            self.container.seek(target, stream=self.stream)
            self._decoder.flush_buffers()
            stamped = self._stamped()
            first = next(stamped, None)
        except av.FFmpegError:
            first = None
        if first is not None and first[1] <= target:
            return origin, chain([first], stamped)
        self.container.close()  # no index, or a wrong one: decode from the start
        self._open()
        return origin, self._stamped()

    def _stamped(self) -> Iterator[tuple[VideoFrame, int]]:
        """Frames in the decoder's order, which is that of display, with rising time stamps in ticks.

        Where the container has no stamps of its own for reordered frames (H.264 in AVI), they come permuted: the
        i-th smallest belongs to the i-th frame.
        """
        frames: deque[VideoFrame] = deque()
        stamps: list[int] = []
        before: int | None = None
        number = 0
        for frame in chain(self._decoded(), [None]):
            held_back = 0
            if frame is not None:
                if self._step:
                    frame.pts = number * self._step
                    number += 1
                if frame.pts is None:
                    raise MediaError(f"{self.path}: its frames have no times; add them: ffmpeg -i FILE out.mp4")
                frames.append(frame)
                heapq.heappush(stamps, frame.pts)
                held_back = min(_REORDER, _HELD_BYTES // sum(plane.buffer_size for plane in frame.planes))
            while len(frames) > held_back:
                at = heapq.heappop(stamps)
                if before is not None and at < before:
                    raise MediaError(f"{self.path}: its clock jumps back; repair it: ffmpeg -i FILE out.mp4")
                before = at
                yield frames.popleft(), at

    def _decoded(self) -> Iterator[VideoFrame]:
        self.broken, self.cure, self.count = "", "", 0
        end_s = Fraction(0)
        last_dts: int | None = None
        try:
            for packet in self.container.demux():
                if packet.pts is not None:
                    end_s = max(end_s, (packet.pts + (packet.duration or 0)) * packet.time_base)
                if packet.stream.index != self.stream.index:
                    continue
                if packet.is_corrupt:
                    yield from self._checked(self._decoder.decode(None))
                    self._say_hole(packet, last_dts)
                    return
                last_dts = packet.dts if packet.dts is not None else last_dts
                yield from self._checked(self._decoder.decode(packet))
                if self.broken:
                    return
        except av.FFmpegError as error:
            self.broken = f"the stream is damaged ({error.strerror})"
            return
        if self._ends_early(end_s):
            self.broken = "the file is cut short"
        elif is_followed(self.path, self.container.format.name):
            self.broken = "it is several recordings joined end to end, and the first ends"
            self.cure = "join the single files with FFmpeg: ffmpeg -f concat -i LIST -c copy out.mp4"

    def _say_hole(self, packet: Packet[Any], last_dts: int | None) -> None:
        """Why a packet is damaged: recordings that were joined byte by byte have a clock that starts again there."""
        following = (later.dts for later in self.container.demux(self.stream) if later.dts is not None)
        stamps = [dts for dts in (packet.dts, *islice(following, _LOOKED_AT)) if dts is not None]
        if last_dts is not None and any(dts <= last_dts for dts in stamps):
            self.broken = "it is several recordings joined end to end: its clock restarts"
            self.cure = "convert it to one continuous clock: ffmpeg -i FILE out.mp4"
        else:
            self.broken = self.broken or "the file is cut short or has a hole"

    def _checked(self, frames: list[VideoFrame]) -> Iterator[VideoFrame]:
        for frame in frames:
            if frame.is_corrupt:  # the decoder painted over a hole
                self.broken = "the stream is damaged (a frame has missing parts)"
                return
            self.count += 1
            self.treated |= dict.fromkeys(treatments(frame, self.treated))
            yield frame

    def _ends_early(self, end_s: Fraction) -> bool:
        names = self.container.format.name.split(",")
        if "mov" in names:
            size = self.path.stat().st_size
            return any(entry.pos + entry.size > size for entry in self.stream.index_entries)
        if "matroska" in names and self.container.duration is not None:
            rate = self.stream.average_rate or Fraction(10)
            return end_s + Fraction(1, 10) + 2 / rate < Fraction(self.container.duration, av.time_base)
        return False


def _decoder_of(stream: VideoStream) -> VideoCodecContext:
    """The stream's own decoder; for VP8 or VP9 with transparency libvpx's, as FFmpeg's own shows what lies beneath."""
    name = f"libvpx-{stream.codec.canonical_name}".replace("-vp8", "")
    alpha = {key.lower(): value for key, value in stream.metadata.items()}.get("alpha_mode")
    decoder = stream.codec_context
    if alpha == "1" and name in av.codecs_available:
        other = av.CodecContext.create(name, "r")
        assert isinstance(other, VideoCodecContext)
        decoder = other
    decoder.options = _BOUND  # a later frame may be larger than the first
    return decoder


def _orientation(frame: VideoFrame) -> tuple[bool, bool, bool]:
    """(transpose first, then mirror x, mirror y), from the display matrix: x' = a x + c y, y' = b x + d y."""
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return False, False, False
    a, b, _, c, d = np.frombuffer(data, np.int32)[:5].tolist()
    turned = abs(b) > abs(a)
    return (True, c < 0, b < 0) if turned else (False, a < 0, d < 0)


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise MediaError(f"{path}: this is a folder; give a video file")
    if not path.is_file():
        raise MediaError(f"{path}: no such file; check the path")
    if not os.access(path, os.R_OK):
        raise MediaError(f"{path}: no permission to read it; change the file's permissions")
    if path.stat().st_size == 0:
        raise MediaError(f"{path}: the file is empty (0 bytes); copy or download it again")
