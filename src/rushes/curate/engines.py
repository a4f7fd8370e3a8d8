"""Where measuring runs: processes or threads of this machine, or Ray. What comes out is the same.

An engine takes a measurement and tasks and gives findings, in any order, with few tasks in flight. A worker that dies,
as decoders may on a broken file, costs its clip alone, by name.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Any, TypeVar

import cv2

from rushes.curate.base import CurationFinding, Engine, Task

Measure = Callable[[Task], CurationFinding]
Findings = Iterator[tuple[Task, CurationFinding]]
F = TypeVar("F")

IN_FLIGHT = 2  # tasks for each worker: one that runs and one that waits
DIED = "the worker process that measured it died; look at the file, or leave the clip out"


def local(jobs: int) -> Engine:
    """`jobs` processes of one thread each, started anew; one job runs in this process."""

    def run(measure: Measure, tasks: Iterator[Task]) -> Findings:
        if jobs == 1:
            with _one_thread():
                yield from ((task, measure(task)) for task in tasks)
            return
        yield from _processes(measure, tasks, jobs)

    return run


def threads(count: int) -> Engine:
    """`count` threads of this process, for measurements that wait for a model."""

    def run(measure: Measure, tasks: Iterator[Task]) -> Findings:
        with ThreadPoolExecutor(count) as pool:
            running: dict[Future[CurationFinding], Task] = {}
            try:
                while _fill(running, tasks, IN_FLIGHT * count, lambda task: pool.submit(measure, task)):
                    yield from ((task, future.result()) for task, future in _done(running))
            finally:
                pool.shutdown(cancel_futures=True)

    return run


def ray(jobs: int) -> Engine:
    """Tasks of a Ray cluster: of the one that RAY_ADDRESS names, else of one that is started here with `jobs` workers.

    Workers of other machines must see the project's folder under the same path.

    Raises ValueError: Ray is not installed.
    """
    try:
        import ray as cluster
    except ImportError as error:
        raise ValueError("--engine ray needs Ray, which is not installed: pip install 'rushes[ray]'") from error

    def run(measure: Measure, tasks: Iterator[Task]) -> Findings:
        _join(cluster, jobs)
        remote = cluster.remote(num_cpus=1, max_retries=1)(_alone)
        measure_ref = cluster.put(measure)
        running: dict[Any, Task] = {}
        try:
            while _fill(running, tasks, IN_FLIGHT * jobs, lambda task: remote.remote(measure_ref, task)):
                ready, _ = cluster.wait(list(running), num_returns=1)
                for future in ready:
                    yield running.pop(future), _of_ray(cluster, future)
        finally:
            for future in running:
                cluster.cancel(future, force=True)

    return run


def _join(cluster: Any, jobs: int) -> None:
    if cluster.is_initialized():
        return
    shared = os.environ.get("RAY_ADDRESS")
    ours = {} if shared else {"num_cpus": jobs, "include_dashboard": False}
    cluster.init(log_to_driver=False, configure_logging=False, **ours)


def _of_ray(cluster: Any, future: Any) -> CurationFinding:
    try:
        finding = cluster.get(future)
    except cluster.exceptions.WorkerCrashedError:
        return CurationFinding(problem=DIED)
    if isinstance(finding, Exception):  # as it was raised: Ray would wrap it
        raise finding
    assert isinstance(finding, CurationFinding)
    return finding


def _alone(measure: Measure, task: Task) -> CurationFinding | Exception:
    with _one_thread():
        try:
            return measure(task)
        except Exception as error:  # told as a value, and raised again where the tasks came from
            return error


@contextmanager
def _one_thread() -> Iterator[None]:
    """OpenCV on one thread: its optical flow differs a little between numbers of threads."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _processes(measure: Measure, tasks: Iterator[Task], jobs: int) -> Findings:
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


def _submitted(pool: ProcessPoolExecutor, measure: Measure, task: Task) -> Future[CurationFinding]:
    try:
        return pool.submit(measure, task)
    except BrokenProcessPool as error:  # it broke since: told as that of those that ran
        broken: Future[CurationFinding] = Future()
        broken.set_exception(error)
        return broken


def _by_itself(measure: Measure, task: Task) -> CurationFinding:
    with _pool(1) as pool:
        try:
            return pool.submit(measure, task).result()
        except BrokenProcessPool:
            return CurationFinding(problem=DIED)


def _pool(jobs: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), initializer=cv2.setNumThreads, initargs=(1,))


def _fill(running: dict[F, Task], tasks: Iterator[Task], most: int, submit: Callable[[Task], F]) -> bool:
    """Put tasks in flight up to `most`; whether any are."""
    for task in islice(tasks, most - len(running)):
        running[submit(task)] = task
    return bool(running)


def _done(running: dict[Future[CurationFinding], Task]) -> Iterator[tuple[Task, Future[CurationFinding]]]:
    """Those that have finished, taken out; waits for one at least."""
    finished, _ = wait(running, return_when=FIRST_COMPLETED)
    yield from [(running.pop(future), future) for future in finished]
