"""Seconds of clip -> latent frames: the one place that knows how labels in time meet a codec's latent frames."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from rushes.objectives.terms import check_labels


def latent_labels(
    labels: Sequence[int], segment_s: float | None, *, latent_frames: int, temporal_ratio: int, fps: float
) -> tuple[int, ...]:
    """Label of each latent frame; DenseDPO says only that labels act per latent frame, the rule is ours.

    Latent frame 0 holds pixel frame 0, latent frame k >= 1 holds pixel frames r (k - 1) + 1 .. r k. Each takes the
    label that most of its pixel frames carry, and 0 where two labels are carried by as many. Pixel frames past the last
    full segment join it: the label of a last part of a segment is not used.

    Args:
        labels: +1, 0 or -1 per segment; a single one with `segment_s` None holds for the whole clip.
        segment_s: seconds per segment.
        latent_frames: F of the clip.
        temporal_ratio: r, pixel frames per latent frame.
        fps: frames per second of the clip.

    Raises ValueError: more or fewer labels than the clip has segments, counted with or without a last part of one; a
    label that is none of +1, -1 and 0; several labels without the length of their segments.
    """
    frames = 1 + (latent_frames - 1) * temporal_ratio
    return of_latent_frames(frame_labels(labels, segment_s, frames=frames, fps=fps), temporal_ratio)


def frame_labels(
    labels: Sequence[int],
    segment_s: float | None,
    *,
    frames: int,
    fps: float,
    spans: Sequence[tuple[float, float, int]] = (),
    from_spans: Sequence[int] = (),
) -> tuple[int, ...]:
    """Label of each frame of a clip, where frame p is shown from p / fps seconds on.

    A frame takes the label of the span that its middle lies in; of several, the side that more of them are for. Any
    other takes that of its segment, but 0 where the segment's label was made from spans: it says nothing beyond them.

    Args:
        labels: as of `latent_labels`.
        segment_s: seconds per segment.
        frames: of the clip.
        fps: frames per second of the clip.
        spans: start and end in seconds, and a label: +1, 0 or -1.
        from_spans: segments, from 0, whose label was made from spans.

    Raises ValueError: as `latent_labels`.
    """
    check_labels(labels, "a clip's segments")
    own = [0 if at in from_spans else label for at, label in enumerate(labels)]
    per_frame = []
    for label, p in zip(_of_segments(own, segment_s, frames, fps), range(frames), strict=True):
        over = [mark for start_s, end_s, mark in spans if start_s <= (p + 0.5) / fps < end_s]
        per_frame.append(sign_of(over) if over else label)
    return tuple(per_frame)


def of_latent_frames(labels: Sequence[int], temporal_ratio: int) -> tuple[int, ...]:
    """Labels of a clip's frames -> of its latent frames, by the rule of `latent_labels`."""
    count = 1 + (len(labels) - 1) // temporal_ratio
    return tuple(_majority([labels[p] for p in _pixels(k, temporal_ratio)]) for k in range(count))


def sign_of(votes: Iterable[int]) -> int:
    """The side that more of the votes are for; 0 where as many are for the other."""
    total = sum(votes)
    return (total > 0) - (total < 0)


def _of_segments(labels: Sequence[int], segment_s: float | None, frames: int, fps: float) -> list[int]:
    """Label of each frame by its segment; frames past the last full one join it."""
    if segment_s is None:
        if len(labels) != 1:
            raise ValueError(f"{len(labels)} labels need segment_s, the seconds of a segment; else give one label")
        return [labels[0]] * frames
    if not segment_s > 0:
        raise ValueError(f"segment_s must be above 0, got {segment_s}; give the seconds of a segment")
    segments = frames / (fps * segment_s)
    full = max(1, math.floor(segments + 1e-9))
    if len(labels) not in (full, math.ceil(segments - 1e-9)):
        raise ValueError(
            f"{len(labels)} labels of {segment_s} s do not fit a clip of {frames} frames at {fps} fps, "
            f"which has {full} full segments"
        )
    return [labels[min(int(p / (fps * segment_s) + 1e-9), full - 1)] for p in range(frames)]


WHOLE = 0.9  # share of a clip that a label of the whole clip may be trained on


def speaks_of_part(clip_s: float, trained_s: float) -> bool:
    """Whether a label of a whole clip says something else than one of the part that is trained on: it may be about
    what comes later. Both in seconds."""
    return trained_s < WHOLE * clip_s


def _pixels(k: int, ratio: int) -> range:
    return range(0, 1) if k == 0 else range(ratio * (k - 1) + 1, ratio * k + 1)


def _majority(labels: list[int]) -> int:
    """The label of most frames; an even split is a tie."""
    counts = {label: labels.count(label) for label in set(labels)}
    most = max(counts.values())
    leaders = [label for label, count in counts.items() if count == most]
    return leaders[0] if len(leaders) == 1 else 0
