"""People's blind votes between two systems on held-out prompts: which pairs there are, how they stand, what is enough.

A vote is a preference of the dimension `records.VOTE` between takes of one prompt and seed. The study may be looked at
after every vote: `rushes.stats.watch` holds at all times. Its outcomes are clusters of prompts, in the order in which
they became complete, as two votes on one prompt are no independent evidence and a vote that came later would change
the past. Which pair is offered next depends on no vote.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from rushes.evaluate.prompt_clusters import clusters_of_store
from rushes.judges.label_agreement import first_slot
from rushes.records import BASE, Candidate, Preference
from rushes.report.model import BLIND, Judged
from rushes.stats import StoppingDecision, WinRate, more_expected, watch, wilson, win_rate
from rushes.store.annotators import AGAIN, turned_round
from rushes.store.database import Store
from rushes.text_reader import counted

TakeIds = frozenset[str]  # ids of its takes
ENOUGH = {"better": "is better", "worse": "is worse", "equal": "is as good"}


@dataclass(frozen=True)
class VoteStanding:
    """Where people's votes between a run and the base stand; outcomes are of the run."""

    run: str
    people: int  # who voted
    votes: int  # answers, with those that could not tell
    pairs: int  # pairs to vote on
    complete: int  # pairs that as many people answered as the settings ask
    prompts: int  # independent ones
    prompts_complete: int  # prompts with votes on all of their pairs, which the stopping rule counts
    wins: int  # pairs
    ties: int
    losses: int
    differ: int  # pairs on which people differ
    decision: str  # better, worse, equal or undecided
    rate: float | None = None  # win rate over complete prompts, 0 to 1; null = none is complete
    low: float | None = None  # end of an interval that holds at all times
    high: float | None = None
    after: int = 0  # complete prompts at which the study could first have stopped; 0 = not yet
    more_prompts: int | None = None  # expected number of further prompts; null = unknown, or more than the project has

    @property
    def enough(self) -> bool:
        """Whether the study may stop."""
        return self.after > 0

    def in_words(self) -> str:
        """The same in two sentences: what may be said, and what comes next."""
        if self.rate is None:
            return f"{self.run} against {BASE}: no prompt has all of its votes yet ({counted(self.pairs, 'pair')})."
        interval = f"win rate {self.rate:.2f}, within {self.low:.2f} to {self.high:.2f} at any time the vote stops"
        outcome = f"{self.run} {ENOUGH[self.decision]}" if self.enough else f"{self.run} against {BASE}: undecided"
        what = f"{outcome} ({interval}; {counted(self.prompts_complete, 'independent prompt')})."
        return f"{what} {self._next()}"

    def _next(self) -> str:
        left = self.prompts - self.prompts_complete
        if self.enough:
            return "Enough: the vote may stop."
        if not left:
            return "All held-out prompts have their votes: only more prompts can decide."
        if self.more_prompts is None:
            return f"{counted(left, 'prompt')} without all votes; it is too early to say how many more are needed."
        if self.more_prompts > left:
            more = counted(self.more_prompts, "more prompt")
            return (
                f"{more} expected to be needed, but only {left} are left: add held-out prompts, or expect no decision."
            )
        return f"{counted(self.more_prompts, 'more prompt')} expected to be needed."


@dataclass(frozen=True)
class _Votes:
    """Votes between two systems, as of the second one."""

    cluster_of: Mapping[TakeIds, str]  # the cluster of prompts that each pair belongs to
    outcomes: Mapping[TakeIds, Mapping[str, float | None]]  # by person, None = cannot tell; in order of first answers
    rows: Sequence[Preference]  # that count, the second system on the left

    @property
    def people(self) -> int:
        """Who voted."""
        return len({name for by in self.outcomes.values() for name in by})

    @property
    def differ(self) -> int:
        """Pairs on which people differ."""
        return sum(len({value for value in by.values() if value is not None}) > 1 for by in self.outcomes.values())

    def mean(self, pair: TakeIds) -> float | None:
        """What those who could tell said of a pair; None where there are none."""
        values = [value for value in self.outcomes.get(pair, {}).values() if value is not None]
        return sum(values) / len(values) if values else None

    def wins(self) -> WinRate | None:
        """Pairs by the side that more people chose; None without votes."""
        voted = [(c, mean) for pair, c in self.cluster_of.items() if (mean := self.mean(pair)) is not None]
        if not voted:
            return None
        return win_rate([0.5] * len(voted), [mean for _, mean in voted], "higher", clusters=[c for c, _ in voted])

    def finished(self, complete: Sequence[TakeIds]) -> list[float]:
        """The mean outcome of each cluster all of whose pairs are complete, in the order in which they became so; one
        that nobody could judge is left out."""
        waiting: dict[str, set[TakeIds]] = {}
        for pair, cluster in self.cluster_of.items():
            waiting.setdefault(cluster, set()).add(pair)
        members = {cluster: frozenset(of) for cluster, of in waiting.items()}
        outcomes = []
        for pair in complete:
            cluster = self.cluster_of[pair]
            waiting[cluster].discard(pair)
            if not waiting[cluster]:
                means = [mean for of in members[cluster] if (mean := self.mean(of)) is not None]
                outcomes += [sum(means) / len(means)] if means else []
        return outcomes


