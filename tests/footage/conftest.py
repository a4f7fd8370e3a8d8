"""An empty project."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rushes.store.database import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.create(tmp_path / "project") as made:
        yield made
