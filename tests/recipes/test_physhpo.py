from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from rushes.objectives.losses import ViewErrors, loss
from rushes.objectives.terms import collate
from rushes.recipes.physhpo import NEEDS, Options, comparisons
from rushes.records import CaptionRow, Clip, Score
from rushes.store.database import Store
from rushes.training.comparison import OWN, Comparison, LatentGrid, View
from rushes.world.scenes import Scene

from .conftest import ProjectWithClips, SceneRows

FRAMES = 5


def filled(
    store: Store, scene: Scene, rows: SceneRows, takes: int = 3, alike: tuple[float, ...] = (0.5, 0.9, 0.7)
) -> Clip:
    """One clip with takes, a gap take and a wrong caption about take 1, in a store of its own; the clip."""
    clip = rows.clip(scene, "one")
    made = [rows.candidate(clip, f"take {k}", "take") for k in range(takes)]
    gap = replace(rows.candidate(clip, "gap", "gap"), caption="a ball")
    scores = [Score(f"score {k}", f"take {k}", "likeness", value) for k, value in enumerate(alike[:takes])]
    captions = [CaptionRow("b", clip.id, "of another", "wrong", "take 0")]
    captions += [CaptionRow("c", clip.id, "wrong text", "wrong", "take 1")]
    store.add([clip, *made, gap, *scores, *captions])
    return clip


def only(store: Store, grid: LatentGrid, **options: Any) -> Comparison:
    (found,) = comparisons(store, Options(**options), grid)
    return found


def term_views(found: Comparison, level: str) -> dict[tuple[str, str, str], float]:
    """Media, edit and caption of each view of a level, and its coefficient."""
    (term,) = (t for t in found.terms if t.level == level)
    both = zip(found.views, term.coefficients, strict=True)
    return {(view.media, view.edit, view.caption): a for view, a in both if a}


def test_four_levels_over_seven_views(
    store: Store, scene: Scene, rows: SceneRows, project_with_clips: ProjectWithClips
) -> None:
    x = filled(store, scene, rows).caption
    found = only(store, project_with_clips.grid)
    assert len(found.views) == len(set(found.views)) == 7
    assert [(t.level, t.weight) for t in found.terms] == [
        ("instance", 1.0), ("state", 0.4), ("motion", 0.3), ("semantic", 0.2)
    ]  # fmt: skip
    w = ("one", "", x)
    assert term_views(found, "instance") == {w: 1, ("take 1", "", x): pytest.approx(-0.7), ("gap", "", x): -0.3}
    assert term_views(found, "state") == {w: 1, ("one", "swap-ends:2", x): -1}
    assert term_views(found, "motion") == {("one", "flow:take 1", x): 1, ("take 1", "flow:one", x): -1}
    assert term_views(found, "semantic") == {w: 1, ("one", "", "wrong text"): -1}


def test_the_gap_take_is_scored_under_the_full_caption(project_with_clips: ProjectWithClips) -> None:
    for found in comparisons(project_with_clips.store, Options(), project_with_clips.grid):
        (gap,) = (view for view in found.views if view.source == "gap")
        assert gap.caption == found.views[0].caption != "a ball"


def test_renderings_start_from_their_own_first_frame_and_all_else_from_the_clips(
    project_with_clips: ProjectWithClips,
) -> None:
    for found in comparisons(project_with_clips.store, Options(), project_with_clips.grid):
        for view in found.views:
            assert view.first_frame == (OWN if view.edit.startswith("flow") else found.views[0].media)


def test_a_text_model_is_given_no_first_frame(project_with_clips: ProjectWithClips, text_only: LatentGrid) -> None:
    for found in comparisons(project_with_clips.store, Options(), text_only):
        assert not any(view.first_frame for view in found.views)
        assert all(term.labels == (1,) * FRAMES for term in found.terms)


def loss_of(found: Comparison, errors: dict[str, float]) -> float:
    """Loss where the policy's error of a view is 1 + errors[source] in every scored frame, the reference's 1."""
    moved = torch.tensor([errors.get(name_of(view), 0.0) for view in found.views])
    policy = 1 + moved[None, :, None].repeat(1, 1, FRAMES)
    policy[..., 0] = 9.0  # the given frame, which nobody scores
    terms = collate([found.terms], len(found.views), FRAMES)
    return float(loss(ViewErrors(policy, torch.ones_like(policy)), terms))


def name_of(view: View) -> str:
    return {"real": "w", "take": "err"}.get(view.source, view.source)


