"""Small files of a project, cut, emptied, deleted or altered: a cache is begun anew, anything else is named with its
way out; all by the command line."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from rushes.files import write_text
from rushes.project.monitoring import _measured_before
from rushes.project.probes import ProbeAnswers
from rushes.project.project import open_project
from rushes.store.schema import SCHEMA
from rushes.text_reader import checked_text

from ..durability.crash_points import TINY
from ..forked import start
from ..projects import Rushes, new_project

CURVES = "runs/realdpo/metrics.jsonl"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 - 7])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def deleted(path: Path) -> None:
    path.unlink()


def other(path: Path) -> None:
    path.write_text('{"a": 1}\n')


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (cut, "incomplete or altered, not a row of a run's figures; copy the file from a backup, or delete the"),
        (other, "metrics.jsonl, line 1: incomplete or altered"),
        (emptied, "lost or emptied, though the run has checkpoints; copy it from a backup, or delete"),
        (deleted, "lost or emptied, though the run has checkpoints; copy it from a backup, or delete"),
    ],
)
def test_curves_are_named_with_a_way_out(
    project: Path, rushes: Rushes, damage: Callable[[Path], None], words: str
) -> None:
    damage(project / CURVES)
    code, _, err = rushes("health", project)
    assert code == 2 and words in err and str(project / CURVES) in err and err.count("\n") == 1


def test_a_run_goes_on_without_curves_that_were_lost_and_says_so(
    project: Path, rushes: Rushes, caplog: pytest.LogCaptureFixture
) -> None:
    deleted(project / CURVES)
    code, out, err = rushes("train", project, "--json")
    assert code == 0, err
    assert json.loads(out)["steps_now"] == 0 and "its first rows were lost, so the curves are empty" in err
    code, _, err = rushes("report", project)
    assert code == 0 and "there are no training curves" in caplog.text


@pytest.mark.parametrize("damage", [cut, emptied, other])
def test_shortcuts_are_measured_again(
    project: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    """The run ended with Python's error, which named no file, or with a traceback."""
    path = project / "runs" / "realdpo" / "shortcuts.json"
    made_from = json.loads(path.read_text())["made_from"]
    assert _measured_before(path, made_from) is not None
    assert _measured_before(path, "others") is None and not caplog.text
    damage(path)
    assert _measured_before(path, made_from) is None
    assert f"{path}: incomplete or altered; shortcuts are measured again" in caplog.text


def test_lines_of_probes_that_were_altered_are_measured_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "pairs.jsonl"
    kept = ProbeAnswers(path)
    for k in range(3):
        kept[f"pair {k}"] = {"labels": [k]}
    path.write_text(path.read_text().replace('{"of": "pair 1"', '{"of: "pair 1"') + '{"of": "pair')  # and a torn end
    again = ProbeAnswers(path)
    assert "pair 0" in again and "pair 1" not in again and again["pair 2"] == {"labels": [2]}
    assert (
        f"{path}: 1 line altered; what it had is measured again" in caplog.text
        and len(path.read_text().splitlines()) == 2
    )


@pytest.mark.parametrize("damage", [cut, emptied, other])
def test_clocks_are_counted_anew(project: Path, rushes: Rushes, damage: Callable[[Path], None]) -> None:
    damage(project / "seconds.json")
    code, _, err = rushes("import", project)
    sentence = "seconds.json: was damaged; it holds the stages' times"
    assert code == 0 and (damage is other or sentence in err)
    assert json.loads((project / "seconds.json").read_text())["import"] >= 0


