from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from rushes.objectives.losses import ViewErrors, loss
from rushes.objectives.terms import collate
from rushes.recipes.huvidpo import Options, account, comparisons, ratings
from rushes.store.database import Store
from rushes.training.comparison import LatentGrid
from rushes.world.scenes import Scene

from .conftest import ProjectWithClips, SceneRows


def pairs(project_with_clips: ProjectWithClips, **options: Any) -> list[tuple[str, str]]:
    found = comparisons(project_with_clips.store, Options(**options), project_with_clips.grid)
    return [(c.views[0].media, c.views[1].media) for c in found]


OF_0 = [("take 0.1", "take 0.0"), ("take 0.0", "take 0.2"), ("take 0.1", "take 0.2")]
OF_1 = [("take 1.1", "take 1.0"), ("take 1.1", "take 1.2")]
OF_2 = [("take 2.0", "take 2.1"), ("take 2.0", "take 2.2"), ("take 2.1", "take 2.2")]


def test_all_pairs_of_a_group_with_the_higher_score_first(project_with_clips: ProjectWithClips) -> None:
    """Scores 9, 10, 7.5 of the first group: as text 10 would lose to both. Equal scores make no pair."""
    assert pairs(project_with_clips) == OF_0 + OF_1 + OF_2
    first = comparisons(project_with_clips.store, Options(), project_with_clips.grid)[0]
    assert first.group == "clip 0"
    assert [(v.first_frame, v.source) for v in first.views] == [("clip 0", "take"), ("clip 0", "take")]
    (term,) = first.terms
    assert (term.coefficients, term.labels, term.beta, term.weight) == ((1, -1), (0, 1, 1, 1, 1), 50.0, 1.0)
    assert term.reduction == "clip" and term.loss_type == "sigmoid"


def test_pairs_that_are_not_compared_are_counted(project_with_clips: ProjectWithClips) -> None:
    def counted(**options: Any) -> dict[str, int]:
        return account(project_with_clips.store, Options(**options), project_with_clips.grid)

    assert counted() == {"pairs": 8, "ties": 4, "over_most_pairs": 0}
    assert counted(margin=1.0) == {"pairs": 5, "ties": 7, "over_most_pairs": 0}
    assert counted(most_pairs=2) == {"pairs": 6, "ties": 4, "over_most_pairs": 2}
    assert counted(margin=1.5, most_pairs=1) == {"pairs": 2, "ties": 9, "over_most_pairs": 1}


def test_scores_within_the_margin_tie(project_with_clips: ProjectWithClips) -> None:
    assert pairs(project_with_clips, margin=1.0) == [OF_0[1], OF_0[2], *OF_1, OF_2[1]]
    assert pairs(project_with_clips, margin=9.5) == []


def test_the_widest_gaps_are_kept_where_pairs_are_limited(project_with_clips: ProjectWithClips) -> None:
    assert set(pairs(project_with_clips, most_pairs=1)) == {OF_0[2], OF_1[0], OF_2[1]}
    assert set(pairs(project_with_clips, most_pairs=2)) == {OF_0[1], OF_0[2], *OF_1, OF_2[0], OF_2[1]}


def test_a_pair_may_weigh_as_much_as_its_gap(project_with_clips: ProjectWithClips) -> None:
    gaps = [1, 1.5, 2.5, 5, 5, 1, 1.5, 0.5]
    weights = [
        c.terms[0].weight for c in comparisons(project_with_clips.store, Options(weight="gap"), project_with_clips.grid)
    ]
    assert weights == pytest.approx([gap * len(gaps) / sum(gaps) for gap in gaps])
    assert sum(weights) == pytest.approx(len(gaps))


def test_pairs_of_one_caption_keep_their_own_first_frames(
    store: Store, scene: Scene, rows: SceneRows, project_with_clips: ProjectWithClips
) -> None:
    clips = [replace(rows.clip(scene, name), caption="horse run") for name in "ab"]
    store.add([*clips, rows.score("a", 3.0), rows.score("b", 9.0)])
    assert comparisons(store, Options(), project_with_clips.grid) == []
    (one,) = comparisons(store, Options(pairs="caption"), project_with_clips.grid)
    assert [(v.media, v.first_frame, v.caption) for v in one.views] == [
        ("b", "b", "horse run"),
        ("a", "a", "horse run"),
    ]
    store.add([replace(rows.clip(scene, "c"), caption="rain"), rows.score("c", 1.0)])
    assert len(comparisons(store, Options(pairs="caption"), project_with_clips.grid)) == 1
    assert "horse" not in one.group  # a group of its own, so that held-out pairs share no caption with the others


