"""Files by content hash."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from rushes.files import MediaError, content_hash
from rushes.store.media import MediaFolder


def test_a_file_is_copied_once_under_its_hash(tmp_path: Path) -> None:
    media = MediaFolder(tmp_path / "media")
    (tmp_path / "a.MP4").write_bytes(b"frames")
    (tmp_path / "b.mov").write_bytes(b"frames")
    digest = media.put(tmp_path / "a.MP4")
    assert digest == hashlib.sha256(b"frames").hexdigest()
    path = media.path(digest)
    assert path.name == f"{digest}.mp4" and path.read_bytes() == b"frames"
    written = path.stat().st_mtime_ns, path.stat().st_ino
    assert media.put(tmp_path / "b.mov") == media.put_bytes(b"frames", ".webm") == digest
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == written
    assert [one for one in media.folder.rglob("*") if one.is_file()] == [path]


def test_the_copy_is_independent_of_the_original(tmp_path: Path) -> None:
    media = MediaFolder(tmp_path / "media")
    (tmp_path / "a.mp4").write_bytes(b"frames")
    digest = media.put(tmp_path / "a.mp4")
    (tmp_path / "a.mp4").write_bytes(b"other")
    assert media.path(digest).read_bytes() == b"frames"


def test_a_file_without_suffix_and_another_process_s_file_are_found(tmp_path: Path) -> None:
    media = MediaFolder(tmp_path / "media")
    (tmp_path / "plain").write_bytes(b"frames")
    assert media.path(media.put(tmp_path / "plain")).suffix == ""
    digest = MediaFolder(tmp_path / "media").put_bytes(b"later", ".png")
    assert media.path(digest).suffix == ".png"


@pytest.mark.parametrize("digest", ["0" * 64, "", "ab", "../../etc/passwd", "*" * 64, "0" * 63 + "*"])
def test_what_is_missing_is_named(tmp_path: Path, digest: str) -> None:
    media = MediaFolder(tmp_path / "media")
    media.put_bytes(b"frames", ".mp4")
    with pytest.raises(ValueError, match="no file with content hash"):
        media.path(digest)


def test_a_file_that_vanished_is_missing_and_can_be_put_again(tmp_path: Path) -> None:
    media = MediaFolder(tmp_path / "media")
    digest = media.put_bytes(b"frames", ".mp4")
    media.path(digest).unlink()
    with pytest.raises(ValueError, match=f"`rushes verify {tmp_path}` names the command that restores it"):
        media.path(digest)
    assert media.path(media.put_bytes(b"frames", ".mp4")).read_bytes() == b"frames"


@pytest.mark.parametrize("damaged", [b"", b"framez"])
def test_a_damaged_file_is_not_read_and_is_written_again(tmp_path: Path, damaged: bytes) -> None:
    folder = tmp_path / "media"
    digest = MediaFolder(folder).put_bytes(b"frames", ".mp4")
    file = MediaFolder(folder).path(digest)
    file.write_bytes(damaged)
    media = MediaFolder(folder)
    with pytest.raises(MediaError, match=f"{file.name}: damaged or altered.*`rushes verify {tmp_path}`"):
        media.path(digest)
    assert media.locate(digest) == file and media.lost([digest, "0" * 64, ""]) == {digest, "0" * 64, ""}
    (tmp_path / "source.MOV").write_bytes(b"frames")
    assert media.put(tmp_path / "source.MOV") == digest and media.path(digest) == file
    file.write_bytes(damaged)
    assert MediaFolder(folder).put_bytes(b"frames", ".webm") == digest and file.read_bytes() == b"frames"


def test_a_file_is_compared_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = MediaFolder(tmp_path / "media").put_bytes(b"frames", ".mp4")
    media, hashed = MediaFolder(tmp_path / "media"), list[Path]()

    def count(path: Path) -> str:
        hashed.append(path)
        return content_hash(path)

    monkeypatch.setattr("rushes.store.media.content_hash", count)
    assert media.path(digest) == media.path(digest) == media.locate(digest)
    assert media.lost([digest]) == set() and len(hashed) == 1


def test_a_source_that_is_no_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.mp4", tmp_path):
        with pytest.raises(ValueError, match="not a file"):
            MediaFolder(tmp_path / "media").put(path)


def test_a_source_that_changes_while_it_is_copied_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    media, source = MediaFolder(tmp_path / "media"), tmp_path / "growing.mp4"
    source.write_bytes(b"first half")

    def find(self: MediaFolder, digest: str) -> None:  # between the hash and the copy
        source.write_bytes(b"first half, second half")

    monkeypatch.setattr(MediaFolder, "_find", find)
    with pytest.raises(ValueError, match="changed while it was copied"):
        media.put(source)
    assert not [path for path in media.folder.rglob("*") if path.is_file()]
