"""Processes of this machine that work for another one, and end with it."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any


def worker_pool(jobs: int, begin: Callable[..., object], *values: Any) -> ProcessPoolExecutor:
    """A pool of `jobs` processes that are started anew; each calls `begin` with these values first."""
    return ProcessPoolExecutor(
        jobs, multiprocessing.get_context("spawn"), initializer=_begin, initargs=(begin, *values)
    )


def end_with_parent(parent: int = 0) -> None:
    """End this process soon after the process that started it, which may be killed and then ends nobody.

    `parent`: its number, where this process knows it: it may have ended already; 0 = the parent that this process has.
    """
    parent = parent or os.getppid()

    def wait() -> None:
        while os.getppid() == parent:
            time.sleep(1)

    _end_after(wait)


def _begin(begin: Callable[..., object], *values: Any) -> None:
    starter = multiprocessing.parent_process()
    assert starter, "a worker of a pool has one"
    _end_after(starter.join)  # not `end_with_parent`: the starter may have ended while this process was importing
    begin(*values)


def _end_after(wait: Callable[[], object]) -> None:
    def watch() -> None:
        wait()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
