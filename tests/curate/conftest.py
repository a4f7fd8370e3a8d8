"""A scripted endpoint on 127.0.0.1 and the file of its answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import stamina

from rushes.curate.asking import hang_up

from ..fake_endpoint import FakeEndpoint, serve


@pytest.fixture
def fake() -> Iterator[FakeEndpoint]:
    with serve(FakeEndpoint()) as running:
        yield running


@pytest.fixture
def answers(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "answers.db"
    hang_up()


@pytest.fixture
def quick() -> Iterator[None]:
    """No waiting between attempts."""
    with stamina.set_testing(True, attempts=2, cap=True):
        yield
