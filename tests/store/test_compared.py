"""What was compared is remembered from process to process."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rushes.files import content_hash
from rushes.store import latents
from rushes.store.compared import COMPARED_FILE
from rushes.store.latents import LatentStore
from rushes.store.media import MediaFolder

Counts = Callable[[], int]


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> Counts:
    """How often something was hashed since it was asked last; files are settled as soon as they are written."""
    calls = list[object]()

    def counted(function: Callable[[Any], str]) -> Callable[[Any], str]:
        def count(what: Any) -> str:
            calls.append(what)
            return function(what)

        return count

    monkeypatch.setattr("rushes.store.compared.SETTLED_NS", 0)
    monkeypatch.setattr("rushes.store.media.content_hash", counted(content_hash))
    monkeypatch.setattr(latents, "_checksum", counted(latents._checksum))

    def count() -> int:
        number = len(calls)
        calls.clear()
        return number

    return count


def lost(project: Path, digests: list[str]) -> set[str]:
    """As the next process asks."""
    media = MediaFolder(project / "media")
    with media.remembering():
        return media.lost(digests)


def mended(project: Path, *keys: str) -> int:
    return LatentStore(project / "latents", "a" * 24).mend(keys, remember=True)


def altered(path: Path) -> None:
    """Change one byte, with size and time of change as they were."""
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def videos(project: Path) -> list[str]:
    return [MediaFolder(project / "media").put_bytes(data, ".mp4") for data in (b"one", b"two")]


def test_a_video_that_did_not_change_is_read_once(tmp_path: Path, hashed: Counts) -> None:
    first, second = digests = videos(tmp_path)
    hashed()
    assert lost(tmp_path, digests) == set() and hashed() == 2
    assert lost(tmp_path, digests) == set() and hashed() == 0
    altered(MediaFolder(tmp_path / "media").locate(first))
    assert lost(tmp_path, digests) == {first} and hashed() == 1
    assert MediaFolder(tmp_path / "media").lost([second]) == set() and hashed() == 1  # verify reads all
    MediaFolder(tmp_path / "media").put_bytes(b"one", ".mp4")
    assert lost(tmp_path, digests) == set()


def test_a_latent_that_did_not_change_is_read_once(tmp_path: Path, hashed: Counts) -> None:
    store = LatentStore(tmp_path / "latents", "a" * 24)
    store.put({"a": torch.ones(1, 1, 2, 2), "é": torch.ones(1, 1, 2, 2)})
    store.put({"c": torch.ones(1, 1, 2, 2)})
    hashed()
    assert mended(tmp_path, "a") == 0 and hashed() == 1
    assert mended(tmp_path, "a", "é", "c") == 0 and hashed() == 2
    assert mended(tmp_path, "a", "é", "c") == 0 and hashed() == 0
    altered(store._shard_of["c"])
    assert mended(tmp_path, "a", "é", "c") == 1 and hashed() >= 1
    assert mended(tmp_path, "a", "é", "c") == 0 and hashed() == 0


def test_what_a_reader_finds_damaged_is_forgotten(
    tmp_path: Path, hashed: Counts, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LatentStore(tmp_path / "latents", "a" * 24)
    store.put({"a": torch.ones(1, 1, 2, 2)})
    (digest, _), shard = videos(tmp_path), store._shard_of["a"]
    monkeypatch.setattr("rushes.store.media.state_of", lambda path: path.name)  # a disk's fault leaves no trace
    monkeypatch.setattr("rushes.store.latents.state_of", lambda path: path.name)
    monkeypatch.setattr("rushes.store.compared.state_of", lambda path: path.name)
    assert lost(tmp_path, [digest]) == set() and mended(tmp_path, "a") == 0
    for path in (shard, MediaFolder(tmp_path / "media").locate(digest)):
        altered(path)
    assert lost(tmp_path, [digest]) == set() and mended(tmp_path, "a") == 0
    assert MediaFolder(tmp_path / "media").lost([digest]) == {digest}
    assert len(LatentStore(tmp_path / "latents", "a" * 24).verify()) == 1
    assert lost(tmp_path, [digest]) == {digest} and mended(tmp_path, "a") == 1


def test_what_changed_just_now_is_not_remembered(
    tmp_path: Path, hashed: Counts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rushes.store.compared.SETTLED_NS", 60 * 10**9)
    digests = videos(tmp_path)
    hashed()
    assert lost(tmp_path, digests) == lost(tmp_path, digests) == set() and hashed() == 4


def test_a_project_that_cannot_be_written_works_without(tmp_path: Path, hashed: Counts) -> None:
    digests = videos(tmp_path)
    (tmp_path / COMPARED_FILE).mkdir()
    hashed()
    assert lost(tmp_path, digests) == lost(tmp_path, digests) == set() and hashed() == 4


def test_a_damaged_memory_is_begun_anew(tmp_path: Path, hashed: Counts) -> None:
    digests = videos(tmp_path)
    (tmp_path / COMPARED_FILE).write_bytes(b"no database" * 100)
    hashed()
    assert lost(tmp_path, digests) == lost(tmp_path, digests) == set() and hashed() == 2


def test_stages_of_one_project_remember_at_the_same_time(tmp_path: Path, hashed: Counts) -> None:
    digests = videos(tmp_path)
    hashed()
    media = [MediaFolder(tmp_path / "media") for _ in range(2)]
    with media[0].remembering(), media[1].remembering():
        assert media[0].lost(digests[:1]) == media[1].lost(digests) == set() and hashed() == 2
        assert media[0].lost(digests) == set() and hashed() == 0
