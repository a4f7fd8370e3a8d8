"""Parts of a work by workers of a Ray cluster, in order, whichever of them die."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, redirect_stdout, suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, Generic, Literal, TypeVar

from rushes.progress import Attempt, attempt

P = TypeVar("P")
EngineName = Literal["local", "ray"]  # this machine, or workers of a cluster
Make = Callable[[], AbstractContextManager[Callable[[Any], Any]]]

AHEAD = 4  # parts for each worker that may be done before the oldest is
MOST_DEATHS = 2
COMING = -1  # in place of a part: the worker starts


class WorkerDiedError(Exception):
    """Two workers died of one part."""


def ray_module() -> Any:
    """Ray. Raises ValueError: it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not os.environ.get("RAY_ADDRESS"):  # Ray reads it when it is imported: a cluster of this machine is on loopback
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    try:
        import ray
    except ImportError as error:
        raise ValueError("--engine ray needs Ray, which is not installed: make install EXTRAS=ray") from error
    return ray


def on_ray(
    make: Make, parts: Iterable[P], most: int = 0, *, on_gpu: bool = False, jobs: int = 0
) -> Iterator[tuple[P, Attempt]]:
    """Parts with their outcomes, in order, by workers each of which does one part at a time.

    A part whose worker dies is given to another; where that dies as well its outcome is a `WorkerDiedError`. A worker
    of which two parts in a row die gets no more. Those that the cluster has no room for yet are not waited for.

    Args:
        make: what a worker does, for as long as it lasts; it must be picklable.
        parts: read as they are needed, at most `AHEAD` for each worker before the oldest is done.
        most: workers; 0 = as many as the cluster has GPUs, or processors where it has no GPU or none helps.
        on_gpu: whether each worker has a GPU, where the cluster has any.
        jobs: processors of a cluster that is started here; 0 = all of the machine.

    Raises:
        ValueError: no worker is left. Exception: what all workers raised when they ended.
    """
    waiting = iter(parts)
    for first in waiting:
        ray = ray_module()
        _join(ray, jobs)
        there = ray.cluster_resources()
        gpus = int(there.get("GPU", 0)) if on_gpu else 0
        room = max(1, gpus or int(there.get("CPU", 1)))
        actor = ray.remote(num_cpus=1, num_gpus=int(gpus > 0))(_RayWorker)
        start = partial(actor.remote, ray.put((make, os.getcwd())))
        crew = _Crew[P](ray, start, min(most or room, room))
        with redirect_stdout(sys.stderr):  # where Ray says that a worker died, in this process
            yield from crew.outcomes(chain([first], waiting))


def _join(ray: Any, jobs: int) -> None:
    """Join the cluster that RAY_ADDRESS names, or start one that this machine and this user alone can reach."""
    if ray.is_initialized():
        return
    ours: dict[str, Any] = {}
    if not os.environ.get("RAY_ADDRESS"):
        # For its owner alone; Ray lets everybody into the one inside. The path of a socket must be short.
        folder = tempfile.mkdtemp(prefix="rushes-ray-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        atexit.register(ray.shutdown)  # before that
        ours = {
            "num_cpus": jobs or None,
            "include_dashboard": False,
            "_temp_dir": os.path.join(folder, "r"),
        }
    ray.init(log_to_driver=False, configure_logging=False, **ours)


class _RayWorker:
    """What runs in a worker: it is made ready when its first part comes."""

    def __init__(self, shared: tuple[Make, str]) -> None:
        self._make, folder = shared
        with suppress(OSError):  # so that relative paths are what they are where the command runs
            os.chdir(folder)
        self._stack = ExitStack()
        self._work: Callable[[Any], Any] | None = None

    def up(self) -> None:
        """Answers once the worker runs."""

    def do(self, part: Any) -> Attempt:
        """The outcome of a part."""
        if self._work is None:
            self._work, error = attempt(self._stack.enter_context, self._make())
            if error is not None:
                return None, error
        return attempt(self._work, part)

    def end(self) -> Exception | None:
        """End in order; what that raises."""
        return attempt(lambda stack: stack.close(), self._stack)[1]


@dataclass
class _Place:
    """Place of a worker; a worker that died is replaced."""

    worker: Any = None
    deaths: int = 0  # in a row
    used: bool = False  # the worker was given a part


class _Crew(Generic[P]):
    """Workers of a cluster, and who of them does what."""

    def __init__(self, ray: Any, start: Callable[[], Any], count: int) -> None:
        self._ray, self._start, self._count = ray, start, count
        dead = ray.exceptions
        self._deaths = (dead.RayActorError, dead.WorkerCrashedError, dead.NodeDiedError, dead.OutOfMemoryError)
        self._idle = deque[_Place]()
        self._running: dict[Any, tuple[_Place, int]] = {}  # by what is waited for: what it is of, `COMING` = of no part
        self._parts: dict[int, P] = {}  # without an outcome that was given out
        self._waiting = deque[int]()  # of these the ones that no worker does
        self._outcomes: dict[int, Attempt] = {}
        self._read, self._all_read = 0, False
        self._died = Counter[int]()  # workers of a part
        self._places = [_Place() for _ in range(count)]
        for place in self._places:
            self._fill(place)

    def _fill(self, place: _Place) -> None:
        """Start a worker."""
        place.worker = self._start()
        self._running[place.worker.up.remote()] = place, COMING

    def outcomes(self, parts: Iterator[P]) -> Iterator[tuple[P, Attempt]]:
        """See `on_ray`; the workers are gone after it."""
        at = 0
        try:
            while True:
                while len(self._waiting) < len(self._idle) and self._read < at + AHEAD * self._count:
                    if not self._next(parts):
                        break
                while self._idle and self._waiting:
                    place, part = self._idle.popleft(), self._waiting.popleft()
                    place.used = True
                    self._running[place.worker.do.remote(self._parts[part])] = place, part
                if self._all_read and at == self._read:
                    break
                if not self._running:
                    raise ValueError("--engine ray: every worker of the cluster died twice in a row; see Ray's logs")
                for ref in self._ray.wait(list(self._running), num_returns=1)[0]:
                    self._take(ref)
                while at in self._outcomes:
                    yield self._parts.pop(at), self._outcomes.pop(at)
                    at += 1
            self._end()
        finally:
            for place in self._places:
                self._ray.kill(place.worker)

    def _next(self, parts: Iterator[P]) -> bool:
        """Read a part; whether there is one."""
        for part in parts:
            self._parts[self._read] = part
            self._waiting.append(self._read)
            self._read += 1
            return True
        self._all_read = True
        return False

    def _take(self, ref: Any) -> None:
        """What became of that which a worker did."""
        place, part = self._running.pop(ref)
        try:
            outcome = self._ray.get(ref)
        except self._deaths as error:
            place.deaths += 1
            place.used = False
            if part != COMING:
                self._died[part] += 1
                if self._died[part] < MOST_DEATHS:
                    self._waiting.appendleft(part)
                else:
                    self._outcomes[part] = None, WorkerDiedError(str(error))
            if place.deaths < MOST_DEATHS:
                self._fill(place)
            return
        self._idle.append(place)
        if part != COMING:
            place.deaths = 0
            self._outcomes[part] = outcome

    def _end(self) -> None:
        errors = []
        for ending in [place.worker.end.remote() for place in self._places if place.used]:
            with suppress(*self._deaths):
                errors.append(self._ray.get(ending))
        if errors and all(errors):
            raise errors[0]
