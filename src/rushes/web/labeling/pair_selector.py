"""Which pair a person gets next: new pairs whose label is most informative, and some that measure people."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
from numpy.typing import NDArray

from rushes.records import seed_of, stable_hash
from rushes.web.labeling.assignments import SIDES, Assignment, AssignmentKind, AssignmentStore
from rushes.web.labeling.label_rows import LabelingPlan
from rushes.web.labeling.vote_table import NONE, UNJUDGED, VoteTable

_BEFORE_REPEAT = 5
ShownPair = tuple[str, str, bool, tuple[str, ...]]
"""Left, right, whether the right one is shown first, and all takes as they are shown where they are to be ranked."""


class PairSelector:
    """Chooses among the pairs of a vote table. The same labels and the same seed give the same pairs."""

    def __init__(self, votes: VoteTable, assignments: AssignmentStore, plan: LabelingPlan) -> None:
        self._votes, self._assignments, self._plan = votes, assignments, plan
        self._luck = np.random.default_rng(plan.seed).permutation(votes.pairs)  # settles equal gains

    def pick(self, annotator: str, assigned: Collection[Assignment], until: float) -> Assignment | None:
        """A pair that is assigned to nobody, as an item of this person until then; None = nothing is left.

        Which kind it is goes by the shares of the plan; a kind that has no pair gives way to a new one.
        """
        number = self._assignments.count(annotator)
        luck = seed_of("item", self._plan.seed, annotator, number) / 16**8
        kinds: list[AssignmentKind] = ["new"]
        for kind, share in self._shares():
            if 0 <= luck < share:
                kinds.insert(0, kind)
            luck -= share
        if self._plan.overlap_share >= 1:
            kinds.append("overlap")
        for kind in kinds:
            shown = self._to_repeat(annotator, assigned) if kind == "repeat" else self._best(annotator, kind, assigned)
            if shown is not None:
                left, right, swapped, takes = shown
                id = stable_hash(["item", self._plan.seed, annotator, left, right, kind, number])
                return Assignment(
                    id, annotator, left, right=right, kind=kind, swapped=swapped, until=until, takes=takes
                )
        return None

    def _shares(self) -> Iterator[tuple[AssignmentKind, float]]:
        yield "repeat", self._plan.repeat_share
        if self._plan.gold_by:
            yield "gold", self._plan.gold_share
        yield "overlap", self._plan.overlap_share

    def _best(self, annotator: str, kind: AssignmentKind, assigned: Collection[Assignment]) -> ShownPair | None:
        votes, plan = self._votes, self._plan
        taken, free = votes.counts.copy(), votes.of(annotator) == NONE
        for item in (item for item in assigned if item.kind != "repeat"):
            for place in (votes.number(*pair) for pair in item.pairs):
                if place is not None:
                    taken[place[0]] += 1
                    free[place[0]] &= item.annotator != annotator
        for place in (votes.number(*pair) for pair in self._assignments.practised_pairs(annotator)):
            if place is not None:
                free[place[0]] = False
        if kind == "gold":
            key = votes.of(plan.gold_by)
            free &= (key != NONE) & (key != UNJUDGED)
        elif kind == "overlap":
            free &= (taken > 0) & (taken < plan.overlap)
        else:
            free &= taken == 0
        pairs = np.flatnonzero(free)
        if not pairs.size:
            return None
        gain = votes.gain[pairs]
        best = pairs[gain >= gain.max() - 1e-6] if plan.by_gain else pairs
        left, right = votes.sides(int(best[np.argmin(self._luck[best])]))
        if plan.ranks:
            return left, right, False, self._shuffled(annotator, self._several(left, right, free))
        return left, right, seed_of("side", plan.seed, annotator, left, right) % 2 == 1, ()

    def _several(self, left: str, right: str, free: NDArray[np.bool_]) -> list[str]:
        """The pair and more takes of its group, as long as a screen holds them and all their pairs are free."""
        votes, chosen = self._votes, [left, right]
        for take in votes.ids[votes.place[left][0]]:
            places = [votes.number(other, take) for other in chosen]
            if len(chosen) < len(SIDES) and all(place is not None and free[place[0]] for place in places):
                chosen.append(take)
        return chosen

    def _shuffled(self, annotator: str, takes: list[str]) -> tuple[str, ...]:
        return tuple(sorted(takes, key=lambda take: seed_of("side", self._plan.seed, annotator, take)))

    def _to_repeat(self, annotator: str, assigned: Collection[Assignment]) -> ShownPair | None:
        item = self._assignments.to_repeat(annotator, _BEFORE_REPEAT)
        if item is None or any(i.annotator == annotator and i.kind == "repeat" for i in assigned):
            return None
        return item.left, item.right, not item.swapped, item.takes[::-1]
