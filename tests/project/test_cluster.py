"""`--engine ray`: workers of a cluster do what one process does, whichever of them are killed."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from rushes.config.tables import Settings
from rushes.label import pairs as pairs_of
from rushes.project import generation, labels
from rushes.project.cluster import Cluster, _helping
from rushes.project.processes import WorkerProcess
from rushes.project.project import OpenProject, open_project
from rushes.ray_workers import ray_module
from rushes.store.database import Store

from ..fake_endpoint import Does, FakeEndpoint, serve
from ..projects import ReadContents, Rushes, SmallProject, Stage


@pytest.fixture(scope="module")
def ray() -> Iterator[None]:
    if importlib.util.find_spec("ray") is None:
        pytest.skip("ray not installed")
    cluster = ray_module()
    cluster.init(num_cpus=2, num_gpus=0, include_dashboard=False, log_to_driver=False, configure_logging=False)
    yield
    cluster.shutdown()


@pytest.fixture(name="done", scope="module")
def _done(stages: dict[str, Stage]) -> dict[str, Stage]:
    return stages


def on_cluster(folder: Path, settings: Settings) -> OpenProject:
    return open_project(folder, settings, ranks=Cluster(folder=folder))


def workers() -> list[int]:
    """Process ids of this test's workers that have been given something."""
    ids = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if (path / "cmdline").read_bytes().startswith(b"ray::_RayWorker.do") and _ours(int(path.name)):
                ids.append(int(path.name))
        except OSError:
            continue
    return ids


def _ours(process: int) -> bool:
    while process > 1:
        process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
        if process == os.getpid():
            return True
    return False


def kill_one() -> None:
    """Kill the first worker that does something."""
    while not (ids := workers()):
        time.sleep(0.02)
    os.kill(ids[0], signal.SIGKILL)


@pytest.mark.whole
def test_workers_store_what_one_process_does(
    ray: None, done: dict[str, Stage], tmp_path: Path, contents: ReadContents, small: SmallProject
) -> None:
    """Takes while a worker is killed, labels, and takes of a run, whose weights the workers are sent."""
    folder = shutil.copytree(done["generate"].before, tmp_path / "generate")
    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    with_workers = on_cluster(folder, small.settings)
    assert generation.generate_takes(with_workers).new == 12
    killer.join(1)
    assert not killer.is_alive()
    with_workers.store.close()
    assert contents(folder) == contents(done["generate"].after)

    labelled = shutil.copytree(done["label"].before, tmp_path / "label")
    labels.label_takes(on_cluster(labelled, small.settings))
    assert contents(labelled) == contents(done["label"].after)

    (run,) = open_project(done["train"].after, small.settings).store.runs()
    one, many = (shutil.copytree(done["train"].after, tmp_path / name) for name in ("one", "many"))
    generation.generate_takes(open_project(one, small.settings), system=run.name)
    generation.generate_takes(on_cluster(many, small.settings), system=run.name)
    assert contents(one) == contents(many) != contents(done["train"].after)


@pytest.mark.whole
def test_workers_ask_a_model(ray: None, done: dict[str, Stage], tmp_path: Path, small: SmallProject) -> None:
    fake = FakeEndpoint(lambda request: Does('{"reason": "r", "choice": "first"}'))
    label = small.settings.label.model_copy(update={"by": "vlm", "segment_s": 1.0})
    with serve(fake) as served:
        endpoint = small.settings.endpoint.model_copy(update={"url": served.url, "model": "m"})
        settings = small.settings.model_copy(update={"label": label, "endpoint": endpoint})
        folder = shutil.copytree(done["label"].before, tmp_path / "project")
        result = labels.label_takes(on_cluster(folder, settings))
        assert result.questions == {"answered": len(fake.requests)} and result.tie == len(fake.requests) // 2 > 0
        other = shutil.copytree(done["label"].before, tmp_path / "other")
        few = settings.model_copy(update={"endpoint": endpoint.model_copy(update={"max_calls": 5})})
        before = len(fake.requests)
        with pytest.raises(ValueError, match=r"endpoint.max_calls: all 5 calls"):
            labels.label_takes(on_cluster(other, few))
        assert len(fake.requests) - before <= 5


def refuses(helper: WorkerProcess) -> None:
    raise ValueError("no such weights")


def test_a_worker_does_the_parts_of_an_order(done: dict[str, Stage], small: SmallProject) -> None:
    folder = done["label"].before
    with Store.open(folder) as store:
        pairs = list(pairs_of(labels.to_compare(store, small.settings)))
    with Store.open(done["label"].after) as store:
        rows = {(row.left, row.right): row.labels for row in store.preferences()}
    order = partial(labels._judge_along, small.settings, small.settings.label.segment_s)
    with _helping(folder, order, {}) as work:
        for left, right in pairs[:2]:
            judgement, asked = work((left, right))
            assert judgement.labels == rows[left.id, right.id] and not asked
    with pytest.raises(ValueError, match="no such weights"), _helping(folder, refuses, {}) as work:
        work(pairs[0])


def test_a_cluster_has_no_processes_beside_it(project: Path, rushes: Rushes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    code, _, err = rushes("generate", project, "--engine", "ray", "--gpus", 2)
    assert (code, err) == (
        2,
        "rushes: --engine ray: the cluster's workers share the work; leave out --gpus and torchrun\n",
    )
    code, _, err = rushes("label", project, "--engine", "ray", "--by", "human")
    assert code == 2 and "people label on a page of this machine" in err


def test_an_order_that_fails_fails_every_part_that_still_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that does not fit: the worker answers at once each time, and its end does not wait either."""
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")

    def fails(helper: WorkerProcess) -> None:
        raise MemoryError("no room for the model")

    with pytest.raises(MemoryError, match="no room"), _helping(tmp_path, fails, {}) as work:
        for part in range(3):
            with pytest.raises(MemoryError, match="no room"):
                work(part)
