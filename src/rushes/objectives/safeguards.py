"""Another objective, or guards for the winner, for any recipe: terms in, terms out.

A recipe says who wins under which label; what is said here holds for all of its preference terms alike, so recipes
know nothing of it. `[train.objective]` has the settings; the guard that needs gradients and not errors alone is in
`rushes.training.gradient_surgery`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from rushes.objectives.loss_types import LOSS_TYPES
from rushes.objectives.terms import ALONE, LossType, OwnLoss, Term, check_smoothing, check_weight, check_word

SUPERVISED, ABOVE = "supervised", "above_reference"  # levels that are added


def guarded(
    terms: Sequence[Term],
    *,
    loss: LossType = "sigmoid",
    label_smoothing: float = 0.0,
    reference_free: bool = False,
    sft_weight: float = 0.0,
    dpop_weight: float = 0.0,
) -> tuple[Term, ...]:
    """The terms of one comparison under another objective, with terms that hold its winner.

    The winner is that of the first level, the one a recipe is about: the real clip of `realdpo`, in each latent frame
    the better one of `densedpo`. Shares of weights are such that a guard's weight is per comparison, however many
    losers or frames there are.

    Args:
        terms: of a recipe.
        loss: loss type of all terms that compare.
        label_smoothing: probability that a label is wrong.
        reference_free: margins of the policy's errors alone.
        sft_weight: of the winner's own error. Reg-DPO (arXiv 2511.01450) reports that it steadies training on video,
            text- and image-to-video, with real clips as winners.
        dpop_weight: of the winner's error above the reference's; zero while there is none. See
            `rushes.objectives.losses.term_loss` for source and evidence.

    Terms that compare nothing have no winner and come back as they are.

    Raises ValueError: a loss type that compares nothing or is unknown, a smoothing of 0.5 or more, or a weight below 0.
    """
    check_word("guarded: loss", loss, tuple(LOSS_TYPES))
    check_smoothing("guarded: label_smoothing", label_smoothing)
    check_weight("guarded: sft_weight", sft_weight)
    check_weight("guarded: dpop_weight", dpop_weight)
    main = [term for term in terms if term.loss_type not in ALONE]
    if not main:
        return tuple(terms)
    winners = _winners([term for term in main if term.level == main[0].level])
    asked: tuple[tuple[str, OwnLoss, float], ...] = (
        (SUPERVISED, "error", sft_weight),
        (ABOVE, "excess", dpop_weight),
    )
    guards = [
        Term(level, coefficients, labels, weight=weight * share, loss_type=own)
        for level, own, weight in asked
        if weight
        for coefficients, labels, share in winners
    ]
    rest = (
        term
        if term.loss_type in ALONE
        else replace(term, loss_type=loss, smoothing=label_smoothing, reference=term.reference and not reference_free)
        for term in terms
    )
    return (*guards, *rest)


def _winners(terms: Sequence[Term]) -> list[tuple[tuple[float, ...], tuple[int, ...], float]]:
    """Who wins: coefficients of the winning views, summing to one, the frames they win, and the share of those."""
    views, frames = range(len(terms[0].coefficients)), range(len(terms[0].labels))
    won_by: defaultdict[tuple[float, ...], set[int]] = defaultdict(set)
    for f in frames:
        pull_V = [max(0.0, sum(t.weight * t.labels[f] * t.coefficients[v] for t in terms)) for v in views]
        if any(pull_V):
            won_by[tuple(round(pull / sum(pull_V), 12) for pull in pull_V)].add(f)
    scored = sum(map(len, won_by.values()))
    return [
        (coefficients, tuple(int(f in won) for f in frames), len(won) / scored) for coefficients, won in won_by.items()
    ]
