from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Literal

import pytest
import torch

from rushes.objectives.losses import ViewErrors, loss
from rushes.objectives.terms import collate
from rushes.recipes.densedpo import Options, account, comparisons
from rushes.records import Annotation, Preference, Strength, majority
from rushes.store.database import Store
from rushes.training.comparison import Comparison, LatentGrid
from rushes.world.scenes import Scene

from .conftest import ProjectWithClips, SceneRows


def pairs(project_with_clips: ProjectWithClips, **options: Any) -> dict[str, Comparison]:
    return {c.id: c for c in comparisons(project_with_clips.store, Options(**options), project_with_clips.grid)}


def test_dense_labels_each_latent_frame_of_guided_pairs(project_with_clips: ProjectWithClips) -> None:
    """Per half second of 8 frames a second: latent frame k >= 1 is half second k. Frame 0 is given and not scored."""
    found = pairs(project_with_clips)
    assert {name: c.terms[0].labels for name, c in found.items()} == {
        "guided 0.0 or guided 0.1": (0, 1, 0, -1, 1),
        "guided 1.0 or guided 1.1": (0, 0, 0, 1, 0),
        "guided 2.0 or guided 2.1": (0, -1, -1, -1, 0),
        "guided 4.0 or guided 4.1": (0, 1, 1, 1, 1),  # all of pair 3 is a tie
    }
    first = found["guided 0.0 or guided 0.1"]
    assert [(view.media, view.first_frame, view.source) for view in first.views] == [
        ("guided 0.0", "clip 0", "guided"),
        ("guided 0.1", "clip 0", "guided"),
    ]
    (term,) = first.terms
    assert (term.level, term.reduction, term.beta, term.coefficients) == ("segment", "segment", 500.0, (1, -1))
    assert first.group == "clip 0"


def test_a_pair_that_people_call_slightly_better_weighs_less(
    store: Store, scene: Scene, rows: SceneRows, project_with_clips: ProjectWithClips
) -> None:
    """One of two people said so, and halves the weight of the pair by half; what a program said is not theirs."""
    clip = rows.clip(scene, "one")
    store.add([clip, *(rows.candidate(clip, name, "guided", 0.7) for name in "abcd")])
    answers: tuple[tuple[str, str, str, Strength], ...] = (
        ("human:ada", "a", "b", "slightly"), ("human:bob", "a", "b", "much"), ("human:ada", "c", "d", "slightly"),
        ("metric", "a", "c", "slightly"), ("human:ada", "b", "d", ""),
    )  # fmt: skip
    for judge, left, right, strength in answers:
        row = replace(rows.preference(left, right, (1, 1, 1, 1)), id=f"{judge} {left}{right}", judge=judge)
        store.add([row, Annotation(f"of {row.id}", row.id, judge, strength=strength)])

    def weights(**options: Any) -> dict[str, float]:
        rows = comparisons(store, Options(judge="all", **options), project_with_clips.grid)
        return {"".join(view.media for view in row.views): row.terms[0].weight for row in rows}

    assert weights(strength=0.5) == {"ab": 0.75, "cd": 0.5, "ac": 1.0, "bd": 1.0}
    assert set(weights().values()) == {1.0}
    assert {
        c.terms[0].weight for c in comparisons(store, Options(judge="human:ada", strength=0.2), project_with_clips.grid)
    } == {0.2, 1.0}


def drawn(row: Preference, start_s: float, end_s: float, label: int, *from_spans: int) -> Annotation:
    """A span beside a preference."""
    spans: dict[str, Any] = {"span_starts_s": (start_s,), "span_ends_s": (end_s,), "span_labels": (label,)}
    return Annotation(f"of {row.id}", row.id, row.judge, **spans, span_reasons=((),), from_spans=from_spans)


