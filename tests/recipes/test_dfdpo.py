from __future__ import annotations

import math
from collections import Counter

import pytest
import torch

from rushes.objectives.losses import ViewErrors, loss
from rushes.objectives.terms import collate
from rushes.recipes.dfdpo import Options, comparisons
from rushes.store.database import Store
from rushes.training.comparison import OWN, Comparison, LatentGrid
from rushes.world.scenes import Scene

from .conftest import ProjectWithClips, SceneRows

FRAMES = 5


@pytest.fixture
def many(store: Store, scene: Scene, rows: SceneRows) -> Store:
    store.add([rows.clip(scene, f"clip {n}") for n in range(60)])
    return store


def names(found: Comparison) -> list[str]:
    return [view.edit.split(":")[0] for view in found.views[1:]]


def test_the_clip_against_an_edited_copy_of_itself(project_with_clips: ProjectWithClips) -> None:
    for found in comparisons(project_with_clips.store, Options(), project_with_clips.grid):
        real, copy = found.views
        assert (real.source, real.edit) == ("real", "") and copy.edit
        assert (copy.media, copy.caption) == (real.media, real.caption)
        assert copy.first_frame == (OWN if copy.edit == "reverse" else real.first_frame)
        (term,) = found.terms
        assert (term.level, term.coefficients, term.labels) == ("clip", (1.0, -1.0), (0, 1, 1, 1, 1))


def test_no_take_and_no_judge_is_needed(many: Store, project_with_clips: ProjectWithClips) -> None:
    assert len(comparisons(many, Options(), project_with_clips.grid)) == 60


def test_edits_are_dealt_out_by_the_clips_id(many: Store, project_with_clips: ProjectWithClips) -> None:
    found = comparisons(many, Options(), project_with_clips.grid)
    assert found == comparisons(many, Options(), project_with_clips.grid)
    dealt = Counter(name for one in found for name in names(one))
    assert set(dealt) == {"reverse", "shuffle", "noise", "freeze", "blur-box", "shuffle-box", "freeze-box"}
    assert max(dealt.values()) <= 20
    other = comparisons(many, Options(seed=1), project_with_clips.grid)
    assert sum(names(a) != names(b) for a, b in zip(found, other, strict=True)) > 30
    assert len({one.views[1].edit for one in found}) > 40  # each with a seed of its own


def test_only_the_edits_that_are_asked_for(many: Store, project_with_clips: ProjectWithClips) -> None:
    for one in comparisons(many, Options(edits=("noise",), noise=12.0), project_with_clips.grid):
        assert one.views[1].edit.startswith("noise:12.0:")
    with pytest.raises(ValueError, match="edits"):
        Options(edits=("nosie",))
    with pytest.raises(ValueError, match="edits"):
        Options(edits=())


def test_several_copies_are_of_different_edits_and_count_as_one(
    many: Store, project_with_clips: ProjectWithClips
) -> None:
    for one in comparisons(many, Options(losers=3), project_with_clips.grid):
        assert len(one.views) == 4 and len(set(names(one))) == 3
        assert sum(term.weight for term in one.terms) == pytest.approx(1)
    fewer = comparisons(many, Options(losers=3, edits=("reverse", "noise", "reverse")), project_with_clips.grid)
    assert all(sorted(names(one)) == ["noise", "reverse"] for one in fewer)


def test_a_text_model_is_given_no_first_frame(project_with_clips: ProjectWithClips, text_only: LatentGrid) -> None:
    for found in comparisons(project_with_clips.store, Options(), text_only):
        assert not any(view.first_frame for view in found.views)


def test_the_loss_by_hand(many: Store, project_with_clips: ProjectWithClips) -> None:
    found = comparisons(many, Options(beta=10.0, losers=2), project_with_clips.grid)[0]
    real, copies = 0.98, (1.05, 0.99)
    expected = sum(math.log1p(math.exp(5 * (real - copy))) for copy in copies) / 2
    policy = torch.tensor([real, *copies])[None, :, None].repeat(1, 1, FRAMES)
    policy[..., 0] = 7.0
    got = loss(ViewErrors(policy, torch.ones(1, 3, FRAMES)), collate([found.terms], 3, FRAMES))
    assert float(got) == pytest.approx(expected, rel=1e-6)
