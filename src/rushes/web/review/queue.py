"""All clips of a project in the order in which a person looks at them, and what was decided; no clip is held whole.

A queue is a choice of clips in a fixed order. A clip that is decided leaves the queue of the undecided, but not its
place, so that "the next one" is well defined whoever decides what meanwhile.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from rushes.arrays import Indices
from rushes.records import Decision
from rushes.store.decisions import DecisionHistory

Queue = Literal["undecided", "near", "dropped", "in_set", "people", "all"]
QUEUES: tuple[Queue, ...] = get_args(Queue)
_BY_MARGIN = ("near", "dropped")  # those close to a threshold come first


@dataclass(frozen=True)
class QueueEntry:
    """What the queue knows of a clip beside what is decided about it."""

    id: str  # of the clip
    scenario: str = ""  # that it belongs to; "" = to none
    margin: float = math.inf  # how far what was measured lies from the nearest threshold, 0 up; infinite = unknown


@dataclass(frozen=True)
class ScenarioProgress:
    """How a scenario stands."""

    name: str  # "" = clips of none
    wanted: int | None  # clips; null = any number
    in_footage: int  # clips
    in_set: int  # clips
    by_people: int  # clips in the set that a person decided on
    missing: int = field(init=False)  # clips that the set still lacks

    def __post_init__(self) -> None:
        object.__setattr__(self, "missing", max(0, (self.wanted or 0) - self.in_set))


class ReviewQueue:
    """Clips and decisions in memory; threads may share it.

    Args:
        entries: every clip, in the order of the project.
        quotas: scenario -> clips wanted of it, None = any number; in the order to be shown.
        reserve: whether a decision is a program's that only held a clip back because its scenario was full.
    """

    def __init__(
        self,
        entries: Sequence[QueueEntry],
        quotas: Mapping[str, int | None],
        reserve: Callable[[Decision], bool] = lambda decision: False,
    ) -> None:
        self.ids = [entry.id for entry in entries]
        self.place = {id: at for at, id in enumerate(self.ids)}
        self.names = [*dict.fromkeys([*quotas, *(entry.scenario for entry in entries if entry.scenario)]), ""]
        self.quotas, self._reserve = quotas, reserve
        number = {name: at for at, name in enumerate(self.names)}
        self._scenario = np.array([number[entry.scenario] for entry in entries], np.int64)
        self._margin = np.array([entry.margin for entry in entries], float)
        size = len(entries)
        self._in_set, self._by_person, self._held_back = np.ones(size, bool), np.zeros(size, bool), np.zeros(size, bool)
        self._orders = {name: self._order(name) for name in QUEUES}
        self._ranks = {name: _inverse(order) for name, order in self._orders.items()}
        self._histories: dict[str, DecisionHistory] = {}
        self._lock = threading.RLock()

    def _order(self, name: Queue) -> Indices:
        if name in _BY_MARGIN:
            return np.argsort(self._margin, kind="stable")
        return np.arange(len(self.ids))

    def add(self, decisions: Iterable[Decision]) -> None:
        """Take in what was decided next, about clips of the project."""
        with self._lock:
            for decision in decisions:
                at = self.place.get(decision.subject)
                if at is None:
                    continue
                history = self._histories.setdefault(decision.subject, DecisionHistory())
                history.add(decision)
                counts = history.counts()
                self._in_set[at] = counts is None or counts.keep
                self._by_person[at] = bool(history.people)
                self._held_back[at] = counts is not None and not counts.keep and self._reserve(counts)

    def history(self, id: str) -> DecisionHistory:
        """What was said about a clip."""
        return self._histories.get(id) or DecisionHistory()

    def scenario(self, id: str) -> str:
        """The scenario of a clip; "" = none."""
        return self.names[int(self._scenario[self.place[id]])]

    def margin(self, id: str) -> float | None:
        """How far a clip lies from the nearest threshold, None = unknown."""
        margin = float(self._margin[self.place[id]])
        return margin if math.isfinite(margin) else None

    def after(
        self, name: Queue, scenario: str | None, start: str, leave_out: Iterable[str], count: int
    ) -> tuple[str, ...]:
        """The next clips of a queue, at most `count`, and none of the ids that are to be left out.

        `scenario`: None = of all, "" = of those that belong to none. `start`: id of a clip; those behind it in the
        queue's order are given; "" = from the beginning.
        """
        with self._lock:
            chosen = self._chosen(name, scenario)
            for id in leave_out:
                if id in self.place:
                    chosen[self.place[id]] = False
            begin = self._ranks[name][self.place[start]] + 1 if start in self.place else 0
            order = self._orders[name][begin:]
            return self._ids(order[chosen[order]][:count])

    def page(self, name: Queue, first: int, count: int) -> tuple[str, ...]:
        """The clips of a queue from the one with the number `first` on, counted from 0, at most `count`."""
        with self._lock:
            order = self._orders[name]
            return self._ids(order[self._chosen(name, None)[order]][first : first + count])

    def size(self, name: Queue, scenario: str | None = None) -> int:
        """How many clips are in a queue now."""
        with self._lock:
            return int(self._chosen(name, scenario).sum())

    def counts(self) -> tuple[ScenarioProgress, ...]:
        """How each scenario stands; clips without a scenario come last, where there are any."""
        with self._lock:
            size = len(self.names)
            in_footage = np.bincount(self._scenario, minlength=size)
            in_set = np.bincount(self._scenario[self._in_set], minlength=size)
            people = np.bincount(self._scenario[self._in_set & self._by_person], minlength=size)
        rows = zip(self.names, in_footage, in_set, people, strict=True)
        return tuple(
            ScenarioProgress(name, self.quotas.get(name), int(f), int(k), int(p)) for name, f, k, p in rows if name or f
        )

    def _chosen(self, name: Queue, scenario: str | None) -> NDArray[np.bool_]:
        if name == "undecided":
            chosen = (self._in_set | self._called_up()) & ~self._by_person
        elif name == "near":
            chosen = np.isfinite(self._margin) & ~self._by_person
        elif name == "dropped":
            chosen = ~self._in_set & ~self._by_person
        elif name == "in_set":
            chosen = self._in_set.copy()
        else:
            chosen = self._by_person.copy() if name == "people" else np.ones(len(self.ids), bool)
        if scenario is not None:
            number = self.names.index(scenario) if scenario in self.names else -1
            chosen &= self._scenario == number
        return chosen

    def _ids(self, places: Indices) -> tuple[str, ...]:
        return tuple(self.ids[at] for at in places)

    def _called_up(self) -> NDArray[np.bool_]:
        """Clips that were held back because their scenario was full, where it no longer is."""
        wanted = np.array([self.quotas.get(name) or 0 for name in self.names])
        in_set = np.bincount(self._scenario[self._in_set], minlength=len(self.names))
        called: NDArray[np.bool_] = self._held_back & (in_set < wanted)[self._scenario]
        return called


def _inverse(order: Indices) -> Indices:
    ranks = np.empty_like(order)
    ranks[order] = np.arange(len(order))
    return ranks
