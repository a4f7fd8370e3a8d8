"""Terms that compare a thing with itself are found, taken out with their views, and counted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rushes.objectives.terms import Term
from rushes.store.latents import LatentStore, edited_key, first_frame_key
from rushes.training.comparison import OWN, Comparison, View
from rushes.training.sameness import NEARLY, drop_same

LABELS = (0, 1, 1, 1, 1)
CLIP = View("clip", "a ball", "clip", "real")
TAKE = View("take", "a ball", "clip", "take")


def edited(name: str) -> View:
    return replace(CLIP, edit=name, source="edited")


@pytest.fixture
def latents(tmp_path: Path) -> LatentStore:
    """A clip and copies of it that differ nowhere, in the given first frame alone, hardly, or in one frame."""
    clean = torch.randn(3, 5, 4, 4, generator=torch.Generator().manual_seed(0))
    first, last, hardly = clean.clone(), clean.clone(), clean.clone()
    first[:, 0] += 1
    last[:, 4] += 2 * NEARLY * clean.std()
    hardly[:, 4] += 0.9 * NEARLY * clean.std()
    many = {"nothing": clean, "first": first, "last": last, "hardly": hardly}
    store = LatentStore(tmp_path, "same")
    store.put({edited_key("clip", name): latent for name, latent in many.items()})
    store.put({"clip": clean.clone(), "take": clean + 1, first_frame_key("clip"): clean[:, :1].clone()})
    return store


def pair(loser: View, winner: View = CLIP, **changes: object) -> Comparison:
    term = replace(Term("clip", (1.0, -1.0), LABELS, 500.0), **changes)  # type: ignore[arg-type]
    return Comparison("pair", "prompt", (winner, loser), (term,))


@pytest.mark.parametrize(
    ("loser", "same"),
    [
        (edited("nothing"), True),
        (edited("hardly"), True),
        (edited("first"), True),  # what is given and not scored is the real clip's for both
        (replace(edited("first"), first_frame=OWN), False),  # here it is the copy's own
        (edited("last"), False),
        (replace(CLIP, caption="a cube"), False),
        (CLIP, True),  # a wrong caption that is the true one
        (TAKE, False),
        (replace(edited("nothing"), caption="a cube"), False),
    ],
    ids=str,
)
def test_what_counts_as_the_same(loser: View, same: bool, latents: LatentStore) -> None:
    kept, dropped = drop_same([pair(loser)], latents)
    assert (not kept, dict(dropped)) == (same, {"clip": 1} if same else {})
    if kept:
        assert kept == [pair(loser)]


def test_a_text_model_is_scored_on_its_first_frame_too(latents: LatentStore) -> None:
    winner = replace(CLIP, first_frame="")
    loser = replace(edited("first"), first_frame="")
    assert drop_same([pair(loser, winner, labels=(1,) * 5)], latents)[0]
    assert not drop_same([pair(loser, winner, labels=LABELS)], latents)[0]


def test_other_clips_are_not_read(latents: LatentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    get = latents.get

    def counted(key: str) -> torch.Tensor | None:
        read.append(key)
        return get(key)

    monkeypatch.setattr(latents, "get", counted)
    assert drop_same([pair(TAKE)], latents)[0] and not read


def test_the_rest_of_a_comparison_stays_without_views_that_nobody_needs(latents: LatentStore) -> None:
    views = (CLIP, edited("nothing"), TAKE, edited("last"))
    terms = (
        Term("state", (1.0, -1.0, 0.0, 0.0), LABELS, 500.0, weight=0.4),
        Term("instance", (1.0, 0.0, -0.7, -0.3), LABELS, 500.0),
    )
    (only,), dropped = drop_same([Comparison("id", "group", views, terms)], latents)
    assert dropped == {"state": 1}
    assert only.views == (CLIP, TAKE, edited("last"))
    assert only.terms == (Term("instance", (1.0, -0.7, -0.3), LABELS, 500.0),)


def test_a_clip_by_itself_is_compared_with_nothing_and_stays(latents: LatentStore) -> None:
    own = Term("supervised", (1.0, 0.0), LABELS, weight=0.1, link="error")
    beside = pair(edited("nothing"))
    alone = Comparison("alone", "prompt", (CLIP,), (replace(own, coefficients=(1.0,)),))
    kept, dropped = drop_same([replace(beside, terms=(own, *beside.terms)), alone], latents)
    assert [(c.views, c.terms) for c in kept] == [((CLIP,), alone.terms)] * 2 and dropped == {"clip": 1}


def test_a_mixture_is_the_same_only_where_all_of_it_is(latents: LatentStore) -> None:
    mixed = Term("instance", (1.0, -0.7, -0.3), LABELS, 500.0)
    for others, same in (((edited("nothing"), edited("hardly")), True), ((edited("nothing"), edited("last")), False)):
        kept, _ = drop_same([Comparison("id", "group", (CLIP, *others), (mixed,))], latents)
        assert (not kept) == same
