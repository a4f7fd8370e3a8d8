from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from rushes.config.tables import ObjectiveSettings
from rushes.objectives.losses import ViewErrors, loss
from rushes.objectives.safeguards import guarded
from rushes.objectives.terms import Term, collate
from rushes.recipes.realdpo import TINY, Options, account, comparisons
from rushes.store.database import Store
from rushes.training.views import takes_account
from rushes.world.scenes import Scene

from .conftest import ProjectWithClips, SceneRows

FRAMES = 5


def test_the_real_clip_against_each_of_its_takes(project_with_clips: ProjectWithClips) -> None:
    found = comparisons(project_with_clips.store, Options(), project_with_clips.grid)
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


def test_a_clip_with_one_take_counts_as_much_as_one_with_three(project_with_clips: ProjectWithClips) -> None:
    last = comparisons(project_with_clips.store, Options(), project_with_clips.grid)[-1]
    assert len(last.views) == 2 and [term.weight for term in last.terms] == [1.0]


def test_the_winner_may_make_a_trip_through_the_codec(project_with_clips: ProjectWithClips) -> None:
    plain = comparisons(project_with_clips.store, Options(), project_with_clips.grid)
    found = comparisons(project_with_clips.store, Options(winner="codec"), project_with_clips.grid)
    for one, other in zip(plain, found, strict=True):
        assert other.views == (replace(one.views[0], edit="codec"), *one.views[1:]) and other.terms == one.terms
        assert one.views[0].key != other.views[0].key and one.views[0].first_frame == other.views[0].first_frame


@pytest.mark.parametrize("losers", [1, 2, 3, 9])
def test_losers_limits_the_takes(losers: int, project_with_clips: ProjectWithClips) -> None:
    found = comparisons(project_with_clips.store, Options(losers=losers), project_with_clips.grid)
    assert [len(c.terms) for c in found] == [min(losers, 3)] * 4 + [1]
    assert all(sum(t.weight for t in c.terms) == pytest.approx(1) for c in found)


def test_a_guard_holds_the_real_clip(project_with_clips: ProjectWithClips) -> None:
    """What the tiny backbone's settings ask for: the real clip's own error beside, once for all takes."""
    asked = ObjectiveSettings(**TINY["objective"]).model_dump(exclude={"safe_dpo", "safe_dpo_share"})
    (first, *_) = comparisons(project_with_clips.store, Options(), project_with_clips.grid)
    supervised, *others = guarded(first.terms, **asked)
    assert supervised == Term("supervised", (1, 0, 0, 0), (0, 1, 1, 1, 1), weight=20.0, loss_type="error")
    assert tuple(others) == first.terms


def test_takes_of_what_training_starts_from(
    store: Store, scene: Scene, rows: SceneRows, project_with_clips: ProjectWithClips
) -> None:
    clip = rows.clip(scene, "one")
    base = [rows.candidate(clip, f"take {k}", "take") for k in range(2)]
    tuned = [replace(rows.candidate(clip, f"tuned {k}", "take"), system="round-1") for k in range(3)]
    theirs = replace(rows.candidate(clip, "theirs", "imported"), system="another model")
    store.add([clip, *base, *tuned, theirs])

    def losers(system: str) -> list[str]:
        grid = replace(project_with_clips.grid, system=system)
        return [view.media for c in comparisons(store, Options(), grid) for view in c.views[1:]]

    assert account(store, Options(), project_with_clips.grid) == {}
    store.add([rows.clip(scene, "two")])
    assert account(store, Options(), project_with_clips.grid) == {"clips_without_takes": 1}
    assert losers("base") == ["take 0", "take 1", "theirs"]
    assert losers("round-1") == ["tuned 0", "tuned 1", "tuned 2", "theirs"]
    assert losers("round-2") == ["theirs"]


@pytest.mark.parametrize("changed", [{"settings_hash": "new"}, {"made_by": "other weights"}])
def test_takes_made_in_two_ways_are_not_mixed(
    changed: dict[str, Any], store: Store, scene: Scene, rows: SceneRows, project_with_clips: ProjectWithClips
) -> None:
    """Of each clip those of the newest way; the rest is counted."""
    one, two = rows.clip(scene, "one"), rows.clip(scene, "two")
    old = [rows.candidate(clip, f"old {clip.id}", "take") for clip in (one, two)]
    new = replace(rows.candidate(one, "new one", "take"), **changed)
    elsewhere = replace(rows.candidate(one, "elsewhere", "take"), system="round-1")
    store.add([one, two, *old, new, elsewhere, rows.candidate(two, "guided", "guided", 0.7)])
    found = comparisons(store, Options(), project_with_clips.grid)
    assert [[view.media for view in c.views[1:]] for c in found] == [["new one"], ["old two"]]
    account = takes_account(store, project_with_clips.grid, found)
    assert account == {"used": 2, "of older settings": 1, "of other systems": 1, "not compared": 1}


def test_clips_without_takes_are_left_out_and_imported_takes_are_taken(
    store: Store, scene: Scene, rows: SceneRows, project_with_clips: ProjectWithClips
) -> None:
    with_takes, without = rows.clip(scene, "one"), rows.clip(scene, "two")
    imported = rows.candidate(with_takes, "theirs", "imported")
    guided = rows.candidate(without, "guided", "guided", 0.7)
    store.add([with_takes, without, imported, guided])
    (only,) = comparisons(store, Options(), project_with_clips.grid)
    assert only.id == "one" and [view.source for view in only.views] == ["real", "imported"]


def test_a_still_of_its_own_is_the_first_frame_of_all(
    store: Store, scene: Scene, rows: SceneRows, project_with_clips: ProjectWithClips
) -> None:
    clip = replace(rows.clip(scene, "one"), first_frame="still")
    store.add([clip, rows.candidate(clip, "take", "take")])
    (only,) = comparisons(store, Options(), project_with_clips.grid)
    assert [view.first_frame for view in only.views] == ["still", "still"]


def test_the_loss_by_hand(store: Store, scene: Scene, rows: SceneRows, project_with_clips: ProjectWithClips) -> None:
    """The mean over takes of -log sigmoid(-(beta / 2) (D_real - D_take)), errors alike in all scored frames."""
    clip = rows.clip(scene, "one")
    store.add([clip, *(rows.candidate(clip, f"take {k}", "take") for k in range(2))])
    (only,) = comparisons(store, Options(beta=10.0), project_with_clips.grid)
    real, takes = 0.98, (1.05, 0.99)
    expected = sum(math.log1p(math.exp(5 * (real - take))) for take in takes) / 2
    policy = torch.tensor([real, *takes])[None, :, None].repeat(1, 1, FRAMES)
    policy[..., 0] = 7.0  # the given frame, which nobody scores
    got = loss(ViewErrors(policy, torch.ones(1, 3, FRAMES)), collate([only.terms], 3, FRAMES))
    assert float(got) == pytest.approx(expected, rel=1e-6)