def test_the_real_clip_may_be_scored_too(
    store: Store, scene: Scene, rows: SceneRows, project_with_clips: ProjectWithClips
) -> None:
    clip = rows.clip(scene, "one")
    store.add([clip, rows.candidate(clip, "a", "take"), rows.score("one", 9.0), rows.score("a", 10.0)])
    (only,) = comparisons(store, Options(), project_with_clips.grid)
    assert [view.source for view in only.views] == ["take", "real"]


def test_raters_are_averaged_and_their_last_score_counts(
    store: Store, scene: Scene, rows: SceneRows, project_with_clips: ProjectWithClips
) -> None:
    clip = rows.clip(scene, "one")
    store.add([clip, *(rows.candidate(clip, name, "take") for name in "ab")])
    given = [("a", 2.0, "ann"), ("a", 8.0, "ann"), ("a", 4.0, "bob"), ("b", 7.0, "ann"), ("b", 4.0, "bob")]
    store.add(rows.score(subject, value, rater) for subject, value, rater in given)
    assert ratings(store, "human") == {"a": 6.0, "b": 5.5}
    (only,) = comparisons(store, Options(), project_with_clips.grid)
    assert only.views[0].media == "a"


def test_scores_go_by_their_metric(
    store: Store, scene: Scene, rows: SceneRows, project_with_clips: ProjectWithClips
) -> None:
    clip = rows.clip(scene, "one")
    store.add([clip, *(rows.candidate(clip, name, "take") for name in "ab")])
    store.add(rows.score(name, value, "world", "world") for name, value in (("a", 1.0), ("b", 2.0)))
    with pytest.raises(ValueError, match=r"train\.options\.metric: no clip has a score by 'human'.* by world"):
        comparisons(store, Options(), project_with_clips.grid)
    (only,) = comparisons(store, Options(metric="world"), project_with_clips.grid)
    assert only.views[0].media == "b"


def test_what_is_no_score_out_of_ten_is_refused(
    store: Store, scene: Scene, rows: SceneRows, project_with_clips: ProjectWithClips
) -> None:
    store.add([rows.clip(scene, "one"), rows.score("one", -0.25, "x", "flow")])
    with pytest.raises(ValueError, match=r"by 'flow' is -0\.25, not from 0 to 10; set train\.options\.metric"):
        comparisons(store, Options(metric="flow"), project_with_clips.grid)


def test_a_noised_first_frame_is_scored_and_not_given(project_with_clips: ProjectWithClips) -> None:
    """The same pairs as with a clean one."""
    clean, noised = (
        comparisons(project_with_clips.store, Options(first_frame=how), project_with_clips.grid)
        for how in ("clean", "noised")
    )
    assert [c.id for c in noised] == [c.id for c in clean]
    assert {view.first_frame for c in noised for view in c.views} == {""}
    assert {c.terms[0].labels for c in noised} == {(1, 1, 1, 1, 1)}


def test_a_model_that_is_given_no_first_frame_is_refused(
    project_with_clips: ProjectWithClips, text_only: LatentGrid
) -> None:
    with pytest.raises(ValueError, match=r"set backbone\.first_frame to true"):
        comparisons(project_with_clips.store, Options(), text_only)


def test_takes_of_another_caption_are_refused(
    store: Store, scene: Scene, rows: SceneRows, project_with_clips: ProjectWithClips
) -> None:
    clip = rows.clip(scene, "one")
    store.add([clip, replace(rows.candidate(clip, "a", "imported"), caption="rain"), rows.score("a", 3.0)])
    with pytest.raises(ValueError, match="take a and its clip one have different captions"):
        comparisons(store, Options(), project_with_clips.grid)


def test_guided_takes_make_no_pair(
    store: Store, scene: Scene, rows: SceneRows, project_with_clips: ProjectWithClips
) -> None:
    """They start from parts of the real clip, more or less of it, which is no merit of theirs."""
    clip = rows.clip(scene, "one")
    store.add([clip, *(rows.candidate(clip, name, "guided", 0.7) for name in "ab")])
    store.add([rows.score("a", 1.0), rows.score("b", 2.0)])
    assert comparisons(store, Options(), project_with_clips.grid) == []


def test_the_loss_by_hand(project_with_clips: ProjectWithClips) -> None:
    """-log sigmoid(-25 (mean over frames 1.. of D_w - D_l)), whatever frame 0 has."""
    first = comparisons(project_with_clips.store, Options(), project_with_clips.grid)[0]
    d_w, d_l = (5.0, 0.02, -0.01, 0.03, 0.01), (-7.0, -0.01, 0.02, 0.01, 0.04)
    mean = sum(a - b for a, b in zip(d_w[1:], d_l[1:], strict=True)) / 4
    errors = ViewErrors(1 + torch.tensor([[d_w, d_l]]), torch.ones(1, 2, 5))
    found = float(loss(errors, collate([first.terms], 2, 5)))
    assert found == pytest.approx(math.log1p(math.exp(25 * mean)), rel=1e-5)
