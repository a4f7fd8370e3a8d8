"""`verify`, `space`, `clean` and `backup`, and a project that cannot be written; all by the command line."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from rushes.files import content_hash, locked
from rushes.generate import _put
from rushes.inspect.disk_use import _aside, _FileUses
from rushes.inspect.soundness import verify_project
from rushes.project.backup import _copy, backup
from rushes.project.project import OpenProject
from rushes.project.settings import read_settings
from rushes.records import Candidate, CaptionRow, Clip, Decision, Score
from rushes.store.database import Store
from rushes.store.in_use import HeldProject
from rushes.store.media import MediaFolder
from rushes.training import checkpoint
from rushes.training.checkpoint import only_one

from ..forked import start_into
from ..projects import AS_A_USER, PROGRAM, Command, ReadContents, Rushes, SmallProject, Stop


def flip(path: Path, at: float = 0.75) -> None:
    data = bytearray(path.read_bytes())
    data[int(len(data) * at)] ^= 4
    path.write_bytes(data)


def make_old(project: Path) -> None:
    """As if everything had lain there for two hours."""
    for path in project.rglob("*"):
        os.utime(path, (hour := time.time() - 2 * 3600, hour))


def wait_until_stopped(process: BaseProcess) -> None:
    while process.exitcode is None:
        state = subprocess.run(["ps", "-o", "stat=", "-p", str(process.pid)], capture_output=True, text=True).stdout
        if state.startswith("T"):
            return
        time.sleep(0.02)
    raise AssertionError("it ended before")


def all_files(project: Path) -> set[Path]:
    return {path for path in project.rglob("*") if not path.name.startswith(("rushes.db", ".lock"))}


def media_of(project: Path, kind: type[Clip | Candidate]) -> Path:
    with Store.open(project) as store:
        return store.media.locate(next(iter(store.stream(kind))).media)


def test_a_whole_project_has_no_fault(project: Path, rushes: Rushes) -> None:
    code, out, err = rushes("verify", project, "--json")
    result = json.loads(out)
    assert code == 0 and result["faults"] == [], err
    assert all(result["checked"][kind] for kind in ("rows", "media", "latents", "checkpoints", "weights", "files"))


def test_every_kind_of_damage_is_a_line_with_its_way_out(project: Path, rushes: Rushes) -> None:
    lost, altered = media_of(project, Clip), media_of(project, Candidate)
    lost.unlink()
    flip(altered)
    shard = max((project / "latents").glob("*.safetensors"), key=lambda path: path.stat().st_size)
    weights = project / "runs" / "realdpo" / "weights.safetensors"
    checkpoint = max((project / "runs" / "realdpo" / "checkpoints").glob("step-*"))
    for path in (shard, weights, checkpoint):
        flip(path)
    curves = project / "runs" / "realdpo" / "metrics.jsonl"
    curves.write_bytes(curves.read_bytes()[:-20])
    (project / "seconds.json").write_text("{")
    (project / "footage.db").write_bytes(b"no database" * 100)
    ways = {
        lost.stem: "`rushes import",
        altered.stem: "`rushes generate",
        shard.name: "computes the contents anew",
        str(weights): "`rushes train",
        checkpoint.name: "continues from the checkpoint before",
        str(curves): "copy the file from a backup, or delete the line",
        "seconds.json": "begins it anew",
        "footage.db": "copy it from a backup",
    }
    code, out, err = rushes("verify", project, "--json")
    faults = json.loads(out)["faults"]
    assert code == 1 and len(faults) == len(ways), err
    for name, way in ways.items():
        assert len([fault for fault in faults if name in fault and way in fault]) == 1, name
    code, out, _ = rushes("verify", project)
    assert code == 1 and all(fault in out.splitlines() for fault in faults)
    for stage in ("import", "generate", "train"):  # the ways out, with the line of the curves deleted
        curves.write_text("".join(curves.read_text().splitlines(keepends=True)[:-1]))
        code, _, err = rushes(stage, project)
        assert code == 0, err
    code, out, _ = rushes("verify", project, "--json")
    assert [fault for fault in json.loads(out)["faults"] if "footage.db" not in fault] == []


def test_one_changed_byte_of_a_score_is_noticed(project: Path, rushes: Rushes) -> None:
    with sqlite3.connect(project / "rushes.db") as database:
        database.execute("DROP TRIGGER never_update")
        query = "SELECT seq, body FROM rows WHERE type = 'scores' AND body LIKE '%\"value\":0.%' ORDER BY seq LIMIT 1"
        seq, body = database.execute(query).fetchone()
        database.execute("UPDATE rows SET body = ? WHERE seq = ?", (body.replace('"value":0.', '"value":7.'), seq))
    database.close()
    for stage in ("verify", "evaluate"):
        code, out, err = rushes(stage, project)
        assert code == (1 if stage == "verify" else 2)
        assert "rushes.db: a row of scores was altered" in out + err and "copy it from a backup" in out + err


@pytest.mark.parametrize(
    ("name", "figure", "stages", "way"),
    [
        ("runs/realdpo/metrics.jsonl", '"loss": ', ("health", "train"), "copy the file from a backup, or delete"),
        (
            "reports/realdpo.json",
            '"base": ',
            ("report", "power"),
            "which writes it again",
        ),
    ],
)
def test_one_changed_digit_of_a_curve_or_a_result_is_noticed(
    project: Path, rushes: Rushes, name: str, figure: str, stages: tuple[str, ...], way: str
) -> None:
    path = project / name
    before, _, after = path.read_text().rpartition(figure)
    path.write_text(before + figure + str((int(after[0]) + 1) % 10) + after[1:])
    code, out, _ = rushes("verify", project, "--json")
    (fault,) = json.loads(out)["faults"]
    assert code == 1 and str(path) in fault and "altered" in fault
    for stage in stages:
        code, _, err = rushes(stage, project)
        assert code == 2 and str(path) in err and "altered" in err and way in err, (stage, err)


@pytest.mark.parametrize("kind", ["scores", "clips"])  # without the second videos cannot be looked at
def test_damage_that_stops_a_reader_is_a_line_among_the_others(
    project: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    link, unreadable = media_of(project, Clip), media_of(project, Candidate)
    link.rename(project / "elsewhere.mp4")
    link.symlink_to(project / "elsewhere.mp4")
    stray = project / "latents" / "notes.safetensors"
    stray.write_bytes(b"")
    (project / "seconds.json").write_text("{")
    with sqlite3.connect(project / "rushes.db") as database:
        database.execute("DROP TRIGGER never_update")
        body = "CAST(x'ff' || CAST(substr(body, 2) AS BLOB) AS TEXT)"  # "{" with its high bit: no UTF-8 any more
        where = f"seq = (SELECT min(seq) FROM rows WHERE type = '{kind}')"
        database.execute(f"UPDATE rows SET body = {body} WHERE {where}")
    database.close()

    def bad_sector(path: Path) -> str:
        if path == unreadable:
            raise OSError(errno.EIO, "Input/output error", str(path))
        return content_hash(path)

    monkeypatch.setattr("rushes.store.media.content_hash", bad_sector)
    faults = verify_project(project).faults
    media = [link.stem, unreadable.stem] if kind == "scores" else ["media: cannot be checked"]
    for words in ("was altered: it is not text; copy it", str(stray), "seconds.json", *media):
        assert len([fault for fault in faults if words in fault]) == 1, (words, faults)
    if kind == "scores":
        data = (project / "elsewhere.mp4").read_bytes()
        with Store.open(project) as store:  # as `import` does, which takes it from the footage again
            assert store.media.put_bytes(data, ".mp4") == link.stem and store.media.sound(link.stem)
        assert not link.is_symlink() and (project / "elsewhere.mp4").read_bytes() == data


def test_checkpoints_are_read_tensor_by_tensor_and_those_of_a_run_at_work_are_left_out(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(path: Path) -> None:
        raise AssertionError(f"{path} is taken into memory")

    monkeypatch.setattr("rushes.training.checkpoint.read", nothing)
    run = project / "runs" / "realdpo"
    assert verify_project(project).faults == ()
    (unsealed := run / "checkpoints" / "step-00000099").mkdir()
    with only_one(run):
        result = verify_project(project)
        assert result.faults == () and result.checked["checkpoints"] == 0
    assert [str(unsealed) in fault for fault in verify_project(project).faults] == [True]
    unsealed.rmdir()
    monkeypatch.setattr("rushes.training.checkpoint.in_order", lambda folder: [unsealed])  # listed before it went
    assert verify_project(project).faults == ()


def test_a_row_of_a_newer_version_is_named(project: Path, rushes: Rushes) -> None:
    with sqlite3.connect(project / "rushes.db") as database:
        database.execute("DROP TRIGGER never_update")
        body = "'{\"new_field\":1,' || substr(body, 2)"
        database.execute(f"UPDATE rows SET crc = NULL, body = {body} WHERE seq = 1")
    database.close()
    code, _, err = rushes("import", project)
    assert code == 2 and f"{project / 'rushes.db'}: a row of clips cannot be read (new_field" in err
    assert "if a newer Rushes wrote it, upgrade" in err


def test_what_is_not_needed_is_listed_and_then_removed(project: Path, rushes: Rushes, contents: ReadContents) -> None:
    hour = time.time() - 2 * 3600
    leftovers = [project / "latents" / ".tmpAb3dEf", project / "media" / "00" / f".{'0' * 64}.mp4.12ab34cd.part"]
    digest = content_hash(b"0" * 1000)
    orphan = project / "media" / digest[:2] / f"{digest}.mp4"
    for path in (*leftovers, orphan):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"0" * 1000)
        os.utime(path, (hour, hour))
    unpacked, at_work = project / ".pairs-ab3_ef9z", project / ".cut-ab3_ef9z"  # of imports, one of which was killed
    for folder in (unpacked, at_work):
        folder.mkdir()
        (folder / "0.mp4").write_bytes(b"0" * 1000)
    os.utime(unpacked, (hour, hour))
    (young := project / "media" / ".now.part").write_bytes(b"1")
    before, tree = contents(project), sorted(project.rglob("*"))
    code, out, _ = rushes("space", project, "--json")
    kinds = json.loads(out)["kinds"]
    assert code == 0 and kinds["latents"]["leftover"] == kinds["other"]["leftover"] == 1000
    assert kinds["media"]["orphaned"] == 1000 and kinds["media"]["leftover"] == 1000 and kinds["media"]["stale"] == 0
    assert kinds["checkpoints"]["stale"] > 0 and kinds["checkpoints"]["needed"] == 0  # all weights were trained
    code, out, _ = rushes("clean", project)
    assert code == 0 and f"next: rushes clean {project} --yes" in out
    assert "realdpo: cannot be trained for more steps" in out
    assert sorted(path for path in project.rglob("*") if not path.name.startswith("rushes.db")) == [
        path for path in tree if not path.name.startswith("rushes.db")
    ]
    code, out, _ = rushes("clean", project, "--yes", "--json")
    assert code == 0 and json.loads(out)["ended"] == ["realdpo"]
    assert not any(path.exists() for path in (*leftovers, orphan, unpacked)) and young.exists()
    assert at_work.is_dir()
    assert json.loads(rushes("space", project, "--json")[1])["removable"] == 0
    after = contents(project)
    assert {name: after[name] for name in before if not name.startswith("step-") and name != "media"} == {
        name: before[name] for name in before if not name.startswith("step-") and name != "media"
    }
    code, out, err = rushes("train", project, "--json")  # is finished, and stays so
    assert code == 0 and json.loads(out)["steps_now"] == 0, err
    code, _, err = rushes("train", project, "--steps", 8)
    assert code == 2 and f"`rushes clean {project}` removed its optimizer state: start a run with" in err


def test_a_checkpoint_stays_where_the_weights_are_not_whole(project: Path, rushes: Rushes) -> None:
    flip(project / "runs" / "realdpo" / "weights.safetensors")
    before = all_files(project)
    code, out, err = rushes("clean", project, "--yes", "--json")
    assert code == 0 and json.loads(out)["doubted"] == ["realdpo"] and json.loads(out)["ended"] == [], err
    assert all_files(project) == before
    assert "realdpo: the checkpoints stay" in rushes("clean", project)[1]
    assert rushes("train", project)[0] == 0  # from that checkpoint
    assert json.loads(rushes("clean", project, "--yes", "--json")[1])["ended"] == ["realdpo"]


def test_nothing_is_removed_while_a_stage_is_at_work(project: Path, tmp_path: Path, rushes: Rushes, stop: Stop) -> None:
    """Files of a slow stage that have no row yet were removed, and takes that it counts on: it ended well without."""
    out, err = tmp_path / "out", tmp_path / "err"
    words = ["generate", str(project), "--set=generate.steps=3"]
    assert rushes("generate", *words[1:], "--set=generate.takes=1")[0] == 0
    with Store.open(project) as store:
        rows = list(store.stream(Decision))
    stage = start_into(out, err, PROGRAM, arguments=words, before=stop(".mp4", 2, signal.SIGSTOP))
    try:
        wait_until_stopped(stage)
        make_old(project)
        before = all_files(project)
        code, _, error = rushes("clean", project, "--yes")
        after = all_files(project)
    finally:
        os.kill(stage.pid or 0, signal.SIGCONT)
        stage.join()
    assert stage.exitcode == 0, err.read_text()
    assert before == after and code == 2
    assert f"{project}: another process has this project open" in error and error.count("\n") == 1
    assert rushes("verify", project)[0] == 0
    with Store.open(project) as store:
        assert list(store.stream(Decision)) == rows
    assert rushes("clean", project)[0] == 0


def test_who_opens_a_project_waits_for_clean(
    project: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("rushes.store.in_use.WAIT_S", 0.1)
    refused = pytest.raises(ValueError, match="`rushes clean` is removing files of it; run again")
    with Store.open(project) as store, store.in_use.alone("wait"), refused:
        Store.open(project)
    assert caplog.messages == [f"{project}: waiting for `rushes clean`, which removes files of it ..."]
    Store.open(project).close()


def test_a_project_is_held_also_after_its_clean_was_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rushes.store.in_use._LOOKING_S", 0.1)
    refused = pytest.raises(ValueError, match="another process has this project open")
    with Store.create(tmp_path) as notebook:
        with Store.open(tmp_path), refused, notebook.in_use.alone("wait"):
            pass
        with Store.open(tmp_path) as store, refused, store.in_use.alone("wait"):
            pass


READER = """
import os, signal
from pathlib import Path
from rushes.files import is_locked
from rushes.store.in_use import HeldProject
assert is_locked(Path(project) / "run.log")
share = HeldProject(Path(project))
os.kill(os.getpid(), signal.SIGSTOP)
"""


@pytest.mark.skipif(os.name == "nt" or not Path("/proc").exists(), reason="needs capabilities of the Linux kernel")
def test_who_can_only_read_a_project_sees_its_locks_and_holds_it(tmp_path: Path) -> None:
    """A colleague's backup ended well without the checkpoints that the owner's `clean` removed meanwhile."""
    Store.create(tmp_path).close()
    (tmp_path / ".lock").chmod(0o444)
    (tmp_path / "run.log").touch(0o444)
    tmp_path.chmod(0o555)
    with locked(tmp_path / "run.log"):
        reader = start_into(tmp_path / "out", tmp_path / "err", AS_A_USER + READER, project=str(tmp_path))
        wait_until_stopped(reader)
    try:
        with pytest.raises(ValueError, match="another process has this project open"), HeldProject(tmp_path).alone(""):
            pass
    finally:
        os.kill(reader.pid or 0, signal.SIGCONT)
        reader.join()
        tmp_path.chmod(0o755)


@pytest.mark.parametrize("what", ["folder", "pipe", "link"])
def test_a_lock_that_is_no_file_is_refused(tmp_path: Path, what: str) -> None:
    lock = tmp_path / ".lock"
    if what == "folder":
        lock.mkdir()
    elif what == "pipe":
        os.mkfifo(lock)
    else:
        lock.symlink_to("elsewhere")
    with pytest.raises(ValueError, match=f"{lock}: a {what}.*delete it"):
        Store.create(tmp_path)


def test_a_run_that_was_stopped_after_its_last_checkpoint_keeps_two(project: Path, rushes: Rushes) -> None:
    folder = project / "runs" / "realdpo" / "checkpoints"
    names = [path.name for path in checkpoint.in_order(folder)]
    shutil.copy(folder / names[0], folder / "step-00000001.safetensors")
    assert rushes("train", project)[0] == 0
    assert [path.name for path in checkpoint.in_order(folder)] == names


def test_what_an_unfinished_run_may_use_stays(project: Path, rushes: Rushes) -> None:
    other = ("--set", "generate.steps=3", "--set", "generate.takes=1", "--set", "train.name=b")
    assert rushes("generate", project, *other)[0] == 0
    (project / "bank").mkdir(exist_ok=True)
    (cache := project / "bank" / f"{'a' * 24}-{'b' * 24}.safetensors").write_bytes(b"0" * 1000)
    (latents := project / "latents" / cache.name).write_bytes(b"0" * 1000)
    (run := project / "runs" / "b").mkdir()
    make_old(project)
    media = sorted((project / "media").rglob("*"))
    code, out, _ = rushes("clean", project, "--yes", "--json")
    result = json.loads(out)
    assert code == 0 and result["takes"] is None and "run b is not finished" in result["stays"]
    assert cache.exists() and latents.exists() and sorted((project / "media").rglob("*")) == media
    shutil.rmtree(run)
    code, out, _ = rushes("clean", project, "--yes", "--json")
    assert code == 0 and json.loads(out)["takes"] and json.loads(out)["stays"] == ""
    assert not cache.exists() and not latents.exists()


def test_what_the_user_put_there_stays(project: Path, rushes: Rushes) -> None:
    part = f".{'0' * 64}.mp4.12ab34cd.part"
    names = (
        "footage/film.mp4.part", f"footage/{part}", "footage/.tmpAb3dEf", "media/.DS_Store", "media/notes.txt",
        "media/00/film.part", "media/.tmp.txt", "latents/notes.txt", "bank/notes.txt",
        "texts/notes.txt", "runs/realdpo/checkpoints/step-00000004-mine.safetensors", ".notes.txt.12ab34cd.part",
    )  # fmt: skip
    ours = [project / "media" / "00" / part, project / ".seconds.json.12ab34cd.part"]
    for path in (theirs := [project / name for name in names]) + ours:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"0")
    make_old(project)
    assert rushes("clean", project, "--yes")[0] == 0
    assert [path for path in theirs if not path.exists()] == [] and not any(path.exists() for path in ours)


def test_takes_that_somebody_spoke_about_stay(project: Path, rushes: Rushes) -> None:
    other = ("--set", "generate.steps=3", "--set", "generate.takes=1")
    assert rushes("generate", project, *other)[0] == 0
    make_old(project)
    with Store.open(project) as store:
        takes = [take.id for take in _FileUses(OpenProject(store, read_settings(project))).dropped]
        by_person, by_model, captioned, chosen, *rest = takes
        store.add([Score("1", by_person, "human", 7.0, measured_by="ann"), Score("2", by_model, "vlm x", 7.0,
                  measured_by="vlm x"), *(Score(f"m {id}", id, "motion", 0.5, measured_by="general 1") for id in takes),
                  CaptionRow("4", "clip", "wrong", "wrong", about=captioned),
                  Decision("5", chosen, True, person=True, made_by="ann")])  # fmt: skip
        assert {take.id for take in _FileUses(OpenProject(store, read_settings(project))).dropped} == set(rest)


def test_space_is_said_without_the_model(project: Path, rushes: Rushes) -> None:
    assert rushes("generate", project, "--set", "generate.steps=3", "--set", "generate.takes=1")[0] == 0
    make_old(project)
    before, away = all_files(project), ("--set", "backbone.name=ltx", "--set", "backbone.path=/not/there")
    code, out, err = rushes("space", project, *away, "--json")
    assert code == 0 and "/not/there" in json.loads(out)["no_model"], err
    kinds = json.loads(out)["kinds"]
    assert kinds["latents"]["unknown"] and not kinds["latents"]["stale"] and not kinds["latents"]["needed"]
    assert kinds["media"]["unknown"] and not kinds["media"]["stale"] and kinds["checkpoints"]["stale"]
    assert f"latents: unknown {kinds['latents']['unknown'] / 1000:.1f} kB" in rushes("space", project, *away)[1]
    code, out, err = rushes("clean", project, *away, "--yes", "--json")
    assert code == 0 and json.loads(out)["takes"] is None and set(json.loads(out)["kinds"]) == {"checkpoints"}, err
    assert {path.parent.name for path in before - all_files(project)} == {"checkpoints"}


def test_a_removed_take_that_comes_out_otherwise_is_refused(project: Path) -> None:
    with Store.open(project) as store:
        first, second = (take for take in store.candidates("train", kind="take")[:2])
        for take in (first, second):
            store.media.locate(take.media).unlink()
        store.add([_aside(first)])
        for take, words in ((first, "removed by `rushes clean`"), (second, "lost from media/")):
            with pytest.raises(ValueError, match=f"take {take.id} was {words}"):
                _put(store, take.id, b"another video")


def test_takes_of_other_settings_leave_and_come_back(project: Path, rushes: Rushes) -> None:
    other = ("--set", "generate.steps=3", "--set", "generate.takes=1")
    assert rushes("generate", project, *other)[0] == 0
    with Store.open(project) as store:
        takes = {take.id: take.media for take in store.candidates("train", kind="take")}
    assert json.loads(rushes("clean", project, "--json")[1])["takes"] is None  # a stage may be at work
    make_old(project)
    code, out, _ = rushes("clean", project, "--yes", "--json")
    assert code == 0
    with Store.open(project) as store:
        left = {take.id for take in store.candidates("train", kind="take")}
        gone = {id: media for id, media in takes.items() if id not in left}
        assert len(gone) == json.loads(out)["takes"] and not any(store.media.sound(media) for media in gone.values())
    assert rushes("verify", project)[0] == 0
    code, out, err = rushes("generate", project, *other, "--json")
    assert code == 0 and json.loads(out)["new"] == len(gone), err
    with Store.open(project) as store:
        assert {take.id for take in store.candidates("train", kind="take")} == takes.keys()
        assert all(store.media.sound(media) for media in gone.values())


def test_a_backup_is_a_project_and_is_brought_up_to_date(
    project: Path, tmp_path: Path, rushes: Rushes, contents: ReadContents
) -> None:
    to = tmp_path / "copy"
    with Store.open(project) as open_meanwhile:
        assert open_meanwhile.clips()
        code, out, err = rushes("backup", project, to, "--json")
    assert code == 0, err
    first = json.loads(out)
    assert first["copied"] == first["files"] and first["lost"] is None
    media_of(to, Clip).write_bytes(b"")  # as where a copy was stopped on a disk that lied
    code, out, _ = rushes("backup", project, to, "--json")
    assert code == 0 and json.loads(out)["copied"] == 2  # that file and the database
    before, after = contents(project), contents(to)
    assert {**after, "latents": before["latents"]} == before
    shutil.rmtree(project)
    to.rename(project)  # restored
    code, out, err = rushes("train", project, "--json")
    assert code == 0 and json.loads(out)["steps_now"] == 0, err
    assert rushes("verify", project)[0] == 0
    for bad, words in ((project / "media", "is inside the project"), (tmp_path, "holds files that are not a backup")):
        (tmp_path / "x").touch()
        code, _, err = rushes("backup", project, bad)
        assert code == 2 and words in err


def test_a_backup_takes_the_place_of_no_other_project_and_of_no_newer_one(
    project: Path, tmp_path: Path, small: SmallProject
) -> None:
    other, copy = small.new_project(tmp_path / "other", small.settings), tmp_path / "copy"
    backup(project, copy, checkpoints=False)
    with Store.open(project) as store, Store.open(other) as strange:
        clip = store.clips()[0]
        store.add([replace(clip, id="a-newer-one")])
        strange.add([replace(clip, id="another")])
    for source, to in ((project, other), (copy, project)):
        before = (to / "rushes.db").read_bytes()
        with pytest.raises(ValueError, match="holds another project, or rows that"):
            backup(source, to)
        assert (to / "rushes.db").read_bytes() == before
    backup(project, copy, checkpoints=False)
    with Store.open(copy) as store:
        assert store.find("a-newer-one")


def test_a_backup_beside_training_has_the_checkpoints_of_its_end(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, folder = tmp_path / "copy", Path("runs", "realdpo", "checkpoints")
    old = checkpoint.in_order(project / folder)
    assert backup(project, copy).lost is None and len(old) > 1
    media_of(copy, Clip).unlink()
    put_as, copied = MediaFolder.put_as, []

    def train_on(self: MediaFolder, path: Path, digest: str) -> None:  # the next ones, while media are copied
        put_as(self, path, digest)
        copied.append(path)
        for step in (101, 102, 103):
            shutil.copy(old[-1], project / folder / f"step-{step:08d}.safetensors")
        for path in old:
            path.unlink()

    def drop(source: Path, target: Path) -> bool:  # and one more goes before it is its turn
        if source.name.startswith("step-00000101"):
            source.unlink()
        return _copy(source, target)

    monkeypatch.setattr(MediaFolder, "put_as", train_on)
    monkeypatch.setattr("rushes.project.backup._copy", drop)
    backup(project, copy)
    names = [path.name for path in checkpoint.in_order(copy / folder)]
    assert names == ["step-00000102.safetensors", "step-00000103.safetensors"] and len(copied) == 1
    for path in checkpoint.in_order(project / folder):  # all that it has lost stays in the copy
        path.unlink()
    backup(project, copy)
    assert [path.name for path in checkpoint.in_order(copy / folder)] == names


def test_a_backup_reads_a_video_of_the_project_once_and_counts_what_is_lost(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed = list[Path]()

    def count(path: Path) -> str:
        hashed.append(path)
        return content_hash(path)

    flip(damaged := media_of(project, Clip))
    (link := media_of(project, Candidate)).unlink()
    link.symlink_to(damaged)
    monkeypatch.setattr("rushes.store.media.content_hash", count)
    result = backup(project, tmp_path / "copy", checkpoints=False)
    assert result.lost == 2
    assert [path for path in hashed if path.is_relative_to(project)] == [damaged]  # all others are copied unhashed
    hashed.clear()
    assert backup(project, tmp_path / "copy", checkpoints=False).copied == 1  # the database
    assert [path for path in hashed if path.is_relative_to(project)] == [damaged]


@pytest.mark.skipif(os.name == "nt" or not Path("/proc").exists(), reason="needs capabilities of the Linux kernel")
def test_a_project_that_cannot_be_written_is_read(project: Path, tmp_path: Path, command: Command) -> None:
    with sqlite3.connect(project / "embeddings.db") as side:  # its log is gone with the last who closed it
        side.executescript("PRAGMA journal_mode = WAL; CREATE TABLE one (x)")
    side.close()
    for path in (*project.rglob("*"), project):
        path.chmod(path.stat().st_mode & ~0o222)
    try:
        for words in (("health", project), ("report", project, "--out", tmp_path / "elsewhere"), ("verify", project)):
            result = command(*words, before=AS_A_USER)
            assert result.code == 0, result.err
        assert (tmp_path / "elsewhere" / "realdpo.html").stat().st_size > 10_000
        result = command("clean", project, "--yes", before=AS_A_USER)
        assert result.code == 2 and "you cannot write here" in result.err and result.err.count("\n") == 1, result.err
        result = command("import", project, "--set", "footage.clips=7", before=AS_A_USER)
        assert result.code == 2 and result.err.count("\n") <= 3, result.err
    finally:
        for path in (project, *project.rglob("*")):
            path.chmod(path.stat().st_mode | 0o200)


def test_a_changed_byte_of_an_exported_table_is_not_imported(
    project: Path, tmp_path: Path, rushes: Rushes, small: SmallProject
) -> None:
    assert rushes("export", project, "--out", tmp_path / "rows")[0] == 0
    scores, other = tmp_path / "rows" / "scores.parquet", small.new_project(tmp_path / "other", small.settings)
    with pq.ParquetFile(scores) as table:
        group = table.metadata.row_group(0)
        values = next(group.column(k) for k in range(group.num_columns) if group.column(k).path_in_schema == "value")
    end = (values.dictionary_page_offset or values.data_page_offset) + values.total_compressed_size
    flip(scores, (end - 1) / scores.stat().st_size)
    code, _, err = rushes("import", other, "--rows", tmp_path / "rows")
    assert code == 2 and f"{scores}, row 0: cannot be read" in err and err.count("\n") == 1


def test_a_backup_has_folders_that_lie_elsewhere(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Was left out without a word where the user had allowed the link."""
    disk, copy = tmp_path / "disk", tmp_path / "copy"
    (project / "runs").rename(disk)
    (project / "runs").symlink_to(disk)
    monkeypatch.setenv("RUSHES_TRUST", f"link:{disk}".replace(" ", "%20"))
    backup(project, copy)
    name = "realdpo/weights.safetensors"
    assert (copy / "runs" / name).read_bytes() == (disk / name).read_bytes() and not (copy / "runs").is_symlink()


