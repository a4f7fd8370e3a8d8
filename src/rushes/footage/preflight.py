"""What becomes of each clip of some footage: kept, with what is lost of it, or refused, and why."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from rushes.config.clip_shapes import ClipShape, available, lost_share
from rushes.config.tables import BackboneSettings, FootageSettings
from rushes.files import MediaError, content_hash
from rushes.footage.probe_cache import ProbeCache, VideoFacts
from rushes.formats.layouts import Bench, Listing, RefusedVideo, SourceVideo
from rushes.formats.spool import Spool
from rushes.media.cut import TimeSpan, cut_spans
from rushes.media.examine import CutFinder
from rushes.media.images import read_image
from rushes.progress import Bar, Tick, no_bar
from rushes.records import stable_hash
from rushes.text_reader import CaptionLength

CUT = 1  # raise the number when pieces of equal spans come out otherwise
CaptionMeasure = Callable[[str], tuple[CaptionLength, ...]]


@dataclass(frozen=True)
class Length:
    """How long clips must be: `frames` at `fps`; `largest(n)` is the largest usable count of at most n frames."""

    frames: int
    fps: float
    largest: Callable[[int], int]

    @property
    def seconds(self) -> float:
        """From the first frame's appearance to the last one's end."""
        return self.frames / self.fps

    def available(self, frames: int, fps: float) -> int:
        """Frames at `self.fps` that a video of `frames` at `fps` has, to a hundredth: containers round their times."""
        return available(frames, fps, self.fps)


@dataclass(frozen=True)
class PreflightOptions:
    """What the settings want of footage."""

    length: Length
    width_px: int
    height_px: int
    table: FootageSettings
    caption_lengths: CaptionMeasure | None = None  # by each tokenizer of the model; None = they cannot be measured
    unmeasured: str = ""  # why not
    size: BackboneSettings | None = None  # by which each clip has a shape of its own; None = all have one

    def shape_of(self, *videos: VideoFacts) -> ClipShape:
        """What a video is brought to, or several that are seen together."""
        whole = ClipShape(self.height_px, self.width_px, self.length.frames)
        return self.size.shape_of(*videos) if self.size else whole

    def of(self, *videos: VideoFacts) -> PreflightOptions:
        """What is wanted of videos in their shape, and of takes of theirs."""
        if self.size is None or len(self.size.shapes) == 1:
            return self
        shape = self.shape_of(*videos)
        length = replace(self.length, frames=shape.frames, fps=shape.fps or self.length.fps)
        return replace(self, length=length, width_px=shape.width_px, height_px=shape.height_px, size=None)

    def lengths_s(self) -> tuple[float, float]:
        """Seconds of the shortest and of the longest shape."""
        if self.size is None:
            return self.length.seconds, self.length.seconds
        lengths_s = [shape.frames / (shape.fps or self.length.fps) for shape in self.size.shapes]
        return min(lengths_s), max(lengths_s)

    def cut_captions(self, caption: str) -> list[CaptionLength]:
        """How much those tokenizers read of a caption that do not read all of it."""
        lengths = self.caption_lengths(caption) if self.caption_lengths and caption else ()
        return [length for length in lengths if length.seen]

    @property
    def finder(self) -> CutFinder | None:
        """What finds the cuts; None = files are taken whole."""
        table = self.table
        return CutFinder(table.cut_detector, table.cut_threshold) if table.cut == "scenes" else None

    @property
    def whole(self) -> bool:
        """Whether files are taken as they are."""
        return self.finder is None and self.table.windows == 1

    def _windows(self, facts: VideoFacts) -> tuple[TimeSpan, ...]:
        """Places of a file, evenly from its start to its end, each as long as a clip; none where there is but one."""
        length = self.of(facts).length
        room = math.floor((facts.seconds - length.seconds) * length.fps + 0.01)  # frames by which a window may move
        count = min(self.table.windows, room + 1)
        if count < 2:
            return ()
        starts = [round(at * room / (count - 1)) / length.fps for at in range(count)]
        return tuple((start, min(start + length.seconds, facts.seconds)) for start in starts)

    def spans(self, facts: VideoFacts) -> tuple[TimeSpan, ...]:
        """The pieces that a file is cut into. Raises ValueError where the shortest is longer than the longest."""
        if self.finder is None:
            return self._windows(facts)
        least_s, most_s = self.lengths_s()
        shortest, longest = self.table.shortest_s or least_s, self.table.longest_s or most_s
        if shortest > longest:
            raise ValueError(
                f"footage.shortest_s: pieces cannot be at least {shortest:g} s and at most {longest:g} s "
                "(footage.longest_s) long; lower the first or raise the second"
            )
        return tuple(cut_spans(facts.cuts_s, facts.seconds, shortest, longest))


@dataclass(frozen=True, slots=True)
class CheckedVideo:
    """One video of the footage after it was looked at."""

    item: SourceVideo
    facts: VideoFacts
    id: str  # of its clip, or what those of its pieces are made from
    reason: str = ""  # why it is refused, in a word or two; "" = it is kept
    words: str = ""  # the same in full, with what to do
    spans: tuple[TimeSpan, ...] = ()  # pieces it is cut into; empty = it is taken whole

    @property
    def usable(self) -> bool:
        return not self.reason

    @property
    def clips(self) -> int:
        """How many clips it gives."""
        return (len(self.spans) or 1) if self.usable else 0

    @property
    def clip_ids(self) -> list[str]:
        """The ids of its clips.

        A piece's is from the content of its source, its span and how it is cut, so that it can be told before it is
        cut.
        """
        return [stable_hash([self.id, *span]) for span in self.spans] or [self.id]


NO_CAPTION = "no caption"
DUPLICATE = "duplicate"
ALTERNATIVE = "another caption"
NO_FAILURE = ("", DUPLICATE, ALTERNATIVE)


@dataclass
class Preflight:
    """All of the footage, in its order. A duplicate stays out, as it is there already; that is no failure.

    Nor is another caption of a video, which is one of the same clip: that has the first one's id.

    What was looked at lies in a file: go through it once for all that is asked.
    """

    checked: Spool[CheckedVideo] = field(default_factory=lambda: Spool(CheckedVideo))
    clips: int = 0  # that those of `checked` give which are kept
    duplicates: int = 0
    alternatives: int = 0
    _refused: int = 0  # of `checked`
    refused: list[RefusedVideo] = field(default_factory=list)  # what is not a clip: takes, rows, members of a tar
    takes: dict[Path, VideoFacts] = field(default_factory=dict)
    bench: dict[Path, VideoFacts] = field(default_factory=dict)
    fatal: list[str] = field(default_factory=list)  # what skipping cannot solve
    listing: Listing = field(default_factory=lambda: Listing(()))

    def add(self, checked: CheckedVideo) -> None:
        """Add what was looked at next."""
        self.checked.append(checked)
        self.clips += checked.clips
        self.duplicates += checked.reason == DUPLICATE
        self.alternatives += checked.reason == ALTERNATIVE
        self._refused += checked.reason not in NO_FAILURE

    def usable(self) -> Iterator[CheckedVideo]:
        """What is kept, in order."""
        return (checked for checked in self.checked if checked.usable)

    def failures(self) -> Iterator[RefusedVideo]:
        """Everything that is refused, by name."""
        if self._refused:
            yield from (
                RefusedVideo(c.item.source, c.reason, c.words) for c in self.checked if c.reason not in NO_FAILURE
            )
        yield from self.refused

    @property
    def failed(self) -> int:
        """How much is refused."""
        return self._refused + len(self.refused)


def review(
    facts: ProbeCache, listing: Listing, bench: Bench | None, ask: PreflightOptions, bar: Bar = no_bar
) -> Preflight:
    """Look at every video of some footage and of a bench.

    What was looked at before is not decoded again. Raises ValueError for settings of cutting that contradict.
    """
    done = Preflight(refused=list(listing.refused), listing=listing)
    seen: dict[bytes, int] = {}  # id, or content -> the first that has it
    videos = sum(1 + len(item.takes) for item in listing.footage) + (len(bench.videos) if bench else 0)
    with bar("preflight", videos) as tick:
        for item in listing.footage:
            checked = _again(_checked(facts, item, ask), seen, done)
            done.add(checked)
            tick(1)
            held = {checked.facts.media: item.source}
            for path in item.takes:
                video_facts = facts.of(SourceVideo(path, item.caption, str(path)))
                problem = _take_problem(video_facts, checked, ask)
                same = "" if problem else held.setdefault(video_facts.media, str(path))
                if same and same != str(path):
                    problem = ("the same video", f"the same video as {same}; delete one of the two")
                if problem:
                    done.refused.append(RefusedVideo(str(path), *problem))
                else:
                    done.takes[path] = video_facts
                tick(1)
        if bench:
            _look(facts, bench, ask, done, tick)
    return done


def _again(checked: CheckedVideo, seen: dict[bytes, int], done: Preflight) -> CheckedVideo:
    """A video that is looked at next, as a duplicate or another caption where one before it is the same.

    Takes and first frames belong to a caption: a video with such is a clip of its own under each.
    """
    if not checked.usable:
        return checked
    item, at = checked.item, len(done.checked)
    for key, reason, words in (
        (checked.id, DUPLICATE, "the same video and caption as"),
        (checked.facts.media, ALTERNATIVE, "another caption for the video of"),
    ):
        if (first := seen.setdefault(bytes.fromhex(key), at)) != at:
            before = done.checked[first]
            return replace(checked, id=before.id, reason=reason, words=f"{words} {before.item.source}")
        if item.takes or item.first_frame:
            break
    return checked


def _checked(facts: ProbeCache, item: SourceVideo, ask: PreflightOptions) -> CheckedVideo:
    video_facts = facts.of(item, ask.finder)
    still, problem = "", (video_facts.reason, video_facts.problem) if video_facts.problem else None
    if not problem and item.caption_problem:
        problem = ("bad caption", item.caption_problem)
    uncaptioned = not problem and not item.caption and not ask.table.allow_empty_captions
    if not problem and item.first_frame:
        words = _still_problem(item.first_frame)
        problem = ("first frame", f"{item.first_frame}: {words}") if words else None
        still = "" if words else content_hash(item.first_frame)
    if not problem and (item.takes or item.first_frame) and ask.finder is None and not ask.whole:
        words = "takes and first frames belong to a whole file, but footage.windows cuts it into several; set it to 1"
        problem = ("comes with takes", words)
    problem = problem or _problem(video_facts, ask)  # the length last: what is too short alone could be used at another
    if uncaptioned:  # with what else is wrong, so that nothing comes to light only once captions are written
        reason, words = problem or ("", "")
        problem = (f"{NO_CAPTION}, {reason}", f"{NO_CAPTION}, and {words}") if problem else (NO_CAPTION, NO_CAPTION)
    if problem:
        return CheckedVideo(item, video_facts, "", reason=problem[0], words=problem[1])
    spans = () if ask.whole else ask.spans(video_facts)
    if not spans:
        return CheckedVideo(item, video_facts, stable_hash([video_facts.media, item.caption, still]))
    id = stable_hash(["piece", CUT, video_facts.media, item.caption, still, ask.table.cut_crf])
    return CheckedVideo(item, video_facts, id, spans=spans)


def _problem(facts: VideoFacts, ask: PreflightOptions) -> tuple[str, str] | None:
    """Why a video cannot be used, in a word or two and in full."""
    if facts.problem:
        return facts.reason, facts.problem
    spans = ask.spans(facts) if ask.finder is not None else ()
    if len(spans) > facts.frames:
        return "few frames", f"{facts.seconds:.0f} s of {facts.frames} frames give {len(spans)} pieces; check its clock"
    if ask.finder is not None and not spans:
        least = ask.table.shortest_s or ask.lengths_s()[0]
        return "too short", f"{facts.seconds:.2f} s long, and no scene of it lasts {least:.2f} s"
    length = ask.of(facts).length
    have = length.available(facts.frames, facts.fps)
    if have < length.frames and ask.finder is None:
        return "too short", f"{facts.seconds:.2f} s long, {have} frames at {length.fps:g} fps"
    return None


def _take_problem(facts: VideoFacts, checked: CheckedVideo, ask: PreflightOptions) -> tuple[str, str] | None:
    """Why a take that came with a clip cannot be used: it must have been made in about the clip's shape."""
    if facts.problem or not checked.usable:
        return _problem(facts, ask)
    shape, wanted = ask.shape_of(facts), ask.shape_of(checked.facts)
    if lost_share(facts, shape.height_px, shape.width_px) < lost_share(facts, wanted.height_px, wanted.width_px):
        return "another shape", (
            f"{facts.width_px} x {facts.height_px} px, another shape than its clip's {wanted.height_px} x "
            f"{wanted.width_px} px (height x width); crop it to that shape"
        )
    return _problem(facts, ask.of(checked.facts))


def _look(facts: ProbeCache, bench: Bench, ask: PreflightOptions, done: Preflight, tick: Tick) -> None:
    """Facts of the videos of a bench, and what is wrong with them and with its stills."""
    whole = replace(ask, table=ask.table.model_copy(update={"cut": "none"}))
    problems = {path: _still_problem(path) for path in bench.first_frames}
    for path in bench.videos:
        done.bench[path] = facts.of(SourceVideo(path, "", str(path)))
        _, problems[path] = _problem(done.bench[path], whole) or ("", "")
        tick(1)
    done.fatal += [f"{path}: {words}" for path, words in problems.items() if words]


def _still_problem(path: Path) -> str:
    try:
        read_image(path)
    except MediaError as error:
        return str(error).removeprefix(f"{path}: ")
    return ""