def test_a_span_labels_its_own_seconds_and_people_vote_frame_by_frame(
    store: Store, scene: Scene, rows: SceneRows, project_with_clips: ProjectWithClips
) -> None:
    """Frames 5 to 8 of 17 at 8 fps, latent frame 2, are better in a; the half seconds that they touch are 4 to 11."""
    clip = rows.clip(scene, "one")
    store.add([clip, *(rows.candidate(clip, name, "guided", 0.7) for name in "ab")])
    ada = replace(rows.preference("a", "b", (0, 1, 1, 0)), id="ada", judge="human:ada")
    store.add([ada, drawn(ada, 0.625, 1.125, 1, 0, 1, 2, 3)])

    def labels(**options: Any) -> tuple[int, ...]:
        (row,) = comparisons(store, Options(**options), project_with_clips.grid)
        (term,) = row.terms
        return term.labels

    assert labels() == labels(judge="human:ada") == (0, 0, 1, 0, 0)
    assert labels(mode="structural") == (0, 1, 1, 1, 1)
    bob = replace(rows.preference("b", "a", (1, 1, 1, 1)), id="bob", judge="human:bob")
    store.add([bob])  # without a span: b is better
    assert labels() == (0, -1, 0, -1, -1)
    cleo = replace(rows.preference("b", "a", (0, -1, -1, 0)), id="cleo", judge="human:cleo")
    store.add([cleo, drawn(cleo, 0.625, 1.125, -1, 0, 1, 2, 3)])  # the other way round, as ada
    assert labels() == (0, -1, 1, -1, -1)


def test_a_part_that_was_marked_itself_keeps_its_label_beside_a_span(
    store: Store, scene: Scene, rows: SceneRows, project_with_clips: ProjectWithClips
) -> None:
    clip = rows.clip(scene, "one")
    store.add([clip, *(rows.candidate(clip, name, "guided", 0.7) for name in "abcd")])
    row, short = rows.preference("a", "b", (1, 1, 1, -1)), rows.preference("c", "d", (0, 1, 0, 0))
    store.add([row, drawn(row, 0.625, 1.125, -1), short, drawn(short, 0.5, 0.75, 1, 0, 1, 2, 3)])
    (only,) = comparisons(store, Options(), project_with_clips.grid)
    assert only.id == row.id and only.terms[0].labels == (0, 1, -1, 1, -1)
    assert account(store, Options(), project_with_clips.grid) == {"pairs": 1, "shorter_than_a_latent_frame": 1}


def test_structural_takes_the_majority_of_the_same_pairs(project_with_clips: ProjectWithClips) -> None:
    found = pairs(project_with_clips, mode="structural")
    assert {name: c.terms[0].labels for name, c in found.items()} == {
        "guided 0.0 or guided 0.1": (0, 1, 1, 1, 1),
        "guided 1.0 or guided 1.1": (0, 1, 1, 1, 1),
        "guided 2.0 or guided 2.1": (0, -1, -1, -1, -1),
        "guided 4.0 or guided 4.1": (0, 1, 1, 1, 1),
    }
    assert {(c.terms[0].level, c.terms[0].reduction) for c in found.values()} == {("clip", "clip")}


def test_vanilla_takes_the_majority_of_independent_pairs(project_with_clips: ProjectWithClips) -> None:
    found = pairs(project_with_clips, mode="vanilla")
    assert set(found) == {f"take {i}.0 or take {i}.1" for i in (0, 1, 2)}  # 3 is a tie; of clip 4 there is one take
    assert {view.source for c in found.values() for view in c.views} == {"take"}
    assert found["take 2.0 or take 2.1"].terms[0].labels == (0, -1, -1, -1, -1)


def test_pairs_that_are_not_compared_are_counted(project_with_clips: ProjectWithClips) -> None:
    def counted(**options: Any) -> dict[str, int]:
        return account(project_with_clips.store, Options(**options), project_with_clips.grid)

    # Of ten pairs five are guided, three are of takes that are trained on beside one tie, and one is held out.
    assert counted() == {"pairs": 4, "ties": 1, "of_other_takes": 5}
    assert counted(least_labelled=0.25) == {"pairs": 3, "too_few_decided": 1, "ties": 1, "of_other_takes": 5}
    assert counted(mode="vanilla") == {"pairs": 3, "ties": 1, "of_other_takes": 6}