def test_a_backup_follows_no_link_of_a_stranger_and_leaves_out_no_file(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link beside the project's own folders was followed, and a name with .db in it left out without a word."""
    (private := tmp_path / "private").mkdir()
    (private / "id_rsa").write_text("secret")
    (project / "notes").symlink_to(private)
    for name in ("my.db.txt", "runs/realdpo/notes.db", "clips.db/list.txt"):
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text("mine")
    backup(project, copy := tmp_path / "copy", checkpoints=False)
    assert not [path for path in copy.rglob("*") if path.name in ("notes", "id_rsa")]
    for name in ("my.db.txt", "runs/realdpo/notes.db", "clips.db/list.txt"):
        assert (copy / name).read_text() == "mine"


def test_a_log_of_the_copy_before_is_gone_before_the_new_database_is_there(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite would replay it over the new file if the command were killed between the two."""
    backup(project, copy := tmp_path / "copy", checkpoints=False)
    (log := copy / "rushes.db-wal").write_bytes(b"")
    replace_file, logs = os.replace, list[bool]()

    def note(source: Path, target: Path) -> None:
        if Path(target) == copy / "rushes.db":
            logs.append(log.exists())
        replace_file(source, target)

    monkeypatch.setattr(os, "replace", note)
    backup(project, copy, checkpoints=False)
    assert logs == [False]
