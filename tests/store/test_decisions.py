"""Which clips are in the set, after programs and people decided."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from rushes.records import Decision
from rushes.store.database import Store
from rushes.store.schema import SCHEMA

from .conftest import RowMaker


def decision(id: str, subject: str, keep: bool, **more: object) -> Decision:
    return replace(Decision(id, subject, keep), **more)  # type: ignore[arg-type]


BY_ADA = decision("1", "a", False, person=True, made_by="ada")
BY_BOB = (
    decision("2", "a", False, person=True, made_by="bob"),
    decision("3", "a", True, person=True, made_by="bob"),
)
GONE = decision("7", "a", False, made_by="import")
BACK = decision("9", "a", True, made_by="import")
BY_CY = decision("8", "a", True, person=True, made_by="cy")


@pytest.mark.parametrize(
    ("decisions", "captions"),
    [
        ((), {"a": "", "b": ""}),
        ((decision("1", "a", False),), {"b": ""}),
        ((decision("1", "a", False), decision("2", "a", True)), {"a": "", "b": ""}),
        ((decision("1", "a", True, caption="dense"),), {"a": "dense", "b": ""}),
        # a person's stands against what a program says later
        ((decision("1", "a", True, person=True), decision("2", "a", False)), {"a": "", "b": ""}),
        ((decision("1", "a", False, person=True), decision("2", "a", True)), {"b": ""}),
        # and keeps the program's caption unless it brings one
        ((decision("1", "a", True, person=True), decision("2", "a", False, caption="dense")), {"a": "dense", "b": ""}),
        (
            (decision("1", "a", True, caption="dense"), decision("2", "a", True, person=True, caption="mine")),
            {"a": "mine", "b": ""},
        ),
        ((decision("1", "a", False, person=True), decision("2", "a", True, person=True)), {"a": "", "b": ""}),
        # who withdraws has said nothing: another person's counts again, then the program's, whenever it was made
        ((BY_ADA, decision("2", "a", True, person=True, made_by="ada", withdrawn=True)), {"a": "", "b": ""}),
        (
            (BY_ADA, *BY_BOB, decision("4", "a", True, person=True, made_by="bob", withdrawn=True)),
            {"b": ""},
        ),
        (
            (BY_ADA, decision("2", "a", False), decision("3", "a", True, person=True, made_by="ada", withdrawn=True)),
            {"b": ""},
        ),
        ((BY_ADA, decision("2", "a", True), replace(BY_ADA, id="3", withdrawn=True, caption="?")), {"a": "", "b": ""}),
        # what an import sets aside is out, whatever was said before or a program says later
        ((*BY_BOB, GONE, decision("8", "a", True)), {"b": ""}),
        # until it is back, as it was
        ((decision("1", "a", True, caption="dense"), GONE, BACK), {"a": "dense", "b": ""}),
        ((decision("1", "a", False), GONE, BACK), {"b": ""}),
        # or a person keeps it
        ((GONE, BY_CY), {"a": "", "b": ""}),
        ((GONE, BY_CY, replace(BY_CY, id="9", withdrawn=True)), {"b": ""}),
    ],
)
def test_the_decision_that_counts(
    tmp_path: Path, make: RowMaker, decisions: tuple[Decision, ...], captions: dict[str, str]
) -> None:
    clips = (make.clip("a"), make.clip("b"))
    with Store.create(tmp_path) as store:
        store.add([*clips, *decisions])
        found = {clip.id: clip for clip in store.clips()}
        assert {id: clip.caption for id, clip in found.items()} == {
            id: caption or make.clip(id).caption for id, caption in captions.items()
        }
        assert store.clips(dropped=True) == clips  # as they were imported


def test_takes_of_a_dropped_clip_are_out_with_it(tmp_path: Path, make: RowMaker) -> None:
    takes = (make.candidate("1", clip_id="a"), make.candidate("2", clip_id="b"), make.candidate("3", clip_id=""))
    with Store.create(tmp_path) as store:
        store.add([make.clip("a"), make.clip("b"), *takes, decision("9", "a", False)])
        assert [row.id for row in store.candidates()] == ["2", "3"]
        assert store.candidates(dropped=True) == takes


def test_an_older_rushes_is_kept_out(tmp_path: Path) -> None:
    """It would train on what was dropped."""
    Store.create(tmp_path).close()
    with sqlite3.connect(tmp_path / "rushes.db") as database:
        assert database.execute("PRAGMA user_version").fetchone() == (SCHEMA,) and SCHEMA >= 3
