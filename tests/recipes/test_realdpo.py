from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from rushes.objectives.losses import ViewErrors, loss
from rushes.objectives.terms import collate
from rushes.recipes.realdpo import Options, comparisons, times

FRAMES = 5


def test_the_real_clip_against_each_of_its_takes(corner: Any) -> None:
    found = comparisons(corner.store, Options(), corner.grid)
    assert [c.id for c in found] == [f"clip {i}" for i in range(5)]
    first = found[0]
    assert [(view.media, view.source) for view in first.views] == [
        ("clip 0", "real"),
        ("take 0.0", "take"),
        ("take 0.1", "take"),
        ("take 0.2", "take"),
    ]
    assert {view.first_frame for view in first.views} == {"clip 0"}
    assert [term.coefficients for term in first.terms] == [(1, -1, 0, 0), (1, 0, -1, 0), (1, 0, 0, -1)]
    assert {(t.level, t.labels, t.beta, t.weight) for t in first.terms} == {("clip", (0, 1, 1, 1, 1), 5000.0, 1 / 3)}


def test_a_clip_with_one_take_counts_as_much_as_one_with_three(corner: Any) -> None:
    last = comparisons(corner.store, Options(), corner.grid)[-1]
    assert len(last.views) == 2 and [term.weight for term in last.terms] == [1.0]


@pytest.mark.parametrize("losers", [1, 2, 3, 9])
def test_losers_limits_the_takes(losers: int, corner: Any) -> None:
    found = comparisons(corner.store, Options(losers=losers), corner.grid)
    assert [len(c.terms) for c in found] == [min(losers, 3)] * 4 + [1]
    assert all(sum(t.weight for t in c.terms) == pytest.approx(1) for c in found)


def test_a_supervised_term_beside(corner: Any) -> None:
    (first, *_) = comparisons(corner.store, Options(sft_weight=0.1), corner.grid)
    supervised, *others = first.terms
    assert (supervised.level, supervised.link, supervised.weight) == ("supervised", "error", 0.1)
    assert supervised.coefficients == (1, 0, 0, 0) and len(others) == 3


def test_clips_without_takes_are_left_out_and_imported_takes_are_taken(
    store: Any, scene: Any, rows: Any, corner: Any
) -> None:
    with_takes, without = rows["clip"](scene, "one"), rows["clip"](scene, "two")
    imported = rows["candidate"](with_takes, "theirs", "imported")
    guided = rows["candidate"](without, "guided", "guided", 0.7)
    store.add([with_takes, without, imported, guided])
    (only,) = comparisons(store, Options(), corner.grid)
    assert only.id == "one" and [view.source for view in only.views] == ["real", "imported"]


def test_a_still_of_its_own_is_the_first_frame_of_all(store: Any, scene: Any, rows: Any, corner: Any) -> None:
    clip = replace(rows["clip"](scene, "one"), first_frame="still")
    store.add([clip, rows["candidate"](clip, "take", "take")])
    (only,) = comparisons(store, Options(), corner.grid)
    assert [view.first_frame for view in only.views] == ["still", "still"]


def test_times_of_the_released_code() -> None:
    drawn = times(Options(t_high=0.5))(2000, torch.Generator().manual_seed(0))
    assert drawn.max() < 0.5 and drawn.mean() == pytest.approx(0.25, abs=0.01)
    with pytest.raises(ValueError, match="0 <= low < high <= 1"):
        times(Options(t_low=0.5, t_high=0.4))


def test_the_loss_by_hand(store: Any, scene: Any, rows: Any, corner: Any) -> None:
    """The mean over takes of -log sigmoid(-(beta / 2) (D_real - D_take)), errors alike in all scored frames."""
    clip = rows["clip"](scene, "one")
    store.add([clip, *(rows["candidate"](clip, f"take {k}", "take") for k in range(2))])
    (only,) = comparisons(store, Options(beta=10.0, sft_weight=0.5), corner.grid)
    real, takes = 0.98, (1.05, 0.99)
    expected = sum(math.log1p(math.exp(5 * (real - take))) for take in takes) / 2 + 0.5 * real
    policy = torch.tensor([real, *takes])[None, :, None].repeat(1, 1, FRAMES)
    policy[..., 0] = 7.0  # the given frame, which nobody scores
    got = loss(ViewErrors(policy, torch.ones(1, 3, FRAMES)), collate([only.terms], 3, FRAMES))
    assert float(got) == pytest.approx(expected, rel=1e-6)
