"""Terms that compare a thing with itself: an edit that changed nothing, a caption that is not another one.

Such a term's logit is zero at every time and noise, and so is its gradient: it would cost passes and water down the
accuracies that are logged. This one rule stands in for a special case in each recipe.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from rushes.objectives.terms import ALONE, Term
from rushes.store.latents import LatentStore
from rushes.training.batches import seen
from rushes.training.comparison import Comparison, View

NEARLY = 0.05  # root mean square difference of two latent frames that counts as none, as a share of the clip's spread


def drop_same(comparisons: Sequence[Comparison], latents: LatentStore) -> tuple[list[Comparison], Counter[str]]:
    """Comparisons without terms whose views are the same and without views that no other term needs.

    One without any term is left out.

    Returns:
        The comparisons in their order, and how many terms of each level were dropped.
    """
    kept, dropped = [], Counter[str]()
    for comparison in comparisons:
        dead = [term for term in comparison.terms if _compares_nothing(term, comparison.views, latents)]
        dropped.update(term.level for term in dead)
        alive = [term for term in comparison.terms if term not in dead]
        if alive:
            kept.append(narrowed(comparison, alive) if dead else comparison)
    return kept, dropped


def narrowed(comparison: Comparison, terms: Sequence[Term]) -> Comparison:
    """The comparison with some of its terms and with the views that these need."""
    needed = [v for v in range(len(comparison.views)) if any(term.coefficients[v] for term in terms)]
    fewer = (replace(term, coefficients=tuple(term.coefficients[v] for v in needed)) for term in terms)
    return replace(comparison, views=tuple(comparison.views[v] for v in needed), terms=tuple(fewer))


def _compares_nothing(term: Term, views: Sequence[View], latents: LatentStore) -> bool:
    used = [view for view, a in zip(views, term.coefficients, strict=True) if a]
    if term.link in ALONE:
        return False
    first, *others = used
    # Other clips differ, as their content does; reading them to find out would cost as much as an epoch.
    if any(view.caption != first.caption or (view.media != first.media and not view.edit) for view in others):
        return False
    shown, scored = seen(first, latents), [f for f, label in enumerate(term.labels) if label]
    given = [0] if first.first_frame else []
    return all(_nearly(shown, seen(view, latents), [*given, *scored]) for view in others)


def _nearly(one_CFHW: Tensor, other_CFHW: Tensor, frames: Sequence[int]) -> bool:
    difference_F = (one_CFHW - other_CFHW)[:, list(frames)].square().mean((0, 2, 3)).sqrt()
    return float(difference_F.max()) <= NEARLY * float(one_CFHW.std())