def test_answers_in_unlike_segments_and_those_that_were_settled_are_counted(
    store: Store, scene: Scene, rows: SceneRows, project_with_clips: ProjectWithClips
) -> None:
    clip, options = rows.clip(scene, "one"), Options(judge="human")
    store.add([clip, *(rows.candidate(clip, f"guided {k}", "guided") for k in range(2))])
    row = rows.preference("guided 0", "guided 1", (1, 1, 1, 1))

    def said(who: str, segment_s: float | None, *labels: int) -> None:
        of = {"labels": labels, "segment_s": segment_s, "strength": None, "unjudged": (), "by_slot": ()}
        store.add([replace(row, id=who, judge=f"human:{who}", **of)])  # type: ignore[arg-type]

    said("ada", row.segment_s, *row.labels)
    said("bob", None, 1)
    assert account(store, options, project_with_clips.grid) == {"pairs": 1, "pairs_of_unlike_segments_joined": 1}
    said("lead#settled", None, -1)
    assert account(store, options, project_with_clips.grid) == {"pairs": 1, "answers_that_a_settled_label_replaces": 2}


def test_pairs_by_another_system_are_not_compared(
    store: Store, scene: Scene, rows: SceneRows, project_with_clips: ProjectWithClips
) -> None:
    """What training starts from made them, or they were brought along."""
    clip = rows.clip(scene, "one")
    tuned = [replace(rows.candidate(clip, f"tuned {k}", "take"), system="round-1") for k in range(2)]
    theirs = [rows.candidate(clip, f"theirs {k}", "imported") for k in range(2)]
    store.add([clip, *tuned, *theirs])
    store.add([rows.preference(f"{name} 0", f"{name} 1", (1, 1, 1, 1)) for name in ("tuned", "theirs")])

    def left(system: str) -> list[str]:
        grid = replace(project_with_clips.grid, system=system)
        return [c.views[0].media for c in comparisons(store, Options(mode="vanilla"), grid)]

    assert left("base") == ["theirs 0"] and left("round-1") == ["tuned 0", "theirs 0"]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [((1,), 1), ((1, -1), 0), ((1, 1, -1, 0), 1), ((-1, 0, 0, 0), -1), ((0, 0), 0), ((1, -1, -1), -1)],
)
def test_majority(labels: tuple[int, ...], expected: int) -> None:
    assert majority(labels) == expected
    assert majority(tuple(-label for label in labels)) == -expected


@pytest.mark.parametrize(
    ("labels", "kept"),
    [
        ((1, 0, 0, 0, 0), False),  # exactly 20 % is not more than 20 %
        ((1, -1, 0, 0, 0), True),
        ((0, 0, 0, 0, 0), False),
    ],
)
def test_only_pairs_with_more_than_a_fifth_labelled(
    labels: tuple[int, ...],
    kept: bool,
    store: Store,
    scene: Scene,
    rows: SceneRows,
    project_with_clips: ProjectWithClips,
) -> None:
    """Five labels of 0.4 s."""
    clip = rows.clip(scene, "one")
    both = [rows.candidate(clip, name, "guided", 0.7) for name in "ab"]
    store.add([clip, *both, rows.preference("a", "b", labels, 0.4)])
    assert bool(comparisons(store, Options(), project_with_clips.grid)) is kept
    loose = comparisons(store, Options(least_labelled=0.0), project_with_clips.grid)
    assert bool(loose) is any(labels)


def test_a_pair_from_different_noise_levels_is_refused(
    store: Store, scene: Scene, rows: SceneRows, project_with_clips: ProjectWithClips
) -> None:
    clip = rows.clip(scene, "one")
    both = [rows.candidate(clip, name, "guided", eta) for name, eta in (("a", 0.7), ("b", 0.75))]
    store.add([clip, *both, rows.preference("a", "b", (1, 1, 1, 1))])
    with pytest.raises(ValueError, match=r"candidates a and b are a pair but started from noise levels 0\.7 and 0\.75"):
        comparisons(store, Options(), project_with_clips.grid)


