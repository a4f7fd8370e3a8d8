"""How a stage goes on: a bar that is opened with a name and a total, what a wait is for, and who does the parts."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol, TypeVar

P = TypeVar("P")
R = TypeVar("R")
LONG_WAIT_S = 2.0


class Tick(Protocol):
    """Moves a bar."""

    def __call__(self, count: float, facts: str = "", /) -> None:
        """So much more is done, a fraction for part of one; `facts` is what else there is to say, such as the loss."""
        ...


Bar = Callable[[str, int], AbstractContextManager[Tick]]


@contextmanager
def no_bar(name: str, total: int) -> Iterator[Tick]:
    """A progress bar that shows nothing."""
    yield no_tick


def no_tick(count: float, facts: str = "", /) -> None:
    """Moves nothing."""


@contextmanager
def waiting(what: str, say: Callable[[str], None]) -> Iterator[None]:
    """Say what a wait is for, once it has taken two seconds."""
    timer = threading.Timer(LONG_WAIT_S, say, [f"{what} ..."])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class ParallelMap(Protocol):
    """Who does the parts of a work: this process, or several at once."""

    def __call__(self, parts: Sequence[P], work: Callable[[P], R], /) -> Iterator[tuple[P, R]]:
        """Each part with its result, in order. In a process that merely helps nothing comes, and the work is done."""
        ...


def in_turn(parts: Sequence[P], work: Callable[[P], R], /) -> Iterator[tuple[P, R]]:
    """This process does one part after the other; the next is begun when it is asked for."""
    return ((part, work(part)) for part in parts)


Attempt = tuple[Any, Exception | None]


def attempt(work: Callable[[P], R], part: P) -> Attempt:
    """The result of a part, or what it raised, as a value that another process can be sent."""
    try:
        return work(part), None
    except Exception as error:
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:  # libraries raise what cannot be sent, and say so in as many ways
            return None, RuntimeError(f"{type(error).__name__}: {error}")
        return None, error
