from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import httpx
import pytest

from rushes.store.database import Store
from rushes.web.labeling.assignments import AssignmentStore
from rushes.web.labeling.label_rows import row_id

from .load import free_port, make_project, run, start


@pytest.mark.slow
def test_fifty_people_lose_no_label_when_the_server_is_killed(tmp_path: Path) -> None:
    """Latency is bounded loosely here, as the machine may be busy; `python tests/web/labeling/load.py` measures it."""
    people, pairs = 50, 4
    seen = run(tmp_path / "project", people, pairs, watchers=10)
    with (
        Store.open(tmp_path / "project") as store,
        AssignmentStore(tmp_path / "project" / "labelling.db") as assignments,
    ):
        rows = {row.id: row for row in store.preferences(current=False)}
        for event, (name, item_id) in seen.acknowledged.items():
            item = assignments.get(item_id)
            assert item is not None and item.annotator == name
            assert rows[row_id(item, event, "overall")].judge == f"human:{name}"
    assert len(seen.acknowledged) == len(rows) == people * pairs
    assert set(Counter((row.left, row.right) for row in rows.values()).values()) == {1}
    assert max(seen.p95_ms()) < 2000 and len(seen.home_s) >= 10


@pytest.mark.slow
def test_no_answer_waits_for_the_other_sides_delayed_ack(tmp_path: Path) -> None:
    """An answer in two packets takes 40 ms on any machine where the second waits for the first to be acknowledged."""
    make_project(tmp_path / "project", 2)
    port, seconds = free_port(), []
    address = f"http://127.0.0.1:{port}"
    server, _, _ = start(tmp_path / "project", port)
    try:
        with httpx.Client(base_url=address, headers={"origin": address}) as client:
            for _ in range(12):
                began = time.perf_counter()
                client.get("/api/hello")
                seconds.append(time.perf_counter() - began)
    finally:
        server.kill()
        server.join()
    assert min(seconds[1:]) < 0.03
