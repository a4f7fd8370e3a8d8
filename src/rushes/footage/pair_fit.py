"""The two videos of a labelled pair as the model is given them: looked at, and cut where the user names a window."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from rushes.arrays import Frames
from rushes.footage.preflight import PreflightOptions
from rushes.footage.preflight_costs import Loss, losses
from rushes.footage.probe_cache import ProbeCache, VideoFacts
from rushes.formats.answers import Meaning
from rushes.formats.layouts import RefusedVideo, SourceVideo
from rushes.formats.preferences import ForeignPair, UnusableEntry
from rushes.media.cut import TimeSpan, cut_pieces
from rushes.media.read import read_video
from rushes.objectives.segments import speaks_of_part

Window = Literal["first", "last", "best-motion"]
EQUAL_LEVELS = 2.0  # root mean square difference, of 255, below which frames differ by compression alone
_MOTION_PX = 32  # side of the pictures that motion is looked for in


@dataclass(frozen=True)
class FittedVideo:
    """A video of a pair as it goes into the store."""

    path: Path
    facts: VideoFacts
    cut_from: FittedVideo | None = None  # None = it is all of it

    @property
    def judged(self) -> FittedVideo:
        """The video that was judged."""
        return self.cut_from or self

    @property
    def film(self) -> str:
        """Content hash of the video that it was cut from; "" = it is all of it."""
        return self.cut_from.facts.media if self.cut_from else ""


@dataclass(frozen=True)
class FittedPair:
    """A pair, its left and its right video, and what is lost of them, by content."""

    pair: ForeignPair
    sides: tuple[FittedVideo, FittedVideo]
    lost: Mapping[str, Loss]

    @property
    def who_and_what(self) -> tuple[str, str, frozenset[str]]:
        """Equal for judgements of one judge on the same two videos of a prompt."""
        return self.pair.judge, self.pair.prompt, frozenset(side.facts.media for side in self.sides)

    def meaning_for(self, first: str) -> dict[str, Meaning]:
        """The answers, with the sides exchanged unless the content `first` is on the left."""
        if self.sides[0].facts.media == first:
            return dict(self.pair.answers)
        other: Mapping[Meaning, Meaning] = {"left": "right", "right": "left"}
        return {question: other.get(meaning, meaning) for question, meaning in self.pair.answers.items()}


def fit_pairs(
    pairs: Sequence[ForeignPair],
    cache: ProbeCache,
    ask: PreflightOptions,
    window: Window | None,
    folder: Path,
    tick: Callable[[], None],
) -> Iterator[FittedPair | RefusedVideo]:
    """Pairs whose videos are as long as what will be trained on, and those of which no such can be made.

    `folder` gets what is cut; `tick` is called for each pair.
    """
    for number, pair in enumerate(pairs):
        try:
            yield _fitted(pair, cache, ask, window, folder / str(number))
        except UnusableEntry as error:
            yield error.at(pair.place)
        tick()


def _fitted(
    pair: ForeignPair, cache: ProbeCache, ask: PreflightOptions, window: Window | None, folder: Path
) -> FittedPair:
    """A pair whose videos are as long as what will be trained on."""
    if not pair.prompt.strip() and not ask.table.allow_empty_captions:
        raise UnusableEntry("has no prompt", remedy="write one, or set footage.allow_empty_captions to true")
    sides = [FittedVideo(path, _facts(cache, path)) for path in (pair.left, pair.right)]
    whole, ask = ask, ask.of(*(side.facts for side in sides))  # both are seen together
    for side in sides:
        have = ask.length.available(side.facts.frames, side.facts.fps)
        if have < ask.length.frames:
            raise UnusableEntry(
                f"too short for clips of {ask.length.frames} frames at {ask.length.fps:g} fps",
                f"{side.path}: {side.facts.seconds:.2f} s",
                "lower backbone.frames, or use longer clips",
            )
    longest = max(sides, key=lambda side: side.facts.seconds)
    trimmed = speaks_of_part(longest.facts.seconds, ask.length.seconds)
    if trimmed and window is None:
        raise UnusableEntry(
            f"longer than the {ask.length.seconds:.2f} s that are trained on, while its label is about the whole video",
            f"{longest.path}: {longest.facts.seconds:.2f} s",
            "choose the part to train on (`labels import --window first`, `rushes set PROJECT footage.window=first`; "
            "also last, best-motion), or raise backbone.frames or lengths",
        )
    if sides[0].facts.media == sides[1].facts.media:
        raise UnusableEntry("both sides are the same video", f"{pair.left.name} and {pair.right.name}", "")
    if trimmed and window:
        folder.mkdir()
        sides = [
            _cut(side, span, cache, ask, folder / f"{name}.mp4")
            for name, side, span in zip(("left", "right"), sides, _spans(sides, ask, window), strict=True)
        ]
    if _equal(sides[0], sides[1], ask):
        raise UnusableEntry(
            f"both sides are identical in the {ask.length.seconds:.2f} s that are trained on",
            f"{pair.left.name} and {pair.right.name}",
            "",
        )
    return FittedPair(pair, (sides[0], sides[1]), losses(whole, *(side.facts for side in sides)))


def _facts(cache: ProbeCache, path: Path) -> VideoFacts:
    facts = cache.of(SourceVideo(path, "", str(path)))
    if facts.problem:
        raise UnusableEntry(f"a video cannot be used ({facts.reason})", f"{path}: {facts.problem}", "")
    return facts


def _spans(sides: Sequence[FittedVideo], ask: PreflightOptions, window: Window) -> list[TimeSpan]:
    """The window of each side, in seconds; that of most motion is one for both, as they are seen together."""
    length = ask.length.seconds
    ends = [side.facts.seconds for side in sides]
    if window == "last":
        return [(max(0.0, end - length), end) for end in ends]
    start = 0.0
    if window == "best-motion":
        moving = [_motion(side.path, ask) for side in sides]
        shortest = min(map(len, moving))
        sums = np.cumsum([0.0, *(moving[0][:shortest] + moving[1][:shortest])])
        starts = sums[ask.length.frames :] - sums[: -ask.length.frames]
        start = int(starts.argmax()) / ask.length.fps if len(starts) else 0.0
    return [(start, min(start + length, end)) for end in ends]


def _motion(path: Path, ask: PreflightOptions) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Mean change of each frame from the one before, at the model's rate; of the first 0."""
    frames = read_video(path, fps=ask.length.fps, size_px=(_MOTION_PX, _MOTION_PX), fit="stretch").frames_FHWC
    change = np.abs(np.diff(frames.astype(np.float32), axis=0)).mean((1, 2, 3))
    return np.concatenate([[0.0], change]).astype(np.float64)


