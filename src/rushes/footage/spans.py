"""Which spans of a long video become clips: scenes, in pieces that are neither too short nor too long."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from rushes.media.cut import Span

_SLACK = 1e-3  # of a piece: containers round their times


def scene_spans(cuts_s: Sequence[float], end_s: float) -> list[Span]:
    """Scenes between cuts, in seconds from the first frame; they cover the video."""
    edges = [0.0, *cuts_s, end_s]
    return [(start, end) for start, end in pairwise(edges) if end > start]


def pieces(scene: Span, shortest_s: float, longest_s: float) -> list[Span]:
    """A scene as consecutive pieces of `longest_s`; the last is shorter, and left out below `shortest_s`."""
    start, end = scene
    count = math.ceil((end - start) / longest_s * (1 - _SLACK))
    spans = [(start + k * longest_s, min(end, start + (k + 1) * longest_s)) for k in range(count)]
    return [(round(a, 6), round(b, 6)) for a, b in spans if b - a >= shortest_s * (1 - _SLACK)]


def cut_spans(cuts_s: Sequence[float], end_s: float, shortest_s: float, longest_s: float) -> list[Span]:
    """All pieces of a video, in order; none holds a cut."""
    return [piece for scene in scene_spans(cuts_s, end_s) for piece in pieces(scene, shortest_s, longest_s)]
