from __future__ import annotations

import numpy as np
import pytest

from rushes.edits.rearrange import freeze, reverse, shuffle, swap_ends


def numbered(count: int) -> np.ndarray:
    """Frame k is filled with k."""
    return np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, 4, 6, 3)).copy()


def numbers(frames: np.ndarray) -> list[int]:
    assert (frames == frames[:, :1, :1, :1]).all()
    return [int(level) for level in frames[:, 0, 0, 0]]


@pytest.mark.parametrize(
    ("count", "ends", "expected"),
    [
        (7, 2, [5, 6, 2, 3, 4, 0, 1]),
        (7, 3, [4, 5, 6, 3, 0, 1, 2]),
        (4, 2, [2, 3, 0, 1]),
        (2, 1, [1, 0]),
    ],
)
def test_ends_change_places_and_keep_their_own_order(count: int, ends: int, expected: list[int]) -> None:
    assert numbers(swap_ends(numbered(count), ends)) == expected


@pytest.mark.parametrize(("count", "ends"), [(3, 2), (1, 1), (5, 0)])
def test_ends_that_would_meet_are_refused(count: int, ends: int) -> None:
    with pytest.raises(ValueError, match=f"{ends} frames at each end cannot be swapped in a clip of {count}"):
        swap_ends(numbered(count), ends)


def test_reverse_and_back() -> None:
    assert numbers(reverse(numbered(5))) == [4, 3, 2, 1, 0]


@pytest.mark.parametrize("seed", range(8))
def test_shuffle_keeps_the_first_frame_and_changes_the_rest(seed: int) -> None:
    for count in (3, 4, 17):
        order = numbers(shuffle(numbered(count), seed))
        assert order[0] == 0 and sorted(order) == list(range(count)) and order != list(range(count))
        assert order == numbers(shuffle(numbered(count), seed))
    assert len({tuple(numbers(shuffle(numbered(17), s))) for s in range(4)}) == 4


def test_two_frames_cannot_be_shuffled() -> None:
    with pytest.raises(ValueError, match="clip of 2 frames cannot be shuffled"):
        shuffle(numbered(2), 0)


@pytest.mark.parametrize("seed", range(8))
def test_freeze_stops_between_a_quarter_and_a_half(seed: int) -> None:
    order = numbers(freeze(numbered(17), seed))
    stop = order[-1]
    assert 4 <= stop <= 8 and order == [min(k, stop) for k in range(17)]
