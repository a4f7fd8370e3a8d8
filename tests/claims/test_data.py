from __future__ import annotations

import numpy as np

from rushes.claims.data import Careless, Labels
from rushes.judges.base import Judgement
from rushes.metrics.base import Shot


class Left:
    name, size_px = "left", None

    def compare(self, left: Shot, right: Shot, segment_s: float | None) -> Judgement:
        brighter = 1 if left.frames_FHWC.sum() > right.frames_FHWC.sum() else -1
        return Judgement((brighter,) * 10, 1.0)


def shots(seed: int) -> tuple[Shot, Shot]:
    rng = np.random.default_rng(seed)
    left, right = rng.integers(0, 255, (2, 5, 16, 16, 3), dtype=np.uint8)
    return Shot(left, 8.0, "a"), Shot(right, 8.0, "a")


def test_flips_are_a_share_of_the_labels_and_always_the_same_ones() -> None:
    careless, true = Careless("c", Left(), 0.3), Left()
    flipped = []
    for seed in range(100):
        left, right = shots(seed)
        one, again = careless.compare(left, right, 1.0), careless.compare(left, right, 1.0)
        assert one == again
        assert careless.compare(right, left, 1.0).labels == tuple(-x for x in one.labels)
        flipped += [a != b for a, b in zip(one.labels, true.compare(left, right, 1.0).labels, strict=True)]
    assert 0.25 < np.mean(flipped) < 0.35


def test_each_set_of_labels_has_a_judge_of_its_own() -> None:
    several = [
        Labels("take"),
        Labels("guided"),
        Labels("guided", 1.0),
        Labels("guided", share=0.5),
        Labels("guided", flips=0.2),
    ]
    assert len({labels.judge for labels in several}) == len(several)