def test_a_pair_from_different_noise_levels_may_be_asked_for(
    store: Store, scene: Scene, rows: SceneRows, project_with_clips: ProjectWithClips
) -> None:
    clip = rows.clip(scene, "one")
    both = [rows.candidate(clip, name, "guided", eta) for name, eta in (("a", 0.7), ("b", 0.75))]
    store.add([clip, *both, rows.preference("a", "b", (1, 1, 1, 1))])
    (one,) = comparisons(store, Options(mixed_eta=True), project_with_clips.grid)
    assert [view.media for view in one.views] == ["a", "b"]


def test_a_pair_of_different_clips_is_refused(
    store: Store, scene: Scene, rows: SceneRows, project_with_clips: ProjectWithClips
) -> None:
    clips = [rows.clip(scene, name) for name in ("one", "two")]
    both = [rows.candidate(clip, name, "guided", 0.7) for clip, name in zip(clips, "ab", strict=True)]
    store.add([*clips, *both, rows.preference("a", "b", (1, 1, 1, 1))])
    with pytest.raises(ValueError, match="a pair but answer different requests"):
        comparisons(store, Options(), project_with_clips.grid)


def test_labels_that_do_not_fit_the_clip_are_refused(
    store: Store, scene: Scene, rows: SceneRows, project_with_clips: ProjectWithClips
) -> None:
    clip = rows.clip(scene, "one")
    both = [rows.candidate(clip, name, "guided", 0.7) for name in "ab"]
    store.add([clip, *both, rows.preference("a", "b", (1, 1, 1, 1, 1, 1, 1, 1))])
    with pytest.raises(ValueError, match=r"8 labels of 0\.5 s do not fit a clip of 17 frames"):
        comparisons(store, Options(), project_with_clips.grid)


def test_judges_are_pooled_where_it_is_asked_for_alone_and_superseded_labels_are_left_out(
    store: Store, scene: Scene, rows: SceneRows, project_with_clips: ProjectWithClips
) -> None:
    clip = rows.clip(scene, "one")
    both = [rows.candidate(clip, name, "guided", 0.7) for name in "ab"]
    first = rows.preference("a", "b", (1, 1, 1, 1))
    person = replace(first, id="person", judge="person", labels=(-1, -1, -1, -1))
    again = replace(person, id="again", labels=(0, 0, -1, -1), supersedes="person")
    store.add([clip, *both, first, person, again])
    with pytest.raises(ValueError, match=r"train\.options\.judge: labels come from several judges .*person \(1 pair\)"):
        comparisons(store, Options(), project_with_clips.grid)
    pooled = comparisons(store, Options(judge="all"), project_with_clips.grid)
    assert [c.id for c in pooled] == [first.id, "again"]
    (only,) = comparisons(store, Options(judge="person"), project_with_clips.grid)
    assert only.terms[0].labels == (0, 0, 0, -1, -1)


def test_a_text_model_scores_latent_frame_0(project_with_clips: ProjectWithClips, text_only: LatentGrid) -> None:
    (first, *_) = comparisons(project_with_clips.store, Options(), text_only)
    assert first.views[0].first_frame == "" and first.terms[0].labels == (1, 1, 0, -1, 1)


D0, D1 = (0.0, 0.02, -0.01, 0.03, 0.01), (0.0, -0.01, 0.02, 0.01, 0.04)
BETA, LABELS = 20.0, (0, 1, 0, -1, 1)


@pytest.mark.parametrize("reduction", ["per_frame", "sum_inside"])
def test_the_loss_by_hand(reduction: Literal["per_frame", "sum_inside"], project_with_clips: ProjectWithClips) -> None:
    """The appendix's listing, a sigmoid per labelled frame, and equation 7, one sigmoid of the sum."""
    (first, *_) = comparisons(
        project_with_clips.store, Options(beta=BETA, reduction=reduction), project_with_clips.grid
    )
    inside = [-BETA / 2 * label * (a - b) for label, a, b in zip(LABELS, D0, D1, strict=True) if label]
    if reduction == "per_frame":
        expected = sum(math.log1p(math.exp(-x)) for x in inside) / len(inside)
    else:
        expected = math.log1p(math.exp(-sum(inside)))
    errors = ViewErrors(1 + torch.tensor([[D0, D1]]), torch.ones(1, 2, 5))
    assert float(loss(errors, collate([first.terms], 2, 5))) == pytest.approx(expected, rel=1e-5)