def test_the_loss_by_hand(store: Store, scene: Scene, rows: SceneRows, project_with_clips: ProjectWithClips) -> None:
    filled(store, scene, rows)
    found = only(store, project_with_clips.grid, beta=10.0, state_beta=40.0)
    assert loss_of(found, {}) == pytest.approx(1.9 * math.log(2), rel=1e-6)
    w, err, gap, swapped, flow_w, flow_err, wrong = -0.02, 0.05, -0.01, 0.03, -0.04, 0.02, 0.07
    errors = {"w": w, "err": err, "gap": gap, "swapped": swapped, "wrong caption": wrong}
    errors |= {"flow of real": flow_w, "flow of take": flow_err}

    def level(beta: float, margin: float) -> float:
        return math.log1p(math.exp(beta / 2 * margin))

    expected = level(10, w - 0.7 * err - 0.3 * gap) + 0.4 * level(40, w - swapped)
    expected += 0.3 * level(10, flow_w - flow_err) + 0.2 * level(10, w - wrong)
    assert loss_of(found, errors) == pytest.approx(expected, rel=1e-6)


def test_the_mixture_is_one_sigmoid_and_not_two_losses(
    store: Store, scene: Scene, rows: SceneRows, project_with_clips: ProjectWithClips
) -> None:
    filled(store, scene, rows)
    found = only(store, project_with_clips.grid, beta=10.0, state_weight=0.0, motion_weight=0.0, semantic_weight=0.0)
    assert len(found.views) == 3
    mixed = loss_of(found, {"err": 0.3, "gap": -0.7})  # the shares cancel each other
    assert mixed == pytest.approx(math.log(2), rel=1e-6)


@pytest.mark.parametrize(
    ("options", "views"),
    [
        ({"state_weight": 0.0}, 6),
        ({"motion_weight": 0.0}, 5),
        ({"semantic_weight": 0.0}, 6),
        ({"instance_weight": 0.0}, 5),
        ({"gap_share": 0.0}, 6),
        ({"gap_share": 1.0, "motion_weight": 0.0}, 4),
        ({"instance_weight": 0.0, "motion_weight": 0.0, "semantic_weight": 0.0}, 2),
    ],
)
def test_a_level_without_weight_takes_its_views_along(
    options: dict[str, float],
    views: int,
    store: Store,
    scene: Scene,
    rows: SceneRows,
    project_with_clips: ProjectWithClips,
) -> None:
    filled(store, scene, rows)
    found = only(store, project_with_clips.grid, **options)
    assert len(found.views) == views
    assert all(any(t.coefficients[v] for t in found.terms) for v in range(views))
    assert all(abs(sum(t.coefficients)) < 1e-9 and t.weight > 0 for t in found.terms)


def test_without_any_weight_there_is_no_recipe(project_with_clips: ProjectWithClips) -> None:
    none = Options(instance_weight=0.0, state_weight=0.0, motion_weight=0.0, semantic_weight=0.0)
    with pytest.raises(ValueError, match="all levels have weight 0"):
        comparisons(project_with_clips.store, none, project_with_clips.grid)


def err_of(found: Comparison) -> str:
    (err,) = (view.media for view in found.views if view.source == "take")
    return err


def test_err_is_the_take_most_like_the_clip(
    store: Store, scene: Scene, rows: SceneRows, project_with_clips: ProjectWithClips
) -> None:
    filled(store, scene, rows)
    store.add([Score(f"clip {k}", f"take {k}", "clip_cosine", k / 10) for k in range(3)])

    def chosen(**options: Any) -> str:
        return err_of(only(store, project_with_clips.grid, semantic_weight=0.0, **options))

    assert chosen() == "take 1"
    assert chosen(takes=1) == "take 0"
    assert chosen(likeness="clip_cosine") == "take 2"


def test_err_at_random_is_the_same_each_time_and_not_of_one_place(
    store: Store, scene: Scene, rows: SceneRows, project_with_clips: ProjectWithClips
) -> None:
    for n in range(12):
        clip = rows.clip(scene, f"clip {n}")
        store.add([clip, *(rows.candidate(clip, f"take {n}.{k}", "take") for k in range(3))])
    chosen = Options(err="random", gap_share=0.0, semantic_weight=0.0)
    found = comparisons(store, chosen, project_with_clips.grid)
    assert found == comparisons(store, chosen, project_with_clips.grid)
    assert {err_of(one)[-1] for one in found} == {"0", "1", "2"}


