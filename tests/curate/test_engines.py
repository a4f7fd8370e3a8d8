from __future__ import annotations

import importlib.util
import os
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil  # type: ignore[import-untyped]
import pytest

from rushes.curate import engines, motion, technical
from rushes.curate.base import CurationFinding, Engine, Task
from rushes.judges.endpoint import EndpointError
from rushes.media.write import write_video
from rushes.ray_workers import ray_module
from rushes.world.mechanics import FPS
from rushes.world.render import render
from rushes.world.scenes import draw_scenes


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> list[Task]:
    folder = tmp_path_factory.mktemp("clips")
    made = []
    for at, scene in enumerate(draw_scenes(0, 3, frames=9)):
        path = folder / f"ü {at}.mp4"
        write_video(path, render(scene), FPS, scale=2)
        made.append(Task(str(at), path, scene.caption, FPS, 9))
    return [*made, Task("gone", folder / "gone.mp4", "", FPS, 9)]


def both(task: Task) -> CurationFinding:
    """What two stages find, or their problem."""
    found = technical.measure(task), motion.measure(task)
    return CurationFinding({**found[0].values, **found[1].values}, {}, {}, found[0].problem)


def dies_at_1(task: Task) -> CurationFinding:
    if task.id == "1":
        os._exit(9)
    return CurationFinding({"seen": float(task.frames)})


def is_down(task: Task) -> CurationFinding:
    raise EndpointError("nobody answers")


def found(engine: Engine, measure: engines.MeasureTask, tasks: list[Task]) -> dict[str, CurationFinding]:
    return {task.id: finding for task, finding in engine(measure, iter(tasks))}


def test_processes_and_threads_find_what_one_finds(tasks: list[Task]) -> None:
    alone = found(engines.local(1), both, tasks)
    assert alone["gone"].problem and all(len(alone[id].values) > 12 for id in "012")
    assert found(engines.local(2), both, tasks) == alone


def test_a_worker_that_dies_costs_its_clip_alone(tasks: list[Task]) -> None:
    results = found(engines.local(2), dies_at_1, tasks)
    assert results["1"] == CurationFinding(problem=engines.DIED)
    assert {id for id, one in results.items() if one.values == {"seen": 9.0}} == {"0", "2", "gone"}


ENGINES = {"one": engines.local(1), "two": engines.local(2), "threads": engines.threads(2)}


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
def test_a_judge_that_is_down_is_said_as_it_was(engine: Engine, tasks: list[Task]) -> None:
    with pytest.raises(EndpointError, match=r"^nobody answers$"):
        found(engine, is_down, tasks)


def test_few_tasks_are_in_flight() -> None:
    asked, done, lock = 0, 0, threading.Lock()
    most = 0

    def tasks() -> Iterator[Task]:
        nonlocal asked, most
        for at in range(60):
            with lock:
                asked += 1
                most = max(most, asked - done)
            yield Task(str(at), Path(), "", 1.0, 1)

    def measure(task: Task) -> CurationFinding:
        nonlocal done
        time.sleep(0.001)
        with lock:
            done += 1
        return CurationFinding()

    assert len(list(engines.threads(3)(measure, tasks()))) == 60
    assert most <= 3 * engines.IN_FLIGHT + 1


def listening() -> set[str]:
    """Addresses at which this process, and what it started, can be reached."""
    own = psutil.Process()
    open_ = []
    for process in (own, *own.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):  # it ended meanwhile
            open_ += process.net_connections("inet")
    return {each.laddr.ip for each in open_ if each.status == psutil.CONN_LISTEN}


@pytest.mark.slow
def test_ray_finds_what_one_process_finds(tasks: list[Task]) -> None:
    if importlib.util.find_spec("ray") is None:
        pytest.skip("ray not installed")
    ray = ray_module()
    try:
        engine = engines.ray(2)
        assert found(engine, both, tasks) == found(engines.local(1), both, tasks)
        assert listening() <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
        inner = Path(ray._private.worker._global_node.get_temp_dir_path())
        assert stat.S_IMODE(inner.parent.stat().st_mode) == 0o700, "others may look into Ray's own folder"
        results = found(engine, dies_at_1, tasks)
        assert results["1"] == CurationFinding(problem=engines.DIED) and results["2"] == CurationFinding({"seen": 9.0})
        with pytest.raises(EndpointError, match=r"^nobody answers$"):
            found(engine, is_down, tasks)
    finally:
        ray.shutdown()


def test_findings_are_plain(tasks: list[Task]) -> None:
    for name, value in technical.measure(tasks[0]).values.items():
        assert type(value) is float and np.isfinite(value), name
