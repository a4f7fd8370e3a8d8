"""Greedy choice by blocks against its plain definition, and how it grows."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from rushes.curate import greedy
from rushes.curate.greedy import unlike

Rows = NDArray[np.float32]


def plain(rows: Rows, tau: float) -> list[int]:
    """The definition, one row at a time, in double precision."""
    kept: list[int] = []
    for at, row in enumerate(rows.astype(np.float64)):
        if not kept or (rows[kept].astype(np.float64) @ row).max() < tau:
            kept.append(at)
    return kept


def unit(rows: NDArray[np.floating]) -> Rows:
    scaled: Rows = (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)).astype(np.float32)
    return scaled


def corpus(count: int, size: int, seed: int = 0, copies: float = 0.3) -> Rows:
    """Rows with a falling spectrum, as embeddings have, of which some are near copies of others."""
    rng = np.random.default_rng(seed)
    scale = np.arange(1, size + 1) ** -0.3
    rows = rng.normal(size=(count, size)) * scale
    places = rng.permutation(count)[: int(count * copies)]
    rows[places] = rows[rng.integers(0, count, len(places))] + 0.2 * rng.normal(size=(len(places), size)) * scale
    return unit(rows)


@pytest.mark.parametrize("tau", [0.999, 0.9, 0.5, 0.2, 0.0, -0.3])
@pytest.mark.parametrize(("count", "size"), [(1, 8), (300, 8), (1500, 200), (1025, 64)])
def test_equal_to_the_plain_definition(count: int, size: int, tau: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(greedy, "_CHUNK", 700)  # so that several chunks of kept rows occur
    rows = corpus(count, size)
    blocker, likeness = unlike(rows, tau)
    kept = plain(rows, tau)
    assert np.nonzero(blocker < 0)[0].tolist() == kept
    for at in np.nonzero(blocker >= 0)[0]:
        assert blocker[at] in kept and blocker[at] < at
        assert likeness[at] == pytest.approx(float(rows[at] @ rows[blocker[at]]), abs=1e-5)
        assert likeness[at] >= tau - 1e-5


@given(st.integers(0, 10_000), st.integers(1, 40), st.sampled_from([0.3, 0.7, 0.95]))
def test_equal_on_rows_that_repeat(seed: int, count: int, tau: float) -> None:
    rng = np.random.default_rng(seed)
    rows = unit(rng.normal(size=(7, 3))[rng.integers(0, 7, count)])
    assert np.nonzero(unlike(rows, tau)[0] < 0)[0].tolist() == plain(rows, tau - 1e-6)


def test_what_is_kept_is_unlike_and_what_falls_is_like_something_kept() -> None:
    rows = corpus(1500, 96)
    kept = np.nonzero(unlike(rows, 0.9)[0] < 0)[0]
    similar = rows @ rows[kept].T
    inside = similar[kept].copy()
    np.fill_diagonal(inside, -1)
    assert inside.max() < 0.9 and similar.max(1).min() >= 0.9 - 1e-5


def test_the_printed_criterion_would_keep_the_copies() -> None:
    """Distance below tau, as the paper has it, keeps a copy (distance 0) and drops what is new (distance 1)."""
    rows = np.eye(3, dtype=np.float32)[[0, 0, 1]]
    assert unlike(rows, 0.9)[0].tolist() == [-1, 0, -1]


def test_copies_fall_even_at_a_threshold_of_one() -> None:
    rows = corpus(200, 300)
    twice = np.concatenate([rows, rows])
    assert unlike(twice, 1.0)[0].tolist() == [-1] * 200 + list(range(200))


def test_rows_of_zeros_are_like_nothing() -> None:
    assert unlike(np.zeros((4, 300), np.float32), 0.9)[0].tolist() == [-1] * 4
    assert unlike(np.zeros((0, 300), np.float32), 0.9)[0].tolist() == []


def test_the_sketch_is_never_below_the_product() -> None:
    rows = corpus(400, 256)
    sketch = greedy._sketch(rows)
    assert sketch.shape == (400, greedy._SKETCH + 1)
    assert ((sketch @ sketch.T) - (rows @ rows.T)).min() > -greedy._ROUNDING / 10


def measured(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def test_ten_thousand_rows_in_seconds_and_bounded_memory() -> None:
    """A plain loop takes minutes here; at 100,000 rows see docs/curation-judges.md."""
    rows = corpus(10_000, 256)
    tracemalloc.start()
    unlike(rows, 0.9)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert measured(lambda: unlike(rows, 0.9)) < 10
    assert peak < 200e6  # beside the 10 MB of the rows: similarities of a block with a chunk, twice


@pytest.mark.slow
def test_growth_is_that_of_matrix_products() -> None:

    def seconds_of(count: int) -> float:
        return measured(lambda: unlike(corpus(count, 256), 0.9))

    seconds = {count: seconds_of(count) for count in (5_000, 40_000)}
    assert seconds[40_000] < 64 * seconds[5_000] and seconds[40_000] < 60