def test_a_take_without_a_score_is_named(
    store: Store, scene: Scene, rows: SceneRows, project_with_clips: ProjectWithClips
) -> None:
    filled(store, scene, rows, alike=(0.5, 0.9))
    with pytest.raises(ValueError, match="take 2 has no score 'likeness' by which err is chosen"):
        comparisons(store, Options(), project_with_clips.grid)
    assert err_of(only(store, project_with_clips.grid, takes=2)) == "take 1"


def test_the_latest_caption_about_err_goes_before_one_about_nothing(
    store: Store, scene: Scene, rows: SceneRows, project_with_clips: ProjectWithClips
) -> None:
    filled(store, scene, rows)

    def wrong() -> str:
        return only(store, project_with_clips.grid).views[-1].caption

    store.add(
        [CaptionRow("d", "one", "about another", "wrong", "take 0"), CaptionRow("e", "one", "about none", "wrong")]
    )
    assert wrong() == "wrong text"
    store.add([CaptionRow("f", "one", "dense", "dense", "take 1"), CaptionRow("g", "one", "newer", "wrong", "take 1")])
    assert wrong() == "newer"


def test_a_caption_by_rule_serves_every_take(
    store: Store, scene: Scene, rows: SceneRows, project_with_clips: ProjectWithClips
) -> None:
    clip = rows.clip(scene, "one")
    gap = rows.candidate(clip, "gap", "gap")
    store.add([clip, rows.candidate(clip, "take 0", "take"), gap, CaptionRow("c", "one", "by rule", "wrong")])
    assert ("one", "", "by rule") in term_views(only(store, project_with_clips.grid), "semantic")


def test_what_is_lacking_leaves_the_clip_or_the_semantic_level_out(
    store: Store, scene: Scene, rows: SceneRows, project_with_clips: ProjectWithClips
) -> None:
    filled(store, scene, rows)
    bare = rows.clip(scene, "two")
    store.add([bare])
    assert len(comparisons(store, Options(), project_with_clips.grid)) == 1
    store.add([rows.candidate(bare, "its take", "take")])
    assert len(comparisons(store, Options(), project_with_clips.grid)) == 1  # no gap take
    assert len(comparisons(store, Options(gap_share=0.0), project_with_clips.grid)) == 2
    store.add([rows.candidate(bare, "its gap", "gap")])
    _, second = comparisons(store, Options(), project_with_clips.grid)
    assert [t.level for t in second.terms] == ["instance", "state", "motion"] and len(second.views) == 6


def test_without_any_wrong_caption_the_command_is_named(
    store: Store, scene: Scene, rows: SceneRows, project_with_clips: ProjectWithClips
) -> None:
    clip = rows.clip(scene, "one")
    store.add([clip, rows.candidate(clip, "take 0", "take"), rows.candidate(clip, "gap", "gap")])
    with pytest.raises(ValueError, match=r"run `rushes wrong-captions`, or set train\.options\.semantic_weight to 0"):
        comparisons(store, Options(), project_with_clips.grid)
    assert len(only(store, project_with_clips.grid, semantic_weight=0.0).views) == 6


@pytest.mark.parametrize(("cue", "edits"), [("edges", {"edges"}), ("depth", {"depth:models/depth"})])
def test_other_cues(
    cue: str, edits: set[str], store: Store, scene: Scene, rows: SceneRows, project_with_clips: ProjectWithClips
) -> None:
    filled(store, scene, rows)
    found = only(store, project_with_clips.grid, cue=cue, depth_model="models/depth")
    assert {edit for _, edit, _ in term_views(found, "motion")} == edits


def test_takes_and_gaps_of_what_training_starts_from(
    store: Store, scene: Scene, rows: SceneRows, project_with_clips: ProjectWithClips
) -> None:
    clip = filled(store, scene, rows)
    tuned = [replace(rows.candidate(clip, f"tuned {kind}", kind), system="round-1") for kind in ("take", "gap")]
    store.add(
        [*tuned, Score("s", "tuned take", "likeness", 0.1), CaptionRow("t", "one", "of it", "wrong", "tuned take")]
    )
    media = {view.media for view in only(store, replace(project_with_clips.grid, system="round-1")).views}
    assert media == {"one", "tuned take", "tuned gap"}
    assert {view.media for view in only(store, project_with_clips.grid).views} == {"one", "take 1", "gap"}


def test_needs_are_what_the_pipeline_knows_how_to_make() -> None:
    assert NEEDS == ("takes", "gaps", "likeness", "wrong captions")