def _cut(side: FittedVideo, span: TimeSpan, cache: ProbeCache, ask: PreflightOptions, target: Path) -> FittedVideo:
    for _, path in cut_pieces(side.path, [span], ask.table.cut_crf, target.parent):
        path.rename(target)  # it is deleted when the next is asked for
    return FittedVideo(target, _facts(cache, target), side)


def _equal(left: FittedVideo, right: FittedVideo, ask: PreflightOptions) -> bool:
    """Whether the model would be given the same twice: three frames are looked at, and all where these are equal."""
    count, fps = ask.length.frames, ask.length.fps

    def frames(side: FittedVideo, start: int, number: int) -> Frames:
        size = (ask.height_px, ask.width_px)
        return read_video(
            side.path, fps=fps, start_s=start / fps, frames=number, size_px=size, fit=ask.table.fit
        ).frames_FHWC

    return all(
        _same_levels(frames(left, start, number), frames(right, start, number))
        for start, number in ((0, 1), (count // 2, 1), (count - 1, 1), (0, count))
    )


def _same_levels(left_FHWC: Frames, right_FHWC: Frames) -> bool:
    difference = left_FHWC.astype(np.float32) - right_FHWC
    return float(np.sqrt(np.square(difference).mean((1, 2, 3))).max()) < EQUAL_LEVELS
