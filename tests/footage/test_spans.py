"""Spans of pieces: closed forms, and what holds for all."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rushes.footage.spans import cut_spans, pieces, scene_spans


def test_scenes_cover_the_film() -> None:
    assert scene_spans([], 4.0) == [(0.0, 4.0)]
    assert scene_spans([1.0, 3.0], 4.0) == [(0.0, 1.0), (1.0, 3.0), (3.0, 4.0)]
    assert scene_spans([4.0], 4.0) == [(0.0, 4.0)]


@pytest.mark.parametrize(
    ("scene", "shortest", "longest", "expected"),
    [
        ((0.0, 5.0), 2.0, 2.0, [(0.0, 2.0), (2.0, 4.0)]),
        ((1.0, 6.0), 0.5, 2.0, [(1.0, 3.0), (3.0, 5.0), (5.0, 6.0)]),
        ((0.0, 1.9), 2.0, 2.0, []),
        ((0.0, 1.9995), 2.0, 2.0, [(0.0, 1.9995)]),  # a container's rounding
        ((0.0, 4.0005), 1.0, 2.0, [(0.0, 2.0), (2.0, 4.0)]),
        ((0.0, 3.0), 1.0, 10.0, [(0.0, 3.0)]),
    ],
)
def test_pieces(scene: tuple[float, float], shortest: float, longest: float, expected: object) -> None:
    assert pieces(scene, shortest, longest) == expected


@given(
    st.lists(st.floats(0.1, 20), min_size=1, max_size=8),
    st.floats(0.1, 5),
    st.floats(0, 5),
)
def test_no_piece_holds_a_cut_or_overlaps(lengths: list[float], shortest: float, more: float) -> None:
    edges = [sum(lengths[: k + 1]) for k in range(len(lengths))]
    found = cut_spans(edges[:-1], edges[-1], shortest, shortest + more)
    for start, end in found:
        assert shortest * 0.998 <= end - start <= shortest + more + 1e-5
        assert not any(start + 1e-5 < cut < end - 1e-5 for cut in edges[:-1])
    assert all(one[1] <= other[0] + 1e-5 for one, other in pairwise(found))
    longest_left = max((end - start for start, end in scene_spans(edges[:-1], edges[-1])), default=0)
    assert bool(found) == (longest_left >= shortest * 0.999) or abs(longest_left - shortest) < 0.01
