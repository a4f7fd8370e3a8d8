"""metrics.jsonl: a row as soon as its step is done, and after a kill exactly what an undisturbed run has."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rushes.training.history import History, read_history, shortcuts_file, speed, step_in_words, with_shortcuts


def written(path: Path, steps: range) -> History:
    history = History(path, 0)
    for step in steps:
        history.add({"step": step, "loss": 1 / (step + 1)})
        history.flush()
    return history


def test_a_row_is_there_when_its_step_is_done_and_is_written_once(tmp_path: Path) -> None:
    path = tmp_path / "run" / "metrics.jsonl"
    history, sizes = History(path, 0), []
    for step in range(4):
        history.add({"step": step, "loss": 1 / 3})
        history.flush()
        sizes.append(path.stat().st_size)
        assert read_history(path)[-1] == {"step": step, "loss": 0.3333333}
    assert sizes == [sizes[0] * count for count in range(1, 5)], "earlier rows were not written again"


@pytest.mark.parametrize("tail", [b"", b'{"step": 4, "lo', b"\0" * 40, b"{}\n\xff\n"])
def test_what_lies_behind_the_checkpoint_is_cut(tail: bytes, tmp_path: Path) -> None:
    path, whole = tmp_path / "metrics.jsonl", tmp_path / "whole.jsonl"
    written(path, range(4))
    with path.open("ab") as file:
        file.write(tail)
    history = History(path, 2)
    assert [row["step"] for row in history.rows] == [0, 1, 2]
    for step in (3, 4, 5):
        history.add({"step": step, "loss": 1 / (step + 1)})
    history.flush(durable=True)
    written(whole, range(6))
    assert path.read_bytes() == whole.read_bytes()


def test_a_run_that_begins_anew_has_no_old_rows(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    written(path, range(4))
    History(path, 0).flush()
    assert read_history(path) == []


def test_only_the_first_of_several_processes_writes(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    written(path, range(4))
    before = path.read_bytes()
    other = History(path, 2, writes=False)
    other.add({"step": 3, "loss": 7.0})
    other.flush(durable=True)
    assert path.read_bytes() == before and [row["step"] for row in other.rows] == [0, 1, 2, 3]


def test_a_line_that_is_being_written_is_damage_in_a_run_that_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    written(path, range(3))
    with path.open("a") as file:
        file.write('{"step": 3, "lo')
    assert [row["step"] for row in read_history(path)] == [0, 1, 2]
    with pytest.raises(ValueError, match="line 4: incomplete or altered"):
        read_history(path, ended=True)


def test_rows_that_a_checkpoint_needs_are_not_cut_in_silence(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    written(path, range(4))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match="line 4: incomplete or altered"):
        History(path, 3)
    assert len(History(path, 2).rows) == 3


def test_a_bad_line_among_those_that_count_is_named(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps({"step": step}) + "\n" for step in (0, 1)).replace("1", "one"))
    with pytest.raises(ValueError, match="line 2: incomplete or altered"):
        History(path, 1)


def test_a_step_in_words_and_the_speed_of_the_last_ones() -> None:
    row = {"step": 3, "loss": 0.69314, "seconds": 20.61, "second/accuracy": 0.5, "held_out/clip/accuracy": 0.9}
    assert step_in_words(row) == "loss 0.6931, accuracy 0.50, 20.6 s a step"
    assert step_in_words({"step": 0}) == ""
    rows: list[dict[str, float]] = [
        {"step": 0},
        *({"step": step, "seconds": 2.0} for step in range(1, 30)),
        {"step": 30, "seconds": 500.0},
    ]
    assert speed(rows) == 2.0 and speed(rows[:1]) is None


def test_runs_of_former_versions_are_read_by_the_names_of_today(tmp_path: Path) -> None:
    path, wrong = tmp_path / "metrics.jsonl", [{"name": "learned_by_heart", "step": 1}]
    path.write_text(
        json.dumps({"step": 0, "bank": 2}) + "\n" + json.dumps({"step": 1, "leak/all": 0.9, "diagnoses": wrong}) + "\n"
    )
    before, row = read_history(path)
    assert before == {"step": 0, "reference_cache": 2}
    assert row == {"step": 1, "shortcut/all": 0.9, "diagnoses": [{"name": "memorised", "step": 1}]}
    assert shortcuts_file(tmp_path).name == "shortcuts.json"
    features = [{"name": "all", "share": {"value": 0.9, "low": 0.8}}]
    (tmp_path / "leak.json").write_text(json.dumps({"features": features}))
    first, _ = with_shortcuts([{"step": 0}, row], tmp_path)
    assert first == {"step": 0, "shortcut/all": 0.9, "shortcut/all_low": 0.8}
