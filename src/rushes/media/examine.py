"""One pass over a video file: what it holds, whether anything in it moves, is woven, and where its scenes change."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from scenedetect.common import FrameTimecode
from scenedetect.detectors import AdaptiveDetector, ContentDetector

from rushes.arrays import Frames
from rushes.media.pictures import INTERLACED, filtered, pulled
from rushes.media.read import VideoInfo, probe
from rushes.media.video_reader import ShownFrame, VideoReader

_THUMB_PX = 32
_STILL_LEVELS = 3  # of 255, at thumbnail size: what compression and grain change in a picture that stands still
_MOVING_FRAMES = 100  # after which it is clear whether fields are woven
_SCENE_SIDE_PX = 256  # long side at which scenes are looked for; smaller frames are taken as they are


@dataclass(frozen=True)
class CutFinder:
    """Which of scenedetect's detectors finds scene changes, and its threshold.

    `content` calls a frame a cut when hue, saturation and brightness change by more than `threshold` levels on average;
    `adaptive`, when that change is `threshold` times that of the two frames before and after, which fast motion is not.
    """

    detector: Literal["adaptive", "content"] = "adaptive"
    threshold: float = 0.0  # 0 = the detector's own: 3 (adaptive), 27 (content)

    @property
    def name(self) -> str:
        """Equal for finders that find the same cuts."""
        return f"{self.detector} {self.threshold or _THRESHOLDS[self.detector]:g}"


_THRESHOLDS = {"adaptive": 3.0, "content": 27.0}


@dataclass(frozen=True)
class VideoContents:
    """What a video file holds, by decoding all of it."""

    info: VideoInfo
    moves: bool  # some frame differs from the first by more than compression does
    woven: bool  # most frames that move look like two fields of different times, though none is marked as such
    cuts_s: tuple[float, ...]  # seconds at which a new scene begins, without 0; empty where none were looked for


def examine(path: str | os.PathLike[str], finder: CutFinder | None = None) -> VideoContents:
    """Decode a whole file once, in memory that does not grow with its length.

    Raises MediaError like `probe`, and for high dynamic range.
    """
    motion, weave = _ChangeOfFrames(), _Weave()
    scenes = _Scenes(finder) if finder else None

    def each(footage: VideoReader, shown: ShownFrame) -> None:
        footage.check_colours(shown.frame)
        motion.see(shown.frame)
        weave.see(shown.frame)
        if scenes:
            scenes.see(shown)

    info = probe(path, each=each)
    woven = weave.woven and INTERLACED not in info.treated
    return VideoContents(info, motion.moves, woven, tuple(map(float, scenes.cuts_s)) if scenes else ())


class _ChangeOfFrames:
    """Whether frames differ from the first one; once they do, no more are looked at."""

    def __init__(self) -> None:
        self.moves = False
        self._first: Frames | None = None
        self._reformatter = VideoReformatter()

    def see(self, frame: VideoFrame) -> None:
        if self.moves:
            return
        thumb = _shrunk(self._reformatter, frame, _THUMB_PX, _THUMB_PX, "gray")
        if self._first is None:
            self._first = thumb
        self.moves = bool(np.abs(thumb.astype(np.int16) - self._first.astype(np.int16)).max() > _STILL_LEVELS)


class _Weave:
    """What FFmpeg's idet takes frames for, until enough of them moved; what the reader deinterlaced is whole again."""

    def __init__(self) -> None:
        self._counts = Counter[str]()  # of frames that are progressive, or of fields with the top or the bottom first
        self._graph: Graph | None = None
        self._shape: tuple[int, int, str] | None = None

    @property
    def woven(self) -> bool:
        return 2 * self._counts["progressive"] < self._counts.total()

    def see(self, frame: VideoFrame) -> None:
        if self._counts.total() >= _MOVING_FRAMES:
            return
        shape = (frame.width, frame.height, frame.format.name)
        if shape != self._shape:
            # One thread, as to start more takes longer than all that a short clip needs of them.
            self._graph, self._shape = filtered(frame, Fraction(1, 25), "idet", threads=1), shape
        assert self._graph is not None
        self._graph.push(frame)
        for seen in pulled(self._graph):
            kind = seen.metadata["lavfi.idet.multiple.current_frame"]
            self._counts[kind] += kind != "undetermined"


class _Scenes:
    """Frames to one of scenedetect's detectors, and its cuts as times on screen."""

    def __init__(self, finder: CutFinder) -> None:
        threshold = finder.threshold or _THRESHOLDS[finder.detector]
        # Short scenes are dealt with where spans are made: here every cut counts.
        self._detector = (
            AdaptiveDetector(adaptive_threshold=threshold, min_scene_len=0)
            if finder.detector == "adaptive"
            else ContentDetector(threshold=threshold, min_scene_len=0)
        )
        self._reformatter = VideoReformatter()
        self._size: tuple[int, int] | None = None  # width and height that frames are brought to
        self._starts_s: list[Fraction] = []
        self.cuts_s: list[Fraction] = []

    def see(self, shown: ShownFrame) -> None:
        frame = shown.frame
        if self._size is None:
            factor = min(1.0, _SCENE_SIDE_PX / max(frame.width, frame.height))
            self._size = max(2, round(frame.width * factor)), max(2, round(frame.height * factor))
        # Cuts come a few frames late, by number; at what time a frame is shown is known here alone.
        number = FrameTimecode(len(self._starts_s), fps=25.0)
        self._starts_s.append(shown.start_s)
        image = _shrunk(self._reformatter, frame, *self._size, "bgr24")
        cuts = self._detector.process_frame(number, image)
        self.cuts_s += [self._starts_s[cut.frame_num] for cut in cuts if cut.frame_num]


def _shrunk(reformatter: VideoReformatter, frame: VideoFrame, width: int, height: int, form: str) -> Frames:
    small = reformatter.reformat(frame, width, height, form, interpolation=Interpolation.AREA, threads=1)
    return np.asarray(small.to_ndarray(), np.uint8)