KILLED = """
import os, signal
from rushes.files import whole_file

with whole_file(path):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_kill_left_of_the_clocks_goes_though_no_stage_writes_them(tmp_path: Path) -> None:
    """Seen after `cache reference`: all but the clocks was stored, so that the same command had nothing to time."""
    folder = new_project(tmp_path / "p", TINY)
    start(KILLED, path=folder / "seconds.json").join(60)
    assert len(list(folder.glob(".seconds.json.*.part"))) == 1
    open_project(folder, TINY).store.close()
    assert not list(folder.glob(".seconds.json.*.part"))


@pytest.mark.parametrize(("damage", "words"), [(cut, "incomplete: its last line is missing"), (emptied, "is empty")])
def test_settings_that_were_cut_are_not_read_as_defaults(
    project: Path, rushes: Rushes, damage: Callable[[Path], None], words: str
) -> None:
    path = project / "rushes.toml"
    if damage is cut:  # at the end of a line, where it still is TOML
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:60]))
    else:
        damage(path)
    code, _, err = rushes("generate", project)
    assert code == 2 and f"{path}: {words}; copy it from a backup" in err


def test_a_lost_database_is_not_begun_anew_beside_what_it_listed(project: Path, rushes: Rushes) -> None:
    database = project / "rushes.db"
    database.unlink()
    code, _, err = rushes("evaluate", project)
    assert code == 2 and f"{database} is missing, but media/ and runs/ hold the files that it lists; copy it" in err
    assert not database.exists()


def test_a_database_that_lost_its_stamp_is_stamped_again(
    project: Path, rushes: Rushes, caplog: pytest.LogCaptureFixture
) -> None:
    with sqlite3.connect(project / "rushes.db") as database:
        database.execute("PRAGMA user_version = 0")
    database.close()
    code, _, err = rushes("import", project)
    assert code == 0, err
    assert "had no version stamp; everything else is intact" in caplog.text
    with sqlite3.connect(project / "rushes.db") as database:
        assert database.execute("PRAGMA user_version").fetchone() == (SCHEMA,)
    database.close()


def test_a_damaged_side_file_is_named_with_what_is_lost_with_it(project: Path, rushes: Rushes) -> None:
    (project / "labelling.db").write_bytes(b"no database" * 400)
    code, _, err = rushes("label", project, "--by", "human", "--port", 0)
    assert code == 2 and err.count("\n") == 1
    assert f"{project / 'labelling.db'}: not a readable database" in err
    assert "copy it from a backup, or delete it: people are then invited anew, and all labels stay" in err


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried"),
        MemoryError(),
    ],
)
def test_memory_that_runs_out_is_one_sentence(
    project: Path, rushes: Rushes, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def full(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("rushes.project.training.train_run", full)
    code, _, err = rushes("train", project)
    assert code == 2 and err.count("\n") == 1
    assert "lower train.batch" in err and "train.gradients" in err and "generate.batch" in err and "rushes plan" in err


@pytest.mark.parametrize("reader", ["status", "report", "health"])
def test_results_and_curves_of_another_form_are_named(project: Path, rushes: Rushes, reader: str) -> None:
    result, curves = project / "reports" / "realdpo.json", project / "runs" / "realdpo" / "metrics.jsonl"
    whole, rows = json.loads(checked_text(result, "")), curves.read_text().splitlines()
    metric = next(iter(whole["metrics"]))
    for figure, value in (("n", None), ("n", [1]), ("base", "x"), ("low", {}), ("better", None)):
        row = {**whole["metrics"][metric], figure: value}
        write_text(result, json.dumps({**whole, "metrics": {**whole["metrics"], metric: row}}))
        status, _, err = rushes(reader, project)
        assert status == 2 if reader == "report" else status in (0, 2), (figure, err)
        assert status == 0 or (str(result) in err and figure in err), (figure, err)
    write_text(result, json.dumps(whole))
    altered = ('{"step": 1, "loss": {"a": 1}}', '{"step": 1e999, "loss": 1}', '{"step": 2, "seconds": "x"}')
    for line in ("[" * 100_000, *altered):
        write_text(curves, "\n".join([*rows, line, ""]))
        status, _, err = rushes(reader, project)
        assert status in (0, 2) and (status == 0 or str(curves) in err), err
