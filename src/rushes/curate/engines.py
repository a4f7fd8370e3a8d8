"""Where measuring runs: processes or threads of this machine, or Ray. What comes out is the same.

An engine takes a measurement and tasks and gives findings, in any order, with few tasks in flight. A worker that dies,
as decoders may on a broken file, costs its clip alone, by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import TypeVar

import cv2

from rushes.curate.base import CurationFinding, Engine, Task
from rushes.ray_workers import WorkerDiedError, on_ray, ray_module
from rushes.worker_pool import worker_pool

MeasureTask = Callable[[Task], CurationFinding]
Findings = Iterator[tuple[Task, CurationFinding]]
F = TypeVar("F")

IN_FLIGHT = 2  # tasks for each worker: one that runs and one that waits
DIED = "the worker process that measured it died; check the file, or leave the clip out"


def local(jobs: int) -> Engine:
    """`jobs` processes of one thread each, started anew; one job runs in this process."""

    def run(measure: MeasureTask, tasks: Iterator[Task]) -> Findings:
        if jobs == 1:
            with _one_thread():
                yield from ((task, measure(task)) for task in tasks)
            return
        yield from _processes(measure, tasks, jobs)

    return run


def threads(count: int) -> Engine:
    """`count` threads of this process, for measurements that wait for a model."""

    def run(measure: MeasureTask, tasks: Iterator[Task]) -> Findings:
        with ThreadPoolExecutor(count) as pool:
            running: dict[Future[CurationFinding], Task] = {}
            try:
                while _fill(running, tasks, IN_FLIGHT * count, lambda task: pool.submit(measure, task)):
                    yield from ((task, future.result()) for task, future in _done(running))
            finally:
                pool.shutdown(cancel_futures=True)

    return run


def ray(jobs: int) -> Engine:
    """Workers of a Ray cluster: of the one that RAY_ADDRESS names, else of one that is started here with `jobs`.

    Workers of other machines must see the project's folder under the same path.

    Raises ValueError: Ray is not installed.
    """
    ray_module()

    def run(measure: MeasureTask, tasks: Iterator[Task]) -> Findings:
        for task, (finding, error) in on_ray(partial(_measuring, measure), tasks, jobs, jobs=jobs):
            if error is not None and not isinstance(error, WorkerDiedError):
                raise error
            yield task, CurationFinding(problem=DIED) if error else finding

    return run


@contextmanager
def _measuring(measure: MeasureTask) -> Iterator[MeasureTask]:
    with _one_thread():
        yield measure


@contextmanager
def _one_thread() -> Iterator[None]:
    """OpenCV on one thread: its optical flow differs a little between numbers of threads."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _processes(measure: MeasureTask, tasks: Iterator[Task], jobs: int) -> Findings:
    """Where a process dies, all that were in flight are measured again, each in a process of its own."""
    running: dict[Future[CurationFinding], Task] = {}
    pool = _pool(jobs)
    try:
        while _fill(running, tasks, IN_FLIGHT * jobs, partial(_submitted, pool, measure)):
            suspects: list[Task] = []
            for task, future in _done(running):
                try:
                    yield task, future.result()
                except BrokenProcessPool:
                    suspects.append(task)
            if suspects:
                suspects += running.values()
                running.clear()
                pool.shutdown(wait=False, cancel_futures=True)
                yield from ((task, _by_itself(measure, task)) for task in suspects)
                pool = _pool(jobs)
    finally:
        pool.shutdown(cancel_futures=True)


def _submitted(pool: ProcessPoolExecutor, measure: MeasureTask, task: Task) -> Future[CurationFinding]:
    try:
        return pool.submit(measure, task)
    except BrokenProcessPool as error:  # it broke since: told as that of those that ran
        broken: Future[CurationFinding] = Future()
        broken.set_exception(error)
        return broken


def _by_itself(measure: MeasureTask, task: Task) -> CurationFinding:
    with _pool(1) as pool:
        try:
            return pool.submit(measure, task).result()
        except BrokenProcessPool:
            return CurationFinding(problem=DIED)


def _pool(jobs: int) -> ProcessPoolExecutor:
    return worker_pool(jobs, cv2.setNumThreads, 1)


def _fill(running: dict[F, Task], tasks: Iterator[Task], most: int, submit: Callable[[Task], F]) -> bool:
    """Put tasks in flight up to `most`; whether any are."""
    for task in islice(tasks, most - len(running)):
        running[submit(task)] = task
    return bool(running)


def _done(running: dict[Future[CurationFinding], Task]) -> Iterator[tuple[Task, Future[CurationFinding]]]:
    """Those that have finished, taken out; waits for one at least."""
    finished, _ = wait(running, return_when=FIRST_COMPLETED)
    yield from [(running.pop(future), future) for future in finished]
