"""What holds for `dpo` beside what holds for every recipe."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rushes.recipes import densedpo
from rushes.recipes.dpo import Options, account, comparisons, terms
from rushes.store.database import Store
from rushes.training.comparison import LatentGrid
from rushes.world.scenes import Scene

from .conftest import GRID, ProjectWithClips, SceneRows


def test_it_is_the_baseline_of_densedpo(project_with_clips: ProjectWithClips) -> None:
    vanilla = densedpo.Options(mode="vanilla", beta=7.0)
    rows = comparisons(project_with_clips.store, Options(beta=7.0), project_with_clips.grid)
    assert rows == densedpo.comparisons(project_with_clips.store, vanilla, project_with_clips.grid)
    assert {term.beta for row in rows for term in row.terms} == {7.0}
    assert account(project_with_clips.store, Options(), project_with_clips.grid)["pairs"] == len(rows) == 3


@pytest.mark.parametrize("first_frame", [True, False])
def test_imported_pairs_need_no_clip(store: Store, scene: Scene, rows: SceneRows, first_frame: bool) -> None:
    clip = rows.clip(scene, "nowhere")
    pair = [replace(rows.candidate(clip, f"theirs {k}", "imported"), clip_id="") for k in range(2)]
    store.add([*pair, rows.preference("theirs 0", "theirs 1", (-1,), None)])
    (row,) = comparisons(store, Options(), replace(GRID, first_frame=first_frame))
    assert [view.first_frame for view in row.views] == [view.media if first_frame else "" for view in row.views]
    assert row.terms == terms(-1, replace(GRID, first_frame=first_frame))


def test_a_tie_is_no_pair() -> None:
    assert terms(0, LatentGrid(5, 4, 8.0, first_frame=False)) == ()
