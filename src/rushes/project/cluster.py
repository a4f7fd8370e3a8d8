"""`--engine ray`: workers of a Ray cluster do the parts of a work, and the process of the command has the database.

They take the orders of `rushes.project.processes`, as the processes of `--gpus` do. They come and go: what concerns all
at once, such as training, is not for them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from torch import Tensor, nn

from rushes.progress import Attempt, ParallelMap, attempt
from rushes.project.processes import Order, WorkerProcess
from rushes.ray_workers import WorkerDiedError, on_ray, ray_module
from rushes.text_reader import counted
from rushes.training.parallel import Ranks, own_device

T = TypeVar("T")
P = TypeVar("P")
R = TypeVar("R")
Weights = Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Cluster(Ranks):
    """The process of the command, as the first among workers that it finds when there is work."""

    size: int = 2  # or more: it is not alone
    folder: Path  # of the project
    _weights: dict[str, Tensor] = field(default_factory=dict)  # that differ from the base's

    def __post_init__(self) -> None:
        """Raises ValueError: Ray is not installed."""
        ray_module()

    @property
    def meet(self) -> bool:
        """They do not."""
        return False

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """All: nobody does the others."""
        return items

    def send(self, value: T | None) -> T:
        """The value. Workers get it with their order."""
        return value  # type: ignore[return-value]

    def wait(self) -> None:
        """Nothing: workers do not wait for each other."""

    def match(self, network: nn.Module, frozen: bool = False) -> None:
        """Keep for the workers the weights that they cannot read from the base's files."""
        named = network.named_parameters()
        self._weights.update({name: p.detach().cpu() for name, p in named if p.requires_grad or frozen})

    def sharing(self, order: Any, *, on_gpu: bool = True, most: int = 0) -> ParallelMap:
        """See `Ranks.sharing`: the workers that are there do the parts.

        Raises:
            ValueError: at the end, parts of which two workers died each.
        """
        folder = self.folder.resolve()

        def share(parts: Sequence[P], work: Callable[[P], R]) -> Iterator[tuple[P, R]]:
            weights, lost = dict(self._weights), 0
            self._weights.clear()
            workers = min(most or len(parts), len(parts))
            for part, (result, error) in on_ray(
                partial(_helping, folder, order, weights), parts, workers, on_gpu=on_gpu
            ):
                if isinstance(error, WorkerDiedError):
                    lost += 1
                elif error is not None:
                    raise error
                else:
                    yield part, result
            if lost:
                raise ValueError(
                    f"{counted(lost, 'part')} of {len(parts)} of the work failed, because each made two workers die "
                    "(perhaps for lack of memory); everything else is stored, so run the same command again"
                )

        return share


@dataclass(frozen=True, kw_only=True)
class _WorkerRanks(Ranks):
    """A worker, which has no other process to talk to but the one that gives it parts."""

    rank: int = 1
    size: int = 2
    weights: Weights
    parts: SimpleQueue[tuple[Any] | None] = field(default_factory=SimpleQueue)
    outcomes: SimpleQueue[Attempt] = field(default_factory=SimpleQueue)

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """All of what was not done before, which is found on the disk."""
        return items

    def wait(self) -> None:
        """Nothing."""

    def match(self, network: nn.Module, frozen: bool = False) -> None:
        """Weights of the process of the command, in place."""
        for name, p in network.named_parameters():
            if p.requires_grad or frozen:
                p.data.copy_(self.weights[name])

    def in_rounds(self, parts: Sequence[P], work: Callable[[P], R]) -> Iterator[tuple[P, R]]:
        """Do what comes until nothing comes any more."""
        while (part := self.parts.get()) is not None:
            self.outcomes.put(attempt(work, part[0]))
        return iter(())


@contextmanager
def _helping(folder: Path, order: Order, weights: Weights) -> Iterator[Callable[[Any], Any]]:
    """What a worker does of an order with a part. The order runs beside it, and waits for parts where it shares."""
    os.environ.setdefault("LOCAL_WORLD_SIZE", "2")  # as torchrun would: others may be on this machine
    ranks = _WorkerRanks(weights=weights, device=own_device())
    worker = WorkerProcess(folder, ranks)
    ended: list[Attempt] = []  # what the order ended with

    def run() -> None:
        ended.append(attempt(order, worker))
        ranks.outcomes.put(ended[0])

    def outcome() -> Any:
        # an order that failed, as a model did not fit, fails each part that still comes
        result, error = ended[0] if ended and ranks.outcomes.empty() else ranks.outcomes.get()
        if error is not None:
            raise error
        return result

    def work(part: Any) -> Any:
        ranks.parts.put((part,))
        return outcome()

    Thread(target=run, daemon=True).start()
    yield work
    ranks.parts.put(None)
    outcome()
