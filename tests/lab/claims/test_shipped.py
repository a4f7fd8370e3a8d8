"""The evidence that ships says what docs/evidence/ says of it, about arms and hypotheses that exist."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rushes.lab.claims import run, verdict_table
from rushes.lab.claims.arms import UNTRAINED
from rushes.lab.claims.evidence import FILE, Evidence, read_evidence
from rushes.lab.claims.hypotheses import arms_of, find_claims
from rushes.records import BASE

FOLDER = Path(__file__).resolve().parents[3] / "docs" / "evidence"


@pytest.fixture(scope="module")
def shipped() -> Evidence:
    return read_evidence(FOLDER / FILE)


@pytest.fixture(scope="module")
def stated() -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((FOLDER / "table.json").read_text(encoding="utf-8"))
    return facts


def test_the_table_is_that_of_the_evidence(shipped: Evidence, stated: dict[str, Any]) -> None:
    claims = find_claims(stated["claims"])
    rows, seen = verdict_table.rows(claims, shipped), verdict_table.sightings(claims, shipped)
    assert [(row.claim, row.hypothesis.name, row.outcome) for row in rows] == [
        (row["claim"], row["name"], row["verdict"]) for row in stated["rows"]
    ]
    page = verdict_table.markdown(claims, rows, seen, shipped, stated["budget"])
    assert page == (FOLDER / "table.md").read_text(encoding="utf-8")


def test_every_arm_is_there_with_every_seed(shipped: Evidence, stated: dict[str, Any]) -> None:
    count = stated["budget"]["seeds"]
    arms = {BASE: count}
    for claim in find_claims(stated["claims"]):  # an arm of two claims has the seeds of the one that asks for more
        arms |= {arm.name: max(arms.get(arm.name, 0), claim.seeds or count) for arm in claim.arms}
    assert {arm: sorted(seeds) for arm, seeds in shipped.items()} == {
        arm: list(range(run.FIRST_SEED, run.FIRST_SEED + seeds)) for arm, seeds in arms.items()
    }


def test_the_evidence_is_of_the_arms_as_they_are_now(shipped: Evidence, stated: dict[str, Any]) -> None:
    """A changed setting of an arm makes its results stale: run `rushes reproduce --earlier` again."""
    for arm in (UNTRAINED, *arms_of(find_claims(stated["claims"]))):
        for seed, result in shipped[arm.name].items():
            settings = run.settings_of(arm, seed, run.BUDGETS["small"])
            assert result.made_from == run._made_from(arm, settings), arm.name
