"""A project is data: no link in it reads or writes what lies elsewhere, and no other program's database is written."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import pytest
import torch

from rushes.backbones.texts import TextCache
from rushes.store.database import Store
from rushes.store.own_files import is_own
from rushes.store.schema import APPLICATION, SCHEMA
from rushes.training.checkpoint import only_one

from ..projects import Rushes

SECRET = b"a private text of this user"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret.txt"
    path.write_bytes(SECRET)
    path.chmod(0o600)
    return path


def linked(path: Path, to: Path) -> Path:
    """The same name, as a link."""
    shutil.rmtree(path, ignore_errors=True) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
    path.symlink_to(to)
    return path


def held(folder: Path, text: bytes) -> list[Path]:
    """Files that are no links and hold a text as it is, or as a page of the report embeds it."""
    return [
        path for path in folder.rglob("*") if path.is_file() and not path.is_symlink() and text in path.read_bytes()
    ]


def test_links_in_media_carry_no_file_away(theirs: Path, secret: Path, rushes: Rushes, tmp_path: Path) -> None:
    videos = sorted((theirs / "media").rglob("*.mp4"))
    for video in videos:
        linked(video, secret)
    (theirs / "reports" / "realdpo.html").unlink()
    out = tmp_path / "out"
    for words in (
        ("report", theirs),
        ("footage", "export", theirs, "--out", out),
        ("footage", "export", theirs, "--out", out, "--form", "webdataset"),
        ("labels", "export", theirs, "--out", out),
    ):
        status, _, err = rushes(*words)
        assert status == 2 and f"{theirs / 'media'}" in err and "link" in err, (words, err)
    assert not list(tmp_path.rglob("*.html"))
    assert held(tmp_path, SECRET) == [secret]


def test_a_folder_of_media_that_is_a_link_is_refused(theirs: Path, rushes: Rushes, tmp_path: Path) -> None:
    part = next((theirs / "media").iterdir())
    linked(part, part.rename(tmp_path / "elsewhere"))
    status, _, err = rushes("report", theirs)
    assert status == 2 and f"{part}: a link" in err


def test_folders_of_systems_give_no_file_from_elsewhere(
    theirs: Path, secret: Path, rushes: Rushes, tmp_path: Path
) -> None:
    """A folder of another model's videos, of which `--write-vbench` makes copies and a comparison shows frames."""
    video = next((theirs / "media").rglob("*.mp4"))
    (tmp_path / "prompts.txt").write_text("a ball\na cube\n")
    for name in ("a", "b"):
        for number in range(2):
            (tmp_path / name).mkdir(exist_ok=True)
            shutil.copy(video, tmp_path / name / f"{number}.mp4")
    folders = [f"{name.upper()}={tmp_path / name}" for name in ("a", "b")]
    out = tmp_path / "out"
    words = ("evaluate", "--systems", *folders, "--prompts", tmp_path / "prompts.txt", "--write-vbench", out)
    linked(tmp_path / "b" / "1.mp4", tmp_path / "b" / "0.mp4")
    assert rushes(*words)[0] == 0, "a link within the folder is the folder's own"
    shutil.rmtree(out)
    link = linked(tmp_path / "b" / "1.mp4", secret)
    status, _, err = rushes(*words)
    assert status == 2 and f"'1.mp4' points outside {link.parent}; copy the file there" in err
    assert held(tmp_path, SECRET) == [secret]


OWN = (
    *("media", "latents", "runs", "reports", "texts", "weights", "eta", "bank", "rushes.db"),
    *("rushes.db-wal", "rushes.toml"),
    *("answers.db", "labelling.db", "labelling.npz", "footage.db", "embeddings.db", "seconds.json", "preflight.json"),
    *(".compared", "run.log"),
    *("pairs.json", "reports/realdpo.json", "reports/realdpo.html", "runs/realdpo", "runs/realdpo/.lock"),
    *("runs/realdpo/checkpoints", "runs/realdpo/weights.safetensors", "latents/x", "eta/pairs.jsonl"),
)


def test_every_name_of_ours_is_refused_as_a_link(
    finished: Path, rushes: Rushes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "folder").mkdir(parents=True)
    (elsewhere / "file").write_bytes(SECRET)
    for number, name in enumerate(OWN):
        project = tmp_path / str(number)
        Store.create(project).close()
        for file in ("rushes.toml", "seconds.json", "reports/realdpo.json"):
            shutil.copy(finished / file, project / file)
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        linked(project / name, elsewhere / ("file" if "." in name else "folder"))
        status, _, err = rushes("report", project)
        assert status == 2 and f"{project / name}: a link" in err, (name, err)
    assert [path.name for path in sorted(elsewhere.rglob("*"))] == ["file", "folder"]
    assert (elsewhere / "file").read_bytes() == SECRET


