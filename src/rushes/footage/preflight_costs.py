"""What each clip loses on its way to the model, and how many clips there are at other lengths."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import Any

from rushes.config.clip_shapes import ClipShape
from rushes.footage.preflight import NO_FAILURE, CheckedVideo, Length, Preflight, PreflightOptions
from rushes.footage.probe_cache import VideoFacts
from rushes.formats.layouts import SourceVideo
from rushes.media.pictures import WOVEN

LENGTHS = (17, 33, 49, 65, 81, 97, 121, 161, 241)
RATES = (8.0, 12.0, 16.0, 24.0)
_SAME_SHAPE = 0.005  # share of a picture whose loss nobody notices


@dataclass(frozen=True)
class Loss:
    """How a clip that is kept differs from its file once the model gets it."""

    used_s: float  # seconds that the model is given, of all its pieces
    trimmed: bool
    resampled: bool  # another rate, or one that changes
    share: float  # of the picture that is cut off, or of the model's picture that is padding, or the stretch less 1
    enlarged: bool
    shapes: tuple[ClipShape, ...]  # of its clips


def loss(checked: CheckedVideo, ask: PreflightOptions) -> Loss:
    """What the settings do to a clip."""
    facts, length = checked.facts, ask.of(checked.facts).length
    shapes = _shapes(checked, ask)
    shape = shapes[0]  # pieces of a video differ in length alone
    used = min(facts.seconds, sum(each.frames for each in shapes) / length.fps)
    aspect = (facts.width_px / facts.height_px) / (shape.width_px / shape.height_px)
    share = max(aspect, 1 / aspect) - 1 if ask.table.fit == "stretch" else 1 - min(aspect, 1 / aspect)
    return Loss(
        used_s=used,
        trimmed=bool(checked.spans) or length.available(facts.frames, facts.fps) > shape.frames,
        resampled=not facts.steady or not math.isclose(facts.fps, length.fps, rel_tol=1e-3),
        share=share if share > _SAME_SHAPE else 0.0,
        enlarged=facts.width_px < shape.width_px or facts.height_px < shape.height_px,
        shapes=shapes,
    )


def losses(ask: PreflightOptions, *videos: VideoFacts) -> dict[str, Loss]:
    """What is lost of videos that are seen together, by content, in their shape, which may be that of none alone."""
    own = ask.of(*videos)
    return {each.media: loss(CheckedVideo(SourceVideo(Path(), "", ""), each, ""), own) for each in videos}


def _shapes(checked: CheckedVideo, ask: PreflightOptions) -> tuple[ClipShape, ...]:
    """The shape of each clip that a video gives."""
    facts = checked.facts
    pieces = [replace(facts, frames=round((end - start) * facts.fps)) for start, end in checked.spans]
    return tuple(ask.shape_of(each) for each in pieces or [facts])


def lengths_of(done: Preflight) -> Counter[VideoFacts]:
    """Lengths and cuts of what can be used, or could if it were longer, and how many videos have them."""
    usable = (
        checked.facts for checked in done.checked if checked.reason in ("", "too short") and not checked.facts.problem
    )
    return Counter(VideoFacts(frames=f.frames, fps=f.fps, seconds=f.seconds, cuts_s=f.cuts_s) for f in usable)


def clips_at(lengths: Counter[VideoFacts], ask: PreflightOptions, frames: int, fps: float) -> int:
    """How many clips the footage gives at another length: those that are refused for their length alone come back."""
    other = replace(ask, length=Length(frames, fps, ask.length.largest), size=None)
    least = 0 if ask.finder else 1
    usable = {f: n for f, n in lengths.items() if ask.finder or other.length.available(f.frames, f.fps) >= frames}
    return sum(count * max(least, len(other.spans(facts))) for facts, count in usable.items())


@dataclass(frozen=True)
class LengthChoice:
    """What the footage would give at another length and rate."""

    frames: int  # frames of a clip
    fps: float  # frames a second
    clips: int
    comparisons: int


@dataclass(frozen=True)
class ShapeCount:
    """What of the footage goes to one shape."""

    height_px: int
    width_px: int
    frames: int
    _: KW_ONLY
    fps: float
    clips: int
    used_s: float  # seconds of them that the model is given
    fitted: int  # clips of another aspect
    mean_lost: float  # share of their picture that is cut off or padding, or the stretch less 1
    enlarged: int  # clips


@dataclass(frozen=True)
class PreflightSummary:
    """What an import would take, trim, resample, crop and refuse; counts are of files."""

    files: int
    usable: int
    clips: int  # clips from the usable files
    trimmed: int
    seconds: float  # length of the usable files together
    used_s: float  # seconds of them that the model is given
    resampled: int
    fit: str  # footage.fit
    fitted: int  # files of another shape
    mean_lost: float  # share of their picture that is cut off or padding, or the stretch less 1
    enlarged: int
    unmoving: int  # files in which nothing moves
    duplicates: int
    alternatives: int  # further captions of clips
    refused: int
    reasons: Mapping[str, int]  # refused files by reason
    passed_over: int  # videos that no row names
    others: Mapping[str, int]  # suffix -> files that are neither videos nor captions
    captions_without_video: int
    captions_cut: int | None  # usable files whose caption is longer than the model reads; null = it is not there
    captions_cut_by: Mapping[str, int]  # captions that each tokenizer cuts, if the model has several
    captions_unmeasured: str | None  # why it is not known how many are
    woven: int  # usable files that look interlaced and are not marked so
    shapes: tuple[ShapeCount, ...]  # what goes where, in the order of the settings


def choices(
    done: Preflight, ask: PreflightOptions, per_clip: int, held_out: Callable[[int], int]
) -> list[LengthChoice]:
    """Clips and comparisons at the lengths and rates that models have, up to the first length that no clip has."""
    rows, counts_by_length = [], lengths_of(done)
    lengths = sorted({*LENGTHS, ask.length.frames})
    rates = sorted({*RATES, ask.length.fps})
    for frames in lengths:
        clips = {fps: clips_at(counts_by_length, ask, frames, fps) for fps in rates}
        rows += [LengthChoice(frames, fps, count, per_clip * (count - held_out(count))) for fps, count in clips.items()]
        if not any(clips.values()) and frames >= ask.length.frames:
            break
    return rows


def reasons(done: Preflight) -> dict[str, int]:
    """How many clips and other pieces were refused, by reason, the commonest first."""
    counts = Counter(refused.reason for refused in done.failures())
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def record(checked: CheckedVideo, ask: PreflightOptions) -> dict[str, Any]:
    """One clip as preflight.json has it."""
    facts = checked.facts
    state = (checked.reason or "kept") if checked.reason in NO_FAILURE else "refused"
    row: dict[str, Any] = {
        "source": checked.item.source,
        "state": state,
        "reason": checked.reason,
        "words": checked.words,
        "media": facts.media,
        **facts.shape,
        "fps": round(facts.fps, 4),
        "seconds": round(facts.seconds, 4),
    }
    if checked.usable:
        lost = loss(checked, ask)
        row |= {
            "clips": checked.clips,
            "used_s": round(lost.used_s, 4),
            "trimmed": lost.trimmed,
            "resampled": lost.resampled,
            ask.table.fit: round(lost.share, 4),
            "shapes": [str(shape) for shape in lost.shapes],
            "enlarged": lost.enlarged,
            "moves": facts.moves,
        }
        if cut := ask.cut_captions(checked.item.caption):
            row["caption_cut"] = [length._asdict() for length in cut]
        if checked.spans:
            row["spans"] = [list(span) for span in checked.spans]
    return row


def _shape_count(shape: ClipShape, losses: Sequence[Loss], fps: float) -> ShapeCount:
    """Counts of one shape; `fps` is its rate, unless it has one of its own."""
    shares = [lost.share for lost in losses if lost.share]
    fps = shape.fps or fps
    return ShapeCount(
        shape.height_px,
        shape.width_px,
        shape.frames,
        clips=len(losses),
        fps=fps,
        used_s=round(len(losses) * shape.frames / fps, 3),
        fitted=len(shares),
        mean_lost=round(sum(shares) / len(shares), 4) if shares else 0.0,
        enlarged=sum(lost.enlarged for lost in losses),
    )


def summary(done: Preflight, ask: PreflightOptions) -> PreflightSummary:
    """Counts over all clips."""
    counts, sums, by_tokenizer = Counter[str](), defaultdict[str, float](float), Counter[str]()
    every = ask.size.shapes if ask.size else (ClipShape(ask.height_px, ask.width_px, ask.length.frames),)
    by_shape = {shape: list[Loss]() for shape in every}
    for checked in done.usable():
        lost = loss(checked, ask)
        for shape in lost.shapes:
            by_shape[shape].append(lost)
        counts["usable"] += 1
        counts["unmoving"] += not checked.facts.moves
        counts["woven"] += WOVEN in checked.facts.treated
        cut = ask.cut_captions(checked.item.caption)
        counts["captions_cut"] += bool(cut)
        by_tokenizer.update(length.tokenizer for length in cut if length.tokenizer)
        for name in ("trimmed", "resampled", "enlarged"):
            counts[name] += getattr(lost, name)
        counts["fitted"] += bool(lost.share)
        for name, value in (("seconds", checked.facts.seconds), ("used_s", lost.used_s), ("share", lost.share)):
            sums[name] += value
    return PreflightSummary(
        files=len(done.checked),
        usable=counts["usable"],
        clips=done.clips,
        trimmed=counts["trimmed"],
        seconds=round(sums["seconds"], 3),
        used_s=round(sums["used_s"], 3),
        resampled=counts["resampled"],
        fit=ask.table.fit,
        fitted=counts["fitted"],
        mean_lost=round(sums["share"] / counts["fitted"], 4) if counts["fitted"] else 0.0,
        enlarged=counts["enlarged"],
        unmoving=counts["unmoving"],
        duplicates=done.duplicates,
        alternatives=done.alternatives,
        refused=done.failed + len(done.fatal),
        reasons=reasons(done),
        passed_over=len(done.listing.passed_over),
        others=done.listing.others,
        captions_without_video=len(done.listing.orphans),
        captions_cut=counts["captions_cut"] if ask.caption_lengths else None,
        captions_cut_by=dict(sorted(by_tokenizer.items())),
        captions_unmeasured=ask.unmeasured or None,
        woven=counts["woven"],
        shapes=tuple(_shape_count(shape, losses, ask.length.fps) for shape, losses in by_shape.items()),
    )