def systems_with_pairs(store: Store) -> list[str]:
    """Systems that have held-out takes of prompts and seeds that the base has too, those that came last at the end."""
    base = _held_out(store, BASE)
    others = dict.fromkeys(take.system for take in store.candidates(split="eval") if take.kind == "take")
    return [name for name in others if name != BASE and base.keys() & _held_out(store, name).keys()]


def vote_pairs(store: Store, first: str, second: str) -> list[tuple[Candidate, Candidate]]:
    """Takes of both systems for the same held-out prompt and seed."""
    a, b = _held_out(store, first), _held_out(store, second)
    return [(a[key], b[key]) for key in sorted(a.keys() & b.keys())]


def standing_of(store: Store, run: str, each: int, seed: int = 0) -> VoteStanding:
    """Where the votes between a run and the base stand, where `each` people vote on a pair."""
    votes = _votes_between(store, BASE, run)
    complete = [pair for pair, by in votes.outcomes.items() if len(by) >= each]
    finished, wins = votes.finished(complete), votes.wins()
    return VoteStanding(
        run=run,
        people=votes.people,
        votes=sum(map(len, votes.outcomes.values())),
        pairs=len(votes.cluster_of),
        complete=len(complete),
        prompts=len(set(votes.cluster_of.values())),
        prompts_complete=len(finished),
        wins=wins.wins if wins else 0,
        ties=wins.ties if wins else 0,
        losses=wins.losses if wins else 0,
        differ=votes.differ,
        **_rule(watch(finished) if finished else None, finished, seed),
    )


def judged_by_people(store: Store, systems: Sequence[str]) -> tuple[Judged, ...]:
    """What people voted between each two of some systems, as the report has it of judges; pairs without votes are
    left out. A pair counts as the side that more of them chose, else as a tie."""
    return tuple(row for first, second in combinations(systems, 2) if (row := _judged(store, first, second)))


def _judged(store: Store, first: str, second: str) -> Judged | None:
    votes = _votes_between(store, first, second)
    wins = votes.wins()
    if wins is None:
        return None
    shown_first, decided = first_slot(votes.rows)
    return Judged(
        counted(votes.people, "person", "people") + BLIND,
        first,
        second,
        wins=wins,
        disagreed=votes.differ,
        unreadable=sum(all(value is None for value in by.values()) for by in votes.outcomes.values()),
        first_slot=wilson(shown_first, decided) if decided else None,
    )


def _held_out(store: Store, system: str) -> dict[tuple[str, int], Candidate]:
    takes = store.candidates(split="eval", system=system)
    return {(take.group, take.seed): take for take in takes if take.kind != "probe"}


def _votes_between(store: Store, first: str, second: str) -> _Votes:
    pairs = vote_pairs(store, first, second)
    clusters = clusters_of_store(store, (take for pair in pairs for take in pair))
    cluster_of = {frozenset((base.id, other.id)): clusters[base.group] for base, other in pairs}
    seconds = {frozenset((base.id, other.id)): other.id for base, other in pairs}
    rows = store.preferences(current=False, votes=True)
    replaced = {row.supersedes for row in rows}
    outcomes: dict[TakeIds, dict[str, float | None]] = {}
    counting: dict[tuple[TakeIds, str], Preference] = {}
    for row in rows:  # the last entry stays last: a pair is complete when its last first answer came
        pair = frozenset((row.left, row.right))
        if pair not in seconds or row.judge.endswith(AGAIN):
            continue
        by = outcomes.pop(pair, {}) if row.judge not in outcomes.get(pair, {}) else outcomes[pair]
        outcomes[pair] = by
        by.setdefault(row.judge, None)
        if row.id not in replaced:
            turned = row if row.left == seconds[pair] else turned_round(row)
            by[row.judge] = None if row.unjudged else 0.5 + turned.labels[0] / 2
            counting[pair, row.judge] = turned
    return _Votes(cluster_of, outcomes, tuple(counting.values()))


def _rule(rule: StoppingDecision | None, outcomes: Sequence[float], seed: int) -> dict[str, Any]:
    if rule is None:
        return {"decision": "undecided"}
    more = None if rule.after else more_expected(outcomes, seed=seed)
    rate = rule.rate
    return {"decision": rule.decision, "rate": rate.value, "low": rate.low, "high": rate.high, "after": rule.after,
            "more_prompts": 0 if rule.after else more}  # fmt: skip