def test_a_whole_folder_may_lie_on_another_disk_once_its_place_is_allowed(
    theirs: Path, nobody: Path, rushes: Rushes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = tmp_path / "another disk"
    disk.mkdir()
    link = linked(theirs / "media", (theirs / "media").rename(disk / "media"))
    word = f"link:{disk / 'media'}".replace(" ", "%20")
    status, _, err = rushes("report", theirs)
    assert status == 2 and f"{link}: a link" in err and f"`rushes trust {word}`" in err and "RUSHES_TRUST" in err
    monkeypatch.setenv("RUSHES_TRUST", f"link:{disk}".replace(" ", "%20"))
    assert rushes("report", theirs)[0] == 2, "a word is for one folder, not for those in it"
    monkeypatch.setenv("RUSHES_TRUST", word)
    assert rushes("report", theirs)[0] == 0
    monkeypatch.delenv("RUSHES_TRUST")
    assert rushes("trust", word)[0] == 0
    assert rushes("report", theirs)[0] == 0

    part = next(folder for folder in (disk / "media").iterdir() if folder.is_dir())
    inner = theirs / "media" / linked(part, part.rename(tmp_path / "elsewhere")).name
    for trusted in (word, f"{word} link:{tmp_path / 'elsewhere'}"):
        monkeypatch.setenv("RUSHES_TRUST", trusted)
        status, _, err = rushes("report", theirs)
        assert status == 2 and f"{inner}: a link" in err and "rushes trust" not in err, "folders at the top alone"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names are of Unix")
@pytest.mark.parametrize("name", ["seconds.json", "runs/realdpo/metrics.jsonl"])
def test_a_pipe_in_place_of_a_file_is_refused(theirs: Path, rushes: Rushes, name: str) -> None:
    """A reader waited for it without end; archives by tar carry pipes."""
    (theirs / name).unlink()
    os.mkfifo(theirs / name)
    code, _, err = rushes("health", theirs)
    assert code == 2 and f"{theirs / name}: a pipe" in err


def test_no_word_allows_a_link_in_place_of_a_file(
    theirs: Path, secret: Path, nobody: Path, rushes: Rushes, monkeypatch: pytest.MonkeyPatch
) -> None:
    linked(theirs / "seconds.json", secret)
    monkeypatch.setenv("RUSHES_TRUST", f"link:{secret}")
    status, _, err = rushes("report", theirs)
    assert status == 2 and "seconds.json: a link" in err and "rushes trust" not in err


def test_embeddings_of_captions_are_not_read_through_links(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = TextCache(tmp_path / "texts", {"reads": "so"})
    cache.put("a ball", {"rows": (torch.ones(2, 3), 4)})
    path = cache.path("a ball")
    assert cache.get("a ball") is not None
    linked(path, path.rename(tmp_path / "elsewhere.safetensors"))
    assert "a ball" not in cache and cache.get("a ball") is None and f"{path}: is a link" in caplog.text
    path.unlink()
    cache.put("a ball", {"rows": (torch.ones(2, 3), 4)})
    linked(cache.folder, cache.folder.rename(tmp_path / "elsewhere"))
    assert cache.get("a ball") is None


def test_whatever_lies_at_the_top_of_a_project_is_looked_at(finished: Path) -> None:
    assert {path.name for path in finished.iterdir() if not is_own(path.name)} == set()


def test_links_of_the_users_own_stay_as_they_were(theirs: Path, rushes: Rushes, tmp_path: Path) -> None:
    """The project's folder itself, what lies beside our names, and what a tracker links in its own folder."""
    (theirs / "clips").symlink_to(tmp_path)
    (theirs / "runs" / "realdpo" / "wandb").mkdir()
    (theirs / "runs" / "realdpo" / "wandb" / "latest-run").symlink_to(tmp_path)
    (tmp_path / "by-a-link").symlink_to(theirs)
    assert rushes("report", tmp_path / "by-a-link")[0] == 0


def test_a_lock_is_neither_followed_nor_emptied(theirs: Path, secret: Path, rushes: Rushes) -> None:
    run = theirs / "runs" / "other"
    run.mkdir()
    lock = linked(run / ".lock", secret)
    for words in (("train", theirs, "--set", "train.name=other"), ("run", theirs, "--set", "train.name=other")):
        status, _, err = rushes(*words)
        assert status == 2 and f"{lock}: a link" in err
        assert secret.read_bytes() == SECRET
    with pytest.raises(ValueError, match="a link, and the lock would be on its target"), only_one(run):
        pass
    lock.unlink()
    lock.write_bytes(SECRET)
    with only_one(run):
        assert lock.read_bytes() == SECRET


def test_another_programs_database_is_not_written(theirs: Path, rushes: Rushes) -> None:
    database = theirs / "rushes.db"
    database.unlink()
    with sqlite3.connect(database) as other:
        other.execute("CREATE TABLE bookmarks (url)")
        other.execute("PRAGMA user_version = 2")
    other.close()
    before = database.read_bytes()
    for words in (("report", theirs), ("import", theirs), ("run", theirs)):
        status, _, err = rushes(*words)
        assert status == 2 and f"{database}: the database of another program" in err and "disk" not in err
        assert database.read_bytes() == before
    assert not list(theirs.glob("rushes.db-*"))


def test_a_database_says_that_it_is_ours_and_older_ones_are_known_by_their_tables(tmp_path: Path) -> None:
    Store.create(tmp_path / "new").close()
    with sqlite3.connect(tmp_path / "new" / "rushes.db") as database:
        assert database.execute("PRAGMA application_id").fetchone() == (APPLICATION,)
        database.execute("PRAGMA application_id = 0")
        database.execute(f"PRAGMA user_version = {SCHEMA - 1}")
    database.close()
    Store.open(tmp_path / "new").close()
    with sqlite3.connect(tmp_path / "new" / "rushes.db") as database:
        database.execute("PRAGMA application_id = 7")
    database.close()
    with pytest.raises(ValueError, match="another program"):
        Store.open(tmp_path / "new")


def test_a_detached_run_says_nothing_through_a_link(theirs: Path, rushes: Rushes, tmp_path: Path) -> None:
    """One that leads to no file yet: the log is opened before the project is."""
    linked(theirs / "run.log", tmp_path / "profile")
    status, _, err = rushes("run", theirs, "--detach")
    assert status == 2 and f"{theirs / 'run.log'}: a link" in err and not (tmp_path / "profile").exists()
