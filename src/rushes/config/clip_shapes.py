"""Shapes of clips, and which of several a video is brought to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Protocol

# Smaller takes are enlarged by a whole factor when stored: a video file halves the resolution of colour.
_SMALLEST_STORED_PX = 128


@dataclass(frozen=True, order=True)
class ClipShape:
    """Size and length of what a step sees."""

    height_px: int
    width_px: int
    frames: int
    fps: float = 0.0  # frames a second; 0 = as many as the project's others have

    def __str__(self) -> str:
        """FRAMESxHEIGHTxWIDTH, as latents are named, with a rate of its own as @RATE."""
        return f"{self.frames}x{self.height_px}x{self.width_px}" + (f"@{self.fps:g}" if self.fps else "")

    @classmethod
    def read(cls, name: str) -> ClipShape:
        """The shape of a name."""
        size, _, fps = name.partition("@")
        frames, height, width = map(int, size.split("x"))
        return cls(height, width, frames, float(fps or 0.0))

    @property
    def pixels(self) -> int:
        """Pixels of all its frames."""
        return self.height_px * self.width_px * self.frames

    @property
    def words(self) -> str:
        """The same for a reader."""
        size = f"{self.height_px} x {self.width_px} px, {self.frames} frames"
        return size + (f" at {self.fps:g} fps" if self.fps else "")

    @property
    def stored_scale(self) -> int:
        """Whole factor by which takes of it are enlarged when stored."""
        return max(1, -(-_SMALLEST_STORED_PX // min(self.height_px, self.width_px)))

    def is_of(self, take: HasVideoShape, rate: float) -> bool:
        """Whether a stored take was made in it; `rate`: frames a second of shapes that have none of their own."""
        size = (self.height_px * self.stored_scale, self.width_px * self.stored_scale)
        return (take.height_px, take.width_px, take.frames, take.fps) == (*size, self.frames, self.fps or rate)


class HasVideoShape(Protocol):
    """What must be known of a video: its upright size, and its length; one frame is a still."""

    @property
    def width_px(self) -> int: ...
    @property
    def height_px(self) -> int: ...
    @property
    def frames(self) -> int: ...
    @property
    def fps(self) -> float: ...


@dataclass(frozen=True)
class HasPictureShape:
    """A still, as `HasVideoShape` has it."""

    width_px: int
    height_px: int
    frames: int = 1
    fps: float = 1.0


@lru_cache(64)
def all_shapes(
    default: ClipShape, sizes: tuple[tuple[int, int], ...], lengths: tuple[int, ...], rates: tuple[float, ...]
) -> tuple[ClipShape, ...]:
    """Every size at every length and rate, the default first; rates are beside the project's own, which is 0."""
    every = (ClipShape(*size, frames, fps) for size in sizes for frames in lengths for fps in (0.0, *rates))
    return tuple(dict.fromkeys((default, *every)))


def available(frames: int, fps: float, rate: float) -> int:
    """Frames at `rate` that a video of `frames` at `fps` has, to a hundredth: containers round their times."""
    return math.ceil(frames / fps * rate - 0.01)


def crop_shares(video: HasVideoShape, height_px: int, width_px: int) -> tuple[Fraction, Fraction]:
    """The shares of a picture's width and height that a crop to the aspect of a size keeps, in the middle; exact."""
    aspect = Fraction(video.width_px * height_px, video.height_px * width_px)
    return min(Fraction(1), 1 / aspect), min(Fraction(1), aspect)


def lost_share(video: HasVideoShape, height_px: int, width_px: int) -> Fraction:
    """The share of a picture, from 0 to below 1, that a crop to the aspect of a size takes; exact."""
    across, down = crop_shares(video, height_px, width_px)
    return 1 - across * down


def best_shape(videos: Sequence[HasVideoShape], shapes: Sequence[ClipShape], rate: float, still: int) -> ClipShape:
    """The shape that loses least of videos which are seen together: of the rate that is nearest to theirs, the longest
    that all fill, then the least cropped.

    Between sizes that crop equally, the one wins that enlarges fewer, then the one of most pixels. The order of neither
    counts. Videos that fill no length get the shortest.

    Args:
        videos: one, or those of a comparison.
        shapes: to choose among.
        rate: frames a second of those that have no rate of their own.
        still: length of a prompt that is a still, which has that rate.
    """
    moving = [video for video in videos if video.frames > 1]

    def apart(fps: float) -> tuple[float, float]:
        return sum(abs(math.log(video.fps / (fps or rate))) for video in moving), fps

    nearest = min({shape.fps for shape in shapes}, key=apart)
    shapes = [shape for shape in shapes if shape.fps == nearest]
    rate = nearest or rate
    have = min((available(video.frames, video.fps, rate) for video in moving), default=still)
    shortest = min(shape.frames for shape in shapes)
    length = max((shape.frames for shape in shapes if shape.frames <= have), default=shortest)

    def cost(shape: ClipShape) -> tuple[Fraction, int, int, ClipShape]:
        lost = sum((lost_share(video, shape.height_px, shape.width_px) for video in videos), Fraction())
        small = sum(video.width_px < shape.width_px or video.height_px < shape.height_px for video in videos)
        return lost, small, -shape.pixels, shape

    return min((shape for shape in shapes if shape.frames == length), key=cost)


def segment_count(frames: int, fps: float, segment_s: float = 1.0) -> int:
    """Full segments of a clip, at least one."""
    return max(1, int(frames / (fps * segment_s) + _SLACK))


def segment_of_frames(frames: int, fps: float, segment_s: float = 1.0) -> list[int]:
    """Index of the segment that each frame of a clip lies in; frames past the last full one join it."""
    last = segment_count(frames, fps, segment_s) - 1
    return [min(int(p / (fps * segment_s) + _SLACK), last) for p in range(frames)]


_SLACK = 1e-6  # of a segment, by which rounding may be off
