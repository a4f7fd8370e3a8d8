"""The evidence that ships says what docs/evidence/ says of it, about arms and hypotheses that exist."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rushes.lab.claims import run, table
from rushes.lab.claims.base import Arm
from rushes.lab.claims.catalogue import arms_of, find_claims
from rushes.lab.claims.evidence import FILE, Evidence, read_evidence
from rushes.records import BASE

FOLDER = Path(__file__).resolve().parents[3] / "docs" / "evidence"


@pytest.fixture(scope="module")
def shipped() -> Evidence:
    return read_evidence(FOLDER / FILE)


def test_the_table_is_that_of_the_evidence(shipped: Evidence) -> None:
    told = json.loads((FOLDER / "table.json").read_text(encoding="utf-8"))
    claims = find_claims([])
    rows, seen = table.rows(claims, shipped), table.sightings(claims, shipped)
    assert [(row.claim, row.hypothesis.name, row.outcome) for row in rows] == [
        (row["claim"], row["name"], row["verdict"]) for row in told["rows"]
    ]
    assert table.markdown(claims, rows, seen, told["budget"]) == (FOLDER / "table.md").read_text(encoding="utf-8")


def test_every_arm_is_there_with_every_seed(shipped: Evidence) -> None:
    full = run.BUDGETS["full"].seeds
    expected = {BASE: full} | {arm.name: claim.seeds or full for claim in find_claims([]) for arm in claim.arms}
    assert {arm: sorted(seeds) for arm, seeds in shipped.items()} == {
        arm: list(range(seeds)) for arm, seeds in expected.items()
    }


def test_the_evidence_is_of_the_arms_as_they_are_now(shipped: Evidence) -> None:
    """A changed setting of an arm makes its results stale: run `rushes reproduce --known` again."""
    for arm in (Arm(BASE, "sft"), *arms_of(find_claims([]))):
        for seed, result in shipped[arm.name].items():
            assert result.made_from == run._made_from(arm, run.settings_of(arm, seed, run.BUDGETS["full"])), arm.name
